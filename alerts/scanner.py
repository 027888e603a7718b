"""The scanner: while the evaluator is behind, it looks ahead of it for fire signs, so that no fire waits in a backlog.

A thread of the dispatcher's, because it has to work while the evaluator is dead. It reads from where the evaluator
stands to the log's head as fast as it can: a test on bytes passes over what cannot say fire, the rest is decoded with
what admit remembers, borrowed from the evaluator's checkpoint. What it finds, the dispatcher pages. As soon as the
evaluator has passed what was looked through, the scanner rests.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from alerts import dispatcher_metrics as metrics
from alerts.borrowed import CHANGES, Borrowed, by_bytes_alone, glances_of, sources_in
from alerts.crashes import Crashes, accused
from alerts.decisions import progress_of
from alerts.signs import Sign, signs_of
from alerts.suspects import Finding
from ingest.admission import Admission
from ingest.errors import BelowFloor
from ingest.glance import JOINT, Glance
from ingest.journal import BEGINNING, Record, Stream
from ingest.message import MESSAGE, Kind, decode_message
from ingest.patience import Patience
from ingest.readings import SECOND

#: The evaluator is behind when it has left a record unjudged for so long. Told within 2 s is what is promised; and
#: without decisions it says only every half second how far it is.
BEHIND_AFTER = 1_200_000
_LOOK_EVERY_S = 0.1
_SAY_EVERY_S = 0.25
_BATCH = 1_000
_MESSAGE, _SOURCES = int(Kind.MESSAGE), int(Kind.SOURCES)  # asked for each record, and many times faster plain
#: Findings the dispatcher has not taken yet: a disk that takes no page must not fill the memory.
_MOST_WAITING = 1_000

log = structlog.get_logger()


class Judged(msgspec.Struct, frozen=True):
    """How far the evaluator has come, and when (µs) it said so; BEGINNING: there never was one."""

    cursor: int = BEGINNING
    at: int = 0


def judged_by(records: Iterable[Record], before: Judged) -> Judged:
    """How far the evaluator was when it wrote the newest of these decisions."""
    for record in reversed(list(records)):
        progress = progress_of(record)
        if progress is not None:
            return Judged(progress.cursor, record.at) if progress.cursor > before.cursor else before
    return before


def newest_judged(decisions: Stream) -> Judged:
    """How far the evaluator has come, by all the log says; it wrote one of these in the last second of its life."""
    newest = [decisions.last(kind) for kind in (Kind.PROGRESS, Kind.TRANSITION, Kind.INCIDENT, Kind.TELL)]
    found = sorted((record for record in newest if record is not None), key=lambda record: record.offset)
    return judged_by(found, Judged())


class _Address(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a Message, what says which test is its."""

    topic: str
    source: str


_decode_addresses = msgspec.msgpack.Decoder(list[_Address]).decode


