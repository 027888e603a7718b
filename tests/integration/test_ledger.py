"""The books against a real PostgreSQL: they balance when all is well, and each planted fault is named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from alerts.alert import AlertState
from alerts.decisions import Progress
from alerts.ledger import Ledger, as_json, as_text, ledger
from alerts.outbox import DeliveryOutcome
from alerts.recorder import Recorder
from alerts.timeline import Word
from ingest.database import open_pool
from ingest.journal import Entry
from ingest.message import Kind, Message, encode
from tests.support import decisions as some
from tests.support.decisions import NOON, log_entry, uid
from tests.support.memory_log import MemoryJournal

pytestmark = pytest.mark.integration

OUTCOMES = {"stored": 6, "duplicate": 1, "quarantined": 2, "no_reading": 1, "readings": 9}
WORDS: tuple[Word, ...] = (
    some.transition("a1"),
    some.transition("a2"),
    some.transition("a3"),
    some.hush("a2"),
    some.tell(),
    some.page("p1"),
    some.page("p2"),
    some.page("p3"),
    some.receipt("p1"),
    some.receipt("p2", outcome=DeliveryOutcome.REFUSED),
)


def a_message() -> Entry:
    return Entry(Kind.MESSAGE, encode(Message(topic="t", source="#", received_at=NOON)), b"{}")


class System:
    """A shard with its log and database, ten messages in, as the writer and the recorder leave them."""

    def __init__(self, url: str, shard: str = "main", words: tuple[Word, ...] = WORDS) -> None:
        self.url, self.shard = url, shard
        self.journal = MemoryJournal()
        self.connection = psycopg.connect(url, autocommit=True)
        self.receive(10)
        self.write(OUTCOMES)
        self.decide(*words)

    def receive(self, count: int) -> None:
        self.journal.messages.append([a_message()] * count + [Entry(Kind.TICK)], now=NOON)

    def write(self, counts: dict[str, int]) -> None:
        head = self.journal.messages.head()
        with self.connection.transaction():
            self.execute(
                "INSERT INTO cursors (reader, shard, log_offset, counts) VALUES ('writer', %s, %s, %s::jsonb)"
                " ON CONFLICT (reader, shard) DO UPDATE SET log_offset = EXCLUDED.log_offset, counts = EXCLUDED.counts",
                self.shard,
                head,
                json.dumps(counts),
            )
            self.execute(
                "INSERT INTO batches (shard, from_offset, to_offset, counts) VALUES (%s, 0, %s, %s::jsonb)",
                self.shard,
                head,
                json.dumps(counts),
            )
            for offset in range(counts["quarantined"]):
                self.execute(
                    "INSERT INTO quarantine (shard, log_offset, received_at, topic, payload, reason, batch)"
                    " VALUES (%s, %s, now(), 't', '', 'undecodable', 1)",
                    self.shard,
                    offset,
                )

    def decide(self, *words: Word) -> None:
        self.journal.decisions.append([log_entry(word) for word in words], now=NOON)
        with open_pool(self.url, name="ledger test") as pool:
            recorder = Recorder(self.journal, self.shard, pool, lambda: NOON)
            recorder.own()
            while recorder.turn():
                pass

    def progress(self, **counts: int) -> None:
        body = Progress(cursor=self.journal.messages.head(), counts=counts)
        self.journal.decisions.append([Entry(Kind.PROGRESS, encode(body))], now=NOON)

    def execute(self, sql: str, *values: Any) -> None:
        self.connection.execute(sql.encode(), values)

    def books(self) -> Ledger:
        return ledger({self.shard: self.journal}, self.connection)

    def problems(self) -> list[str]:
        books = self.books()
        assert books.balanced is (not books.imbalances)
        return list(books.imbalances)


@pytest.fixture
def system(database: str) -> Iterator[System]:
    system = System(database)
    with system.connection:
        yield system


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.ledger._PAUSE_SECONDS", 0)


def test_sound_books_balance_in_the_promised_form(system: System) -> None:
    books = json.loads(as_json(system.books()))
    assert books.pop("imbalances") == []
    [shard] = books.pop("shards")
    assert books == {
        "messages": {"received": 10, "stored": 6, "duplicate": 1, "quarantined": 2, "no_reading": 1, "waiting": 0},
        "readings": {"stored": 9},
        "alerts": {"opened": 3, "notified": 1, "suppressed": 1, "pending": 1},
        "deliveries": {"created": 3, "accepted": 1, "failed": 1, "waiting": 1},
        "balanced": True,
    }
    assert shard == {"shard": "main"} | {name: books[name] for name in books if name != "balanced"}


def test_messages_behind_the_writer_wait_and_the_books_balance(system: System) -> None:
    system.receive(4)
    assert system.problems() == []
    assert (system.books().messages.received, system.books().messages.waiting) == (14, 4)


def test_an_empty_installation_balances(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert ledger({"main": MemoryJournal()}, connection).balanced
        assert ledger({}, connection).balanced


def test_a_lost_record_is_named_with_both_figures(system: System) -> None:
    journal = system.journal.messages
    system.receive(3)
    journal.messages_after = lambda after: 2  # type: ignore[method-assign]
    assert system.problems() == [
        "main: messages: received 13, but stored 6 + duplicate 1 + quarantined 2 + no_reading 1 + waiting 2 = 12"
    ]


def test_a_message_counted_twice_is_named(system: System) -> None:
    system.execute("""UPDATE cursors SET counts = counts || '{"stored": 7}'""")
    system.execute("""UPDATE batches SET counts = counts || '{"stored": 7}'""")
    [problem] = system.problems()
    assert problem.startswith("main: messages: received 10, but stored 7")


def test_readings_that_no_batch_knows_are_named(system: System) -> None:
    system.execute("""UPDATE batches SET counts = counts || '{"readings": 8}'""")
    assert system.problems() == ["main: readings: the writer says 9, its batches 8"]


def test_a_missing_quarantine_row_is_named(system: System) -> None:
    system.execute("DELETE FROM quarantine WHERE log_offset = 0")
    assert system.problems() == ["main: quarantined: the writer says 2, rows in quarantine 1"]


def test_a_doubled_page_is_named(system: System) -> None:
    system.decide(some.receipt("p1", attempt=2))
    assert system.problems() == [
        "main: deliveries: created 3, but accepted 2 + failed 1 + waiting 1 = 4",
        f"main: doubled page: {uid('p1')} was accepted more than once",
    ]


def test_a_receipt_of_no_page_is_named(system: System) -> None:
    system.decide(some.receipt("p9"))
    assert "main: receipts: of no page we know 1, expected 0" in system.problems()


def test_a_page_whose_state_is_not_what_its_receipts_say_is_named(system: System) -> None:
    system.execute("UPDATE pages SET state = 'waiting'")
    assert system.problems() == ["main: page states that differ from their receipts 2, expected 0"]


def test_an_alert_that_fired_and_has_no_row_is_named(system: System) -> None:
    system.execute("DELETE FROM alerts WHERE id = %s", uid("a1"))
    assert system.problems() == ["main: alerts: opened 3, but notified 0 + suppressed 1 + pending 1 = 2"]


def test_an_alert_that_never_fired_is_in_no_book(system: System) -> None:
    system.decide(some.transition("a4", after=AlertState.PENDING))
    assert system.problems() == []
    assert system.books().alerts.opened == 3


def test_a_decision_set_aside_is_named(system: System) -> None:
    system.decide(some.transition(alert_id="no uuid"))
    assert system.problems() == ["main: decisions set aside (table unrecorded) 1, expected 0"]


def test_an_evaluator_that_disagrees_with_the_writer_is_named_once_both_are_drained(system: System) -> None:
    system.progress(stored=7, duplicate=0, quarantined=2, no_reading=1)
    assert system.problems() == [
        "main: stored: writer 6, evaluator 7",
        "main: duplicate: writer 1, evaluator 0",
    ]
    system.receive(1)
    assert system.problems() == []


def test_what_the_database_alone_refused_is_no_disagreement(system: System) -> None:
    for table in ("cursors", "batches"):
        system.execute(f"""UPDATE {table} SET counts = counts || '{{"refused": 1}}'""")
    system.progress(stored=7, duplicate=1, quarantined=1, no_reading=1)
    assert system.problems() == []


def test_shards_are_summed_and_listed_and_a_fault_names_its_shard(system: System) -> None:
    north = System(system.url, "north", words=())
    with north.connection:
        north.execute("DELETE FROM quarantine WHERE shard = 'north'")
        books = ledger({"main": system.journal, "north": north.journal}, system.connection)
    assert books.messages.received == 20
    assert [shard.messages.received for shard in books.shards] == [10, 10]
    assert books.imbalances == ("north: quarantined: the writer says 2, rows in quarantine 0",)
    text = as_text(books)
    assert "NOT BALANCED\nnorth: quarantined" in text
    assert "shard north" in text


def test_a_shard_whose_log_is_gone_is_named(system: System) -> None:
    books = ledger({}, system.connection)
    assert books.imbalances == ("main: in the database, but it has no log here",)


def test_a_running_system_is_never_called_unbalanced(system: System) -> None:
    stop = threading.Event()
    counts = dict(OUTCOMES)

    def work() -> None:
        with psycopg.connect(system.url) as connection:
            while not stop.is_set():
                system.journal.messages.append([a_message()] * 3, now=NOON)
                counts["stored"] += 3
                with connection.transaction():
                    move(connection, system.journal.messages.head(), counts["stored"])

    writer = threading.Thread(target=work)
    writer.start()
    try:
        seen = [system.books() for _ in range(15)]
    finally:
        stop.set()
        writer.join(5)
    assert [books.imbalances for books in seen if not books.balanced] == []
    assert seen[-1].messages.received > seen[0].messages.received


def test_a_log_that_grows_between_any_two_counts_is_not_called_unbalanced(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = system.journal.messages
    count = stream.messages_appended

    def grow_and_count() -> int:
        stream.append([a_message()], now=NOON)
        return count()

    monkeypatch.setattr(stream, "messages_appended", grow_and_count)
    assert system.problems() == []
    assert system.books().messages.waiting > 0


def move(connection: Connection[Any], offset: int, stored: int) -> None:
    connection.execute(
        "UPDATE cursors SET log_offset = %s, counts = jsonb_set(counts, '{stored}', %s::text::jsonb)"
        " WHERE reader = 'writer'",
        (offset, stored),
    )
    connection.execute(
        "UPDATE batches SET counts = jsonb_set(counts, '{stored}', %s::text::jsonb)",
        (stored,),
    )
