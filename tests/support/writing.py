"""A log to write from, a writer to run over it, and what the database then holds, in a form to compare."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import msgspec
import psycopg

from ingest.database import open_pool
from ingest.inventory import Device, InventoryDelta, Site
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import EngineError, Kind, Message, Tick, encode
from ingest.readings import SECOND
from ingest.sources import Sources
from ingest.writer import Writer
from tests.support.broker import wait_until

ROOT = Path(__file__).resolve().parents[2]
NATIVE = "ember/v1/+/+/telemetry"
SOURCES = f"sources:\n  - {{filter: {NATIVE}, codec: ember-json, rate_per_minute: 0}}\n"
ENROLLING = (
    "sources:\n  - {filter: recording/#, codec: json-map, clock: observed, enrol: true, shard: main, site: lab,"
    " device: $.device_id, time: $.ts, fields: {temperature: $.t, smoke_alarm: $.alarm}}\n"
)
NOTHING = Sources(sources=(), text="")


def wall() -> int:
    return time.time_ns() // 1000


class Log:
    """The log of a shard, filled by hand."""

    def __init__(self, folder: Path, *, sources: str = SOURCES, **options: Any) -> None:
        self.folder = folder
        self.journal = SqliteJournal(folder, "main", **options)
        if self.journal.messages.last(Kind.SOURCES) is None:
            self.control(Kind.SOURCES, sources.encode())

    def control(self, kind: Kind, value: bytes) -> int:
        return self.journal.messages.append([Entry(kind, value=value)], now=wall())[0]

    def register(self, *devices: str, site: str = "shed") -> int:
        delta = InventoryDelta(sites=[Site(id=site)], devices=[Device(id=name, site=site) for name in devices])
        return self.control(Kind.INVENTORY, encode(delta))

    def engine_error(self, offset: int) -> int:
        return self.control(Kind.ENGINE_ERROR, encode(EngineError(offset=offset, error="ZeroDivisionError: x")))

    def tick(self) -> int:
        return self.control(Kind.TICK, encode(Tick(listened=SECOND)))

    def say(self, body: object, *, topic: str = "ember/v1/shed/d1/telemetry", **headers: Any) -> int:
        return self.say_all([body], topic=topic, **headers)[0]

    def say_all(self, bodies: list[Any], *, topic: str = "ember/v1/shed/d1/telemetry", **headers: Any) -> list[int]:
        headers.setdefault("source", NATIVE)
        meta = encode(Message(topic=topic, received_at=wall(), **headers))
        payloads = [body if isinstance(body, bytes) else msgspec.json.encode(body) for body in bodies]
        return self.journal.messages.append([Entry(Kind.MESSAGE, meta, payload) for payload in payloads], now=wall())

    def close(self) -> None:
        self.journal.close()


class Standing(NamedTuple):
    """What the database holds of a log, ids and batches aside."""

    readings: list[tuple[Any, ...]]
    changes: list[tuple[Any, ...]]
    quarantine: list[tuple[Any, ...]]
    counts: dict[str, int]
    offset: int


def standing(url: str) -> Standing:
    with psycopg.connect(url) as connection:

        def fetch(words: LiteralString) -> list[tuple[Any, ...]]:
            return connection.execute(words).fetchall()

        cursor = fetch("SELECT counts, log_offset FROM cursors WHERE reader = 'writer' AND shard = 'main'")
        return Standing(
            readings=fetch(
                "SELECT site, id, time, device_time, seq, late, temperature, smoke, smoke_alarm, online FROM readings"
                " JOIN devices ON device = key ORDER BY 1, 2, 3, 5, 7, 8"
            ),
            changes=fetch(
                "SELECT site, id, time, state, value FROM state_changes JOIN devices ON device = key"
                " ORDER BY 1, 2, 3, 4"
            ),
            quarantine=fetch("SELECT log_offset, topic, payload, reason, detail FROM quarantine ORDER BY 1"),
            counts=cursor[0][0] if cursor else {},
            offset=cursor[0][1] if cursor else -1,
        )


def books(url: str) -> dict[str, int]:
    rows = execute(url, "SELECT counts FROM cursors WHERE reader = 'writer' AND shard = 'main'")
    return dict(rows[0][0]) if rows else {}


def execute(url: str, words: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(words.encode())
        return cursor.fetchall() if cursor.description else []


class Running:
    """A writer on a thread; leaving the `with` stops it, and `error` is what it raised."""

    def __init__(self, log: Log, url: str) -> None:
        self.log = log
        self.url = url
        self.pool = open_pool(url, name="writer", size=2)
        self.writer = Writer(log.journal, "main", self.pool, NOTHING, wall)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.writer.run(self.stop)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        started = time.monotonic()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.stopped_after = time.monotonic() - started
        self.pool.close()

    def ended(self) -> bool:
        return not self._thread.is_alive()

    def drain(self, seconds: float = 30) -> None:
        """Wait until everything in the log is in the database, or the writer gave up."""
        head = self.log.journal.messages.head()
        wait_until(lambda: self.ended() or self.writer.cursor >= head, seconds=seconds, what="the log is drained")


def write_all(log: Log, url: str) -> None:
    """Run a writer until the log is drained; raises what it raised."""
    with Running(log, url) as running:
        running.drain()
    if running.error is not None:
        raise running.error


def start_child(folder: Path, url: str) -> subprocess.Popen[bytes]:
    """A writer of this log as a process of its own, in small batches, until it is killed."""
    return subprocess.Popen([sys.executable, "-m", "tests.support.writing", str(folder), url], cwd=ROOT)


def main(folder: str, url: str) -> None:
    from ingest import writer as writer_module

    writer_module.BATCH, writer_module.LINGER, writer_module.SAVE_SECONDS = 40, 0.005, 0.05
    log = Log(Path(folder))
    Writer(log.journal, "main", open_pool(url, name="writer"), NOTHING, wall).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
