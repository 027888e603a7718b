"""Tokens, sessions and cursors, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth import SESSION, Doorkeeper, same_origin
from api.paging import NEWEST_OPENED, Key, behind, decode_cursor, encode_cursor
from api.problems import Problem

NOW = 1_772_352_000_000_000
KEEPER = Doorkeeper(token="t", key=b"k")


def lets_in(keeper: Doorkeeper, cookies: str, now: int = NOW) -> bool:
    return keeper.lets_in(authorization="", cookies=cookies, now=now)


def test_a_session_is_good_until_it_runs_out_and_only_here() -> None:
    cookie = f"emberwatch_session={KEEPER.session(NOW)}"
    assert lets_in(KEEPER, cookie)
    assert lets_in(KEEPER, f'other=a b "c; {cookie}; =;;x')
    assert lets_in(KEEPER, cookie, NOW + SESSION - 1_000_000)
    assert not lets_in(KEEPER, cookie, NOW + SESSION)
    assert not lets_in(Doorkeeper(token="t2", key=b"k"), cookie)
    assert not lets_in(Doorkeeper(token="t", key=b"k2"), cookie)


@given(st.text(), st.text())
def test_no_text_but_the_token_opens(authorization: str, cookies: str) -> None:
    keeper = Doorkeeper(token="a token nobody writes by chance", key=b"k")
    assert not keeper.lets_in(authorization=authorization, cookies=cookies, now=NOW)
    assert not keeper.lets_in(authorization=f"Bearer {authorization}", cookies=f"emberwatch_session={cookies}", now=NOW)


def test_an_origin_is_ours_when_it_names_our_host() -> None:
    assert same_origin("", "a:1") and same_origin("http://a:1", "a:1") and same_origin("https://a:1", "a:1")
    for origin in ("http://b:1", "http://a:2", "null", "http://a:1.evil", "a:1"):
        assert not same_origin(origin, "a:1")


@given(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))])),
    st.uuids(),
)
def test_a_cursor_comes_back_as_the_values_it_was_made_of(opened_at: datetime, id: UUID) -> None:
    row = {"opened_at": opened_at, "id": id, "other": 1}
    assert decode_cursor(encode_cursor(row, NEWEST_OPENED), NEWEST_OPENED) == [opened_at, id]


@given(st.text())
def test_any_other_text_is_no_cursor(text: str) -> None:
    try:
        decode_cursor(text, NEWEST_OPENED)
    except Problem as problem:
        assert problem.status == 422
    else:
        pytest.fail("taken for a cursor")


def test_the_condition_behind_a_cursor_follows_each_direction() -> None:
    values: dict[str, Any] = {}
    order = (Key("a", int, True), Key("b", int))
    condition = behind(encode_cursor({"a": 1, "b": 2}, order), order, values)
    assert condition == "a <= %(after_0)s AND (a < %(after_0)s OR (a = %(after_0)s AND b > %(after_1)s))"
    assert values == {"after_0": 1, "after_1": 2}
