"""A session that was left: what the broker holds in it is taken in as backlog, then the session is ended for good.

First it is unsubscribed from everything, so that it grows no more. Killed at any moment, the next start does all of
it again: as long as the memory of sessions knows it, it may hold something.
"""

from __future__ import annotations

import structlog

from ingest.connection import Connection, Phase, Shared
from ingest.overlap import print_of
from ingest.packets import Publish
from ingest.subscriptions import Plan

QUIET_S = 10.0  #: nothing more for so long, behind an answer that says the queue is empty
RESERVED_STAMPS = 50_000  #: times of held messages that are noted on disk as used at once

log = structlog.get_logger()


class OldSession(Connection):
    """See the module. `successor`: the connection that goes on with another session instead, where there is one."""

    all_backlog = True
    window = 2_000  #: enough to drain fast; a broker that sends all of a queue at once keeps the news waiting

    def __init__(self, plan: Plan, session: str, shared: Shared, successor: Connection | None) -> None:
        super().__init__(plan, session, shared)
        if successor is not None:
            self.overlap = successor.overlap
            self._protocol = successor._protocol
        self.missing = False  #: the broker had not kept it
        self.ended = False
        self.taken = 0  #: messages since the start
        self._empty = False
        self._stamps_until = 0
        self._quiet_since = 0.0

    def step(self, monotonic: float) -> None:
        super().step(monotonic)
        if self.phase is not Phase.LISTENING:
            return
        if self._discards:  # and was let in: the broker has dropped the session, and keeps none from now on
            self.close()
            self._memory.forget(self.session)
            self.ended = True
        elif self._empty or self._is_drained(monotonic):
            self.close()
            self._discards, self._due = True, monotonic

    def acknowledge(self) -> None:
        self.taken += len(self.batch.entries)
        self._quiet_since = self._monotonic()
        super().acknowledge()

    def _is_drained(self, monotonic: float) -> bool:
        waits = self._unsubscribing or self._drain.active or self.batch.acks or self.batch.entries
        return not waits and monotonic - self._quiet_since >= QUIET_S

    def _let_in(self, *, present: bool) -> None:
        self.phase, self.error = Phase.LISTENING, ""
        self._quiet_since = self._monotonic()
        if self._discards:
            return
        filters = self._memory.filters(self.session)
        self._empty = not present
        if not present:
            self.missing = bool(filters) and not self._memory.is_guessed(self.session)
            if self.missing:
                self._report_loss()
            return
        if self.overlap is not None:
            self.overlap.close()
        if filters:
            self._unsubscribe(filters)
        self._stamp = self._stamps_until = self._memory.stamp(self.session) or self._first_stamp()
        self._begin_drain()

    def _unsubscribed(self) -> None:
        self._memory.remember(self.session, ())

    def _overlaps(self, publish: Publish, first: int) -> bool:
        """Whether the new session brought it too, and it is on disk."""
        mark = print_of(publish.topic, publish.payload, first >> 1 & 3)
        return self.overlap is not None and self.overlap.is_double(mark)

    def _next_stamp(self) -> int:
        if self._stamp >= self._stamps_until:
            self._stamps_until = self._stamp + RESERVED_STAMPS
            self._memory.keep_stamp(self.session, self._stamps_until)
        return super()._next_stamp()

    def _take_probe(self, topic: str, payload: bytes) -> None:
        """One of before we were away: it says nothing new."""
