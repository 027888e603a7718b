"""The evaluator: reads the `messages` stream in order, judges, and appends its decisions with its cursor in one write.

Its cursor *is* the input offset in the headers of its last decisions. After a kill it loads a checkpoint, judges what
lies between it and the cursor again without saying anything, and goes on. What it would now decide differently there
goes to the centre as one notice; it never pages for it and never clears anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from alerts import evaluator_metrics as metrics
from alerts.alert import Transition, derived_id
from alerts.checkpoints import Checkpoints, Writing
from alerts.crashes import Crashes
from alerts.decisions import KINDS, Decision, Progress, decode, entry, progress_of
from alerts.incident import Notice
from alerts.judge import Judge, deadly_offsets
from alerts.rulebook import parse_rulebook
from ingest.backoff import Backoff
from ingest.errors import Unavailable
from ingest.journal import BEGINNING, Entry, Journal, Record, Stream
from ingest.message import Kind, encode
from ingest.readings import SECOND
from ingest.sources import Clock

#: Records judged before their decisions are made durable: a few milliseconds of work.
BATCH = 1_000
#: Without any decision the cursor is still written this often, so that a restart has little to repeat, and the
#: dispatcher sees within its patience that we are not behind.
PROGRESS_EVERY = SECOND // 2
CHECKPOINT_EVERY = 30 * SECOND
#: Sites of a checkpoint written between two batches.
SITES_A_TURN = 20

log = structlog.get_logger()


class Evaluator:
    """One shard's evaluator. `now` is the wall clock in µs; it stamps and paces writes, and decides nothing."""

    def __init__(self, journal: Journal, shard: str, clock: Clock, rulebook_text: str, now: Callable[[], int]) -> None:
        self.journal = journal
        self.shard = shard
        self.now = now
        self.judge = Judge(shard=shard, clock=clock, rulebook=parse_rulebook(rulebook_text, "the rulebook"))
        self.cursor = BEGINNING
        self._epoch = 0
        self._written = BEGINNING  # the cursor that is durable
        self._written_at = 0
        self._checkpoint: Writing | None = None
        self._checkpoint_at = 0
        self.checkpoints: Checkpoints | None = None
        self._crashes: Crashes | None = None
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Evaluate until `stop`; raises OperatorError when another evaluator owns the shard."""
        owned = self.journal.own("evaluator")
        self._epoch = owned.epoch
        metrics.start_evaluator_metrics(self.shard)
        try:
            self._stop = stop
            self.checkpoints = Checkpoints(self.journal.folder / "checkpoints", self.shard)
            self._crashes = Crashes(self.journal.folder / "evaluator.crashes")
            self._evaluate(self.checkpoints, stop)
        except Unavailable as error:
            if not stop.is_set():
                raise
            log.info("stopped before the log took the last decisions", shard=self.shard, error=str(error))
        finally:
            if self._crashes:
                self._crashes.close()
            owned.release()

    def _evaluate(self, checkpoints: Checkpoints, stop: threading.Event) -> None:
        self.resume(checkpoints, stop)
        if stop.is_set():  # perhaps in the middle of catching up: what stands in the log is newer than we are
            return
        self._checkpoint_at = self.now()
        self._hold(checkpoints)
        while not stop.is_set():
            if not self.turn() and not stop.is_set():
                self.journal.messages.wait(self.cursor, 0.5)
        self._write([])
        self._whole_checkpoint()

    def turn(self) -> bool:
        """Judge one batch and make its decisions durable; False when there was nothing to read."""
        records = self.journal.messages.read(self.cursor, BATCH)
        for record in records:
            self._step(record)
        decisions = self.judge.take()
        self._judged()
        if decisions or self.now() - self._written_at >= PROGRESS_EVERY:
            self._write(decisions)
        self._some_checkpoint()
        metrics.evaluated(self.shard, records, self.now(), len(self.judge.engine.sites))
        return bool(records)

    def resume(self, checkpoints: Checkpoints, stop: threading.Event) -> None:
        """Load a checkpoint, catch up in silence to the durable cursor, and report any difference."""
        cursor = self.durable_cursor()
        header = checkpoints.load(self.judge)
        self.cursor = header.offset if header else self.journal.messages.floor()
        self._look_ahead(fresh=header is None)
        sliced = {name: site.offset for name, site in self.judge.engine.sites.items()}
        silent: list[Decision] = []
        while self.cursor < cursor and not stop.is_set():
            records = self.journal.messages.read(self.cursor, BATCH)
            for record in records:
                if record.offset > cursor:
                    break
                self._step(record, silent=True)
            silent += [each for each in self.judge.take() if isinstance(each, Transition)]
            self._judged()
            if not records or records[-1].offset > cursor:
                break
        if stop.is_set():
            return
        self._written = self.cursor
        log.info("evaluating", shard=self.shard, cursor=self.cursor, sites=len(sliced))
        decided = header.decided if header else self.journal.decisions.floor()
        self._report_difference(decided, sliced, silent, cursor)

    def _look_ahead(self, *, fresh: bool) -> None:
        """What must be known before the records it is about: which ones are not to be judged at all, and at the very
        beginning of a log the first rulebook, which judges what is older too, now and in every back-test."""
        after = self.cursor
        if self._crashes and self._crashes.deadly >= 0:
            self.judge.deadly.add(self._crashes.deadly)
        while records := self.journal.messages.read(after, BATCH, control_only=True):
            self.judge.deadly |= deadly_offsets(records)
            first = next((record for record in records if record.kind == Kind.RULEBOOK), None)
            if fresh and first is not None:
                self.judge.engine.rulebook = parse_rulebook(first.value.decode(), "rulebook in the log")
                fresh = False
            after = records[-1].offset

    def durable_cursor(self) -> int:
        """The input offset in the headers of the newest decisions that are the evaluator's."""
        newest = [self.journal.decisions.last(kind) for kind in (*_EVALUATORS, Kind.PROGRESS)]
        owned = [progress_of(record) for record in newest if record is not None]
        return max((progress.cursor for progress in owned if progress), default=BEGINNING)

    def _step(self, record: Record, *, silent: bool = False) -> None:
        if self._crashes:
            self._crashes.judging(record.offset)
        error = self.judge.step(record)
        if error is not None and not silent:
            metrics.ENGINE_ERRORS.labels(shard=self.shard).inc()
            self._append(self.journal.messages, [Entry(Kind.ENGINE_ERROR, value=encode(error))])
        self.cursor = record.offset

    def _judged(self) -> None:
        """No record is to blame for an end from here on, least of all while a full disk is waited out."""
        if self._crashes:
            self._crashes.done()

    def _write(self, decisions: list[Decision]) -> None:
        """Append decisions and cursor as one."""
        if not decisions and self.cursor == self._written:
            return
        progress = Progress(
            cursor=self.cursor, counts=dict(self.judge.counts), epoch=self._epoch, probe=self.judge.probe
        )
        entries = [entry(each, progress) for each in decisions] or [Entry(Kind.PROGRESS, encode(progress))]
        self._append(self.journal.decisions, entries)
        self._written, self._written_at = self.cursor, self.now()
        metrics.decided(self.shard, decisions, self.judge.probe)

    def _append(self, stream: Stream, entries: list[Entry]) -> None:
        """Append; waits out a full disk, because nothing may be decided and forgotten.

        Raises Unavailable when asked to stop meanwhile: nothing is lost then, the next start decides the same again.
        """
        backoff, said = Backoff(), ""
        while True:
            try:
                stream.append(entries, now=self.now(), urgent=True)
                return
            except Unavailable as error:
                if str(error) != said:
                    said = str(error)
                    log.error("cannot write decisions, trying again", shard=self.shard, error=said)
                if self._stop.wait(backoff.next()):
                    raise

    def _report_difference(self, decided: int, sliced: dict[str, int], silent: list[Decision], cursor: int) -> None:
        made = self._transitions_made(decided)
        now_made = {_key(each): each for each in silent if isinstance(each, Transition)}
        missing = [
            each for key, each in made.items() if key not in now_made and each.offset > sliced.get(each.site, -1)
        ]
        extra = [each for key, each in now_made.items() if key not in made]
        if not missing and not extra:
            return
        example = (missing + extra)[0]
        text = (
            f"after its restart the evaluator would decide {len(missing) + len(extra)} things differently, for example "
            f"{example.rule} at {example.site}/{example.device}; what was decided before stays as it is"
        )
        log.warning("restart differs", shard=self.shard, missing=len(missing), extra=len(extra))
        self._write([Notice(id=derived_id("notice", self.shard, "restart", cursor), at=self.now(), text=text)])

    def _transitions_made(self, after: int) -> dict[tuple[object, ...], Transition]:
        made: dict[tuple[object, ...], Transition] = {}
        while records := self.journal.decisions.read(after, BATCH):
            for record in records:
                if record.kind == Kind.TRANSITION:
                    word = decode(record)
                    assert isinstance(word, Transition)
                    made[_key(word)] = word
            after = records[-1].offset
        return made

    def _some_checkpoint(self) -> None:
        """Go on with a checkpoint, or begin one when it is time. A disk that takes none stops no alarm."""
        if self.checkpoints is None:
            return
        try:
            if self._checkpoint is None:
                due = self.now() - self._checkpoint_at >= CHECKPOINT_EVERY
                if due and self._written == self.cursor:
                    self._checkpoint = self._begin_checkpoint(self.checkpoints)
            elif self._checkpoint.some(offset=self.cursor, sites=SITES_A_TURN):
                self._checkpoint, self._checkpoint_at = None, self.now()
                self._hold(self.checkpoints)
        except OSError as error:
            log.error("no checkpoint now, trying again later", shard=self.shard, error=str(error))
            self.abandon_checkpoint()
            self._checkpoint_at = self.now()

    def _begin_checkpoint(self, checkpoints: Checkpoints) -> Writing:
        return checkpoints.begin(self.judge, offset=self.cursor, decided=self.journal.decisions.head())

    def abandon_checkpoint(self) -> None:
        """Give up a checkpoint that is half written, if any."""
        if self._checkpoint is not None:
            self._checkpoint.abandon()
            self._checkpoint = None

    def _whole_checkpoint(self) -> None:
        """At a clean stop: one checkpoint of everything at once, so that the next start has nothing to repeat."""
        assert self.checkpoints is not None
        self.abandon_checkpoint()
        try:
            self._begin_checkpoint(self.checkpoints).rest(offset=self.cursor)
        except OSError as error:
            log.error("no checkpoint: the next start repeats more", shard=self.shard, error=str(error))
        else:
            self._hold(self.checkpoints)

    def _hold(self, checkpoints: Checkpoints) -> None:
        """The log is kept back to the older checkpoint: its messages, and the decisions made since."""
        messages, decisions = checkpoints.floors()
        self.journal.messages.hold("evaluator", messages)
        self.journal.decisions.hold("evaluator", decisions)


_EVALUATORS = [kind for kind in KINDS.values() if kind not in (Kind.PAGE, Kind.RECEIPT)]


def _key(transition: Transition) -> tuple[object, ...]:
    return (transition.alert_id, transition.before, transition.after, transition.at)
