"""The books: what came in, what became of it, who was told; each figure counted where nobody else counts it.

What was received and what waits is counted in the log, what became of it by the writer, what was told by alert, what
was fired by transition. Figures of one moment: one snapshot of the database, then the log, again when it ran on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from psycopg import Connection

from alerts.decisions import Progress, progress_of
from alerts.ledger_store import ShardFigures, ledger_figures, shards_with_books
from ingest.errors import BelowFloor
from ingest.journal import Stream
from ingest.message import Kind

T = TypeVar("T", bound=msgspec.Struct)

#: The evaluator's records; the newest of them has its books.
_EVALUATORS = (Kind.TRANSITION, Kind.INCIDENT, Kind.TELL, Kind.HUSH, Kind.REFUSAL, Kind.NOTICE, Kind.PROGRESS)
_ATTEMPTS = 5  #: a running system may move between two counts; what is wrong stays wrong
_PAUSE_SECONDS = 0.1


class Journal(Protocol):
    """A shard's log, as far as the books need it."""

    @property
    def messages(self) -> Stream: ...
    @property
    def decisions(self) -> Stream: ...


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """received = stored + duplicate + quarantined + no_reading + waiting."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    no_reading: int = 0
    waiting: int = 0


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """Readings on their own line: a message may carry many."""

    stored: int = 0


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """opened (reached firing) = notified + suppressed + pending."""

    opened: int = 0
    notified: int = 0
    suppressed: int = 0
    pending: int = 0


class Deliveries(msgspec.Struct, frozen=True, kw_only=True):
    """created = accepted + failed + waiting."""

    created: int = 0
    accepted: int = 0
    failed: int = 0
    waiting: int = 0


class ShardBooks(msgspec.Struct, frozen=True, kw_only=True):
    """The books of one shard."""

    shard: str
    messages: Messages
    readings: Readings
    alerts: Alerts
    deliveries: Deliveries


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The books summed over all shards. `imbalances`: one line each, which book and both figures."""

    messages: Messages
    readings: Readings
    alerts: Alerts
    deliveries: Deliveries
    balanced: bool
    shards: tuple[ShardBooks, ...]
    imbalances: tuple[str, ...]


class LogFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of a shard. Messages kept coming while it was counted when low and high differ."""

    received_low: int = 0
    received_high: int = 0
    waiting: int = 0
    #: the evaluator's books, when it and the writer have both seen every message
    evaluator: dict[str, int] | None = None


def ledger(journals: Mapping[str, Journal], connection: Connection[Any]) -> Ledger:
    """The books of these shards; `connection` must not be in a transaction. Works while everything runs."""
    with connection.transaction():
        strangers = [shard for shard in shards_with_books(connection) if shard not in journals]
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        figures = ledger_figures(connection, list(journals))
        books = []
        problems = [f"{shard}: in the database, but it has no log here" for shard in strangers]
        for shard, journal in journals.items():
            log = log_figures(journal, figures[shard])
            books.append(shard_books(figures[shard], log))
            problems += [f"{shard}: {line}" for line in imbalances(books[-1], figures[shard], log)]
        if not problems:
            break
    return _summed(books, problems)


def log_figures(journal: Journal, figures: ShardFigures) -> LogFigures:
    """Count the log behind the writer's cursor. The database was read before, so the log may be ahead, never behind."""
    low, waiting, high = 0, 0, -1
    for _ in range(_ATTEMPTS):
        low = journal.messages.messages_appended()
        try:
            waiting = journal.messages.messages_after(figures.writer_cursor)
        except BelowFloor:  # the writer went on and what it read was dropped: the next snapshot knows
            waiting = 0
        high = journal.messages.messages_appended()
        if low == high:
            break
    evaluator = _evaluator(journal, figures.writer_cursor) if waiting == 0 and low == high else None
    if journal.messages.messages_appended() != high:
        evaluator = None  # it may know messages that the writer's books do not
    return LogFigures(received_low=low, received_high=high, waiting=waiting, evaluator=evaluator)


def _evaluator(journal: Journal, writer_cursor: int) -> dict[str, int] | None:
    newest = [record for kind in _EVALUATORS if (record := journal.decisions.last(kind)) is not None and record.meta]
    progress: Progress | None = progress_of(max(newest, key=lambda record: record.offset)) if newest else None
    if progress is None or journal.messages.messages_after(min(progress.cursor, writer_cursor)):
        return None
    return progress.counts


