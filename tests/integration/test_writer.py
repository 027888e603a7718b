"""The writer against a real log and a real PostgreSQL, plain and (where given) TimescaleDB."""

from __future__ import annotations

import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from ingest import batch as batch_module
from ingest import quarantine, store
from ingest import writer as writer_module
from ingest.admit import admit
from ingest.database import Pool, connect, embedded_server, migrate
from ingest.embedded import running_postmaster
from ingest.errors import Fenced, OperatorError, Unavailable
from ingest.inventory import Device, InventoryDelta
from ingest.message import Kind, Probe, encode
from ingest.readings import QUANTITIES, STATES, to_datetime
from tests.support.broker import wait_until
from tests.support.database import SCHEMAS
from tests.support.writing import (
    ENROLLING,
    Log,
    Running,
    books,
    execute,
    standing,
    start_child,
    wall,
    write_all,
)

pytestmark = pytest.mark.integration
CLEAN = {"stored": 0, "duplicate": 0, "quarantined": 0, "no_reading": 0, "readings": 0, "refused": 0}


@pytest.fixture(params=["database", "timescale"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "journal")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LINGER", 0.0)


def fill(log: Log) -> dict[str, int]:
    """Some of everything; the books it must come to."""
    log.register("d1", "d2")
    stored = []
    for n in range(30):
        stored.append(log.say({"temperature": 20 + n, "seq": n}))
        log.say({"temperature": 20 + n, "smoke_alarm": n % 10 == 9, "seq": n}, topic="ember/v1/shed/d2/telemetry")
        if n % 6 == 0:
            log.tick()
    log.say({"temperature": 1, "ts": "2026-05-01T00:00:00Z"})
    log.say({"temperature": 1, "ts": "2026-05-01T00:00:00Z"})  # the same again
    log.say(b"{not json")
    log.say({"temperature": 3}, topic="ember/v1/shed/stranger/telemetry")
    log.register("d3")
    log.say({"temperature": 3}, topic="ember/v1/shed/d3/telemetry")
    log.say([{"ts": f"2026-05-01T01:00:0{n}Z", "temperature": n} for n in range(5)])
    log.say({"unknown": 1})
    log.engine_error(stored[7])
    log.engine_error(stored[7])  # said twice, moved once
    return {**CLEAN, "stored": 62, "duplicate": 1, "quarantined": 3, "no_reading": 1, "readings": 67}


def test_every_message_ends_in_exactly_one_place(log: Log, url: str) -> None:
    wanted = fill(log)
    write_all(log, url)
    found = standing(url)
    assert found.counts == wanted
    assert sum(found.counts[name] for name in ("stored", "duplicate", "quarantined", "no_reading")) == (
        log.journal.messages.messages_appended()
    )
    assert found.offset == log.journal.messages.head()
    assert len(found.readings) == wanted["readings"]
    assert [row[3] for row in found.quarantine] == ["engine_error", "undecodable", "unknown_device"]
    assert [(row[1], row[3], row[4]) for row in found.changes] == [
        ("d2", "smoke_alarm", False),
        ("d2", "smoke_alarm", True),
        ("d2", "smoke_alarm", False),
        ("d2", "smoke_alarm", True),
        ("d2", "smoke_alarm", False),
        ("d2", "smoke_alarm", True),
    ]
    assert execute(url, "SELECT sum((counts->>'stored')::int) FROM batches") == [(wanted["stored"],)]


def test_a_reading_keeps_all_it_said(log: Log, url: str) -> None:
    log.register("d1")
    values = {name: 1.5 + n for n, name in enumerate(QUANTITIES)}
    states = {name: n % 2 == 0 for n, name in enumerate(STATES)}
    log.say({**values, **states, "seq": 9})
    write_all(log, url)
    columns = ", ".join([*QUANTITIES, *STATES])
    assert execute(url, f"SELECT {columns} FROM readings") == [(*values.values(), *states.values())]
    assert execute(url, "SELECT seq, late, device_time, delay_ms FROM readings") == [(9, None, None, 0)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_batches_changes_nothing(
    size: int, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BATCH", size)
    log = Log(tmp_path / "journal")
    wanted = fill(log)
    write_all(log, database)
    assert books(database) == wanted
    log.close()


class Killed(BaseException):
    """As if the process died at this very step."""


STEPS = [
    (store, "lock_cursor"),
    (batch_module, "upsert_inventory"),
    (store, "next_batch"),
    (store, "device_keys"),
    (store, "copy_readings"),
    (store, "copy_changes"),
    (quarantine, "put_aside"),
    (store, "add_batch"),
    (store, "save_memory"),
    (store, "move_cursor"),
]


def planted(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: BaseException, *, after: bool) -> None:
    """Raise before or after the 2nd, 5th, 9th, 14th … call of a function."""
    original: Callable[..., Any] = getattr(place, name)
    calls, gap, due = 0, 3, 2

    def faulty(*args: Any, **more: Any) -> Any:
        nonlocal calls, gap, due
        calls += 1
        faults = calls == due
        if faults:
            due, gap = due + gap, gap + 1
        if faults and not after:
            raise error
        result = original(*args, **more)
        if faults:
            raise error
        return result

    monkeypatch.setattr(place, name, faulty)


@pytest.mark.parametrize(("place", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_any_step_loses_and_repeats_nothing(
    place: Any, name: str, after: bool, log: Log, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = fill(log)
    monkeypatch.setattr(writer_module, "BATCH", 9)
    monkeypatch.setattr(writer_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "SAVE_SHARE", 0)
    planted(monkeypatch, place, name, Killed(), after=after)
    deaths = 0
    for _ in range(100):
        with Running(log, database) as running:
            running.drain()
        if running.error is None:
            break
        assert isinstance(running.error, Killed)
        deaths += 1
    assert deaths > 0
    assert books(database) == wanted
    assert len(standing(database).readings) == wanted["readings"]


@pytest.mark.parametrize(("place", "name"), STEPS, ids=[name for _, name in STEPS])
def test_an_error_of_the_server_at_any_step_is_tried_again(
    place: Any, name: str, log: Log, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = fill(log)
    monkeypatch.setattr(writer_module, "BATCH", 9)
    monkeypatch.setattr(writer_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "SAVE_SHARE", 0)
    planted(monkeypatch, place, name, psycopg.OperationalError("gone"), after=True)
    write_all(log, database)
    assert books(database) == wanted
    assert len(standing(database).readings) == wanted["readings"]


def test_an_answer_lost_after_the_commit_is_noticed(log: Log, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = fill(log)
    monkeypatch.setattr(writer_module, "BATCH", 9)
    original = Pool.connection
    uses = 0

    @contextmanager
    def lossy(self: Pool, timeout: float | None = None) -> Iterator[Any]:
        nonlocal uses
        uses += 1
        with original(self, timeout) as connection:
            yield connection
        if uses % 2 == 0:
            raise Unavailable("the answer was lost")

    monkeypatch.setattr(Pool, "connection", lossy)
    write_all(log, database)
    assert uses > 10
    assert books(database) == wanted
    assert len(standing(database).readings) == wanted["readings"]


def test_a_restart_remembers_duplicates_and_states_without_any_saved_memory(log: Log, url: str) -> None:
    log.register("d1")
    log.say({"temperature": 1, "ts": "2026-05-01T00:00:00Z", "smoke_alarm": True})
    write_all(log, url)
    execute(url, "DELETE FROM writer_memory")
    log.say({"temperature": 1, "ts": "2026-05-01T00:00:00Z", "smoke_alarm": True})
    log.say({"temperature": 2, "smoke_alarm": True})
    write_all(log, url)
    assert books(url) == {**CLEAN, "stored": 2, "readings": 2, "duplicate": 1}
    assert len(standing(url).changes) == 1


def test_a_restart_goes_on_from_the_saved_memory_and_the_log_may_be_trimmed_up_to_it(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "SAVE_SHARE", 0)
    log = Log(tmp_path / "journal", segment_bytes=2_000)
    log.register("d1")
    begin = wall() // 1000 - 1000
    for n in range(100):
        log.say({"temperature": 1, "ts": begin + n, "smoke_alarm": True})
        if n % 20 == 0:
            write_all(log, url)
    write_all(log, url)
    assert log.journal.messages.trim() > 50
    assert log.journal.messages.floor() > 50, "or this test shows nothing"
    for n in range(100):
        log.say({"temperature": 1, "ts": begin + n, "smoke_alarm": True}, dup=True)
    write_all(log, url)
    assert books(url) == {**CLEAN, "stored": 100, "readings": 100, "duplicate": 100}
    assert len(standing(url).changes) == 1
    log.close()


def test_a_database_that_knows_less_than_the_log_holds_is_the_operators(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "SAVE_SHARE", 0)
    log = Log(tmp_path / "journal", segment_bytes=2_000)
    log.register("d1")
    log.say_all([{"temperature": n} for n in range(200)])
    log.say_all([{"temperature": n} for n in range(200)])
    write_all(log, database)
    assert log.journal.messages.trim()
    execute(database, "TRUNCATE cursors, writer_memory")
    with pytest.raises(OperatorError, match="the database is another or an older one"):
        write_all(log, database)
    log.close()


def test_kill_9_at_random_moments_loses_and_repeats_nothing(log: Log, database: str) -> None:
    log.register("d1", "d2")
    numbers = random.Random(4)
    for n in range(200):
        log.say_all([{"temperature": i, "seq": n * 100 + i} for i in range(100)])
    for _ in range(6):
        child = start_child(log.folder, database)
        wait_until(partial(_moved, database, standing(database).offset), what="the child wrote something")
        time.sleep(numbers.uniform(0, 0.1))
        child.kill()
        child.wait()
    killed_at = standing(database)
    assert killed_at.offset < log.journal.messages.head(), "or no kill was in the middle"
    assert killed_at.counts["readings"] == len(killed_at.readings), "books and readings agree at every moment"
    write_all(log, database)
    assert books(database) == {**CLEAN, "stored": 20_000, "readings": 20_000}
    assert sorted(row[4] for row in standing(database).readings) == list(range(20_000))


def test_a_stop_between_admitting_and_writing_loses_nothing(
    log: Log, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.register("d1")
    log.say({"temperature": 20, "seq": 0})
    take = batch_module.Batch.take
    with Running(log, database) as running:
        running.drain()

        def take_and_be_stopped(self: batch_module.Batch, *rest: Any) -> None:
            take(self, *rest)
            running.stop.set()

        monkeypatch.setattr(batch_module.Batch, "take", take_and_be_stopped)
        log.say({"temperature": 21, "ts": wall() // 1000, "seq": 1})
        wait_until(running.ended, what="the writer stopped")
    monkeypatch.undo()
    write_all(log, database)
    assert books(database) == {**CLEAN, "stored": 2, "readings": 2}


def _moved(url: str, offset: int) -> bool:
    return standing(url).offset > offset


def test_a_database_that_stops_for_a_while_costs_nothing(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="emberwatch-test-"))
    folder.chmod(0o755)
    log = Log(tmp_path / "journal")
    log.register("d1")
    try:
        with embedded_server(folder) as server:
            with connect(server.url) as connection:
                migrate(connection, SCHEMAS)
            with Running(log, server.url) as running:
                log.say_all([{"temperature": n, "seq": n} for n in range(100)])
                running.drain()
                pid = running_postmaster(folder / "postgres" / "data")
                assert pid
                os.kill(pid, 9)
                log.say_all([{"temperature": n, "seq": n} for n in range(100, 200)])
                wait_until(lambda: running_postmaster(folder / "postgres" / "data") is None)
                assert not running.ended()
                server.ensure_running()
                running.drain()
            assert running.error is None
            assert books(server.url) == {**CLEAN, "stored": 200, "readings": 200}
            assert len(standing(server.url).readings) == 200
    finally:
        log.close()
        shutil.rmtree(folder)


def test_it_stops_promptly_while_the_database_is_away(log: Log) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as nobody,  # takes a connection, and hangs up
        Running(log, f"postgresql://me:secret@127.0.0.1:{nobody.getsockname()[1]}/x") as running,
    ):
        for _ in range(2):
            nobody.accept()[0].close()
    assert running.error is None
    assert running.stopped_after < 2


def test_what_the_database_refuses_is_put_aside_and_the_rest_is_stored(log: Log, url: str) -> None:
    execute(url, "ALTER TABLE readings ADD CONSTRAINT no_poison CHECK (temperature <> 66)")
    log.register("d1")
    offsets = log.say_all([{"temperature": n, "seq": n} for n in range(100)])
    log.say_all([[{"temperature": 66, "seq": 1000}, {"temperature": 1, "seq": 1001}]])
    write_all(log, url)
    found = standing(url)
    assert found.counts == {**CLEAN, "stored": 99, "readings": 99, "quarantined": 2, "refused": 2}
    assert [row[4] for row in found.readings] == [n for n in range(100) if n != 66]
    assert found.quarantine[0][0] == offsets[66]
    assert {row[3] for row in found.quarantine} == {"database"}
    assert "SQLSTATE 23514" in found.quarantine[0][4]
    assert execute(url, "SELECT sum((counts->>'stored')::int) FROM batches") == [(99,)]


def test_a_number_that_no_column_holds_is_put_aside(log: Log, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log.register("d1")
    log.say({"temperature": 1, "seq": 7})
    log.say({"temperature": 2, "seq": 8})
    original = admit

    def odd(record: Any, memory: Any) -> Any:
        admission = original(record, memory)
        huge = [msgspec.structs.replace(r, seq=2**70) if r.seq == 7 else r for r in admission.readings]
        return msgspec.structs.replace(admission, readings=tuple(huge))

    monkeypatch.setattr(batch_module, "admit", odd)
    write_all(log, url)
    found = standing(url)
    assert found.counts == {**CLEAN, "stored": 1, "readings": 1, "quarantined": 1, "refused": 1}
    assert found.quarantine[0][3] == "database"


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with every attempt of a writer to write a batch."""
    tried: list[None] = []
    write = batch_module.write_batch

    def counted(*arguments: Any, **more: Any) -> Any:
        tried.append(None)
        return write(*arguments, **more)

    monkeypatch.setattr(writer_module, "write_batch", counted)
    return tried


def test_a_missing_table_is_waited_for_and_puts_nothing_aside(
    log: Log, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.register("d1")
    log.say({"temperature": 1})
    execute(database, "ALTER TABLE readings RENAME TO hidden")
    tried = count_writes(monkeypatch)
    with Running(log, database) as running:
        wait_until(lambda: len(tried) >= 3)
        assert books(database) == {}
        execute(database, "ALTER TABLE hidden RENAME TO readings")
        running.drain()
    assert books(database) == {**CLEAN, "stored": 1, "readings": 1}


def test_a_lock_that_somebody_holds_is_waited_out(log: Log, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LOCK_TIMEOUT", "50ms")
    log.register("d1")
    with psycopg.connect(database) as holder, Running(log, database) as running:
        running.drain()
        holder.execute("LOCK TABLE readings")
        tried = count_writes(monkeypatch)
        log.say({"temperature": 1})
        wait_until(lambda: len(tried) >= 3)
        assert books(database).get("stored", 0) == 0
        holder.rollback()
        running.drain()
    assert running.error is None
    assert books(database) == {**CLEAN, "stored": 1, "readings": 1}


def test_nul_and_odd_text_stop_nothing(log: Log, database: str) -> None:
    log.register("d1")
    log.say(b"\x00\xff{", topic="ember/v1/a\x00b/c/telemetry", properties={"k\x00": "v\x00"}, content_type="\x00")
    log.say(b'{"temperature": "\\u0000"}')
    log.say({"temperature": 1, "device": "x\x00y"})
    log.say({"temperature": 1}, topic="ember/v1/shed/x\x00y/telemetry")
    write_all(log, database)
    counts = books(database)
    assert sum(counts[name] for name in ("stored", "duplicate", "quarantined", "no_reading")) == 4
    assert standing(database).quarantine[0][1:3] == ("ember/v1/a\\0b/c/telemetry", b"\x00\xff{")


def test_a_bug_in_a_codec_puts_the_record_aside(log: Log, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log.register("d1")
    log.say({"temperature": 1})
    monkeypatch.setattr(batch_module, "admit", lambda record, memory: 1 / 0)
    write_all(log, database)
    assert [(row[3], row[4]) for row in standing(database).quarantine] == [
        ("engine_error", "ZeroDivisionError: division by zero")
    ]


def test_an_engine_error_about_a_quarantined_message_or_a_control_record_moves_nothing(log: Log, database: str) -> None:
    log.register("d1")
    bad, tick = log.say(b"{"), log.tick()
    log.engine_error(bad)
    log.engine_error(tick)
    log.engine_error(10_000)
    log.control(Kind.ENGINE_ERROR, b"\xc1 no msgpack")
    write_all(log, database)
    assert books(database) == {**CLEAN, "quarantined": 1}


def test_enrolled_devices_get_rows(tmp_path: Path, url: str) -> None:
    log = Log(tmp_path / "journal", sources=ENROLLING)
    for year in (2012, 2099):
        for device in ("a", "b"):
            body = {"device_id": device, "ts": f"{year}-01-01T00:00:00Z", "t": 4.5, "alarm": False}
            log.say(body, topic="recording/x", source="recording/#")
    write_all(log, url)
    assert execute(url, "SELECT id FROM sites") == [("lab",)]
    assert execute(url, "SELECT site, id, enrolled FROM devices ORDER BY 1, 2") == [
        ("lab", "a", True),
        ("lab", "b", True),
    ]
    found = standing(url)
    assert found.counts == {**CLEAN, "stored": 4, "readings": 4}
    assert {row[2] for row in found.readings} == {datetime(year, 1, 1, tzinfo=UTC) for year in (2012, 2099)}
    assert execute(url, "SELECT min(first_time), max(last_time) FROM batches") == [
        (datetime(2012, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
    ]
    log.close()


def test_a_device_that_was_removed_and_came_back_gets_its_new_key(log: Log, database: str) -> None:
    log.register("d1")
    log.say({"temperature": 1})
    with Running(log, database) as running:
        running.drain()
        execute(database, "DELETE FROM devices")
        log.control(Kind.INVENTORY, encode(InventoryDelta(removed_devices=["shed/d1"])))
        log.control(Kind.INVENTORY, encode(InventoryDelta(devices=[Device(id="d1", site="shed", name="again")])))
        log.say({"temperature": 2})
        running.drain()
    found = standing(database)
    assert [(row[1], row[6]) for row in found.readings] == [("d1", 2.0)]
    assert execute(database, "SELECT name FROM devices") == [("again",)]


def test_an_older_owner_writes_nothing_more(log: Log, database: str) -> None:
    log.register("d1")
    with Running(log, database) as running:
        running.drain()
        execute(database, "UPDATE cursors SET epoch = epoch + 1")
        log.say({"temperature": 1})
        wait_until(running.ended)
    assert isinstance(running.error, Fenced)
    assert books(database).get("stored", 0) == 0
    execute(database, "UPDATE cursors SET epoch = 1000")
    with pytest.raises(Fenced):
        write_all(log, database)


def test_two_writers_of_one_shard_are_refused(log: Log, database: str) -> None:
    with Running(log, database) as running:
        running.drain()
        with pytest.raises(OperatorError, match="writer"):
            write_all(log, database)
    assert running.error is None


def test_the_cursor_says_which_probe_the_writer_has_passed(log: Log, url: str) -> None:
    at = wall()
    log.register("d1")
    log.say({"temperature": 20})
    log.control(Kind.PROBE, encode(Probe(sent_at=at)))
    write_all(log, url)
    log.tick()
    write_all(log, url)
    sent = execute(url, "SELECT probe_sent_at FROM cursors WHERE reader = 'writer'")
    assert sent == [(to_datetime(at),)], "and no news is no step back"
    assert books(url) == CLEAN | {"stored": 1, "readings": 1}
