"""The recorder: copies a shard's decisions from the log into PostgreSQL, each once, in order.

A batch and the cursor behind it are one transaction, so a restart goes on where the database stands. The database may
be away for as long as it likes: the log keeps what was not copied. What it refuses for good is set aside by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from alerts import metrics, store
from alerts.decisions import decode, progress_of
from alerts.incident import Notice
from alerts.timeline import Word
from ingest.errors import BelowFloor, EmberwatchError, Fenced, Unavailable
from ingest.journal import BEGINNING, Record, Stream
from ingest.message import Kind
from ingest.patience import Patience
from ingest.readings import SECOND
from ingest.store import claim_cursor, lock_cursor, move_cursor

READER = "recorder"  #: its name in the table cursors and among the holds of the log
BATCH = 500
#: Batches without a decision move the durable cursor only this often: each move is a commit.
CURSOR_EVERY = 1 * SECOND
#: So often it notes where it stands even when nothing comes, so that a dead evaluator is not taken for a dead recorder.
ALIVE_EVERY = 5 * SECOND

log = structlog.get_logger()


class Ownership(Protocol):
    """The right to be the one recorder of a shard."""

    @property
    def epoch(self) -> int: ...
    def release(self) -> None: ...


class Journal(Protocol):
    """A shard's log, as far as the recorder needs it."""

    @property
    def decisions(self) -> Stream: ...
    def own(self, role: str) -> Ownership: ...


class Refused(EmberwatchError):
    """The database, or a type of its columns, will never take this: set the record aside."""


