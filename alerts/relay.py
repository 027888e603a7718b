"""The relay: what people wrote into the database it carries into the log: acts, duty checks, inventory changes.

It appends, then marks. A crash between the two repeats a record, which its readers tolerate: the engine remembers the
ids of acts, and an inventory change applied twice changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from alerts import metrics
from alerts import relay_store as store
from ingest.duty_store import mark_checks, waiting_checks
from ingest.errors import Unavailable
from ingest.journal import Entry, Stream
from ingest.message import Kind, encode
from ingest.patience import Patience
from ingest.quarantine import mark_carried, waiting_redrives

POLL_SECONDS = 0.5
ACTS_A_PASS = 500
REDRIVES_A_PASS = 500
CHANGES_A_PASS = 20  #: an inventory change may be large

log = structlog.get_logger()


class Journal(Protocol):
    """A shard's log, as far as the relay needs it."""

    @property
    def messages(self) -> Stream: ...


class Relay:
    """The relay of the shards of this machine. `now` is the wall clock in µs."""

    def __init__(
        self,
        journals: Mapping[str, Journal],
        pool: ConnectionPool[Connection[TupleRow]],
        now: Callable[[], int],
    ) -> None:
        self._journals = journals
        self._pool = pool
        self._now = now
        self._carried: set[tuple[int, str]] = set()  # inventory changes that some, not all, shards have

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop`; waits out a missing database and a full log."""
        patience = Patience("relay")
        while not stop.is_set():
            try:
                with self._pool.connection() as connection:
                    self._listen(connection, stop, patience)
            except (Unavailable, psycopg.Error) as error:
                metrics.RELAY_RETRIES.inc()
                patience.failed(error, stop)

    def _listen(self, connection: Connection[TupleRow], stop: threading.Event, patience: Patience) -> None:
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {store.ACTS}")
            while not stop.is_set():
                moved = self.turn(connection)
                patience.worked()
                if not moved:
                    list(connection.notifies(timeout=POLL_SECONDS, stop_after=1))
        finally:
            connection.close()  # it listens: nobody else's any more; the pool makes a new one

    def turn(self, connection: Connection[TupleRow]) -> int:
        """Carry what waits, a bounded piece of it; how many. One shard's trouble does not keep the others waiting."""
        moved, trouble = 0, None
        acts = [partial(self._acts, connection, shard) for shard in self._journals]
        checks = [partial(self._duty_checks, connection, shard) for shard in self._journals]
        redrives = [partial(self._redrives, connection, shard) for shard in self._journals]
        for carry in (*acts, *checks, partial(self._inventory, connection), *redrives):
            try:
                moved += carry()
            except Unavailable as error:
                trouble = trouble or error
        if trouble:
            raise trouble
        return moved

    def _acts(self, connection: Connection[TupleRow], shard: str) -> int:
        with connection.transaction():
            waiting = store.waiting_acts(connection, [shard], ACTS_A_PASS)
            sound = [each for each in waiting if each.act is not None]
            entries = [Entry(Kind.ACT, value=encode(each.act)) for each in sound if each.act is not None]
            if entries:
                self._journals[shard].messages.append(entries, now=self._now(), urgent=True)
                store.mark_relayed(connection, [each.id for each in sound], now=self._now())
            for each in waiting:
                if each.act is None:
                    log.error("act refused", act=each.id, reason=each.problem)
                    store.refuse_act(connection, each.id, each.problem)
        metrics.RELAYED.labels("act").inc(len(sound))
        metrics.RELAYED.labels("act_refused").inc(len(waiting) - len(sound))
        return len(waiting)

    def _duty_checks(self, connection: Connection[TupleRow], shard: str) -> int:
        """Whether fire panels are manned, somebody asks."""
        with connection.transaction():
            waiting = waiting_checks(connection, shard, ACTS_A_PASS)
            if waiting:
                self._journals[shard].messages.append([entry for _, entry in waiting], now=self._now())
                mark_checks(connection, [id for id, _ in waiting])
        metrics.RELAYED.labels("duty_check").inc(len(waiting))
        return len(waiting)

    def _redrives(self, connection: Connection[TupleRow], shard: str) -> int:
        """Messages that somebody wants judged once more; one carried twice moves in the books once."""
        with connection.transaction():
            waiting = waiting_redrives(connection, shard, REDRIVES_A_PASS)
            if waiting:
                self._journals[shard].messages.append([entry for _, entry in waiting], now=self._now())
                mark_carried(connection, shard, [offset for offset, _ in waiting])
        metrics.RELAYED.labels("redrive").inc(len(waiting))
        return len(waiting)

    def _inventory(self, connection: Connection[TupleRow]) -> int:
        with connection.transaction():
            changes = store.waiting_inventory(connection, CHANGES_A_PASS)
            for shard, journal in self._journals.items():
                new = [(change, delta) for change, delta in changes if (change, shard) not in self._carried]
                if new:
                    journal.messages.append([Entry(Kind.INVENTORY, value=delta) for _, delta in new], now=self._now())
                    self._carried.update((change, shard) for change, _ in new)
            store.mark_inventory_relayed(connection, [change for change, _ in changes], now=self._now())
        self._carried.clear()
        metrics.RELAYED.labels("inventory").inc(len(changes))
        return len(changes)
