"""The evaluator over a real log: batches, kills and checkpoints change no decision."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts import evaluator as module
from alerts.alert import Transition
from alerts.backtest import backtest_journal, export_extras
from alerts.checkpoints import Checkpoints, Writing
from alerts.crashes import MOST_CRASHES
from alerts.decisions import decode
from alerts.evaluator import Evaluator
from alerts.export import export_order
from alerts.incident import Notice
from alerts.rulebook import parse_rulebook
from ingest.errors import LogFull, OperatorError
from ingest.inventory import Device, InventoryDelta
from ingest.journal import BEGINNING, Entry, Record
from ingest.journal_export import export_journal
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Act, ActKind, Intake, Kind, Message, Tick, encode
from ingest.readings import HOUR, SECOND, iso
from ingest.sources import Clock
from tests.support.feed import START

SOURCES = """
sources:
  - {filter: "ember/v1/+/+/telemetry", codec: ember-json}
  - {filter: "ember/v1/+/+/alarm", codec: ember-json, urgent: true}
"""
RULES = """
rules:
  - {id: hot, kind: level, quantity: temperature, above: 57, clear_below: 50, class: fire, severity: critical,
     retrigger_after: 5s}
  - {id: warm, kind: level, quantity: temperature, above: 40, clear_below: 35, hold: 7s,
     class: pre_alarm, severity: info}
  - {id: rise, kind: rate, quantity: temperature, rise: 8, over: 60s, class: fire, severity: critical}
  - {id: smoke, kind: state, state: smoke_alarm, class: fire, severity: critical}
  - {id: silent, kind: absence, after: 1, class: fault, severity: warning}
"""
SITES = ("north", "south", "west")


def message(topic: str, body: object, at: int) -> Entry:
    source = "ember/v1/+/+/alarm" if topic.endswith("alarm") else "ember/v1/+/+/telemetry"
    return Entry(Kind.MESSAGE, encode(Message(topic=topic, source=source, received_at=at)), msgspec.json.encode(body))


def random_log(seed: int, length: int) -> list[tuple[int, Entry]]:
    """(log time, entry): readings good and bad, alarms, ticks, gaps, acts, a rulebook change, a new inventory."""
    chance = random.Random(seed)
    at = START
    log = [
        (at, Entry(Kind.SOURCES, value=SOURCES.encode())),
        (at, Entry(Kind.RULEBOOK, value=RULES.encode())),
        (at, Entry(Kind.INVENTORY, value=encode(_inventory(2)))),
    ]
    for number in range(length):
        at += chance.randrange(0, 3) * SECOND
        log.append((at, _something(chance, at, number)))
    return log


def _inventory(devices: int) -> InventoryDelta:
    rows = [
        Device(id=f"d{each}", site=site, expected_interval_s=2 if each == 1 else 15)
        for site in SITES
        for each in range(devices)
    ]
    return InventoryDelta(devices=rows)


def _something(chance: random.Random, at: int, number: int) -> Entry:
    site, device = chance.choice(SITES), f"d{chance.randrange(3)}"
    kind = chance.random()
    if kind < 0.55:
        body = {"ts": iso(at), "temperature": chance.choice([20, 21, 22, 38, 41, 45, 58, 60])}
        return message(f"ember/v1/{site}/{device}/telemetry", body, at)
    if kind < 0.70:
        body = {"ts": iso(at - chance.randrange(3) * SECOND), "smoke_alarm": chance.random() < 0.4}
        return message(f"ember/v1/{site}/{device}/alarm", body, at)
    if kind < 0.74:
        return message(f"ember/v1/{site}/{device}/telemetry", {"temperature": "not a number"}, at)
    if kind < 0.93:
        return Entry(Kind.TICK, value=encode(Tick(listened=SECOND)))
    if kind < 0.95:
        gap = chance.choice([5, 40]) * SECOND
        return Entry(Kind.INTAKE, value=encode(Intake(down_at=at - gap, up_at=at, reason="test")))
    if kind < 0.97:
        act = Act(id=f"act{number}", kind=ActKind.ACKNOWLEDGE, author="x", at=at, incident=f"unknown{number}")
        return Entry(Kind.ACT, value=encode(act))
    if kind < 0.99:
        return Entry(Kind.RULEBOOK, value=RULES.replace("above: 40", f"above: {chance.choice([40, 39])}").encode())
    return Entry(Kind.INVENTORY, value=encode(_inventory(chance.choice([2, 3]))))


class Bench:
    """A log on disk, and evaluators that come and go over it."""

    def __init__(self, folder: Path, log: list[tuple[int, Entry]], *, segment_span: int = HOUR) -> None:
        self.journal = SqliteJournal(folder, "main", segment_span=segment_span)
        self.started: list[Evaluator] = []
        self.log = log
        self.time = START
        for at, entry in log:
            self.journal.messages.append([entry], now=at)

    def now(self) -> int:
        self.time += SECOND
        return self.time

    def evaluator(self) -> Evaluator:
        return Evaluator(self.journal, "main", Clock.RECEIVED, RULES, self.now)

    def start(self, *, hold: bool = False) -> Evaluator:
        """An evaluator that has resumed, as `run` does; with `hold` it lets the log go below its checkpoints."""
        fresh = self.evaluator()
        self.started.append(fresh)
        fresh.checkpoints = Checkpoints(self.journal.folder / "checkpoints", "main")
        fresh.resume(fresh.checkpoints, threading.Event())
        if hold:
            fresh._hold(fresh.checkpoints)
        return fresh

    def close(self) -> None:
        for evaluator in self.started:
            evaluator.abandon_checkpoint()
        self.journal.close()

    def finish(self, evaluator: Evaluator) -> None:
        while self.turn(evaluator):
            pass

    def turn(self, evaluator: Evaluator) -> bool:
        """One turn, and a checkpoint that is on its way to disk is there before the next."""
        moved = evaluator.turn()
        if evaluator._checkpoint is not None and evaluator._checkpoint._closing is not None:
            wait([evaluator._checkpoint._closing])
        return moved

    def decided(self) -> list[object]:
        words = [decode(record) for record in self.journal.decisions.read(BEGINNING, 100_000)]
        return [word for word in words if word is not None]


class Running:
    """An evaluator on a thread, as the role runs it; leaving the `with` stops it soon."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.stop = threading.Event()
        self._thread = threading.Thread(target=evaluator.run, args=[self.stop])

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def undisturbed(folder: Path, log: list[tuple[int, Entry]]) -> list[object]:
    with closing(Bench(folder, log)) as bench:
        bench.finish(bench.start())
        return bench.decided()


