"""No bytes make admit raise, hang, or disagree with itself."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import Admission, Outcome
from ingest.admit import admit
from ingest.codecs.contract import PAYLOAD_LIMIT
from ingest.memory import Memory
from ingest.readings import QUANTITIES, STATES, from_datetime, to_datetime
from tests.support.admission import ALARM, TELEMETRY, Desk

MAPPED = """
sources:
  - {filter: "ember/v1/+/+/alarm", codec: ember-json, urgent: true}
  - {filter: "ember/v1/+/+/telemetry", codec: ember-json}
  - {filter: "ember/v1/+/telemetry", codec: ember-json}
  - {filter: "ember/v1/+/+/status", codec: ember-json, enrol: true}
  - {filter: "map/+/+", codec: json-map, site: "topic:2", device: "$.device", enrol: true, time: "$.ts", zone: "+08:00",
     fields: {temperature: "$.temperature", smoke: "$.a[0].b", smoke_alarm: "$.smoke_alarm", fault: "$['x y']"}}
  - {filter: "seen/#", codec: json-map, shard: seen, clock: observed, site: lab, device: "$.device", enrol: true,
     time: "$.ts", fields: {temperature: "$.temperature", smoke_alarm: "$.smoke_alarm"}}
"""
TOPICS = (
    TELEMETRY,
    ALARM,
    "ember/v1/shed/telemetry",
    "ember/v1/shed/d1/status",
    "ember/v1/x\x07/y/status",
    "map/s/1",
    "map//",
    "seen/it",
    "else/where",
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["on", "OFF", "2026-05-01T00:00:00Z", "2026-05-01 00:00", "0001-01-01", "online", "NaN", "1e999"]),
    st.datetimes().map(lambda moment: moment.isoformat()),
)
keys = st.one_of(st.sampled_from(["ts", "seq", "device", "a", "b", "x y", *QUANTITIES, *STATES]), st.text(max_size=4))
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6), max_leaves=25
)
bodies = st.one_of(
    st.dictionaries(keys, scalars, max_size=8), st.lists(st.dictionaries(keys, scalars), max_size=5), trees
)


def _mutated(data: st.DataObject, payload: bytes) -> bytes:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    return bytes(changed)


def _hear(desk: Desk, topic: str, payload: bytes, headers: dict[str, Any], at: float) -> Admission:
    """One message, into the desk's memory and a second one: both say the same and hold what admit promises."""
    twin = Memory.load(desk.memory.dump())
    said = desk.hear(topic, payload, at=at, **headers)
    assert admit(desk.records[-1], twin) == said
    assert twin.dump() == desk.memory.dump()
    assert bool(said.readings) == (said.outcome is Outcome.STORED)
    assert (said.reason is not None) == (said.outcome is Outcome.QUARANTINED)
    assert "\n" not in said.detail and len(said.detail) < 1200
    for reading in said.readings:
        assert reading.values or reading.states
        assert all(value - value == 0 for value in reading.values.values())
        for moment in (reading.at, reading.device_at):
            assert moment is None or from_datetime(to_datetime(moment)) == moment
    return said


headers = st.fixed_dictionaries(
    {}, optional={name: st.booleans() for name in ("retain", "backlog", "dup")} | {"packet_id": st.integers(0, 2)}
)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(TOPICS), headers)
def test_json_whole_and_broken(data: st.DataObject, topic: str, marks: dict[str, Any]) -> None:
    desk = Desk(MAPPED)
    for at in range(3):
        payload = json.dumps(data.draw(bodies), ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
        if data.draw(st.booleans()):
            payload = _mutated(data, payload)
        _hear(desk, topic, payload, marks, at)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TOPICS), st.binary(max_size=200))
def test_random_bytes(topic: str, payload: bytes) -> None:
    _hear(Desk(MAPPED), topic, payload, {}, 0)


NEST = PAYLOAD_LIMIT // 2 - 10
BOMBS = {
    "arrays": b"[" * PAYLOAD_LIMIT,
    "closed arrays": b"[" * NEST + b"]" * NEST,
    "objects": b'{"a":' * (PAYLOAD_LIMIT // 5),
    "hidden in a key": b'{"x":' + b"[" * 900 + b"]" * 900 + b',"temperature":20}',
    "a long number": b'{"temperature":' + b"9" * 200_000 + b"}",
    "a long fraction": b'{"temperature":0.' + b"9" * 200_000 + b"}",
    "a long exponent": b'{"temperature":1e' + b"9" * 200_000 + b"}",
    "a long text": b'{"temperature":"' + b"9" * 200_000 + b'"}',
    "a long time": b'{"ts":"' + b"2" * 200_000 + b'","temperature":1}',
    "a long device": b'{"device":"' + b"d" * 200_000 + b'","temperature":1}',
    "many keys": b"{" + b",".join(b'"k%d":1' % i for i in range(20_000)) + b"}",
    "many equal keys": b"{" + b",".join([b'"temperature":1'] * 16_000) + b"}",
    "many items": b"[" + b",".join([b"{}"] * 80_000) + b"]",
    "many readings": b"[" + b",".join(b'{"co":%d}' % (i % 10) for i in range(3_000)) + b"]",
    "escapes": b'{"x":"' + b"\\u0041" * 40_000 + b'"}',
    "nearly fire": b'"smoke_alarm"' + b" " * 200_000,
    "nearly fire, often": b'"smoke_alarm" : ' * 16_000,
    "quotes": b'"' * PAYLOAD_LIMIT,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("topic", [TELEMETRY, "ember/v1/shed/telemetry", "map/s/1", "ember/v1/shed/d1/status"])
def test_a_payload_made_to_hurt_does_not(name: str, topic: str) -> None:
    assert len(BOMBS[name]) <= PAYLOAD_LIMIT
    started = time.process_time()
    _hear(Desk(MAPPED), topic, BOMBS[name], {}, 0)
    assert time.process_time() - started < 5  # not a measurement: what grows with the square would take minutes


def test_the_caller_s_stack_does_not_change_what_is_refused() -> None:
    payload = b'{"x":' + b"[" * 900 + b"]" * 900 + b',"temperature":20}'

    def deep(frames: int) -> Admission:
        return deep(frames - 1) if frames else Desk().hear(TELEMETRY, payload, at=0)

    assert deep(0) == deep(300)
    assert deep(0).detail == "nested deeper than 64 levels; send a flat object"
