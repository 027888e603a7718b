"""When a reading was: device clocks, back-fill, retained and held messages, recordings."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.admission import Admission, Outcome
from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.message import Message
from ingest.readings import DAY, SECOND, Lateness, Observation, to_datetime
from ingest.sources import Source
from tests.support.admission import ALARM, START, TELEMETRY, Desk, micros, seconds, stamp

YEARS = 9 * 365 * 86_400
BACK_FILL, RETAINED, BACKLOG = Lateness.BACK_FILL, Lateness.RETAINED, Lateness.BACKLOG

RECORDING = """
sources:
  - {filter: "rec/+", codec: json-map, clock: observed, enrol: true, site: lab, device: "topic:2", time: "$.ts",
     fields: {temperature: "$.v", smoke_alarm: "$.a"}}
"""


@pytest.fixture
def desk() -> Desk:
    return Desk()


def when(said: Admission) -> list[tuple[float, Lateness | None]]:
    return [(seconds(reading.at), reading.late) for reading in said.readings]


def fill(desk: Desk, times: list[float], *, at: float, **headers: Any) -> list[tuple[float, Lateness | None]]:
    body = [{"ts": stamp(time), "temperature": index} for index, time in enumerate(times)]
    return when(desk.hear(TELEMETRY, body, at=at, **headers))


# --- live readings -----------------------------------------------------------------------------------------------


def test_without_a_device_time_the_received_time_counts(desk: Desk) -> None:
    assert when(desk.hear(TELEMETRY, {"temperature": 20}, at=5)) == [(5, None)]


@pytest.mark.parametrize("off", [0, 0.5, 59, 60, -60])
def test_a_device_clock_within_the_bound_is_believed(desk: Desk, off: float) -> None:
    assert when(desk.hear(TELEMETRY, {"ts": stamp(100 - off), "temperature": 20}, at=100)) == [(100 - off, None)]
    assert not desk.memory.clocks.wrong


@pytest.mark.parametrize("off", [60.001, -60.001, 3600, -3600, YEARS, -YEARS, 26 * YEARS // 9])
def test_a_fire_is_never_judged_late_by_a_device_s_clock(desk: Desk, off: float) -> None:
    said = desk.hear(ALARM, {"ts": stamp(100 - off), "smoke_alarm": True}, at=100)
    assert said.outcome is Outcome.STORED and when(said) == [(100, None)]
    assert said.readings[0].device_at == micros(100 - off)


def test_intervals_under_a_wrong_clock_stay_right(desk: Desk) -> None:
    for at, delay in ((0.0, 0.2), (10.0, 0.4), (20.0, 3.0), (30.0, 0.3)):
        said = desk.hear(TELEMETRY, {"ts": stamp(at - YEARS), "temperature": at}, at=at + delay)
        assert when(said) == [(at + 0.2, None)], at


def test_nothing_happens_after_it_was_heard(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(0 - YEARS), "temperature": 20}, at=5)  # a slow first message
    assert when(desk.hear(TELEMETRY, {"ts": stamp(10 - YEARS), "temperature": 20}, at=11)) == [(11, None)]
    assert when(desk.hear(TELEMETRY, {"ts": stamp(20 - YEARS), "temperature": 20}, at=22)) == [(21, None)]


def test_a_wrong_clock_that_jumps_is_learnt_anew(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(-YEARS), "temperature": 20}, at=0)
    assert when(desk.hear(TELEMETRY, {"ts": stamp(-2 * YEARS), "temperature": 20}, at=10)) == [(10, None)]
    assert when(desk.hear(TELEMETRY, {"ts": stamp(5 - 2 * YEARS), "temperature": 20}, at=17)) == [(15, None)]


def test_a_clock_that_was_set_right_is_believed_again(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(-YEARS), "temperature": 20}, at=0)
    assert len(desk.memory.clocks.wrong) == 1
    assert when(desk.hear(TELEMETRY, {"ts": stamp(8), "temperature": 20}, at=10)) == [(8, None)]
    assert not desk.memory.clocks.wrong


def test_one_device_s_skew_is_not_another_s(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(-YEARS), "temperature": 20}, at=0)
    assert when(desk.hear("ember/v1/shed/d2/telemetry", {"ts": stamp(9), "temperature": 20}, at=10)) == [(9, None)]


@pytest.mark.parametrize(
    "ts",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999-14:00",
        "2012-02-29T23:59:59Z",
        "2099-01-01T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "2026-13-45T99:99:99Z",
        0,
        -1,
        1e300,
        -1e300,
        10**300,
        -(10**300),
        253402300799,
        253402300800,
        253402300800000,
        -62135596800,
        -62135596801,
        5e-324,
    ],
)
def test_an_absurd_time_is_kept_when_it_is_one_and_judged_by_the_received(desk: Desk, ts: object) -> None:
    said = desk.hear(ALARM, {"ts": ts, "smoke_alarm": True}, at=100)
    assert when(said) == [(100, None)]
    stated = said.readings[0].device_at
    assert stated is None or 1 <= to_datetime(stated).year <= 9999
    later = desk.hear(ALARM, [{"ts": ts, "smoke_alarm": True}, {"ts": ts, "heat_alarm": True}], at=200)
    assert all(100 <= seconds(reading.at) <= 200 for reading in later.readings)
    assert later.readings or later.outcome is Outcome.DUPLICATE


def test_the_year_2012_and_2099_are_remembered_as_said(desk: Desk) -> None:
    said = desk.hear(TELEMETRY, {"ts": "2012-02-29T23:59:59Z", "temperature": 20}, at=0)
    assert said.readings[0].device_at == 1_330_559_999 * SECOND
    said = desk.hear(TELEMETRY, {"ts": "0001-01-01T00:00:00Z", "temperature": 20}, at=0)
    assert said.readings[0].device_at == -62_135_596_800 * SECOND


def test_a_time_that_is_not_a_number_is_undecodable_and_still_suspicious(desk: Desk) -> None:
    said = desk.hear(ALARM, b'{"ts": NaN, "smoke_alarm": true}', at=0)
    assert said.outcome is Outcome.QUARANTINED and said.suspicion is not None


@pytest.mark.parametrize(
    ("ts", "micros_"),
    [
        (1594598726.5393324, 1594598726539332),
        (1594598424.5023336, 1594598424502334),
        (1594598424502, 1594598424502000),
        (1594598424502.3336, 1594598424502334),
        (99999999999, 99999999999 * SECOND),
        (100000000000, 100000000000_000),
        (-5, -5 * SECOND),
        ("2020-07-13T00:00:24.502333999Z", 1594598424502333),
        ("2020-07-13t08:00:24+08:00", 1594598424000000),
        ("2020-07-13T00:00:24z", 1594598424000000),
        ("20200713T000024Z", 1594598424000000),
        ("1594598424.5", 1594598424500000),
    ],
)
def test_device_times_keep_their_microseconds(ts: object, micros_: int) -> None:
    desk = Desk(RECORDING)
    assert desk.hear("rec/d", {"ts": ts, "v": 1}, at=0).readings[0].device_at == micros_


# --- what a device stored and sent together ----------------------------------------------------------------------


def test_back_fill_up_to_now_keeps_its_times_and_says_what_is_old(desk: Desk) -> None:
    assert fill(desk, [0, 3600, 7139, 7140, 7199], at=7200) == [
        (0, BACK_FILL),
        (3600, BACK_FILL),
        (7139, BACK_FILL),
        (7140, None),
        (7199, None),
    ]


def test_back_fill_of_an_outage_keeps_its_times(desk: Desk) -> None:
    assert fill(desk, [-7200, -3600], at=0) == [(-7200, BACK_FILL), (-3600, BACK_FILL)]
    assert fill(desk, [-29 * 86_400, -20 * 86_400], at=1)[0] == (-29 * 86_400, BACK_FILL)


@pytest.mark.parametrize("off", [61, YEARS, -YEARS, -31 * 86_400])
def test_back_fill_under_an_impossible_clock_ends_now(desk: Desk, off: float) -> None:
    times = [1000 + off - 300, 1000 + off, 1000 + off - 10]
    assert fill(desk, times, at=1000) == [(700, BACK_FILL), (1000, None), (990, None)]


def test_back_fill_uses_the_skew_that_is_known(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(-YEARS), "temperature": 20}, at=0)
    assert fill(desk, [100 - YEARS, 398 - YEARS], at=400) == [(100, BACK_FILL), (398, None)]
    assert fill(desk, [500 - YEARS, 600 - YEARS], at=4000) == [(500, BACK_FILL), (600, BACK_FILL)]


def test_one_item_from_before_the_clock_was_set_is_not_moved_to_1970(desk: Desk) -> None:
    said = desk.hear(ALARM, [{"ts": 5, "smoke_alarm": True}, {"ts": stamp(99), "temperature": 20}], at=100)
    assert when(said) == [(100, BACK_FILL), (99, None)]


def test_items_without_a_time_are_of_now(desk: Desk) -> None:
    said = desk.hear(TELEMETRY, [{"temperature": 1}, {"ts": stamp(-100), "temperature": 2}], at=0)
    assert when(said) == [(0, None), (-100, BACK_FILL)]


def test_an_array_of_one_is_live(desk: Desk) -> None:
    said = desk.hear(TELEMETRY, [{"ts": stamp(-YEARS), "smoke_alarm": True}], at=0)
    assert when(said) == [(0, None)]


def test_a_gateway_s_devices_are_judged_each_by_its_own_clock(desk: Desk) -> None:
    items = [
        {"device": "d1", "ts": stamp(100 - YEARS), "smoke_alarm": True},
        {"device": "d2", "ts": stamp(99), "temperature": 1},
    ]
    assert when(desk.hear("ember/v1/shed/telemetry", items, at=100)) == [(100, None), (99, None)]


# --- what the broker held ----------------------------------------------------------------------------------------


def test_a_retained_message_is_history_at_its_own_time(desk: Desk) -> None:
    assert when(desk.hear(TELEMETRY, {"ts": stamp(-7200), "fault": True}, at=0, retain=True)) == [(-7200, RETAINED)]
    assert when(desk.hear(TELEMETRY, {"fault": True}, at=1, retain=True)) == [(1, RETAINED)]
    said = desk.hear(TELEMETRY, {"ts": stamp(-YEARS), "fault": True}, at=2, retain=True)
    assert when(said) == [(2, RETAINED)]
    assert not desk.memory.clocks.wrong  # its age says nothing about the clock


def test_a_backlog_is_history_when_it_is_old(desk: Desk) -> None:
    assert when(desk.hear(TELEMETRY, {"ts": stamp(-7200), "co": 1}, at=0, backlog=True)) == [(-7200, BACKLOG)]
    assert when(desk.hear(TELEMETRY, {"ts": stamp(-30), "co": 1}, at=0, backlog=True)) == [(-30, None)]
    assert when(desk.hear(TELEMETRY, {"co": 1}, at=0, backlog=True)) == [(0, BACKLOG)]
    said = desk.hear(ALARM, {"ts": stamp(YEARS), "smoke_alarm": True}, at=0, backlog=True)
    assert when(said) == [(0, BACKLOG)]
    assert not desk.memory.clocks.wrong


def test_a_backlog_without_times_was_published_before_we_came_back_and_keeps_its_order(desk: Desk) -> None:
    for when_known in (-3, -2):
        said = desk.hear(TELEMETRY, {"co": 1}, at=60, backlog=True, held_until=micros(when_known))
        assert when(said) == [(when_known, BACKLOG)]
    said = desk.hear(TELEMETRY, {"ts": stamp(-7200), "co": 1}, at=60, backlog=True, held_until=micros(-1))
    assert when(said) == [(-7200, BACKLOG)]


def test_a_backlog_uses_the_skew_that_is_known(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(-YEARS), "co": 1}, at=0)
    said = desk.hear(TELEMETRY, {"ts": stamp(10 - YEARS), "co": 1}, at=5000, backlog=True)
    assert when(said) == [(10, BACKLOG)]


@pytest.mark.parametrize("alone", [True, False])
def test_what_calls_itself_history_keeps_its_time_however_old(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    def history(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
        times = [stamp(-YEARS), *([] if alone else [stamp(YEARS), None])]
        micros_ = [None if time is None else round(time * SECOND) for time in times]
        items = [
            Observation(device="d1", site="shed", observed_at=at, values={"co": 1}, historical=True) for at in micros_
        ]
        return Decoded(observations=tuple(items))

    monkeypatch.setitem(CODECS, "ember-json", history)
    desk.memory.apply_sources(desk.sources)
    expected = [(-YEARS, Lateness.HISTORICAL), (0, Lateness.HISTORICAL), (0, Lateness.HISTORICAL)]
    assert when(desk.hear(TELEMETRY, {}, at=0)) == expected[: 1 if alone else 3]
    assert not desk.memory.clocks.wrong


# --- recordings --------------------------------------------------------------------------------------------------


def test_a_recording_is_judged_by_its_own_times_and_never_late() -> None:
    desk = Desk(RECORDING)
    for at in (-YEARS, 5.0, YEARS, 0.0):
        for headers in ({}, {"retain": True}, {"backlog": True}):
            said = desk.hear("rec/d", {"ts": stamp(at), "v": len(desk.records)}, at=100, **headers)
            assert when(said) == [(at, None)]
    assert when(desk.hear("rec/d", {"v": 1}, at=101)) == [(101, None)]
    body = [{"ts": stamp(-5000), "v": 99}, {"ts": stamp(-YEARS), "v": 99}]
    assert when(desk.hear("rec/d", body, at=100)) == [(-5000, None), (-YEARS, None)]
    assert not desk.memory.clocks.wrong


def test_a_recording_that_starts_at_zero_keeps_its_times() -> None:
    assert Desk(RECORDING).hear("rec/d", {"ts": 0, "v": 1}, at=100).readings[0].at == 0


@pytest.mark.parametrize("ts", ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "1899-12-31T23:59:59Z"])
def test_a_recorded_time_nobody_can_judge_by_becomes_the_received_one(ts: str) -> None:
    said = Desk(RECORDING).hear("rec/d", {"ts": ts, "v": 1}, at=100)
    assert seconds(said.readings[0].at) == 100 and said.readings[0].device_at is not None


def test_a_recording_s_repeat_under_a_wrong_clock_is_a_duplicate() -> None:
    desk = Desk(RECORDING)
    assert desk.hear("rec/d", {"ts": 7, "v": 1}, at=0).outcome is Outcome.STORED
    assert desk.hear("rec/d", {"ts": 7, "v": 1}, at=1000).outcome is Outcome.DUPLICATE


def test_times_of_a_desk_are_what_they_say() -> None:
    assert to_datetime(START).isoformat() == "2026-05-01T00:00:00+00:00" and DAY == 86_400 * SECOND
