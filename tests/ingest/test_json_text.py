"""Strict JSON in bounded time, whatever the text was made for."""

from __future__ import annotations

import pytest

from ingest.codecs.contract import PAYLOAD_LIMIT
from ingest.codecs.json_text import parse
from ingest.errors import Undecodable
from tests.support.hostile import affordable


def array_of(item: bytes, first: bytes = b"0", most: int = PAYLOAD_LIMIT) -> bytes:
    return b"[" + first + (b"," + item) * min(most, (PAYLOAD_LIMIT - len(first) - 2) // (len(item) + 1)) + b"]"


COSTLY = {
    "numbers the parser is slow on": array_of(b"1e300"),
    "such numbers with noughts": array_of(b"1e000300"),
    "numbers beside letters": array_of(b"1", b'"' + b"e" * 999 + b'"'),
    "empty arrays": array_of(b"[]"),
    "arrays in arrays": array_of(b"[" * 62 + b"]" * 62),
    "brackets in texts": array_of(b'"["'),
    "objects behind an escape": array_of(b'{"a":1,"b":2}', b'"\\n"', 11_000),
    "a key twice behind many": b"{" + b",".join(b'"%d":1' % number for number in range(25_000)) + b',"24999":1}',
    "escaped quotes": b'["' + b'\\"' * 130_000 + b'"]',
}


@pytest.mark.parametrize("what", COSTLY)
def test_no_text_takes_long(what: str) -> None:
    payload = COSTLY[what]
    assert 100_000 < len(payload) <= PAYLOAD_LIMIT

    def read() -> None:
        try:
            parse(payload)
        except Undecodable as error:
            assert len(str(error)) < 200

    assert affordable(read)


def test_some_numbers_with_large_exponents_are_read_and_very_many_refused() -> None:
    assert parse(array_of(b"1.5E+30", most=300)) == [0, *[1.5e30] * 300]
    with pytest.raises(Undecodable, match="more than 300 numbers such as 1e20"):
        parse(array_of(b"1.5E+30", most=301))


def test_ids_that_look_like_exponents_are_no_numbers() -> None:
    ids = array_of(b'"0x00158e12,1e23:6e29"', most=5_000)
    assert parse(ids) == [0, *["0x00158e12,1e23:6e29"] * 5_000]
    assert parse(array_of(b'"\\u6e29\\"1e23"', most=5_000)) == [0, *['温"1e23'] * 5_000]


def test_brackets_in_texts_do_not_nest() -> None:
    assert parse(array_of(b'"\\"[[{"', b"[[1]]", 100)) == [[[1]], *['"[[{'] * 100]
    with pytest.raises(Undecodable, match="nested deeper than 64"):
        parse(b'["[",' + b"[" * 64 + b"]" * 65)


def test_ten_thousand_buffered_readings_are_not_too_many() -> None:
    parse(array_of(b'{"ts":1,"t":2}', most=10_000))
