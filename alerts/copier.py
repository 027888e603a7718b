"""Copies what the outbox made and heard into the decisions log, from where the recorder takes it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

from alerts import dispatcher_metrics as metrics
from alerts.outbox import Outbox
from ingest.errors import Unavailable
from ingest.journal import Entry, Stream
from ingest.patience import Patience

_BATCH = 500


class Copier:
    """A thread of its own, so that a slow log holds up no page. A crash between two copies makes a copy again, under
    the same id, which the recorder takes for what it is."""

    def __init__(self, shard: str, outbox: Outbox, decisions: Stream, now: Callable[[], int]) -> None:
        self._shard = shard
        self._outbox = outbox
        self._decisions = decisions
        self._now = now
        self._awake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"copier-{shard}", daemon=True)

    def start(self, stop: threading.Event) -> None:
        self._stop = stop
        self._thread.start()

    def wake(self) -> None:
        """There is something to copy."""
        self._awake.set()

    def finish(self) -> None:
        """After `stop`: end the thread and copy the rest; what the log does not take now, the next start copies."""
        self.wake()
        self._thread.join()
        self._try(Patience(f"copying the last pages of {self._shard} into the log"))

    def copy(self) -> None:
        """Append the pages and receipts that the log does not have yet."""
        while copies := self._outbox.copies(_BATCH):
            entries = [Entry(copy.kind, value=copy.word) for copy in copies]
            self._decisions.append(entries, now=self._now(), urgent=True)
            self._outbox.copied(copies[-1].seq)

    def _run(self) -> None:
        patience = Patience(f"copying pages of {self._shard} into the log")
        while not self._stop.is_set():
            self._awake.wait(1.0)
            self._awake.clear()
            self._try(patience)

    def _try(self, patience: Patience) -> None:
        try:
            self.copy()
        except (Unavailable, sqlite3.Error, OSError) as error:
            metrics.TROUBLES.labels(self._shard).inc()
            self._awake.set()
            patience.failed(error, self._stop)
        else:
            patience.worked()
