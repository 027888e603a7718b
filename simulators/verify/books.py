"""Messages: what was sent against the ledger's books. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from simulators.verify.findings import Check, Finding, Kind, Tally
from simulators.verify.readings import Surplus
from simulators.verify.said import Expected

Book = dict[str, int]

#: What each book's first figure is the sum of, and what its rest waits for.
_SUMS = {
    "messages": ("received", ("stored", "duplicate", "quarantined", "no_reading", "waiting")),
    "alerts": ("opened", ("notified", "suppressed", "pending")),
    "deliveries": ("created", ("accepted", "failed", "waiting")),
}


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What `emberwatch ledger --json` says, as far as it is compared."""

    messages: Book
    alerts: Book
    deliveries: Book
    balanced: bool
    imbalances: tuple[str, ...] = ()


def check_books(after: Ledger, before: Ledger | None, expected: Expected, surplus: Surplus, tally: Tally) -> None:
    """Compare; without `before` the ledger began with what the tapes hold."""
    tally.begin(Check.MESSAGES)
    tally.compare(Check.MESSAGES, expected.sent)
    books = {name: _since(getattr(after, name), getattr(before, name) if before else {}) for name in _SUMS}
    findings = [*_arrivals(books["messages"], expected, surplus), *_outcomes(books["messages"], expected)]
    findings += [*_open_ends(after), *_balance(after)]
    for finding in findings:
        tally.found(finding)
    if expected.other:
        tally.not_checked(f"what became of {expected.other:,} messages in formats other than ember-json")


def _since(after: Book, before: Book) -> Book:
    return {name: count - before.get(name, 0) for name, count in after.items()}


def _arrivals(messages: Book, expected: Expected, surplus: Surplus) -> Iterator[Finding]:
    received, allowed = messages.get("received", 0), surplus.wills + surplus.retained
    seen = f"{received:,} received"
    if received < expected.sent:
        some = f", {expected.qos_0:,} of them at QoS 0" if expected.qos_0 else ""
        yield _finding(Kind.LOST, _messages(expected.sent - received), f"{expected.sent:,} sent{some}", seen)
    too_many = max(received - expected.sent - allowed, 0)
    duplicate = messages.get("duplicate", 0)
    if expected.cut:  # what came beyond it may be what the tape has lost
        return
    repeats = 0 if expected.other else max(duplicate - expected.most_duplicates, 0)
    if too_many or repeats:
        allowances = f", {allowed} of them by the broker itself" if allowed else ""
        yield _finding(
            Kind.TWICE,
            _messages(max(too_many, repeats)),
            f"{expected.sent:,} sent and {_span(expected)} duplicate",
            f"{seen}{allowances} and {duplicate:,} duplicate",
        )


def _outcomes(messages: Book, expected: Expected) -> Iterator[Finding]:
    """What should have become of them, where their format is known."""
    if expected.other:
        return
    duplicate, quarantined = messages.get("duplicate", 0), messages.get("quarantined", 0)
    if duplicate < expected.least_duplicates:
        what = f"{_messages(expected.least_duplicates - duplicate)} taken for news or lost"
        yield _finding(Kind.WRONG, what, f"{_span(expected)} duplicate", f"{duplicate:,}")
    if quarantined != expected.quarantined and not (expected.cut and quarantined > expected.quarantined):
        what = f"{_messages(abs(quarantined - expected.quarantined))} with another end"
        hint = " (emberwatch quarantine list says why)" if quarantined else ""
        yield _finding(Kind.WRONG, what, f"{expected.quarantined:,} quarantined", f"{quarantined:,}{hint}")


def _open_ends(after: Ledger) -> Iterator[Finding]:
    """What has no end yet, or a bad one."""
    for kind, book, name, what in (
        (Kind.LATE, after.messages, "waiting", "messages not written yet"),
        (Kind.LATE, after.alerts, "pending", "alerts not told yet"),
        (Kind.LATE, after.deliveries, "waiting", "pages not delivered yet"),
        (Kind.LOST, after.deliveries, "failed", "pages that no channel took"),
    ):
        count = book.get(name, 0)
        if count:
            yield _finding(kind, what, "0", f"{count:,} {name}")


def _balance(after: Ledger) -> Iterator[Finding]:
    for book, (whole, parts) in _SUMS.items():
        figures: Book = getattr(after, book)
        total = sum(figures.get(name, 0) for name in parts)
        if figures.get(whole, 0) != total:
            yield _finding(Kind.WRONG, f"the {book}' book", f"{whole} {figures.get(whole, 0):,}", f"parts of {total:,}")
    for line in after.imbalances:
        yield _finding(Kind.WRONG, "the books", "that they balance", line)
    if not after.balanced and not after.imbalances:
        yield _finding(Kind.WRONG, "the books", "that they balance", "that they do not")


def _finding(kind: Kind, what: str, expected: str, seen: str) -> Finding:
    return Finding(kind=kind, check=Check.MESSAGES, what=what, expected=expected, seen=seen)


def _messages(count: int) -> str:
    return f"{count:,} message" + ("s" if count != 1 else "")


def _span(expected: Expected) -> str:
    least, most = expected.least_duplicates, expected.most_duplicates
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