def shard_books(figures: ShardFigures, log: LogFigures) -> ShardBooks:
    """The books of a shard. Between the two counts of the log, the one that the outcomes explain is believed."""
    outcomes = {name: figures.writer.get(name, 0) for name in ("stored", "duplicate", "quarantined", "no_reading")}
    explained = sum(outcomes.values()) + log.waiting
    return ShardBooks(
        shard=figures.shard,
        messages=Messages(
            received=min(max(explained, log.received_low), log.received_high), waiting=log.waiting, **outcomes
        ),
        readings=Readings(stored=figures.writer.get("readings", 0)),
        alerts=Alerts(opened=figures.opened, **figures.told),
        deliveries=Deliveries(
            created=figures.pages, accepted=figures.accepted, failed=figures.failed, waiting=figures.waiting
        ),
    )


def imbalances(books: ShardBooks, figures: ShardFigures, log: LogFigures) -> Iterator[str]:
    """Everything that does not add up, a line each."""
    yield from _sum("messages", books.messages, "received")
    yield from _sum("alerts", books.alerts, "opened")
    yield from _sum("deliveries", books.deliveries, "created")
    for name in sorted({*figures.writer, *figures.batches}):
        yield from _same(
            f"{name}: the writer says", figures.writer.get(name, 0), "its batches", figures.batches.get(name, 0)
        )
    yield from _same(
        "quarantined: the writer says", books.messages.quarantined, "rows in quarantine", figures.quarantine
    )
    if log.evaluator is not None:
        yield from _evaluator_agrees(figures.writer, log.evaluator)
    for page in figures.doubled:
        yield f"doubled page: {page} was accepted more than once"
    yield from _same("receipts: of no page we know", figures.orphans, "expected", 0)
    yield from _same("page states that differ from their receipts", figures.misstated, "expected", 0)
    yield from _same("decisions set aside (table unrecorded)", figures.unrecorded, "expected", 0)


def _sum(book: str, figures: msgspec.Struct, whole: str) -> Iterator[str]:
    parts = msgspec.structs.asdict(figures)
    total = parts.pop(whole)
    if total != sum(parts.values()):
        terms = " + ".join(f"{name} {value}" for name, value in parts.items())
        yield f"{book}: {whole} {total}, but {terms} = {sum(parts.values())}"


def _same(left: str, one: int, right: str, other: int) -> Iterator[str]:
    if one != other:
        yield f"{left} {one}, {right} {other}"


def _evaluator_agrees(writer: Mapping[str, int], evaluator: Mapping[str, int]) -> Iterator[str]:
    """What the database alone refused is stored in the evaluator's eyes and quarantined in the writer's."""
    refused = writer.get("refused", 0)
    expected = {
        "stored": writer.get("stored", 0) + refused,
        "duplicate": writer.get("duplicate", 0),
        "quarantined": writer.get("quarantined", 0) - refused,
        "no_reading": writer.get("no_reading", 0),
    }
    for name, count in expected.items():
        yield from _same(f"{name}: writer", count, "evaluator", evaluator.get(name, 0))


def _summed(books: list[ShardBooks], problems: list[str]) -> Ledger:
    return Ledger(
        messages=_total(Messages, [each.messages for each in books]),
        readings=_total(Readings, [each.readings for each in books]),
        alerts=_total(Alerts, [each.alerts for each in books]),
        deliveries=_total(Deliveries, [each.deliveries for each in books]),
        balanced=not problems,
        shards=tuple(books),
        imbalances=tuple(problems),
    )


def _total(kind: type[T], parts: list[T]) -> T:
    return kind(**{name: sum(getattr(part, name) for part in parts) for name in kind.__struct_fields__})


def as_json(books: Ledger) -> str:
    """One JSON object, in the form that interfaces.md promises, with `shards` and `imbalances` beside it."""
    return msgspec.json.encode(books).decode()


def as_text(books: Ledger) -> str:
    """The books for people: a line each, by shard where there are several, then what does not add up."""
    lines = list(_lines("", books))
    if len(books.shards) > 1:
        for shard in books.shards:
            lines += ["", f"shard {shard.shard}", *_lines("  ", shard)]
    verdict = "balanced" if books.balanced else "NOT BALANCED"
    return "\n".join([*lines, "", verdict, *books.imbalances])


def _lines(indent: str, books: Ledger | ShardBooks) -> Iterator[str]:
    for name in ("messages", "readings", "alerts", "deliveries"):
        figures = msgspec.structs.asdict(getattr(books, name))
        yield (
            indent + f"{name:<11}" + "".join(f"{key} {value:<10,}".ljust(24) for key, value in figures.items()).rstrip()
        )
