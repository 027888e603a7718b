"""The maintenance job and the quarantine list, against a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.database import Pool, connect, open_pool
from ingest.errors import EmberwatchError
from ingest.maintenance import STEPS, Maintenance, cancelled_by, make_partitions
from ingest.metrics import MAINTENANCE_FAILED
from ingest.quarantine import Wanted, list_quarantine
from ingest.readings import from_datetime
from tests.support.writing import ENROLLING, Log, books, execute, write_all

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
HOUR = NOW.replace(minute=0)


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    pool = open_pool(database, name="maintenance")
    yield pool
    pool.close()


def job(pool: Pool, moment: datetime = NOW, *journals: Any) -> Maintenance:
    return Maintenance(pool, journals, lambda: from_datetime(moment))


def add(url: str, *readings: tuple[datetime, float], batch: int | None = None) -> None:
    """One batch of readings of device 1."""
    with psycopg.connect(url) as connection:
        times = [at for at, _ in readings]
        row = connection.execute(
            "INSERT INTO batches (shard, from_offset, to_offset, counts, first_time, last_time)"
            " VALUES ('main', 0, 0, '{}', %s, %s) RETURNING id",
            (min(times), max(times)),
        ).fetchone()
        assert row
        for at, temperature in readings:
            connection.execute(
                "INSERT INTO readings (device, time, delay_ms, batch, temperature) VALUES (1, %s, 0, %s, %s)",
                (at, row[0], temperature),
            )


def hours(url: str) -> list[tuple[Any, ...]]:
    return execute(
        url, "SELECT bucket, readings, temperature_avg, temperature_min, temperature_max FROM readings_1h ORDER BY 1"
    )


def directly(url: str) -> list[tuple[Any, ...]]:
    """What the hours must be, by definition."""
    return execute(
        url,
        "SELECT date_trunc('hour', time, 'UTC'), count(*), avg(temperature), min(temperature), max(temperature)"
        " FROM readings GROUP BY 1 ORDER BY 1",
    )


def kept(url: str) -> int:
    return int(execute(url, "SELECT count(*) FROM readings_1h_kept")[0][0])


def failures() -> float:
    return float(sum(MAINTENANCE_FAILED.labels(step)._value.get() for step in STEPS))


def test_hours_are_right_before_and_after_they_are_kept(database: str, pool: Pool) -> None:
    add(database, *((HOUR + timedelta(minutes=m), float(m)) for m in range(0, 300, 7)))
    before = hours(database)
    assert before == directly(database)
    job(pool, HOUR + timedelta(hours=4, minutes=30)).turn()
    assert kept(database) == 4
    assert hours(database) == before
    assert failures() == 0


def test_an_hour_is_kept_only_after_its_grace(database: str, pool: Pool) -> None:
    add(database, (HOUR + timedelta(minutes=1), 1.0))
    job(pool, HOUR + timedelta(hours=1, minutes=4)).turn()
    assert kept(database) == 0
    job(pool, HOUR + timedelta(hours=1, minutes=6)).turn()
    assert kept(database) == 1


def test_what_comes_late_is_worked_into_its_hour(database: str, pool: Pool) -> None:
    add(database, (HOUR + timedelta(minutes=1), 1.0))
    later = HOUR + timedelta(hours=3)
    job(pool, later).turn()
    add(database, (HOUR + timedelta(minutes=2), 9.0), (datetime(2012, 1, 1, 5, 30, tzinfo=UTC), 4.0))
    assert hours(database) != directly(database), "not before the next pass"
    job(pool, later).turn()
    assert hours(database) == directly(database)


def test_a_batch_committed_after_a_younger_one_is_not_missed(database: str, pool: Pool) -> None:
    with psycopg.connect(database) as slow:
        slow.execute(
            "INSERT INTO batches (shard, from_offset, to_offset, counts, first_time, last_time)"
            " VALUES ('other', 0, 0, '{}', '2012-01-01Z', '2012-01-01Z')"
        )
        slow.execute(
            "INSERT INTO readings (device, time, delay_ms, batch, temperature)"
            " SELECT 1, '2012-01-01Z', 0, max(id), 7 FROM batches"
        )
        add(database, (datetime(2013, 1, 1, tzinfo=UTC), 1.0))
        job(pool).turn()
        assert kept(database) == 1
    job(pool).turn()
    assert hours(database) == directly(database) and kept(database) == 2


def test_days_are_the_sum_of_their_hours(database: str, pool: Pool) -> None:
    day = datetime(2012, 1, 1, tzinfo=UTC)
    add(database, *((day + timedelta(minutes=20 * n), float(n)) for n in range(144)))
    job(pool).turn()
    rows = execute(
        database,
        "SELECT bucket, readings, temperature_avg, temperature_min, temperature_max FROM readings_1d ORDER BY 1",
    )
    assert rows == [(day, 72, 35.5, 0.0, 71.0), (day + timedelta(days=1), 72, 107.5, 72.0, 143.0)]


def test_partitions_are_made_ahead_and_readings_of_that_day_move_out_of_the_default(database: str, pool: Pool) -> None:
    future = NOW + timedelta(days=30)
    add(database, (future, 1.0))
    assert execute(database, "SELECT tableoid::regclass::text FROM readings") == [("readings_default",)]
    job(pool, future - timedelta(days=3)).turn()
    assert execute(database, "SELECT tableoid::regclass::text FROM readings") == [(f"readings_{future:%Y%m%d}",)]
    with connect(database) as connection:
        make_partitions(connection, future.date() - timedelta(days=3))  # again: nothing to do


def test_retention_is_off_until_it_is_set_and_keeps_the_hours(database: str, pool: Pool) -> None:
    add(database, (NOW, 1.0), (NOW - timedelta(days=10), 2.0), (datetime(2012, 1, 1, tzinfo=UTC), 3.0))
    job(pool).turn()
    assert execute(database, "SELECT count(*) FROM readings") == [(3,)]
    execute(database, "SELECT keep_readings(5)")
    job(pool).turn()
    assert execute(database, "SELECT temperature FROM readings") == [(1.0,)]
    assert [row[1] for row in hours(database)] == [1, 1, 1], "aggregates outlive what they were made of"
    add(database, (datetime(2012, 1, 1, 0, 30, tzinfo=UTC), 50.0))
    job(pool).turn()
    assert hours(database)[0][2] == 3.0, "an hour whose readings are gone is not computed anew"
    execute(database, "SELECT keep_readings(NULL)")
    assert execute(database, "SELECT count(*) FROM readings_retention") == [(0,)]


def test_a_lock_or_a_missing_database_stops_neither_the_other_steps_nor_the_next_pass(
    database: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.maintenance.LOCK_TIMEOUT", "50ms")
    log = Log(tmp_path / "journal", segment_bytes=500)
    log.say_all([{"n": n} for n in range(50)])
    log.say_all([{"n": n} for n in range(50)])
    log.journal.messages.hold("all", log.journal.messages.head())
    add(database, (HOUR + timedelta(minutes=1), 1.0))
    before = failures()
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE rollups")
        job(pool, HOUR + timedelta(hours=2), log.journal).turn()
    assert failures() == before + 1
    assert log.journal.messages.floor() > 0, "the log was trimmed all the same"
    job(pool, HOUR + timedelta(hours=2), log.journal).turn()
    assert kept(database) == 1
    away = open_pool("postgresql://me@127.0.0.1:1/x", name="away")
    job(away).turn()
    away.close()
    log.close()


def test_it_stops_promptly(pool: Pool) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=job(pool).run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(2)
    assert not thread.is_alive()


def test_a_stop_cancels_what_the_server_is_working_on(database: str) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with (
        connect(database) as connection,
        pytest.raises(psycopg.errors.QueryCanceled),
        cancelled_by(stop, connection),
    ):
        connection.execute("SELECT pg_sleep(60)")


def test_timescale_looks_after_itself(timescale: str) -> None:
    pool = open_pool(timescale, name="maintenance")
    before = failures()
    job(pool).turn()
    pool.close()
    assert failures() == before
    words = "SELECT proc_name FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY 1"
    refresh = [("policy_refresh_continuous_aggregate",)] * 2
    assert execute(timescale, words) == [("policy_compression",), *refresh]
    execute(timescale, "SELECT keep_readings(30)")
    assert execute(timescale, words) == [("policy_compression",), *refresh, ("policy_retention",)]
    execute(timescale, "SELECT keep_readings(NULL)")
    assert execute(timescale, words) == [("policy_compression",), *refresh]


def test_timescale_compresses_and_still_takes_what_comes_late(timescale: str, tmp_path: Path) -> None:
    log = Log(tmp_path / "journal", sources=ENROLLING)
    for second in (1, 2):
        body = {"device_id": "a", "ts": f"2020-01-01T00:00:0{second}Z", "t": second}
        log.say(body, topic="recording/x", source="recording/#")
        write_all(log, timescale)
        assert execute(timescale, "SELECT count(compress_chunk(c)) FROM show_chunks('readings') c") == [(1,)]
    assert books(timescale)["readings"] == 2
    assert execute(timescale, "SELECT temperature FROM readings ORDER BY time") == [(1.0,), (2.0,)]
    execute(timescale, "CALL refresh_continuous_aggregate('readings_1h', NULL, now() - interval '1 hour')")
    assert execute(timescale, "SELECT readings, temperature_avg FROM readings_1d") == [(2, 1.5)]
    log.close()


def test_the_quarantine_is_listed_newest_first_with_counts_by_reason(database: str, tmp_path: Path) -> None:
    log = Log(tmp_path / "journal")
    log.register("d1")
    log.say(b"{")
    log.say({"temperature": 1}, topic="ember/v1/shed/stranger/telemetry", properties={"k": "v"})
    log.say(b"[")
    write_all(log, database)
    with connect(database) as connection:
        listing = list_quarantine(connection, limit=2)
        assert listing.counts == {"undecodable": 2, "unknown_device": 1}
        assert [row.payload for row in listing.rows] == [b"[", b'{"temperature":1}']
        assert listing.rows[1].headers["properties"] == {"k": "v"}
        assert listing.rows[0].received_at >= listing.rows[1].received_at
        assert [row.payload for row in list_quarantine(connection, Wanted(reason="undecodable")).rows] == [b"[", b"{"]
        assert list_quarantine(connection, Wanted(shard="elsewhere")).rows == []
        with pytest.raises(EmberwatchError, match="'odd' is no reason"):
            list_quarantine(connection, Wanted(reason="odd"))
    log.close()
