"""Pages and deliveries: the words, and the dispatcher's local outbox (SQLite)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from alerts.alert import SignalClass, derived_id


class DeliveryOutcome(StrEnum):
    """How one attempt to deliver a page ended."""

    ACCEPTED = "accepted"  #: the channel took it
    REFUSED = "refused"  #: the channel said no for good: not sent again
    RETRY = "retry"  #: it failed before anything was sent, or the channel asked to come again
    UNKNOWN = "unknown"  #: sent, and no answer seen: sent again under the same idempotency key, and counted


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target by one channel for one step of one incident. `id` is its idempotency key."""

    id: str
    tell: str
    incident: str
    site: str
    step: int
    target: str  #: team or centre id
    channel: str
    signal_class: SignalClass
    reason: str
    due_at: int
    created_at: int
    alerts: tuple[str, ...] = ()


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to. `id` is derived from page and attempt number, so a copy is never counted twice."""

    id: str
    page: str
    attempt: int
    outcome: DeliveryOutcome
    final: bool  #: no further attempt follows
    at: int
    detail: str


def page_id(tell: str, step: int, target: str, channel: str) -> str:
    """Idempotency key of one page."""
    return derived_id("page", tell, step, target, channel)


def receipt_id(page: str, attempt: int) -> str:
    """Id of the receipt of one attempt."""
    return derived_id("receipt", page, attempt)
