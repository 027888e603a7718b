"""The test on bytes never passes over what admit would find a fire in."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.glance import JOINT, Glance, glance
from ingest.readings import FIRE_STATES
from ingest.sources import Source
from ingest.sources_file import parse_sources
from tests.support.admission import TELEMETRY, Desk

MAPPED = """\
sources:
  - filter: "ember/v1/+/+/telemetry"
    codec: json-map
    site: topic:3
    device: topic:4
    fields: {smoke_alarm: "$.s['Rauch Ä']", heat_alarm: "$.hot", temperature: "$.t"}
"""


def its_test(source: Source) -> Glance:
    test = glance(source)
    assert test is not None
    return test


def source_of(desk: Desk, filter: str = "ember/v1/+/+/telemetry") -> Source:
    return next(source for source in desk.sources.sources if source.filter == filter)


def says_fire(payload: bytes, sources: str | None = None) -> bool:
    """Whether the evaluator would hear of a fire in it."""
    admission = Desk(sources).hear(TELEMETRY, payload, at=0)
    told = [reading for reading in admission.readings if not reading.states.get("test")]
    return admission.suspicion is not None or any(reading.states.get(name) for reading in told for name in FIRE_STATES)


#: What payloads are made of where it matters: keys and values whole and cut, escapes, calls in two charsets.
_PIECES = [
    *(b'"smoke_alarm"', b"'heat_alarm'", b"manual_alarm", b'"SMOKE_ALARM"', b'"smoke"', b"Smoke", b'"fire"', b"fire"),
    *(b"true", b"tru", b"True", b'"on"', b"on", b"yes", b"1", b"1.0", b"0", b"false", b'"off"', b"no", b"null"),
    *(b":", b" : ", b"=", b"\t:\n ", b",", b"{", b"}", b"[", b"]", b" ", b"         ", b'"temperature":21.5'),
    *("火警".encode(), "火警".encode("gbk"), rb"\u706b\u8b66", rb'"smoke\u005falarm"', b"\xff", b'"test":true'),
    *(b'"Rauch \xc3\x84"', b'"s":{', b'"hot"', b'"ts":"2026-05-01T00:00:00Z"'),
]
pieces = st.lists(st.sampled_from(_PIECES), max_size=9).map(b"".join)
values = st.sampled_from([True, False, 1, 0, None, "on", "off", 21.5])
keys = st.sampled_from(["smoke_alarm", "heat_alarm", "manual_alarm", "test", "temperature", "hot", "fire"])


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Well-formed ones, some letters of their keys escaped."""
    text = json.dumps(draw(st.dictionaries(keys, values, max_size=4)), indent=draw(st.sampled_from([None, 1, 12])))
    if draw(st.booleans()):
        text = text.replace("alarm", "\\u0061larm", 1)
    return text.encode()


payloads = st.one_of(pieces, pieces.map(lambda inside: b"{" + inside + b"}"), objects())


@given(payloads)
@example(b'{"smoke_alarm":')
@example(b'{"smoke_alarm":t')
@example(b'{"smoke\\u005falarm":true}')
@example(b'{"smoke":true}')
def test_a_native_payload_that_says_fire_is_never_passed_over(payload: bytes) -> None:
    if says_fire(payload):
        assert its_test(source_of(Desk()))(payload)


@given(payloads)
@example('{"s":{"Rauch Ä":"yes"}}'.encode())
@example(b'{"s":{"RAUCH \xc3\x84":true,}')
def test_a_mapped_payload_that_says_fire_is_never_passed_over(payload: bytes) -> None:
    if says_fire(payload, MAPPED):
        assert its_test(source_of(Desk(MAPPED)))(payload)


@given(st.lists(payloads, min_size=1, max_size=5))
@example([b'{"smoke_alarm":', b"false}"])
def test_among_others_a_payload_is_seen_as_when_alone(several: list[bytes]) -> None:
    for desk in (Desk(), Desk(MAPPED)):
        test = its_test(source_of(desk))
        if any(map(test, several)):
            assert test(JOINT.join(several))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"ts":1763750000000,"temperature":21.5}',
        b'{"ts":1763750000000,"seq":1,"temperature":21.5,"humidity":55.1,"smoke":0.011,"smoke_alarm":false}',
        b'[{"heat_alarm" : 0, "temperature": 20.0}]',
        '{"temperature":21.5,"note":"车棚"}'.encode(),
    ],
)
def test_usual_telemetry_is_passed_over(payload: bytes) -> None:
    assert not its_test(source_of(Desk()))(payload)


def test_what_hides_a_state_from_such_a_test_is_always_decoded() -> None:
    for codec in ("gb26875", "sparkplug-b", "senml-cbor", "chirpstack", "tts", "zigbee2mqtt", "homeassistant"):
        assert glance(Source(filter="some/#", codec=codec)) is None
    assert glance(Source(filter="ember/v1/+/+/alarm", codec="ember-json")) is None
    assert glance(Source(filter="ember/#", codec="ember-json")) is None
    listed = parse_sources(MAPPED.replace('"$.hot"', '"$.list[3]"'), "sources.yaml")
    assert glance(listed.sources[0]) is None
