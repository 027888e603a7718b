"""Housekeeping beside the writers: day partitions ahead, kept hours, retention, trimming the log.

Each step stands alone: one that fails (a missing privilege, a lock somebody holds, the database away) is counted and
said once, and neither the other steps nor the writers notice.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import structlog
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from ingest import quarantine
from ingest.errors import Unavailable
from ingest.journal import Journal
from ingest.metrics import MAINTENANCE_FAILED
from ingest.readings import QUANTITIES, to_datetime

Connection = psycopg.Connection[TupleRow]

EVERY = 60.0  #: seconds
DAYS_AHEAD = 7
#: An hour is kept this long after its end; what comes later is worked in, at a price for each hour and device.
GRACE = timedelta(minutes=5)
#: At most so long on the kept hours in one pass, and so many batches at a time.
ROLL_SECONDS = 20.0
ROLL_BATCHES = 500
LOCK_TIMEOUT = "2s"
#: What could not be admitted is kept this long; what left the quarantine is kept to look at for a day.
QUARANTINE_DAYS = 90
STEPS = ("trim", "reach", "quarantine", "partitions", "rollup", "retention")

log = structlog.get_logger()


class Maintenance:
    """The job of one database and of these logs. `now` is the wall clock in µs."""

    def __init__(self, pool: ConnectionPool[Connection], journals: Sequence[Journal], now: Callable[[], int]) -> None:
        self._pool = pool
        self._journals = journals
        self._now = now
        self._said: dict[str, str] = {}
        for step in STEPS:
            MAINTENANCE_FAILED.labels(step)

    def run(self, stop: threading.Event) -> None:
        """A pass at once, then every minute, until `stop`."""
        while not stop.is_set():
            self.turn(stop)
            stop.wait(EVERY)

    def turn(self, stop: threading.Event | None = None) -> None:
        """One pass."""
        stop = stop or threading.Event()
        moment = to_datetime(self._now())
        self._step("trim", self._trim)
        if not self._step("reach", self._reach) or stop.is_set():
            return
        self._step("quarantine", lambda: self._drop_quarantined(moment))
        self._step("partitions", lambda: self._on_plain(lambda c: make_partitions(c, moment.date()), stop))
        self._step("rollup", lambda: self._on_plain(lambda c: roll_up(c, moment, stop), stop))
        self._step("retention", lambda: self._on_plain(lambda c: drop_old(c, moment), stop))

    def _step(self, name: str, work: Callable[[], None]) -> bool:
        """Did it work? What did not is said once, and tried again in the next pass."""
        try:
            work()
        except (Unavailable, psycopg.Error, OSError) as error:
            MAINTENANCE_FAILED.labels(name).inc()
            line = " ".join(str(error).split())
            if self._said.get(name) != line:
                log.warning("maintenance step failed; trying again later", step=name, error=line)
                self._said[name] = line
            return False
        self._said.pop(name, None)
        return True

    def _trim(self) -> None:
        for journal in self._journals:
            journal.messages.trim()
            journal.decisions.trim()

    def _reach(self) -> None:
        with self._pool.connection(timeout=1.0):
            pass

    def _drop_quarantined(self, moment: datetime) -> None:
        with self._pool.connection(timeout=1.0) as connection:
            quarantine.drop_old(
                connection,
                before=moment - timedelta(days=QUARANTINE_DAYS),
                settled_before=moment - timedelta(days=1),
            )

    def _on_plain(self, work: Callable[[Connection], object], stop: threading.Event) -> None:
        """Only plain PostgreSQL needs us: TimescaleDB has jobs of its own."""
        with self._pool.connection(timeout=1.0) as connection:
            connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'".encode())
            connection.execute("SET work_mem = '64MB'")
            try:
                if is_plain(connection):
                    with cancelled_by(stop, connection):
                        work(connection)
                    connection.commit()
            finally:
                if not connection.closed:
                    connection.rollback()
                    connection.execute("RESET ALL")


@contextlib.contextmanager
def cancelled_by(stop: threading.Event, connection: Connection) -> Iterator[None]:
    """While this lasts, a stop cancels what the server is working on: an hour of a whole district takes a minute."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            if stop.is_set():
                with contextlib.suppress(psycopg.Error):
                    connection.cancel_safe(timeout=1.0)
                return

    watcher = threading.Thread(target=watch, name="maintenance watch")
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def is_plain(connection: Connection) -> bool:
    """Are the readings of this database kept by us (and migrated at all)?"""
    row = connection.execute("SELECT to_regclass('readings_1h_kept') IS NOT NULL").fetchone()
    return bool(row and row[0])


def make_partitions(connection: Connection, today: object) -> None:
    """The partitions of today and the week to come, each in a transaction of its own."""
    for ahead in range(DAYS_AHEAD + 1):
        connection.execute("SELECT make_readings_day(%s + %s)", (today, ahead))
        connection.commit()


# kept hours

