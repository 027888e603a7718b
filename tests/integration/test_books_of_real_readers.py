"""Writer, evaluator and recorder on one log and one database, stopped and started: their books agree."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alerts.evaluator import Evaluator
from alerts.ledger import Ledger, ledger, log_figures
from alerts.ledger_store import ledger_figures
from alerts.recorder import Recorder
from alerts.rulebook import load_rulebook
from ingest.database import Pool, open_pool
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, Message, Tick, encode
from ingest.role import announce
from ingest.sources import Clock
from ingest.sources_file import parse_sources
from ingest.writer import Writer
from tests.support.decisions import NOON

pytestmark = pytest.mark.integration

SOURCES = 'sources: [{filter: "ember/v1/+/+/telemetry", codec: ember-json, enrol: true}]\n'
SECOND = 1_000_000


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with open_pool(database, name="books test", size=8) as pool:
        yield pool


def now() -> int:
    return NOON


def a_message(number: int, payload: bytes, device: str = "d1") -> Entry:
    topic = f"ember/v1/s1/{device}/telemetry"
    headers = Message(topic=topic, source="ember/v1/+/+/telemetry", received_at=NOON + number, packet_id=number)
    return Entry(Kind.MESSAGE, encode(headers), payload)


def some_messages(first: int) -> list[Entry]:
    """Readings, an exact duplicate, an array, what nobody can decode, and a fire."""
    at = (NOON // 1000) + first * 1000
    reading = b'{"ts": %d, "seq": %d, "temperature": 21.5}' % (at, first)
    both = b'[{"ts": %d, "temperature": 20, "humidity": 50}, {"ts": %d, "temperature": 21}]' % (at, at + 500)
    fire = b'{"ts": %d, "smoke_alarm": true, "temperature": 80}' % at
    bodies = [(reading, "d1"), (reading, "d1"), (both, "d2"), (b"\x00{", "d1"), (fire, f"d{first}")]
    return [a_message(first + index, *body) for index, body in enumerate(bodies)]


@contextlib.contextmanager
def readers(journal: SqliteJournal, pool: Pool) -> Iterator[None]:
    stop = threading.Event()
    text = load_rulebook(None).text
    runs: list[Any] = [
        Writer(journal, "main", pool, parse_sources(SOURCES, "test"), now).run,
        Evaluator(journal, "main", Clock.RECEIVED, text, time_goes_on()).run,
        Recorder(journal, "main", pool, time_goes_on()).run,
    ]
    threads = [threading.Thread(target=run, args=(stop,)) for run in runs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def time_goes_on() -> Any:
    began = time.monotonic()
    return lambda: NOON + int((time.monotonic() - began) * SECOND)


def drained(journal: SqliteJournal, connection: psycopg.Connection[Any], alerts: int) -> Ledger:
    deadline = time.monotonic() + 20
    while True:
        books = ledger({"main": journal}, connection)
        if books.messages.waiting == 0 and books.alerts.opened >= alerts:
            return books
        assert time.monotonic() < deadline, books
        time.sleep(0.05)


def test_the_books_balance_through_stops_and_starts(tmp_path: Path, pool: Pool) -> None:
    journal = SqliteJournal(tmp_path, "main")
    announce(journal.messages, Kind.SOURCES, SOURCES, now)
    with contextlib.closing(journal), psycopg.connect(str(pool.conninfo), autocommit=True) as connection:
        for round_number in range(3):
            with readers(journal, pool):
                for first in range(round_number * 50, round_number * 50 + 50, 5):
                    journal.messages.append(some_messages(first), now=NOON + first * SECOND)
                    journal.messages.append([Entry(Kind.TICK, value=encode(Tick(listened=SECOND)))], now=NOON)
                    assert ledger({"main": journal}, connection).imbalances == ()
                books = drained(journal, connection, alerts=1)
            assert books.imbalances == ()
        books = drained(journal, connection, alerts=30)
        compared = log_figures(journal, ledger_figures(connection, ["main"])["main"]).evaluator
    assert compared is not None and compared["stored"] == 90
    assert books.imbalances == ()
    assert books.messages.received == 150
    assert (books.messages.duplicate, books.messages.quarantined) == (30, 30)
    assert (books.messages.stored, books.readings.stored) == (90, 120)
    assert books.alerts.pending + books.alerts.suppressed == books.alerts.opened >= 30
