"""The scanner by itself: how fast it looks through a backlog. Every function is one measurement, in a fresh process."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alerts.checkpoints import Checkpoints
from alerts.judge import Judge
from alerts.rulebook import load_rulebook
from alerts.scanner import Judged, Scanner
from ingest.journal import BEGINNING, Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, Message, encode
from ingest.readings import SECOND
from ingest.sources import Clock
from simulators.load.fleet import Fleet
from tests.bench.figures import Run
from tests.bench.material import BATCH, SHARD, TELEMETRY, introduce, wall

#: What a plain heat head says, and what one says that always says everything.
SHORT = b'{"ts":%d,"temperature":21.5}'
FULL = b'{"ts":%d,"seq":100000001,"temperature":21.5,"humidity":55.1,"smoke":0.011,"smoke_alarm":false}'
PAYLOADS = {"short telemetry": SHORT, "all fields": FULL}
_READ = 1_000  #: as the scanner reads


def scan(devices: Fleet, count: int, payload: bytes) -> Run:
    """A backlog of `count` messages ending in a fire; records a second, and beside it what reading alone reaches."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(SqliteJournal(Path(folder), SHARD)) as journal:
        judged = _checkpoint(journal, devices)
        _pile_up(journal, devices, count, payload)
        plain, plain_cpu = _timed(lambda: _read(journal, judged))
        scanner = Scanner(
            shard=SHARD,
            messages=journal.messages,
            folder=journal.folder,
            now=lambda: wall() + 10 * SECOND,
            judged=Judged(judged, wall()),
            stretch=judged,
            position=judged,
            since=0,
        )
        took, cpu = _timed(lambda: _scan(scanner))
        signs = [sign.device for finding in scanner.found for sign in finding.signs]
        if signs != [devices.device(0)]:
            raise RuntimeError(f"found {len(signs)} fires in the backlog, not the one that is in it")
    more = {"a core": count / cpu, "read alone": count / plain, "read alone, a core": count / plain_cpu, "s": took}
    return Run(count / took, {"scanner": cpu}, more)


def _checkpoint(journal: SqliteJournal, devices: Fleet) -> int:
    """An evaluator that knows all devices and has just saved its memory; how far it came."""
    introduce(journal.messages, devices)
    judge = Judge(shard=SHARD, clock=Clock.RECEIVED, rulebook=load_rulebook(None))
    after = BEGINNING
    while records := journal.messages.read(after, 100):
        for record in records:
            judge.step(record)
        after = records[-1].offset
    Checkpoints(journal.folder / "checkpoints", SHARD).begin(judge, offset=after, decided=0).rest(offset=after)
    return after


def _pile_up(journal: SqliteJournal, devices: Fleet, count: int, payload: bytes) -> None:
    for first in range(0, count, BATCH):
        numbers = [number % devices.devices for number in range(first, min(first + BATCH, count))]
        batch = [_message(devices, number, payload % (wall() // 1_000)) for number in numbers]
        if first + BATCH >= count:
            batch[-1] = _message(devices, 0, b'{"smoke_alarm":true}')
        journal.messages.append(batch, now=wall())


def _message(devices: Fleet, number: int, payload: bytes) -> Entry:
    topic = f"ember/v1/{devices.site(number)}/{devices.device(number)}/telemetry"
    meta = Message(topic=topic, source=TELEMETRY, received_at=wall(), packet_id=number % 65_535 + 1, connection=1)
    return Entry(Kind.MESSAGE, encode(meta), payload)


def _read(journal: SqliteJournal, after: int) -> None:
    while records := journal.messages.read(after, _READ):
        after = records[-1].offset


def _scan(scanner: Scanner) -> None:
    while scanner.turn():
        pass


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    wall_s, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall_s, time.process_time() - cpu
