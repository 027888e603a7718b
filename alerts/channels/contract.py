"""What every channel promises the dispatcher."""

from __future__ import annotations

from typing import Protocol

import msgspec

from alerts.outbox import DeliveryOutcome


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended; `retry_after_s` is the wait the other side asked for, 0 for none."""

    outcome: DeliveryOutcome
    detail: str
    retry_after_s: float = 0.0


class Sender(Protocol):
    """One channel, open. Called from several threads at once."""

    def send(self, body: bytes, *, key: str, now: int) -> Answer:
        """Try once to deliver this page (UTF-8 JSON, see alerts.payload) under its idempotency key.

        Never raises, and returns within the channel's time-out. RETRY only when the other side surely does not
        have the page, UNKNOWN when it may. `now` (µs) is for dates in the answer.
        """

    def close(self) -> None:
        """Let go of connections."""
