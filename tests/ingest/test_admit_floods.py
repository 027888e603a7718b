"""Rate limits: what comes too fast is set aside, never a fire, never somebody else's; the same in every reader."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import Admission, Outcome, Reason
from ingest.admit import admit
from ingest.inventory import Device, InventoryDelta
from ingest.journal import Record
from ingest.memory import Memory
from ingest.message import decode_message
from ingest.rates import MOST_TOLD, NO_LIMIT, STORED, device_limit
from ingest.redrive import entry, judge_again
from ingest.sources import DEVICE_PER_MINUTE
from tests.support.admission import ALARM, TELEMETRY, Desk, micros, stamp

GATEWAY = "ember/v1/shed/telemetry"
LIMIT = 10  #: live readings of a device in ten seconds
SOURCES = """
sources:
  - {filter: "ember/v1/+/+/alarm", codec: ember-json, urgent: true, rate_per_minute: 60}
  - {filter: "ember/v1/+/+/telemetry", codec: ember-json, rate_per_minute: 60, gateway_rate_per_minute: 100}
  - {filter: "ember/v1/+/telemetry", codec: ember-json, rate_per_minute: 60}
  - {filter: "seen/#", codec: json-map, shard: seen, clock: observed, site: shed, device: d1, time: "$.ts",
     rate_per_minute: 60, fields: {temperature: "$.temperature"}}
