"""The writer: the `messages` stream of one shard into PostgreSQL, each message exactly once.

Readings, state changes, quarantine rows, books and cursor of a batch commit in one transaction, fenced by the
owner's epoch. Admitting needs a memory, and a restart must have it exactly as it was: now and then the memory is
saved in the same transaction, the log is held at that offset, and a restart admits again, in silence, what lies
between there and the cursor. While the database is away the batch at hand waits; the log keeps all that follows.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import psycopg
import structlog
from psycopg_pool import ConnectionPool

from ingest import store
from ingest.admission import Outcome, Reason
from ingest.backoff import Backoff
from ingest.batch import BOOKS, Batch, States, Writing, is_refusal, write_batch
from ingest.codecs.contract import Request
from ingest.errors import BelowFloor, Fenced, OperatorError, Unavailable
from ingest.journal import BEGINNING, Journal, Record
from ingest.memory import Memory
from ingest.message import EngineError, Kind
from ingest.metrics import WriterMetrics
from ingest.readings import SECOND
from ingest.skews import Skews
from ingest.sources import Sources
from ingest.store import Connection, Cursor, DeviceKey

READER = "writer"
BATCH = 5_000  #: records of one transaction
#: Caught up, it collects for this long between two commits: fewer, larger transactions cost the machine less.
LINGER = 0.2
IDLE = 0.2  #: it looks for a stop this often
#: Save the memory after this long, or so many records, but never spend more than a fiftieth of the time on it.
SAVE_SECONDS = 60.0
SAVE_RECORDS = 1_000_000
SAVE_SHARE = 50
#: At a stop the memory is saved only when that is quick: up to so many devices, and with the database at hand.
QUICK_DEVICES = 50_000
QUICK_SECONDS = 0.5
LOCK_TIMEOUT = "2s"
#: What a codec wanted published longer ago than this is nobody's wish any more.
FRESH = 60 * SECOND

log = structlog.get_logger()
T = TypeVar("T")


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    """What `writer_memory` keeps, compressed."""

    memory: bytes
    states: bytes


class Writer:
    """One shard's writer. `pool` gives PostgreSQL connections, `now` the wall clock in µs, for metrics alone.

    `sources` count until the log's first Kind.SOURCES record; the command hands in none, so that the log decides.
    `ask` publishes what codecs want of devices; it must not block.
    """

    def __init__(
        self,
        journal: Journal,
        shard: str,
        pool: ConnectionPool[Connection],
        sources: Sources,
        now: Callable[[], int],
        ask: Callable[[Sequence[Request]], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._shard = shard
        self._pool = pool
        self._now = now
        self._ask = ask
        self._memory = Memory(sources)
        self._states = States()
        self._skews = Skews()
        self._keys: dict[DeviceKey, int] = {}
        self._cursor = Cursor(BEGINNING, 0, {})
        self._taken = BEGINNING  # the offset that the memory is at
        self._epoch = 0
        self._saved_at = time.monotonic()
        self._save_cost = 0.0
        self._unsaved = 0  # records admitted since the memory was saved
        self._metrics = WriterMetrics(shard=shard, outcomes=list(Outcome), reasons=list(Reason))

    @property
    def cursor(self) -> int:
        """The offset up to which everything is in the database."""
        return self._cursor.offset

    def run(self, stop: threading.Event) -> None:
        """Write until `stop`. OperatorError when another writer owns the shard, Fenced when one took over."""
        owned = self._journal.own(READER)
        self._epoch = owned.epoch
        try:
            if not self.resume(stop):
                return
            while not stop.is_set():
                self._turn(stop)
            self._save_quickly()
        finally:
            owned.release()

    # starting

    def resume(self, stop: threading.Event) -> bool:
        """Take over the cursor and remember what there was to remember; False when stopped meanwhile."""
        taken = self._stubbornly(self._take_over, stop)
        if taken is None:
            return False
        self._cursor, saved = taken
        after = BEGINNING
        if saved is not None:
            after, dump = saved
            kept = msgspec.msgpack.decode(zlib.decompress(dump), type=_Saved)
            self._memory, self._states = Memory.load(kept.memory), States.load(kept.states)
        self._journal.messages.hold(READER, after)
        self._unsaved = self._admit_again(after, stop)
        self._taken = self.cursor
        log.info("writing", shard=self._shard, cursor=self.cursor, remembered=after, admitted_again=self._unsaved)
        return not stop.is_set()

    def _take_over(self, connection: Connection) -> tuple[Cursor, tuple[int, bytes] | None]:
        cursor = store.claim_cursor(connection, reader=READER, shard=self._shard, epoch=self._epoch)
        self._skews = Skews(store.load_skews(connection, shard=self._shard))
        return cursor, store.load_memory(connection, shard=self._shard)

    def _admit_again(self, after: int, stop: threading.Event) -> int:
        """Admit in silence what is in the database already; how many records that were."""
        count = 0
        while after < self.cursor and not stop.is_set():
            records = [record for record in self._read(after) if record.offset <= self.cursor]
            if not records:
                break
            Batch().take(records, self._memory, self._states)
            after = records[-1].offset
            count += len(records)
        return count

    def _read(self, after: int) -> list[Record]:
        try:
            return self._journal.messages.read(after, BATCH)
        except BelowFloor as error:
            raise OperatorError(
                f"the writer of shard {self._shard} needs the log behind offset {after}, and that is gone ({error}); "
                "the database is another or an older one: put the right one back, or begin anew with an empty "
                "database and an empty journal folder"
            ) from None

    # running

    def _turn(self, stop: threading.Event) -> None:
        started = time.monotonic()
        records = self._read(self.cursor)
        if not records:
            self._metrics.caught_up()
            self._journal.messages.wait(self.cursor, IDLE)
            return
        batch = Batch()
        self._taken = records[-1].offset
        batch.take(records, self._memory, self._states)
        self._unsaved += len(records)
        batch.skews = self._skews.news(self._memory.clocks.wrong)
        for flood in batch.floods:
            log.warning("a device floods", shard=self._shard, flood=flood)
        if fresh := [request for at, request in batch.requests if self._now() - at < FRESH]:
            self._ask(fresh)
        self._forget_removed(batch)
        self._commit(batch, self._reported(batch), stop)
        if len(records) < BATCH:
            stop.wait(max(0.0, LINGER - (time.monotonic() - started)))

    def _forget_removed(self, batch: Batch) -> None:
        for delta in batch.deltas:
            for removed in delta.removed_devices:
                site, _, device = removed.partition("/")
                self._keys.pop((site, device), None)

    def _reported(self, batch: Batch) -> dict[int, Record]:
        """The messages that the batch's engine errors name, where the log still has them."""
        found = (self._message_at(error) for error in batch.errors if error.offset < batch.last)
        return {record.offset: record for record in found if record is not None}

    def _message_at(self, error: EngineError) -> Record | None:
        try:
            records = self._journal.messages.read(error.offset - 1, 1)
        except BelowFloor:
            log.error("the log no longer has the record that the engine could not judge", offset=error.offset)
            return None
        here = [record for record in records if record.offset == error.offset and record.kind == Kind.MESSAGE]
        return here[0] if here else None

    def _commit(self, batch: Batch, reported: dict[int, Record], stop: threading.Event) -> None:
        """Write until it is written, or stopped: then the next start does it."""
        dump = self._dump_when_due()
        careful = False

        def attempt(connection: Connection) -> tuple[Cursor, Writing]:
            nonlocal careful
            try:
                return self._write(connection, batch, reported, dump, careful=careful)
            except Exception as error:
                if careful or not is_refusal(error):
                    raise
                careful = True
                log.warning(
                    "the database refuses a batch; looking for the records", shard=self._shard, error=_line(error)
                )
                raise _Again from None

        started = time.monotonic()
        done = self._stubbornly(attempt, stop)
        if done is None:
            return
        self._cursor, writing = done
        self._keys.update(writing.keys)
        if dump is not None:
            self._saved(batch.last)
        if batch.skews is not None:
            self._skews.written(batch.skews)
        reasons = [aside.reason for aside in (*batch.asides, *writing.refused)]
        lag = max(0, self._now() - batch.last_at) / 1e6
        self._metrics.written(writing.counts, reasons, seconds=time.monotonic() - started, lag=lag)
        self._metrics.rate_limited(batch.limited)
        self._metrics.probe_written(batch.probe)

    def _write(
        self, connection: Connection, batch: Batch, reported: dict[int, Record], dump: bytes | None, *, careful: bool
    ) -> tuple[Cursor, Writing]:
        """One attempt, one transaction."""
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())
        cursor = store.lock_cursor(connection, reader=READER, shard=self._shard)
        if cursor.epoch != self._epoch:
            raise Fenced(f"epoch {cursor.epoch} writes shard {self._shard}; ours, {self._epoch}, is over")
        if cursor.offset == batch.last:  # an attempt whose answer was lost had been committed
            return cursor, Writing()
        if cursor.offset != self.cursor:
            raise Fenced(f"somebody moved the cursor of shard {self._shard} from {self.cursor} to {cursor.offset}")
        writing = write_batch(
            connection, batch, shard=self._shard, known=self._keys, reported=reported, careful=careful
        )
        counts = {name: cursor.counts.get(name, 0) + writing.counts[name] for name in BOOKS}
        if dump is not None:
            store.save_memory(connection, shard=self._shard, offset=batch.last, dump=dump)
        store.move_cursor(
            connection, reader=READER, shard=self._shard, offset=batch.last, counts=counts, probe=batch.probe
        )
        return Cursor(batch.last, self._epoch, counts), writing

    # remembering

    def _dump_when_due(self) -> bytes | None:
        age = time.monotonic() - self._saved_at
        due = age >= SAVE_SECONDS or self._unsaved >= SAVE_RECORDS
        return self._dump() if due and age >= SAVE_SHARE * self._save_cost else None

    def _dump(self) -> bytes:
        started = time.monotonic()
        saved = _Saved(self._memory.dump(), self._states.dump())
        dump = zlib.compress(msgspec.msgpack.encode(saved), 1)
        self._save_cost = time.monotonic() - started
        return dump

    def _saved(self, offset: int) -> None:
        self._journal.messages.hold(READER, offset)
        self._saved_at = time.monotonic()
        self._unsaved = 0

    def _save_quickly(self) -> None:
        """At a stop: spare the next start the repetition, if that costs next to nothing.

        Never when the memory knows of a batch that is not in the database: its readings would pass for repeats.
        """
        if self._taken != self.cursor or not self._unsaved or len(self._memory.inventory.devices) > QUICK_DEVICES:
            return
        try:
            with self._pool.connection(timeout=QUICK_SECONDS) as connection:
                connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())
                cursor = store.lock_cursor(connection, reader=READER, shard=self._shard)
                if (cursor.epoch, cursor.offset) != (self._epoch, self.cursor):
                    return
                store.save_memory(connection, shard=self._shard, offset=self.cursor, dump=self._dump())
        except (Unavailable, Fenced, psycopg.Error) as error:
            log.info("the memory was not saved; the next start repeats some work", error=_line(error))
        else:
            self._saved(self.cursor)

    # the database may be away

    def _stubbornly(self, work: Callable[[Connection], T], stop: threading.Event) -> T | None:
        """Do it in one transaction, again and again until it is committed; None when stopped before that."""
        backoff, said = Backoff(), ""
        while not stop.is_set():
            try:
                with self._pool.connection(timeout=1.0) as connection:
                    result = work(connection)
            except _Again:
                continue
            except (Unavailable, psycopg.Error) as error:
                self._metrics.retried()
                if (line := _line(error)) != said:
                    log.warning("cannot write; nothing is lost, trying again", shard=self._shard, error=line)
                    said = line
                stop.wait(backoff.next())
            else:
                if said:
                    log.info("writing again", shard=self._shard)
                return result
        return None


class _Again(Exception):
    """Try the same at once, in another way."""


def _line(error: Exception) -> str:
    state = getattr(error, "sqlstate", None)
    hint = "; run `emberwatch migrate`" if state in ("42P01", "42703") else ""
    return " ".join(str(error).split()) + (f" (SQLSTATE {state})" if state else "") + hint
