"""The short ways that nearly every message takes say exactly what the long ways say."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import Outcome
from ingest.admit import admit
from ingest.codecs.json_text import parse
from ingest.errors import Undecodable
from ingest.memory import Memory
from tests.support.admission import ALARM, START, TELEMETRY, Desk

SOURCES = """
sources:
  - {filter: "ember/v1/+/+/alarm", codec: ember-json, urgent: true}
  - {filter: "ember/v1/+/+/telemetry", codec: ember-json}
  - {filter: "seen/#", codec: json-map, shard: seen, clock: observed, site: shed, device: d1, time: "$.ts",
     fields: {temperature: "$.temperature", smoke_alarm: "$.smoke_alarm"}}
"""
#: Seconds that a device's clock differs from ours: right, at the bound, wrong, absent.
skews = st.sampled_from([0, 0, 0.5, -0.5, 59.999, 60, 60.001, -60, -60.001, 3600, None])
marks = st.fixed_dictionaries(
    {}, optional={name: st.booleans() for name in ("retain", "backlog", "dup")} | {"packet_id": st.integers(0, 2)}
)
messages = st.tuples(
    st.sampled_from([TELEMETRY, TELEMETRY, ALARM, "ember/v1/shed/stranger/telemetry", "seen/it"]),
    skews,
    st.fixed_dictionaries({}, optional={"temperature": st.sampled_from([20.0, 21]), "smoke_alarm": st.booleans()}),
    st.integers(0, 2),  # seq
    st.one_of(st.just({}), marks),
    st.sampled_from([0.0, 1.0, 7.0]),  # seconds since the message before
)


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, max_size=8))
def test_a_message_admitted_the_short_way_is_admitted_as_by_the_long_one(said: list[Any]) -> None:
    desk = Desk(SOURCES)
    long_way = Memory.load(desk.memory.dump())
    at = 0.0
    for topic, skew, body, seq, headers, since in said:
        at += since
        stamped = body if skew is None else {**body, "ts": (START + round((at - skew) * 1e6)) / 1e6, "seq": seq}
        short = desk.hear(topic, stamped, at=at, **headers)
        with patch("ingest.admit._usual", return_value=None):
            assert admit(desk.records[-1], long_way) == short
        assert long_way.dump() == desk.memory.dump()


def test_the_usual_message_takes_the_short_way() -> None:
    desk = Desk(SOURCES)
    with patch("ingest.admit._judge_one", side_effect=AssertionError("the long way")):
        body = {"ts": START // 1000, "seq": 1, "temperature": 20.5, "smoke_alarm": False}
        assert desk.hear(TELEMETRY, body, at=0).outcome is Outcome.STORED


keys = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a:b"', '"ü"'])
values = st.sampled_from(
    ["1", "null", '"x"', '":"', '"\\""', "{}", "[]", '{"a":1}', '[{"a":1,"a":2}]', '{"b":{"b":1}}']
)
gaps = st.sampled_from(["", " "])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(keys, gaps, values), max_size=4))
def test_a_json_object_is_refused_exactly_when_a_key_stands_twice(pairs: list[tuple[str, str, str]]) -> None:
    text = "{" + ",".join(f"{key}{gap}:{value}" for key, gap, value in pairs) + "}"
    twice: list[bool] = []

    def keep(found: list[tuple[str, object]]) -> dict[str, object]:
        twice.append(len(found) != len(dict(found)))
        return dict(found)

    tree = json.loads(text, object_pairs_hook=keep)
    try:
        assert parse(text.encode()) == tree
        refused = False
    except Undecodable:
        refused = True
    assert refused == any(twice)
