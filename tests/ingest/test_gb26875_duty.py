"""Duty checks out of the log and what came of them back into it, without sockets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ingest.codecs.gb26875_frame import RESPONSE, SEND, read_frame
from ingest.errors import LogFull
from ingest.gb26875_duty import DutyChecks
from ingest.gb26875_link import answers_duty, transmitter_of
from ingest.journal import Entry
from ingest.message import DutyCheck, DutyOutcome, Kind, Tick, encode
from ingest.readings import MINUTE
from tests.support.memory_log import MemoryStream
from tests.support.transmitter import SENT, frame

PANEL = "790300000000"


class Desk:
    """Duty checks over a log in memory; the transmitters in `connected` speak with us."""

    def __init__(self, folder: Path, stream: MemoryStream | None = None) -> None:
        self.stream = stream or MemoryStream()
        self.connected = {PANEL}
        self.asked: list[tuple[str, int]] = []
        self.now = 1_000 * MINUTE
        self.checks = DutyChecks(messages=self.stream, file=folder / "duty-checks", ask=self._ask, now=lambda: self.now)
        self.checks.resume()

    def _ask(self, address: str, minutes: int) -> bool:
        self.asked.append((address, minutes))
        return address in self.connected

    def order(self, id: str, address: str = PANEL, minutes: int = 10) -> None:
        check = DutyCheck(id=id, address=address, minutes=minutes, by="ada", at=self.now)
        self.stream.append([Entry(Kind.DUTY_CHECK, value=encode(check))], now=self.now)

    def outcomes(self) -> list[tuple[str, str]]:
        decode = msgspec.msgpack.Decoder(DutyOutcome).decode
        found = [decode(record.value) for record in self.stream.records if record.kind == Kind.DUTY_OUTCOME]
        return [(outcome.id, outcome.state.value) for outcome in found]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_check_is_sent_once_and_its_answer_noted(desk: Desk) -> None:
    desk.order("one", minutes=7)
    for _ in range(3):
        desk.checks.turn()
    assert desk.asked == [(PANEL, 7)] and desk.outcomes() == [("one", "sent")]
    desk.now += 3 * MINUTE
    desk.checks.heard("000000000000")
    desk.checks.heard(PANEL)
    desk.checks.heard(PANEL)
    desk.checks.turn()
    desk.now += 60 * MINUTE
    desk.checks.turn()
    assert desk.outcomes() == [("one", "sent"), ("one", "answered")]


def test_nobody_there_is_noted_when_the_minutes_are_over(desk: Desk) -> None:
    desk.order("one", minutes=7)
    desk.order("two", minutes=9)
    desk.checks.turn()
    desk.now += 8 * MINUTE
    desk.checks.turn()
    desk.checks.heard(PANEL)
    desk.checks.turn()
    assert desk.outcomes()[2:] == [("one", "unanswered"), ("two", "answered")]


def test_a_transmitter_that_is_not_connected_cannot_be_asked(desk: Desk) -> None:
    desk.order("one", address="000000000009")
    desk.checks.turn()
    desk.now += 60 * MINUTE
    desk.checks.turn()
    assert desk.outcomes() == [("one", "not_connected")]


def test_what_was_asked_while_we_were_away_is_sent_unless_its_minutes_are_over(desk: Desk, tmp_path: Path) -> None:
    desk.order("seen")
    desk.checks.turn()
    desk.order("old", minutes=5)
    desk.now += 6 * MINUTE
    desk.order("young", minutes=5)
    again = Desk(tmp_path, desk.stream)
    again.now = desk.now + MINUTE
    again.checks.turn()
    assert again.asked == [(PANEL, 5)]
    assert again.outcomes() == [("seen", "sent"), ("old", "expired"), ("young", "sent")]


def test_a_log_that_was_never_read_is_read_from_its_end(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    (tmp_path / "duty-checks").unlink()
    first.order("before")
    fresh = Desk(tmp_path, first.stream)
    fresh.checks.turn()
    assert fresh.asked == []
    fresh.order("after")
    fresh.checks.turn()
    assert fresh.outcomes() == [("after", "sent")]


def test_a_log_put_in_place_of_the_one_we_read_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "duty-checks").write_text("123456", encoding="ascii")
    fresh = Desk(tmp_path)
    fresh.order("one")
    fresh.checks.turn()
    assert fresh.outcomes() == [("one", "sent")]


def test_a_full_log_keeps_what_came_of_it_until_it_takes_it(desk: Desk) -> None:
    desk.order("one")
    desk.stream.refusal = LogFull("full")
    for _ in range(2):
        with pytest.raises(LogFull):
            desk.checks.turn()
    desk.stream.refusal = None
    desk.checks.turn()
    assert len(desk.asked) == 1 and desk.outcomes() == [("one", "sent")]


def test_checks_among_very_many_control_records_are_all_found(desk: Desk) -> None:
    for number in range(3):
        desk.stream.append([Entry(Kind.TICK, value=encode(Tick(listened=1)))] * 700, now=desk.now)
        desk.order(str(number))
    for _ in range(6):
        desk.checks.turn()
    assert [id for id, _ in desk.outcomes()] == ["0", "1", "2"]


def test_a_log_trimmed_beyond_us_is_read_from_where_it_begins(desk: Desk) -> None:
    desk.order("gone")
    desk.order("there")
    desk.stream.lost_below = desk.stream.records[0].offset
    desk.stream.records = desk.stream.records[1:]
    desk.checks.turn()
    assert desk.outcomes() == [("there", "sent")]


@pytest.mark.parametrize(
    ("device", "address"),
    [
        (PANEL, PANEL),
        (f"{PANEL}-1.1", PANEL),
        (f"{PANEL}-1.1-3.0", PANEL),
        ("ip-10.0.0.7", "ip-10.0.0.7"),
        ("ip-10.0.0.7-1.1", "ip-10.0.0.7"),
        ("head-1", None),
        ("79030000000", None),
        ("790300000000x", None),
        ("", None),
    ],
)
def test_a_device_of_a_panel_names_its_transmitter(device: str, address: str | None) -> None:
    assert transmitter_of(device) == address


def test_an_answer_is_a_record_of_that_act_alone() -> None:
    def is_answer(unit: bytes, command: int = SEND) -> bool:
        raw = frame(unit, command=command)
        return answers_duty(read_frame(raw, 0, len(raw)))

    pressed, other = bytes((1 << 5, 0)) + SENT, bytes((1 << 1, 0)) + SENT
    assert is_answer(b"\x18\x01" + pressed)
    assert is_answer(b"\x18\x02" + other + pressed)
    assert not is_answer(b"\x18\x01" + other)
    assert not is_answer(b"\x18\x01" + pressed, command=RESPONSE), "what was done some day"
    assert not is_answer(b"\x15\x01" + bytes((1 << 5,)) + SENT), "the line to the centre is broken"
    assert not is_answer(b"\x18") and not is_answer(b"")
