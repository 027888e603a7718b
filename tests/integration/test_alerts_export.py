"""Transitions through a log on disk and a real PostgreSQL, and out again as lines."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from alerts import store
from alerts.alert import AlertState, SignalClass, Transition
from alerts.export import export_order, json_lines
from alerts.ledger import ledger
from alerts.recorder import Recorder
from alerts.relay import Relay
from ingest.database import open_pool
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Act, ActKind, Kind
from tests.support import decisions as some
from tests.support.acts import insert_act
from tests.support.decisions import NOON, log_entry, uid

Pool = ConnectionPool[Connection[TupleRow]]
pytestmark = pytest.mark.integration


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with open_pool(database, name="export test") as pool:
        yield pool


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path, "main")
    yield journal
    journal.close()


def now() -> int:
    return NOON


def transitions() -> list[Transition]:
    dice = random.Random(7)
    made = [
        some.transition(
            f"a{number}",
            at=NOON + dice.randrange(5),
            rule=dice.choice(["heat-fixed", "Zz", "smoke"]),
            device=dice.choice([None, "d1", "d-2", "烟"]),
            value=dice.choice([None, True, False, 57.0, 1e300, -0.5]),
            signal_class=dice.choice(list(SignalClass)),
            incident_id=dice.choice(["", uid("i1")]),
            retriggers=dice.randrange(3),
            offset=number,
        )
        for number in range(200)
    ]
    return [*made, some.transition("a1", before=AlertState.FIRING, after=AlertState.RESET, evidence=(), limit=None)]


def eventually(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def read_back(pool: Pool) -> list[Transition]:
    with pool.connection() as connection:
        return list(store.transitions(connection))


def test_an_export_has_every_transition_as_decided_ordered_by_time_rule_device_and_log(
    pool: Pool, journal: SqliteJournal
) -> None:
    made = transitions()
    journal.decisions.append([log_entry(word) for word in made], now=NOON)
    recorder = Recorder(journal, "main", pool, now)
    owned = recorder.own()
    while recorder.turn(17):
        pass
    owned.release()
    expected = sorted(made, key=export_order)
    assert read_back(pool) == expected
    assert list(json_lines(read_back(pool))) == list(json_lines(expected))


def test_recorder_and_relay_run_on_a_log_on_disk_and_stop_at_once(pool: Pool, journal: SqliteJournal) -> None:
    stop = threading.Event()
    runs = [Recorder(journal, "main", pool, now).run, Relay({"main": journal}, pool, now).run]
    threads = [threading.Thread(target=run, args=(stop,)) for run in runs]
    for thread in threads:
        thread.start()
    try:
        journal.decisions.append([log_entry(some.transition()), log_entry(some.incident())], now=NOON)
        act = Act(id=uid("c1"), kind=ActKind.ACKNOWLEDGE, author="li", at=NOON, incident=uid("i1"))
        with pool.connection() as connection:
            insert_act(connection, shard="main", act=act)
        eventually(lambda: journal.messages.last(Kind.ACT) is not None)
        eventually(lambda: len(read_back(pool)) == 1)
        journal.decisions.append([log_entry(some.incident(act_id=uid("c1"), author="li"))], now=NOON)
        eventually(lambda: act_state(pool) == "applied")
        with pool.connection() as connection:
            assert ledger({"main": journal}, connection).imbalances == ()
    finally:
        stop.set()
        began = time.monotonic()
        for thread in threads:
            thread.join(5)
    assert time.monotonic() - began < 2
    assert not any(thread.is_alive() for thread in threads)
    journal.own("recorder").release()


def act_state(pool: Pool) -> str:
    with pool.connection() as connection:
        row = connection.execute("SELECT state FROM acts").fetchone()
    return str(row[0]) if row else ""
