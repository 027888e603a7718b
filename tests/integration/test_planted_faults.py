"""A lost record or a doubled page, planted by hand into sound books: `emberwatch ledger` says so and exits 1."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from alerts.recorder import Recorder
from ingest.database import open_pool
from ingest.message import Kind
from tests.support import decisions as some
from tests.support.program import Program
from tests.support.writing import Log, execute, write_all

pytestmark = pytest.mark.integration


class Sound(NamedTuple):
    """An installation whose books balance: three messages written, two wait, one page accepted."""

    program: Program
    log: Log
    url: str


@pytest.fixture
def sound(tmp_path: Path, database: str) -> Iterator[Sound]:
    program = Program(tmp_path, mqtt="mqtt://127.0.0.1:9", database=database)
    log = Log(program.data / "journal")
    with closing(log), open_pool(database, name="planted faults") as pool:
        log.register("d1")
        log.say_all([{"ts": minute * 60_000, "temperature": 21.5} for minute in range(3)])
        write_all(log, database)
        words = (some.transition(), some.incident(), some.tell(), some.page(), some.receipt())
        log.journal.decisions.append([some.log_entry(word) for word in words], now=some.NOON)
        recorder = Recorder(log.journal, "main", pool, lambda: some.NOON)
        owned = recorder.own()
        while recorder.turn():
            pass
        owned.release()
        log.say_all([{"ts": minute * 60_000, "temperature": 21.5} for minute in range(3, 5)])
        yield Sound(program, log, database)


def lose_a_message_of_the_log(sound: Sound) -> None:
    [segment] = (sound.log.journal.folder / "messages").glob("*.db")
    with closing(sqlite3.connect(segment)) as file, file:
        newest = f'SELECT max("offset") FROM records WHERE kind = {int(Kind.MESSAGE)}'
        assert file.execute(f'DELETE FROM records WHERE "offset" = ({newest})').rowcount == 1


def lose_a_batch_of_readings(sound: Sound) -> None:
    execute(sound.url, "DELETE FROM batches WHERE id IN (SELECT batch FROM readings)")


def accept_the_page_again(sound: Sound) -> None:
    execute(
        sound.url,
        "INSERT INTO receipts (id, shard, page, attempt, outcome, final, at)"
        " SELECT gen_random_uuid(), shard, page, attempt + 1, outcome, final, at FROM receipts",
    )


def test_sound_books_balance(sound: Sound) -> None:
    books = sound.program.ledger()
    assert (books["messages"]["received"], books["messages"]["stored"], books["messages"]["waiting"]) == (5, 3, 2)
    assert books["deliveries"]["accepted"] == books["alerts"]["notified"] == 1


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lose_a_message_of_the_log, "messages: received 5, but stored 3"),
        (lose_a_batch_of_readings, "stored: the writer says 3, its batches 0"),
        (accept_the_page_again, "doubled page: "),
    ],
)
def test_the_ledger_exits_1_for(sound: Sound, plant: Callable[[Sound], None], said: str) -> None:
    plant(sound)
    done = sound.program.call("ledger", check=False)
    assert done.returncode == 1
    assert "NOT BALANCED" in done.stdout and said in done.stdout
