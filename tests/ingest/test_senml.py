"""SenML beyond what golden folders can show: the RFC's resolved packs, times, hostile bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import cbor
from ingest.codecs.contract import PAYLOAD_LIMIT, Decode, Decoded
from ingest.codecs.senml import decode_cbor, decode_json
from ingest.codecs.senml_pack import RELATIVE, resolve
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, SECOND, STATES, Observation
from ingest.sources import Source
from tests.support.cbor import written
from tests.support.data import sample
from tests.support.hostile import affordable

EXAMPLES = (1, 2, 3, 4, 6, 7, 9, 10)
NOW = 1_795_284_000 * SECOND
DEVICE = "urn:dev:mac:0024befffe804ff1"


def read(decode: Decode, body: bytes, received_at: int = NOW) -> Decoded:
    return decode(
        Message(topic="senml/up", source="#", received_at=received_at), body, Source(filter="#", codec="senml"), {}
    )


def told(*records: dict[str, Any], received_at: int = NOW) -> tuple[Observation, ...]:
    return read(decode_json, json.dumps([{"bn": f"{DEVICE}:"}, *records]).encode(), received_at).observations


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_rfc_resolve_as_it_says(example: int) -> None:
    pack = json.loads(sample(f"senml/ex{example}.json").read_text())
    # as the RFC's tool wrote it: example 3 in the order of the pack, data left out
    expected = sorted(json.loads(sample(f"senml/ex{example}.resolved.json").read_text()), key=lambda said: said["t"])
    generated = expected[0]["t"]
    found = [entry for entry in resolve(pack) if entry.value is not None]
    assert len(found) == len(expected)
    for entry, said in zip(found, expected, strict=True):
        at = entry.time if entry.time >= RELATIVE else generated + entry.time
        value = next(said[key] for key in ("v", "vs", "vb") if key in said)
        assert (entry.name, entry.unit, at, entry.value) == (said["n"], said.get("u", ""), said["t"], value)


def test_cbor_says_what_json_says() -> None:
    bytes_of = bytes.fromhex(sample("senml/ex3.cbor.hex").read_text())
    assert read(decode_cbor, bytes_of) == read(decode_json, sample("senml/ex3.json").read_bytes())
    assert resolve(cbor.parse(bytes_of), cbor=True) == resolve(json.loads(sample("senml/ex3.json").read_text()))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_reads_the_same_resolved(example: int) -> None:
    whole = sample(f"senml/ex{example}.json").read_bytes()
    resolved = [
        {"n": entry.name, "u": entry.unit, "t": entry.time, "vb" if isinstance(entry.value, bool) else "v": entry.value}
        for entry in resolve(json.loads(whole))
        if isinstance(entry.value, bool | int | float)
    ]
    assert read(decode_json, json.dumps(resolved).encode()) == read(decode_json, whole)


def test_times_relative_to_now_count_from_the_receipt() -> None:
    old, new = told({"n": "temperature", "u": "Cel", "v": 21, "t": -300.5}, {"n": "temperature", "u": "Cel", "v": 22})
    assert (old.observed_at, old.values) == (NOW - 300_500_000, {"temperature": 21.0})
    assert (new.observed_at, new.values) == (None, {"temperature": 22.0})
    assert [each.observed_at for each in told({"n": "temperature", "v": 21, "t": -300}, received_at=0)] == [None]


@pytest.mark.parametrize(
    ("seconds", "at"), [(RELATIVE - 1, NOW + (RELATIVE - 1) * SECOND), (RELATIVE, RELATIVE * SECOND)]
)
def test_times_are_absolute_from_2_to_the_28_on(seconds: int, at: int) -> None:
    assert [each.observed_at for each in told({"n": "temperature", "v": 21, "t": seconds})] == [at]


def test_observations_come_in_order_of_time() -> None:
    found = told(*({"n": "temperature", "v": each, "t": -each} for each in (3, 9, 1, 0, 7)))
    assert [each.values["temperature"] for each in found] == [9, 7, 3, 1, 0]


def test_a_fire_is_told_beside_what_makes_no_sense() -> None:
    odd = {"n": "heat_alarm", "vs": "perhaps"}
    with pytest.raises(Undecodable, match="heat_alarm"):
        told(odd)
    assert [each.states for each in told(odd, {"n": "smoke", "vb": True})] == [{"smoke_alarm": True}]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-99, 99) | st.text(max_size=4), inner),
    max_leaves=20,
)


@given(value=plain)
def test_cbor_is_read_as_it_was_written(value: Any) -> None:
    try:
        found = cbor.parse(written(value))
    except Undecodable as error:
        assert "nested deeper" in str(error)
        return
    assert repr(found) == repr(value)  # repr, because NaN equals nothing, and 1 equals True


@pytest.mark.parametrize(
    ("half", "value"), [("3e00", 1.5), ("0001", 5.960464477539063e-08), ("7bff", 65504.0), ("c000", -2)]
)
def test_half_floats(half: str, value: float) -> None:
    assert cbor.parse(bytes.fromhex(f"f9{half}")) == value


records = st.dictionaries(
    st.sampled_from(["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut", "x", "x_"]),
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.sampled_from([f"{DEVICE}:", "temperature", "smoke", "Cel", "%", "a/b:", "3303/0/5700", "on", ""])
    | st.text(max_size=6),
    max_size=6,
)
packs = st.lists(records, max_size=5)


def holds(decode: Decode, body: bytes) -> None:
    """Whatever the bytes: understood with sound values, or set aside in one line."""
    try:
        observations = read(decode, body).observations
    except Undecodable as error:
        assert str(error).isprintable()
        return
    for each in observations:
        assert each.observed_at is None or type(each.observed_at) is int
        assert set(each.values) <= set(QUANTITIES) and all(math.isfinite(value) for value in each.values.values())
        assert set(each.states) <= set(STATES) and all(type(value) is bool for value in each.states.values())


@settings(max_examples=300, deadline=None)
@given(pack=packs, cut=st.integers(0, 60), noise=st.binary(max_size=3))
def test_no_pack_breaks_it(pack: list[dict[str, Any]], cut: int, noise: bytes) -> None:
    for decode, whole in ((decode_cbor, written(pack)), (decode_json, json.dumps(pack).encode())):
        holds(decode, whole)
        holds(decode, whole[:cut] + noise + whole[cut + len(noise) :])


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60))
def test_no_bytes_break_it(body: bytes) -> None:
    holds(decode_cbor, body)
    holds(decode_json, body)


def json_pack(count: int, record: Callable[[int], dict[str, Any]]) -> bytes:
    return json.dumps([record(index) for index in range(count)], separators=(",", ":")).encode()


HOSTILE: dict[str, tuple[Decode, Callable[[], bytes]]] = {
    "a device each": (
        decode_json,
        lambda: json_pack(2_000, lambda each: {"n": f"urn:dev:ow:{each}:temperature", "v": 1}),
    ),
    "one quantity at one time": (decode_json, lambda: json_pack(2_000, lambda each: {"n": "a:temperature", "v": each})),
    "a time each": (decode_json, lambda: json_pack(2_000, lambda each: {"n": "a:temperature", "v": 1, "t": -each})),
    "names that match late": (decode_json, lambda: json_pack(600, lambda each: {"n": "1/" * 190 + str(each), "v": 1})),
    "urns that match late": (
        decode_json,
        lambda: json_pack(600, lambda each: {"n": "urn:dev:" + "a-" * 150, "v": each}),
    ),
    "records of nothing": (decode_json, lambda: b"[" + b"{}," * (PAYLOAD_LIMIT // 3 - 2) + b"{}]"),
    "one long name": (decode_json, lambda: b'[{"v":1,"n":"' + b":" * (PAYLOAD_LIMIT - 20) + b'"}]'),
    "arrays in arrays": (decode_cbor, lambda: b"\x81" * PAYLOAD_LIMIT),
    "tags in tags": (decode_cbor, lambda: b"\xc4" * PAYLOAD_LIMIT),
    "maps of nothing": (decode_cbor, lambda: b"\x9a\x00\x03\xff\x00" + b"\xa0" * 0x3FF00),
    "numbers nobody asked for": (decode_cbor, lambda: b"\x81\xa1\x18\x63\x9a\x00\x03\xff\x00" + b"\x00" * 0x3FF00),
    "keys that collide": (decode_cbor, lambda: written([{each << 40: 0 for each in range(20_000)}])),
    "decimal fractions": (decode_cbor, lambda: b"\x9f" + b"\xc4\x82\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x01" * 20_000),
    "a length beyond all": (decode_cbor, lambda: b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
    "a text beyond all": (decode_cbor, lambda: b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_payloads_cost_little(what: str) -> None:
    decode, build = HOSTILE[what]
    body = build()
    assert len(body) <= PAYLOAD_LIMIT
    assert affordable(lambda: holds(decode, body))
