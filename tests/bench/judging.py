"""The engine and the evaluator by themselves. Every function is one measurement, to be run in a fresh process."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from alerts.checkpoints import Checkpoints
from alerts.decisions import progress_of
from alerts.engine import Engine
from alerts.evaluator import Evaluator
from alerts.rulebook import load_rulebook
from ingest.admission import Admission, Outcome
from ingest.journal import Journal
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.readings import SECOND, Reading
from ingest.sources import Clock
from simulators.load.fleet import Fleet
from tests.bench.figures import Run
from tests.bench.machine import in_child, until
from tests.bench.material import INTERVAL, SHARD, filled_log, inventory, say, wall

_AT_ONCE = 20_000  #: readings made, then judged: what the engine remembers is measured, not what it was handed


# the engine alone


def engine_rate(devices: Fleet, rounds: int) -> Run:
    """Admitted readings through the pure engine and the default rulebook; readings a second of processor time."""
    engine = _engine(devices)
    cpu, judged = 0.0, 0
    for batch in _batches(devices, rounds):
        began = time.process_time()
        for offset, at, admission in batch:
            engine.admitted(admission, offset=offset, at=at)
        cpu += time.process_time() - began
        judged += len(batch)
    if engine.take():
        raise RuntimeError("these readings were to be quiet, and the engine decided something")
    return Run(judged / cpu, {"engine": cpu}, {"µs each": cpu / judged * 1e6})


def engine_memory(devices: Fleet, rounds: int) -> Run:
    """What the engine remembers of a device after so many readings of each; resident bytes a device."""
    for _ in _batches(Fleet(devices=_AT_ONCE, sites=1_000), 1):  # what making readings needs, once
        pass
    gc.collect()
    before = psutil.Process().memory_info().rss
    engine = _engine(devices)
    for batch in _batches(devices, rounds):
        for offset, at, admission in batch:
            engine.admitted(admission, offset=offset, at=at)
        batch.clear()
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    assert len(engine.sites) == devices.sites
    return Run(grown / devices.devices, {}, {"MB in all": grown / 1e6})


def _engine(devices: Fleet) -> Engine:
    engine = Engine(shard=SHARD, clock=Clock.RECEIVED, rulebook=load_rulebook(None))
    for offset, delta in enumerate(inventory(devices)):
        engine.inventory(delta, offset=offset, at=_START)
    return engine


_START = 1_777_593_600 * SECOND


def _batches(devices: Fleet, rounds: int) -> Iterator[list[tuple[int, int, Admission]]]:
    """Offset, log time and admission of quiet readings, each device once in INTERVAL."""
    step = INTERVAL * SECOND / devices.devices
    places = [(devices.site(number), devices.device(number)) for number in range(devices.devices)]
    for first in range(0, devices.devices * rounds, _AT_ONCE):
        batch = []
        for number in range(first, min(first + _AT_ONCE, devices.devices * rounds)):
            at = _START + round(number * step)
            batch.append((1_000 + number, at, _admission(*places[number % devices.devices], at, number)))
        yield batch


def _admission(site: str, device: str, at: int, number: int) -> Admission:
    values = {"temperature": 20.0 + number % 8, "humidity": 50.0, "smoke": 0.01}
    states = {"smoke_alarm": False}
    reading = Reading(site=site, device=device, at=at, received_at=at, device_at=at, values=values, states=states)
    return Admission(outcome=Outcome.STORED, readings=(reading,))


# the evaluator on a log


def evaluate(devices: Fleet, count: int) -> Run:
    """A log of `count` messages, of devices known to it, into durable decisions; readings a second."""
    with tempfile.TemporaryDirectory() as folder:
        journal, introduced, last = filled_log(Path(folder), devices, count, warm=devices.devices)
        evaluator, checkpoints = _evaluator(journal), Checkpoints(journal.folder / "checkpoints", SHARD)
        evaluator.resume(checkpoints, threading.Event())
        while evaluator.cursor < introduced:
            evaluator.turn()
        behind, own, started = evaluator.cursor, time.process_time(), time.monotonic()
        while evaluator.turn():
            pass
        took, cpu = time.monotonic() - started, time.process_time() - own
        if evaluator.durable_cursor() < behind or evaluator.cursor != last:
            raise RuntimeError("the evaluator stopped on its way")
        journal.close()
    judged = last - behind
    return Run(judged / took, {"evaluator": cpu}, {"a core": judged / cpu, "µs each": cpu / judged * 1e6})


def _evaluator(journal: SqliteJournal) -> Evaluator:
    return Evaluator(journal, SHARD, Clock.RECEIVED, load_rulebook(None).text, wall)


# restart


def prepare_restart(folder: Path, devices: Fleet, *, behind_s: float) -> None:
    """A log whose evaluator was killed: every device reported, the checkpoint is `behind_s` seconds old."""
    in_child(_checkpointed, folder, devices)
    journal = SqliteJournal(folder, SHARD)
    count = round(behind_s * devices.devices / INTERVAL)
    last = say(journal.messages, devices, count, skip=devices.devices)
    pid = os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, "-m", "tests.bench.judging", str(folder))
    try:
        until(lambda: _durable(journal) >= last, what="all judged before the kill", every=0.1)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        journal.close()


def restart(folder: Path, devices: Fleet) -> Run:
    """From starting the process to evaluating; seconds, a copy of the folder each time."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, Path(copy) / "log", ignore=shutil.ignore_patterns("wake"))
        began = time.time()
        loaded, ready, cpu, sites = in_child(_resumed, Path(copy) / "log")
    if sites != devices.sites:
        raise RuntimeError(f"{sites} sites after the restart, not {devices.sites}")
    steps = {"process": loaded - began, "checkpoint and log": ready - loaded}
    return Run(ready - began, {"evaluator": cpu}, steps)


def _checkpointed(folder: Path, devices: Fleet) -> None:
    journal, _, last = filled_log(folder, devices, devices.devices)
    evaluator, stop = _evaluator(journal), threading.Event()
    thread = threading.Thread(target=evaluator.run, args=(stop,))
    thread.start()
    try:
        until(lambda: evaluator.cursor >= last, what="all judged", every=0.1)
    finally:
        stop.set()
        thread.join()
        journal.close()


def _resumed(folder: Path) -> tuple[float, float, float, int]:
    loaded, cpu = time.time(), time.process_time()
    journal = SqliteJournal(folder, SHARD)
    evaluator = _evaluator(journal)
    evaluator.resume(Checkpoints(journal.folder / "checkpoints", SHARD), threading.Event())
    ready, cpu = time.time(), time.process_time() - cpu
    sites = len(evaluator.judge.engine.sites)
    if evaluator.cursor != evaluator.durable_cursor():
        raise RuntimeError("the evaluator is not where it was")
    journal.close()
    return loaded, ready, cpu, sites


def _durable(journal: Journal) -> int:
    """How far decisions are durable, as an evaluator that starts would see it."""
    newest = journal.decisions.last(Kind.PROGRESS)
    progress = progress_of(newest) if newest else None
    return progress.cursor if progress else -1


if __name__ == "__main__":  # an evaluator to be killed
    _evaluator(SqliteJournal(Path(sys.argv[1]), SHARD)).run(threading.Event())