MakeBench = Callable[[Path, list[tuple[int, Entry]]], Bench]


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    """Benches that are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda folder, log: stack.enter_context(closing(Bench(folder, log)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), kills=st.lists(st.integers(1, 6), max_size=8), batch=st.integers(1, 60))
def test_batches_kills_and_checkpoint_slices_change_no_decision(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kills: list[int], batch: int
) -> None:
    log = random_log(seed, 150)
    expected = undisturbed(tmp_path_factory.mktemp("calm"), log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", batch)
        patch.setattr(module, "SITES_A_TURN", 1)
        patch.setattr(module, "CHECKPOINT_EVERY", 2 * SECOND)
        with closing(Bench(tmp_path_factory.mktemp("killed"), log)) as bench:
            for turns in kills:
                killed = bench.start()
                for _ in range(turns):
                    bench.turn(killed)
                killed.abandon_checkpoint()
            bench.finish(bench.start())
            decided = bench.decided()
    assert decided == expected
    assert not any(isinstance(word, Notice) for word in expected)


def test_the_random_logs_are_worth_the_test(tmp_path: Path) -> None:
    decided = undisturbed(tmp_path, random_log(1, 600))
    seen = {(word.rule, word.after.value) for word in decided if isinstance(word, Transition)}
    assert {("smoke", "firing"), ("silent", "firing"), ("silent", "cleared"), ("warm", "pending")} <= seen
    assert {("warm", "firing"), ("hot", "firing"), ("intake-blind", "cleared")} <= seen


def test_a_restart_from_a_checkpoint_reads_the_log_from_there(tmp_path: Path, make_bench: MakeBench) -> None:
    bench = make_bench(tmp_path, random_log(3, 300))
    with Running(bench.evaluator()) as running:
        _until(lambda: running.evaluator.cursor == bench.journal.messages.head())
    before = bench.decided()
    again = bench.evaluator()
    header = Checkpoints(bench.journal.folder / "checkpoints", "main").load(again.judge)
    assert header is not None and header.offset == bench.journal.messages.head()
    bench.finish(bench.start())
    assert bench.decided() == before


def test_a_disk_that_takes_no_checkpoint_holds_up_no_alarm_and_is_tried_again(
    tmp_path: Path, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = random_log(7, 200)
    expected = undisturbed(tmp_path / "calm", log)
    bench = make_bench(tmp_path / "broken", log)
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 2 * SECOND)
    monkeypatch.setattr(module, "BATCH", 10)
    refused: list[Writing] = []

    def refuse(writing: Writing) -> None:
        refused.append(writing)
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as broken:
        broken.setattr(Writing, "_finish", refuse)
        evaluator = bench.start()
        bench.finish(evaluator)
        _until(lambda: not bench.turn(evaluator) and len(refused) > 2)
    evaluator.abandon_checkpoint()  # one more may be on its way
    assert not list((bench.journal.folder / "checkpoints").iterdir())
    assert bench.decided() == expected
    with Running(bench.evaluator()):
        _until(lambda: bool(list((bench.journal.folder / "checkpoints").glob("*.checkpoint"))))


def test_a_full_disk_is_waited_out_blames_no_record_and_holds_up_no_stop(
    tmp_path: Path, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = random_log(5, 200)
    expected = undisturbed(tmp_path / "calm", log)
    bench = make_bench(tmp_path / "full", log)
    tried = threading.Event()

    def refuse(*_: object, **__: object) -> list[int]:
        tried.set()
        raise LogFull("no room")

    with monkeypatch.context() as full:
        full.setattr(bench.journal.decisions, "append", refuse)
        for _ in range(MOST_CRASHES):
            tried.clear()
            with Running(bench.evaluator()):
                assert tried.wait(10)
                blamed = (bench.journal.folder / "evaluator.crashes").read_bytes()[:8]
                assert int.from_bytes(blamed, "little", signed=True) == -1
        assert bench.decided() == []
    bench.finish(bench.start())
    assert bench.decided() == expected


def test_a_stop_in_the_middle_of_catching_up_leaves_everything_as_it_was(
    tmp_path: Path, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(tmp_path, random_log(6, 300))
    first = bench.start()
    first.checkpoints = None  # so that there is something to catch up with
    bench.finish(first)
    decided = bench.journal.decisions.head()
    before = bench.decided()
    monkeypatch.setattr(module, "BATCH", 10)
    stopped = bench.evaluator()
    step, stop = stopped._step, threading.Event()

    def step_and_stop(record: Record, *, silent: bool = False) -> None:
        step(record, silent=silent)
        assert silent
        if record.offset > 100:
            stop.set()

    monkeypatch.setattr(stopped, "_step", step_and_stop)
    too_late = threading.Timer(20, stop.set)  # instead of a test that hangs
    too_late.start()
    stopped.run(stop)
    too_late.cancel()
    assert 100 < stopped.cursor < bench.journal.messages.head()
    assert bench.journal.decisions.head() == decided
    bench.finish(bench.start())
    assert bench.decided() == before


def test_the_cursor_in_the_log_carries_the_books(tmp_path: Path, make_bench: MakeBench) -> None:
    bench = make_bench(tmp_path, random_log(4, 200))
    running = bench.start()
    bench.finish(running)
    messages = sum(entry.kind is Kind.MESSAGE for _, entry in bench.log)
    assert sum(running.judge.counts.values()) == messages
    assert running.durable_cursor() <= running.cursor == bench.journal.messages.head()


def test_a_checkpoint_that_was_cut_off_is_passed_over_for_the_one_before(tmp_path: Path, make_bench: MakeBench) -> None:
    bench = make_bench(tmp_path, random_log(5, 200))
    expected = undisturbed(tmp_path / "calm", bench.log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", 20)
        patch.setattr(module, "CHECKPOINT_EVERY", 2 * SECOND)
        bench.finish(bench.start())
    newest = max((bench.journal.folder / "checkpoints").glob("*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:-3])
    bench.finish(bench.start())
    assert bench.decided() == expected


def test_a_difference_after_a_restart_is_one_notice_and_clears_nothing(tmp_path: Path, make_bench: MakeBench) -> None:
    bench = make_bench(tmp_path, random_log(6, 200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", 50)
        patch.setattr(module, "CHECKPOINT_EVERY", 60 * SECOND)
        bench.finish(bench.start())
    before = bench.decided()
    checkpoints = Checkpoints(bench.journal.folder / "checkpoints", "main")
    changed = bench.evaluator()
    changed.judge.engine.rulebook = parse_rulebook("rules: []", "none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changed, "_look_ahead", lambda *, fresh: None)
        changed.judge._controls[Kind.RULEBOOK] = lambda record: None
        for file in checkpoints.folder.glob("*.checkpoint"):
            file.unlink()
        changed.resume(checkpoints, threading.Event())
    after = bench.decided()
    assert after[: len(before)] == before
    assert [type(word) for word in after[len(before) :]] == [Notice]


def test_an_exported_log_is_judged_again_exactly(tmp_path: Path, make_bench: MakeBench) -> None:
    bench = make_bench(tmp_path / "journal", random_log(7, 400))
    bench.finish(bench.start())
    live = sorted((word for word in bench.decided() if isinstance(word, Transition)), key=export_order)
    export_journal(bench.journal, tmp_path / "log.ember", extras=export_extras(bench.journal, Clock.RECEIVED))
    assert backtest_journal(tmp_path / "log.ember").transitions == live
    assert live


def test_an_export_of_a_trimmed_log_begins_with_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 20)
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 2 * SECOND)
    with closing(Bench(tmp_path / "journal", random_log(9, 600), segment_span=60 * SECOND)) as bench:
        bench.finish(bench.start())
        live = [word for word in bench.decided() if isinstance(word, Transition)]
        bench.finish(bench.start(hold=True))
        assert bench.journal.messages.trim() > 0
        export_journal(bench.journal, tmp_path / "log.ember", extras=export_extras(bench.journal, Clock.RECEIVED))
        began = min(int(file.stem) for file in (bench.journal.folder / "checkpoints").glob("*.checkpoint"))
    again = backtest_journal(tmp_path / "log.ember").transitions
    assert again
    # sites whose slice is newer than the beginning skip what it has; from the last slice on everything is the same
    assert set(map(transition_key, again)) <= set(map(transition_key, live))
    late = [each for each in live if each.offset > began + 40]
    assert set(map(transition_key, late)) <= set(map(transition_key, again))


def transition_key(transition: Transition) -> tuple[object, ...]:
    return transition.offset, transition.alert_id, transition.before, transition.after, transition.at


def test_a_record_that_makes_the_engine_raise_is_set_aside_and_a_fire_in_it_is_told(
    tmp_path: Path, make_bench: MakeBench
) -> None:
    log = random_log(8, 5)
    log.append((log[-1][0] + SECOND, message("ember/v1/north/d1/alarm", {"smoke_alarm": True, "seq": 7}, log[-1][0])))
    log.append((log[-1][0] + SECOND, message("ember/v1/south/d1/alarm", {"smoke_alarm": True}, log[-1][0])))
    bench = make_bench(tmp_path, log)
    running = bench.start()
    admitted = running.judge.engine.admitted

    def explode(admission: object, **more: int) -> None:
        readings = getattr(admission, "readings", ())
        if readings and readings[0].site == "north" and readings[0].states:
            raise ZeroDivisionError("planted")
        admitted(admission, **more)  # type: ignore[arg-type]

    running.judge.engine.admitted = explode  # type: ignore[method-assign]
    bench.finish(running)
    rules = [(word.rule, word.site) for word in bench.decided() if isinstance(word, Transition)]
    assert ("unregistered-fire", "north") in rules and ("smoke", "south") in rules
    aside = bench.journal.messages.last(Kind.ENGINE_ERROR)
    assert aside is not None and b"ZeroDivisionError: planted" in aside.value


def _until(condition: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(500):
        if condition():
            return
        deadline.wait(0.02)
    raise AssertionError("it did not happen within 10 s")


def test_an_export_without_its_clock_or_with_a_broken_checkpoint_is_refused_in_one_line(
    tmp_path: Path, make_bench: MakeBench
) -> None:
    bench = make_bench(tmp_path / "journal", random_log(1, 5))
    export_journal(bench.journal, tmp_path / "bare.ember")
    with pytest.raises(OperatorError, match="does not say which clock"):
        backtest_journal(tmp_path / "bare.ember")
    export_journal(bench.journal, tmp_path / "torn.ember", extras={"clock": b"received", "checkpoint": b"\0\0\0\3ab"})
    with pytest.raises(OperatorError, match="its checkpoint cannot be read"):
        backtest_journal(tmp_path / "torn.ember")