class Recorder:
    """One shard's recorder. `now` is the wall clock in µs; it paces and measures, and decides nothing."""

    def __init__(
        self, journal: Journal, shard: str, pool: ConnectionPool[Connection[TupleRow]], now: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._shard = shard
        self._pool = pool
        self._now = now
        self._lag = metrics.RECORDER_LAG.labels(shard)
        self._epoch = 0
        self._cursor: int | None = None  # None: ask the database, which may know better than we do
        self._durable = BEGINNING
        self._durable_at = 0
        self._probe = 0  # when the newest probe that the evaluator has passed was sent, µs

    def run(self, stop: threading.Event) -> None:
        """Record until `stop`. Raises Fenced when a newer owner's epoch stands in the database."""
        owned = self.own()
        patience = Patience(f"recorder of {self._shard}")
        try:
            while not stop.is_set():
                try:
                    moved = self.turn()
                    patience.worked()
                except (Unavailable, psycopg.Error) as error:
                    self._cursor = None
                    metrics.RECORDER_RETRIES.inc()
                    patience.failed(error, stop)
                else:
                    if not moved and self._cursor is not None:
                        self._journal.decisions.wait(self._cursor, 0.5)
        finally:
            owned.release()

    def own(self) -> Ownership:
        """Become the one recorder of the shard; needed before the first turn."""
        owned = self._journal.own(READER)
        self._epoch = owned.epoch
        return owned

    def turn(self, limit: int = BATCH) -> bool:
        """Copy up to `limit` records; False when there was nothing to do."""
        if self._cursor is None:
            self._cursor = self._take_over()
        try:
            records = self._journal.decisions.read(self._cursor, limit)
        except BelowFloor:
            return self._go_on_at_floor(self._cursor)
        self._note_probe(records)
        if any(record.kind != Kind.PROGRESS for record in records):
            self._record(records)
        elif records:
            self._cursor = records[-1].offset
        due = CURSOR_EVERY if self._durable < self._cursor else ALIVE_EVERY
        if self._now() - self._durable_at >= due:
            self._commit([], self._cursor)
        if not records:
            self._lag.set(0)
        return bool(records)

    def _note_probe(self, records: Sequence[Record]) -> None:
        newest = next((record for record in reversed(records) if record.meta), None)
        if newest is not None and (progress := progress_of(newest)):
            self._probe = progress.probe or self._probe

    def _take_over(self) -> int:
        """Put our epoch beside the cursor, so that an older owner writes no more; where the database stands."""
        with self._pool.connection() as connection:
            standing = claim_cursor(connection, reader=READER, shard=self._shard, epoch=self._epoch)
        self._committed(standing.offset)
        return standing.offset

    def _move(self, connection: Connection[TupleRow], offset: int) -> None:
        standing = lock_cursor(connection, reader=READER, shard=self._shard)
        if standing.epoch != self._epoch:
            raise Fenced(f"a newer recorder of {self._shard} writes here; epoch {self._epoch} is over")
        move_cursor(
            connection, reader=READER, shard=self._shard, offset=offset, counts=standing.counts, probe=self._probe
        )

    def _committed(self, offset: int) -> None:
        self._cursor = self._durable = offset
        self._durable_at = self._now()
        self._journal.decisions.hold(READER, offset)

    def _record(self, records: Sequence[Record]) -> None:
        """Copy these, halving on what is refused until it stands alone."""
        try:
            words = [(record, word) for record in records if (word := _word(record)) is not None]
            planned = [step for record, word in words for step in _plan(self._shard, record, word)]
            told = store.settle_told(word for _, word in words)
            self._commit([*planned, told] if told else planned, records[-1].offset)
        except Refused as refusal:
            if len(records) == 1:
                self._set_aside(records[0], str(refusal))
                return
            half = len(records) // 2
            self._record(records[:half])
            self._record(records[half:])
            return
        for record, _ in words:
            metrics.RECORDED.labels(Kind(record.kind).name.lower()).inc()
        self._lag.set(max(0, self._now() - records[-1].at) / SECOND)

    def _commit(self, planned: Sequence[store.Statement], offset: int) -> None:
        """These statements and the cursor, all or nothing."""
        with self._pool.connection() as connection:
            self._move(connection, offset)
            if planned:
                store.order_events(connection)
                self._execute(connection, planned)
                store.announce_events(connection)
        self._committed(offset)

    def _execute(self, connection: Connection[TupleRow], planned: Sequence[store.Statement]) -> None:
        try:
            with connection.pipeline():
                for statement in planned:
                    connection.execute(statement.sql, statement.values)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
            raise Refused(f"{' '.join(str(error).split())} (SQLSTATE {error.sqlstate})") from None

    def _set_aside(self, record: Record, reason: str) -> None:
        log.error("decision not recorded", shard=self._shard, offset=record.offset, kind=record.kind, reason=reason)
        metrics.UNRECORDED.inc()
        try:
            self._commit(store.unrecorded(self._shard, record, _word_or_none(record), reason[:500]), record.offset)
        except (Refused, ValueError) as error:
            log.error("decision lost to the database", value=record.value.hex(), reason=str(error))
            self._commit([], record.offset)

    def _go_on_at_floor(self, cursor: int) -> bool:
        """The log no longer holds what comes next: say so where people look, and go on with what there is."""
        floor = self._journal.decisions.floor()
        text = f"The log of {self._shard} begins after offset {floor}; decisions after {cursor} up to there are missing"
        log.error("decisions missing", shard=self._shard, cursor=cursor, floor=floor)
        notice = Notice(id=store.gap_id(self._shard, cursor, floor), at=self._now(), text=text)
        place = Record(offset=floor, at=notice.at, kind=Kind.NOTICE, meta=b"", value=b"")
        self._commit(store.statements(self._shard, place, notice), floor)
        return True


def _word(record: Record) -> Word | None:
    try:
        return decode(record)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refused(f"cannot be decoded: {error}") from None


def _word_or_none(record: Record) -> Word | None:
    try:
        return _word(record)
    except Refused:
        return None


def _plan(shard: str, record: Record, word: Word) -> list[store.Statement]:
    try:
        return store.statements(shard, record, word)
    except (ValueError, OverflowError) as error:
        raise Refused(str(error)) from None
