"""When the blind watch speaks, look by look, over a real log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.blind import BLIND_AFTER, LOOKS, BlindWatch
from alerts.incident import TellReason, blind_incident_id, tell_id
from ingest.journal import Entry, Stream
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Intake, Kind, Tick, encode
from ingest.readings import SECOND

NOON = 1_732_190_400_000_000
LATE = NOON + BLIND_AFTER + 1


@pytest.fixture
def messages(tmp_path: Path) -> Iterator[Stream]:
    journal = SqliteJournal(tmp_path, "main")
    yield journal.messages
    journal.close()


def tick(messages: Stream, at: int) -> None:
    messages.append([Entry(Kind.TICK, value=encode(Tick(listened=SECOND)))], now=at)


def looks(watch: BlindWatch, messages: Stream, *nows: int) -> list[bool]:
    return [watch.look(messages, now) is not None for now in nows]


def test_it_speaks_once_after_some_looks_at_the_same_old_tick(messages: Stream) -> None:
    tick(messages, NOON)
    watch = BlindWatch("main", 0)
    assert looks(watch, messages, *[LATE] * 6) == [number == LOOKS for number in range(1, 7)]
    assert watch.blind


def test_at_the_limit_it_is_still_calm(messages: Stream) -> None:
    tick(messages, NOON)
    assert not any(looks(BlindWatch("main", 0), messages, *[NOON + BLIND_AFTER] * 6))


def test_a_tick_between_two_looks_calms_it(messages: Stream) -> None:
    tick(messages, NOON)
    watch = BlindWatch("main", 0)
    assert not any(looks(watch, messages, LATE, LATE))
    tick(messages, LATE)
    assert not any(looks(watch, messages, LATE, LATE, LATE))
    assert not watch.blind


def test_the_gap_begins_with_the_newest_tick_or_intake_record_as_for_the_engine(messages: Stream) -> None:
    tick(messages, NOON)
    intake = Intake(down_at=NOON, up_at=NOON + SECOND, reason="test")
    messages.append([Entry(Kind.INTAKE, value=encode(intake))], now=NOON + SECOND)
    watch = BlindWatch("main", 0)
    told = [watch.look(messages, LATE + SECOND) for _ in range(LOOKS)][-1]
    assert told is not None
    assert (told.at, told.opened_at) == (NOON + SECOND, NOON + SECOND)
    assert told.incident == blind_incident_id("main", NOON + SECOND)
    assert told.id == tell_id(told.incident, TellReason.BLIND, NOON + SECOND)


def test_a_new_gap_is_told_anew(messages: Stream) -> None:
    tick(messages, NOON)
    watch = BlindWatch("main", 0)
    assert any(looks(watch, messages, *[LATE] * LOOKS))
    tick(messages, LATE)
    assert not any(looks(watch, messages, LATE))
    assert any(looks(watch, messages, *[LATE + BLIND_AFTER + 1] * LOOKS))


def test_a_clock_that_goes_back_says_nothing(messages: Stream) -> None:
    tick(messages, NOON)
    assert not any(looks(BlindWatch("main", 0), messages, *[0] * 6))