class Scanner:
    """One shard's scanner. `folder` is the shard's own, beside the log; `now` the wall clock in µs.

    `judged` is set by the dispatcher, and `found` taken by it from the left. `stretch` and `position` say where an
    earlier scanner of this shard began to run ahead, and how far it came. `since`: older records are told by nobody
    when there never was an evaluator (µs).
    """

    def __init__(
        self,
        *,
        shard: str,
        messages: Stream,
        folder: Path,
        now: Callable[[], int],
        judged: Judged,
        stretch: int,
        position: int,
        since: int,
    ) -> None:
        self.judged = judged
        self.found: deque[Finding] = deque()
        self.ahead = False  #: whether it is looking ahead just now
        self._shard = shard
        self._messages = messages
        self._folder = folder
        self._now = now
        self._stretch = stretch
        self._position = position
        self._since = since
        self._said, self._said_at = position, 0.0
        self._first = (BEGINNING, 0.0)
        self._glances: dict[str, Glance | None] | None = None
        self._borrowed: Borrowed | None = None
        self._accused: frozenset[int] = frozenset()
        self._crashes: Crashes | None = None

    def run(self, stop: threading.Event) -> None:
        """Look ahead whenever that is needed, until `stop`."""
        patience = Patience(f"scanner of {self._shard}")
        self._crashes = Crashes(self._folder / "scanner.crashes")
        while not stop.is_set():
            try:
                moved = self.turn()
            except Exception as error:  # no slip of ours may end the look-out
                metrics.TROUBLES.labels(self._shard).inc()
                patience.failed(error, stop)
            else:
                patience.worked()
                if not moved:
                    stop.wait(_LOOK_EVERY_S)
        self._crashes.close()

    def turn(self) -> bool:
        """Look through one batch ahead of the evaluator; False when it is not behind, or nothing is new."""
        judged = self.judged
        if judged.cursor >= self._position:
            self._rest(judged.cursor)
        behind = self._behind(judged.cursor)
        metrics.BEHIND.labels(self._shard).set(behind / SECOND)
        if behind < BEHIND_AFTER or len(self.found) >= _MOST_WAITING:
            return False
        records = self._read(self._position)
        signs = self._signs_in(records, judged) if records else []
        self._position = records[-1].offset if records else self._position
        metrics.SCANNED.labels(self._shard).inc(len(records))
        if signs or not records or time.monotonic() - self._said_at >= _SAY_EVERY_S:
            self._say(signs, behind)
        return bool(records)

    def _say(self, signs: list[Sign], behind: int) -> None:
        """Hand over what was found, and now and then how far it was looked through: taking it is a write to disk."""
        if signs or self._position != self._said:
            self.found.append(Finding(stretch=self._stretch, until=self._position, signs=tuple(signs), behind=behind))
        self._said, self._said_at = self._position, time.monotonic()

    def _rest(self, cursor: int) -> None:
        """The evaluator has passed all that was looked through."""
        if self.ahead:
            log.info("the evaluator has caught up", shard=self._shard, looked_through=self._position)
        self.ahead = False
        self._stretch = self._position = self._said = cursor
        self._glances, self._borrowed = None, None

    def _behind(self, cursor: int) -> int:
        """How long (µs) the first record not judged has waited: by log time, or since we saw it, as clocks are set."""
        first = next(iter(self._read(cursor, 1)), None)
        if first is None:
            return 0
        if first.offset != self._first[0]:
            self._first = (first.offset, time.monotonic())
        return max(self._now() - first.at, round((time.monotonic() - self._first[1]) * SECOND), 0)

    def _read(self, after: int, limit: int = _BATCH) -> list[Record]:
        try:
            return self._messages.read(after, limit)
        except BelowFloor:
            return self._messages.read(self._messages.floor(), limit)

    # ---- one batch --------------------------------------------------------------------------------------------------

    def _signs_in(self, records: list[Record], judged: Judged) -> list[Sign]:
        if not self.ahead:
            self.ahead = True
            log.warning("the evaluator is behind, looking ahead for fires", shard=self._shard, at=judged.cursor)
        self._accused = accused(self._folder / "evaluator.crashes")
        signs: list[Sign] = []
        for record in self._worth_decoding(records):
            admission = self._admitted(record)
            told = judged.cursor != BEGINNING or record.at >= self._since
            if admission is not None and told and (admission.readings or admission.suspicion):
                retained = decode_message(record.meta).retain
                signs += signs_of(admission, offset=record.offset, at=record.at, retained=retained, judged_at=judged.at)
        return signs

    def _worth_decoding(self, records: list[Record]) -> list[Record]:
        """Messages that may say fire, and what changes how they are read, in order."""
        if self._glances is None:
            self._glances = self._sources_at(records[0].offset - 1)
        picked: list[Record] = []
        after = 0
        for place, record in enumerate(records):
            if record.kind == _SOURCES:
                picked += self._may_say_fire(records[after:place], self._glances)
                self._glances = self._changed(record, self._glances)
                after = place
        picked += self._may_say_fire(records[after:], self._glances)
        changes = [record for record in records if record.kind in CHANGES]
        if picked or self._borrowed is not None:
            return sorted([*picked, *changes], key=lambda record: record.offset)
        return []  # who borrows later learns of the changes then

    def _may_say_fire(self, records: list[Record], glances: dict[str, Glance | None]) -> list[Record]:
        """Those of the messages that bytes alone do not acquit. All at once first: nearly always that is all."""
        messages = [record for record in records if record.kind == _MESSAGE]
        if not messages:
            return []
        sources = [address.source for address in _addresses(messages)]
        tests = {source: glances.get(source) for source in set(sources)}
        values = JOINT.join([message.value for message in messages])
        if not any(test is None or test(values) for test in set(tests.values())):
            return []
        named = [(message, tests[source]) for message, source in zip(messages, sources, strict=True)]
        return [message for message, test in named if test is None or test(message.value)]

    def _sources_at(self, offset: int) -> dict[str, Glance | None]:
        """The tests in force there: by the newest sources of the log, unless they are newer."""
        newest = self._messages.last(Kind.SOURCES)
        sources = sources_in(newest) if newest is not None and newest.offset <= offset else None
        return glances_of(sources if sources is not None else self._memory_at(offset).memory.sources)

    def _changed(self, record: Record, glances: dict[str, Glance | None]) -> dict[str, Glance | None]:
        sources = sources_in(record) if record.kind == Kind.SOURCES else None
        return glances if sources is None else glances_of(sources)

    def _memory_at(self, offset: int) -> Borrowed:
        if self._borrowed is None:
            began = time.monotonic()
            self._borrowed = Borrowed(self._shard, self._messages, self._folder / "checkpoints", until=offset)
            log.info("memory borrowed", shard=self._shard, took_s=round(time.monotonic() - began, 3))
        return self._borrowed

    def _admitted(self, record: Record) -> Admission | None:
        """What becomes of it; a record that breaks a decoder, or broke the evaluator, is judged by its bytes."""
        borrowed = self._memory_at(record.offset - 1)
        if record.offset in self._accused or (self._crashes and record.offset == self._crashes.deadly):
            return by_bytes_alone(record) if record.kind == MESSAGE else None
        if self._crashes:
            self._crashes.judging(record.offset)
        try:
            return borrowed.take(record)
        except Exception as error:
            log.error("a record broke the scan", shard=self._shard, offset=record.offset, error=type(error).__name__)
            return by_bytes_alone(record) if record.kind == MESSAGE else None
        finally:
            if self._crashes:
                self._crashes.done()


def _addresses(messages: list[Record]) -> list[_Address]:
    """Decoded together: for each by itself the calls alone would take twice as long as all the rest."""
    metas = [message.meta for message in messages]
    return _decode_addresses(b"\xdd" + len(metas).to_bytes(4, "big") + b"".join(metas))