_HOUR = "date_bin('1 hour', time, timestamptz '2000-01-01 00:00:00+00')"
_AGGREGATES = ", ".join(f"avg({q}), min({q}), max({q}), count({q})" for q in QUANTITIES)
_COLUMNS = ["readings", *(f"{q}_{kind}" for q in QUANTITIES for kind in ("avg", "min", "max", "count"))]
_UPSERT = (
    "ON CONFLICT (device, bucket) DO UPDATE SET ("
    + ", ".join(_COLUMNS)
    + ") = ROW ("
    + ", ".join(f"excluded.{column}" for column in _COLUMNS)
    + ")"
)
_KEEP_HOUR = (
    f"INSERT INTO readings_1h_kept (device, bucket, {', '.join(_COLUMNS)})"
    f" SELECT device, %(hour)s, count(*), {_AGGREGATES} FROM readings"
    f" WHERE time >= %(hour)s AND time < %(hour)s + interval '1 hour' GROUP BY device {_UPSERT}"
).encode()
_KEEP_LATE = (
    f"WITH late AS (SELECT DISTINCT device, {_HOUR} AS bucket FROM readings"
    " WHERE batch = ANY(%(batches)s) AND time < %(until)s AND time >= %(first)s)"
    f" INSERT INTO readings_1h_kept (device, bucket, {', '.join(_COLUMNS)})"
    f" SELECT late.device, late.bucket, kept.* FROM late CROSS JOIN LATERAL (SELECT count(*), {_AGGREGATES}"
    " FROM readings WHERE readings.device = late.device AND time >= late.bucket"
    f" AND time < late.bucket + interval '1 hour') AS kept {_UPSERT}"
).encode()


def roll_up(connection: Connection, moment: datetime, stop: threading.Event) -> None:
    """Keep the hours that are over, and work in what came late; the views answer rightly at every step between."""
    deadline = time.monotonic() + ROLL_SECONDS
    while not stop.is_set() and time.monotonic() < deadline:
        hour_kept = _keep_next_hour(connection, moment)
        batches = _keep_late(connection, retention_cut(connection, moment))
        connection.commit()
        if not hour_kept and batches < ROLL_BATCHES:
            return


def _kept_until(connection: Connection) -> datetime:
    """The end of what is kept; locked, so that one job alone moves it."""
    row = connection.execute("SELECT kept_until FROM rollups WHERE name = 'readings_1h' FOR UPDATE").fetchone()
    return row[0] if row else datetime(1, 1, 1, tzinfo=UTC)


def _keep_next_hour(connection: Connection, moment: datetime) -> bool:
    until = _kept_until(connection)
    following = until + timedelta(hours=1)
    if following + GRACE > moment:
        return False
    connection.execute(_KEEP_HOUR, {"hour": until})
    connection.execute("UPDATE rollups SET kept_until = %s WHERE name = 'readings_1h'", (following,))
    return True


def _keep_late(connection: Connection, cut: datetime) -> int:
    """Work in the batches not seen yet that reach below what is kept; how many batches were seen.

    An hour before `cut` is not computed anew: what it was made of is gone.
    Batches are marked, not counted by id: ids are given before the commit, and several writers commit in any order.
    """
    until = _kept_until(connection)
    rows = connection.execute(
        "SELECT id, first_time, first_time < %s FROM batches WHERE NOT rolled ORDER BY id LIMIT %s",
        (until, ROLL_BATCHES),
    ).fetchall()
    late = [(batch, first) for batch, first, is_late in rows if is_late]
    if late:
        values = {
            "batches": [batch for batch, _ in late],
            "first": max(cut, min(first for _, first in late)),
            "until": until,
        }
        connection.execute(_KEEP_LATE, values)
    connection.execute("UPDATE batches SET rolled = true WHERE id = ANY(%s)", ([row[0] for row in rows],))
    return len(rows)


# retention


def retention_cut(connection: Connection, moment: datetime) -> datetime:
    """Readings before this are dropped; the year 1 while all are kept."""
    row = connection.execute("SELECT days FROM readings_retention").fetchone()
    if row is None:
        return datetime(1, 1, 1, tzinfo=UTC)
    return (moment - timedelta(days=row[0])).replace(hour=0, minute=0, second=0, microsecond=0)


def drop_old(connection: Connection, moment: datetime) -> None:
    """Drop the days before the retention, if one is set; the kept hours stay."""
    cut = retention_cut(connection, moment)
    parts = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'readings'::regclass AND relname ~ '^readings_[0-9]{8}$' AND relname < %s ORDER BY 1",
        (f"readings_{cut.year:04}{cut:%m%d}",),
    ).fetchall()
    for (name,) in parts:
        connection.execute(f"DROP TABLE {name}".encode())
        connection.commit()
    if cut.year > 1:
        connection.execute("DELETE FROM readings_default WHERE time < %s", (cut,))
        connection.execute("DELETE FROM state_changes WHERE time < %s", (cut,))