"""


@pytest.fixture
def desk() -> Desk:
    return Desk(SOURCES)


def flood(
    desk: Desk, number: int, *, at: float, topic: str = TELEMETRY, age: float = 0, **body: Any
) -> list[Admission]:
    """So many different readings at one moment, of `age` seconds; what became of each."""
    seqs = range(len(desk.records), len(desk.records) + number)
    bodies = [{"ts": stamp(at - age), "seq": seq, "temperature": 20, **body} for seq in seqs]
    return [desk.hear(topic, body, at=at) for body in bodies]


def outcomes(admissions: list[Admission]) -> list[Outcome]:
    return [admission.outcome for admission in admissions]


def test_what_a_device_sends_beyond_its_limit_is_set_aside_until_the_next_window(desk: Desk) -> None:
    said = flood(desk, LIMIT + 3, at=1)
    assert outcomes(said) == [Outcome.STORED] * LIMIT + [Outcome.QUARANTINED] * 3
    beyond = said[-1]
    assert (beyond.reason, beyond.site, beyond.device, beyond.limited) == (Reason.RATE, "shed", "d1", 1)
    assert beyond.detail == "device d1 sent 10 readings within 10 s; further ones are set aside"
    assert outcomes(flood(desk, 1, at=9.9)) == [Outcome.QUARANTINED]
    assert outcomes(flood(desk, LIMIT + 1, at=10)) == [Outcome.STORED] * LIMIT + [Outcome.QUARANTINED]


def test_a_device_is_counted_over_all_its_topics(desk: Desk) -> None:
    flood(desk, LIMIT, at=1)
    assert outcomes(flood(desk, 1, at=1, topic=ALARM, fault=True)) == [Outcome.QUARANTINED]


def test_a_fire_and_the_first_word_of_its_end_go_on_beyond_the_limit(desk: Desk) -> None:
    flood(desk, LIMIT + 1, at=1)
    words: list[tuple[dict[str, Any], Outcome]] = [
        ({"smoke_alarm": True}, Outcome.STORED),
        ({"smoke_alarm": True}, Outcome.STORED),
        ({"smoke_alarm": False}, Outcome.STORED),
        ({"smoke_alarm": False}, Outcome.QUARANTINED),
        ({"heat_alarm": False}, Outcome.STORED),
        ({"manual_alarm": True, "smoke_alarm": False}, Outcome.STORED),
        ({"fault": True}, Outcome.QUARANTINED),
        ({"smoke_alarm": True, "test": True}, Outcome.QUARANTINED),
    ]
    for states, outcome in words:
        assert outcomes(flood(desk, 1, at=2, **states)) == [outcome], states


def test_the_end_of_a_fire_goes_on_though_the_fire_came_within_the_limit(desk: Desk) -> None:
    flood(desk, 1, at=1, smoke_alarm=True)
    flood(desk, LIMIT + 5, at=1)
    assert outcomes(flood(desk, 2, at=2, smoke_alarm=False)) == [Outcome.STORED, Outcome.QUARANTINED]


def test_other_devices_of_the_same_message_go_on(desk: Desk) -> None:
    flood(desk, LIMIT, at=1)
    for reading in range(STORED * LIMIT):
        desk.hear(GATEWAY, [{"device": "d1", "ts": stamp(-90), "seq": reading, "temperature": 20}] * 2, at=1)
    items = [{"device": name, "ts": stamp(1), "seq": 7, "temperature": 20} for name in ("d1", "d2", "d1")]
    said = desk.hear(GATEWAY, items, at=1)
    assert said.outcome is Outcome.STORED
    assert [reading.device for reading in said.readings] == ["d2"]
    assert (said.limited, said.duplicates) == (2, 0)


def test_a_fire_inside_a_message_of_a_flood_goes_on_alone(desk: Desk) -> None:
    flood(desk, STORED * LIMIT, at=1, age=300)
    items = [{"device": "d1", "ts": stamp(1), "seq": seq, "smoke_alarm": seq == 5} for seq in range(4, 8)]
    said = desk.hear(GATEWAY, items, at=1)
    assert [(reading.seq, reading.states) for reading in said.readings] == [
        (4, {"smoke_alarm": False}),
        (5, {"smoke_alarm": True}),
        (6, {"smoke_alarm": False}),
    ]
    assert said.limited == 1


def test_a_day_of_stored_readings_is_taken_in_whole() -> None:
    desk = Desk()
    at = 100_000
    for minute in range(1_440):
        body = {"ts": stamp(at - 86_400 + minute * 60), "seq": minute, "temperature": 20}
        assert desk.hear(TELEMETRY, body, at=at + minute / 1_000).outcome is Outcome.STORED
    for first in range(0, 8_640, 2_880):  # every ten seconds, nearly as many at once as a payload may hold
        items = [
            {"device": "d2", "ts": int(stamp(at - 86_400 + n * 10)), "temperature": n % 30}
            for n in range(first, first + 2_880)
        ]
        assert len(desk.hear(GATEWAY, items, at=at + 2).readings) == 2_880


@pytest.mark.parametrize("mark", ["backlog", "retain"])
def test_what_the_broker_kept_has_the_limit_of_stored_readings(desk: Desk, mark: str) -> None:
    for number in range(STORED * LIMIT + 1):
        said = desk.hear(TELEMETRY, {"ts": stamp(0), "seq": number, "temperature": 20}, at=1, **{mark: True})
        assert (said.outcome is Outcome.STORED) == (number < STORED * LIMIT)
    assert outcomes(flood(desk, 1, at=2)) == [Outcome.STORED]  # its news are counted apart


@pytest.mark.parametrize("age", [3_600, 29 * 86_400])
def test_claiming_old_times_does_not_let_a_flood_through(desk: Desk, age: float) -> None:
    said = outcomes(flood(desk, STORED * LIMIT + 30, at=1, age=age))
    assert said.count(Outcome.STORED) == STORED * LIMIT
    # a time that no device can have stored is a wrong clock's, and its readings are news
    assert outcomes(flood(desk, LIMIT + 5, at=11, age=400 * 86_400)).count(Outcome.STORED) == LIMIT


def test_readings_without_a_time_of_their_own_are_counted_too(desk: Desk) -> None:
    said = [desk.hear(TELEMETRY, {"temperature": n}, at=1, packet_id=n) for n in range(LIMIT + 2)]
    assert outcomes(said).count(Outcome.STORED) == LIMIT


def test_recordings_are_not_counted(desk: Desk) -> None:
    said = [desk.hear("seen/it", {"ts": stamp(n), "temperature": n}, at=1) for n in range(50)]
    assert outcomes(said) == [Outcome.STORED] * 50
    assert outcomes(flood(desk, LIMIT, at=1)) == [Outcome.STORED] * LIMIT


def test_zero_is_no_limit_and_the_default_is_a_share_of_a_minute() -> None:
    assert (device_limit(0), device_limit(60), device_limit(61)) == (NO_LIMIT, 10, 11)
    assert device_limit(DEVICE_PER_MINUTE) == 500
    desk = Desk(SOURCES.replace("rate_per_minute: 60", "rate_per_minute: 0"))
    assert outcomes(flood(desk, 300, at=1)) == [Outcome.STORED] * 300


def test_all_that_speak_through_one_gateway_are_counted_together(desk: Desk) -> None:
    rows = [Device(id=f"h{n}", site="shed", gateway="g1") for n in range(30)]
    desk.memory.apply_inventory(InventoryDelta(devices=rows))
    said = []
    for second in (0, 15, 30, 45):
        for row in rows:
            body = {"ts": stamp(second), "temperature": 20, "smoke_alarm": False}
            said.append(desk.hear(f"ember/v1/shed/{row.id}/telemetry", body, at=second))
    assert outcomes(said).count(Outcome.STORED) == 100 + 20  # each head's first "no fire" of a window goes on
    assert {admission.reason for admission in said} == {None}
    body = {"ts": stamp(46), "temperature": 20}
    beyond = desk.hear("ember/v1/shed/h1/telemetry", body, at=46)
    assert beyond.detail == "gateway g1 brought 100 readings within 60 s; further ones are set aside"
    assert outcomes(flood(desk, 1, at=46)) == [Outcome.STORED]  # d1 is behind no gateway


def test_a_flood_is_told_once_an_hour_and_not_without_end(desk: Desk) -> None:
    def told(at: float) -> list[str]:
        return [admission.flood for admission in flood(desk, LIMIT + 5, at=at) if admission.flood]

    (text,) = told(1)
    assert text == (
        "shed/d1 floods: device d1 sent 10 readings within 10 s; what is beyond is set aside, fire states go on"
    )
    assert told(20) == []
    assert len(told(3_600)) == 1
    rates = desk.memory.rates
    assert sum(rates.is_news(("shed", f"x{n}"), micros(3_601)) for n in range(200)) == MOST_TOLD - 1


def test_a_message_out_of_quarantine_is_not_counted(desk: Desk) -> None:
    flood(desk, LIMIT + 1, at=1)
    aside = desk.records[-1]
    word = entry(decode_message(aside.meta), aside.value, offset=aside.offset, at=aside.at)
    before = desk.memory.rates.live.copy()
    again = judge_again(Record(99, micros(2), int(word.kind), word.meta, word.value), desk.memory)
    assert again is not None and again.admission.outcome is Outcome.STORED
    assert desk.memory.rates.live == before


def test_a_memory_of_the_release_before_has_no_counts_and_loads(desk: Desk) -> None:
    flood(desk, 3, at=1)
    dumped = msgspec.msgpack.decode(desk.memory.dump())
    del dumped["rates"]
    for source in dumped["sources"]["sources"]:
        for new in ("gateway", "rate_per_minute", "gateway_rate_per_minute"):
            source.pop(new)
    loaded = Memory.load(msgspec.msgpack.encode(dumped))
    assert not loaded.rates.live and loaded.prints.last == desk.memory.prints.last
    assert {source.rate_per_minute for source in loaded.sources.sources} == {DEVICE_PER_MINUTE}


heard = st.tuples(
    st.sampled_from([TELEMETRY, TELEMETRY, ALARM, "ember/v1/shed/d2/telemetry", GATEWAY]),
    st.sampled_from([0.0, 0.0, 0.0, 3.0, 61.0, 500_000_000.0]),  # how old
    st.fixed_dictionaries(
        {"temperature": st.just(20)}, optional={name: st.booleans() for name in ("smoke_alarm", "heat_alarm", "test")}
    ),
    st.sampled_from([{}, {}, {"backlog": True}, {"retain": True}]),
    st.sampled_from([0.0, 0.0, 0.0, 2.0, 11.0]),  # seconds since the message before
    st.integers(1, 4),
)
TIGHT = SOURCES.replace("rate_per_minute: 60", "rate_per_minute: 12")


@settings(max_examples=150, deadline=None)
@given(st.lists(heard, max_size=40))
def test_a_flood_ends_the_same_in_every_reader_and_lets_every_fire_through(said: list[Any]) -> None:
    with patch("ingest.sources_file.LEAST_PER_MINUTE", 1), patch("ingest.rates.STORED", 3):
        desk, long_way, quiet = Desk(TIGHT), Memory.load(Desk(TIGHT).memory.dump()), Desk(TIGHT)
        at = 0.0
        for seq, (topic, age, body, headers, since, number) in enumerate(said):
            at += since
            one = {**body, "ts": stamp(at - age), "seq": seq}
            sent: Any = [{**one, "device": f"d{n % 2 + 1}", "temperature": n} for n in range(number)]
            sent = sent if topic == GATEWAY else one
            restarted = Memory.load(desk.memory.dump())
            admission = desk.hear(topic, sent, at=at, **headers)
            assert admit(desk.records[-1], restarted) == admission
            assert restarted.dump() == desk.memory.dump()
            with patch("ingest.admit._usual", return_value=None):
                assert admit(desk.records[-1], long_way) == admission
            assert long_way.dump() == desk.memory.dump()
            burns = (body.get("smoke_alarm") or body.get("heat_alarm")) and not body.get("test")
            assert not (burns and admission.limited)
            if topic == "ember/v1/shed/d2/telemetry":
                assert quiet.hear(topic, sent, at=at, **headers).outcome is admission.outcome
            elif topic == GATEWAY:  # only d2's part of it
                quiet.hear(topic, [item for item in sent if item["device"] == "d2"], at=at, **headers)
