"""Delivery: makes the attempts, notes what each came to, and says when to try again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping

import structlog

from alerts import dispatcher_metrics as metrics
from alerts.channels import Answer, Sender
from alerts.lanes import Lanes
from alerts.outbox import Attempt, DeliveryOutcome, Outbox, Receipt, Waiting
from alerts.payload import stamped
from alerts.teams import Channel
from ingest.readings import HOUR, SECOND
from ingest.sources import Clock

#: Seconds to the next attempt after the first, second, … one that failed; the last holds from then on.
DELAYS_S = (0.2, 0.5, 1, 2, 5, 10, 30, 60)
#: No page is given up before this.
GIVE_UP_AFTER = 24 * HOUR
_PATIENCE_AT_STOP_S = 1.0

log = structlog.get_logger()


class Delivery:
    """The sending half of a dispatcher, on threads of its own. `changed` is called when a receipt is on disk."""

    def __init__(
        self,
        *,
        shard: str,
        clock: Clock,
        outbox: Outbox,
        now: Callable[[], int],
        stop: threading.Event,
        changed: Callable[[], None],
        open_senders: Callable[[Mapping[str, Channel]], dict[str, Sender]],
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._outbox = outbox
        self._now = now
        self._stop = stop
        self._changed = changed
        self._open_senders = open_senders
        self._lanes = Lanes(self._attempt)
        self._senders: dict[str, Sender] = {}
        self._opened: Mapping[str, Channel] = {}
        self._retired: list[Sender] = []
        self._abandoned = False

    def use(self, channels: Mapping[str, Channel]) -> None:
        """Send by the channels as teams.yaml has them now; unchanged ones keep their connections."""
        if channels == self._opened:
            return
        changed = {name: channel for name, channel in channels.items() if self._opened.get(name) != channel}
        fresh = self._open_senders(changed)
        kept = {name: sender for name, sender in self._senders.items() if name in channels and name not in fresh}
        self._retired += [sender for name, sender in self._senders.items() if name not in kept]
        self._senders = {**kept, **fresh}
        self._opened = dict(channels)

    def resume(self) -> None:
        """At the start: what a crash cut off is due again at once, what waited goes on waiting."""
        for receipt in self._outbox.recover(now=self._now()):
            self.count(receipt)
        for page in self._outbox.waiting():
            self.hand_over(page)

    def hand_over(self, page: Waiting) -> None:
        """Send this page when it is due."""
        delay_s = min(max(0.0, (page.due_at - self._now()) / SECOND), DELAYS_S[-1])
        self._lanes.put(page.page, page.channel, page.signal_class, delay_s)

    def stop(self) -> None:
        """Begin no further attempt; one that hangs is left to the end of the process, and booked as unknown then."""
        self._abandoned = not self._lanes.stop(_PATIENCE_AT_STOP_S)
        if not self._abandoned:
            self._close_senders()

    def _close_senders(self) -> None:
        for sender in (*self._senders.values(), *self._retired):
            sender.close()

    # ---- on the threads of the lanes --------------------------------------------------------------------------------

    def _attempt(self, page: str) -> float | None:
        """Try once; in how many seconds again, None for never."""
        try:
            attempt = self._outbox.begin(page, now=self._now())
        except sqlite3.Error as error:
            return self._trouble("an attempt cannot be noted", error)
        if attempt is None:
            return None
        answer = self._send(attempt)
        if self._abandoned:  # it came back after stop() gave up on it
            self._close_senders()
            return None
        delay_s = max(DELAYS_S[min(attempt.number, len(DELAYS_S)) - 1], answer.retry_after_s)
        receipt = self._note(attempt, answer, delay_s)
        if receipt is None:
            return None
        self._changed()
        self.count(receipt, attempt)
        return None if receipt.final else delay_s

    def _send(self, attempt: Attempt) -> Answer:
        sender = self._senders.get(attempt.page.channel)
        if sender is None:
            detail = f"channel {attempt.page.channel} is not in teams.yaml any more"
            return Answer(outcome=DeliveryOutcome.REFUSED, detail=detail)
        now = self._now()
        try:
            body = stamped(attempt.facts, attempt.incident.state if attempt.incident else None, now)
            return sender.send(body, key=attempt.page.id, now=now)
        except Exception as error:  # a slip of ours must not cost the lane its thread, nor the page its next attempt
            log.exception("an attempt broke", shard=self._shard, page=attempt.page.id)
            return Answer(outcome=DeliveryOutcome.UNKNOWN, detail=f"our own error: {type(error).__name__} {error}")

    def _note(self, attempt: Attempt, answer: Answer, delay_s: float) -> Receipt | None:
        """The receipt, on disk; None when we stop before the disk takes it: the next start books it as unknown."""
        again = answer.outcome in (DeliveryOutcome.RETRY, DeliveryOutcome.UNKNOWN)
        while True:
            now = self._now()
            given_up = again and now - attempt.page.created_at >= GIVE_UP_AFTER
            try:
                return self._outbox.finish(
                    attempt.page.id,
                    number=attempt.number,
                    outcome=answer.outcome,
                    final=not again or given_up,
                    detail=answer.detail + ("; given up after 24 h" if given_up else ""),
                    due_at=now + int(delay_s * SECOND),
                    now=now,
                )
            except sqlite3.Error as error:
                if self._stop.wait(self._trouble("a receipt cannot be noted", error)):
                    return None

    def _trouble(self, what: str, error: Exception) -> float:
        metrics.TROUBLES.labels(self._shard).inc()
        log.error(what, shard=self._shard, error=str(error))
        return 0.5

    # ---- what is said about it --------------------------------------------------------------------------------------

    def count(self, receipt: Receipt, attempt: Attempt | None = None) -> None:
        """Book a receipt and say it in the log; without `attempt` it was not sent just now."""
        if attempt:
            metrics.ATTEMPTS.labels(self._shard, attempt.page.channel, receipt.outcome).inc()
        if receipt.outcome is DeliveryOutcome.UNKNOWN and not receipt.final:
            metrics.POSSIBLY_DOUBLED.labels(self._shard).inc()
        accepted = receipt.outcome is DeliveryOutcome.ACCEPTED
        if receipt.final:
            metrics.PAGES_SETTLED.labels(self._shard, "accepted" if accepted else "failed").inc()
        said = {"shard": self._shard, "page": receipt.page, "attempt": receipt.attempt}
        said |= {"outcome": receipt.outcome, "detail": receipt.detail}
        if attempt:
            said |= _whom(attempt)
        if accepted and attempt:
            told_s = (receipt.at - attempt.told_at) / SECOND
            if self._clock is Clock.RECEIVED:
                metrics.TOLD_LATENCY.labels(self._shard, attempt.page.signal_class).observe(max(0.0, told_s))
            log.info("page accepted", after_s=round(told_s, 3), **said)
        elif receipt.outcome is DeliveryOutcome.DROPPED:
            log.info("page not needed any more", **said)
        elif receipt.final:
            log.error("page failed for good", **said)
        else:
            log.warning("page is sent again", **said)


def _whom(attempt: Attempt) -> dict[str, object]:
    page = attempt.page
    return {
        "to": page.target,
        "channel": page.channel,
        "site": page.site,
        "signal_class": page.signal_class,
        "incident": page.incident,
        "reason": page.reason,
    }
