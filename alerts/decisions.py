"""What the evaluator's decisions look like as records of the `decisions` stream. Pure.

The headers of every record say how far the evaluator had read when it decided: that input offset is its cursor.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alerts.alert import Transition
from alerts.incident import Hush, IncidentChange, Notice, Refusal, Tell
from alerts.outbox import Page, Receipt
from ingest.journal import Entry, Record
from ingest.message import Kind, encode

Decision = Transition | IncidentChange | Tell | Hush | Refusal | Notice

KINDS: dict[type[msgspec.Struct], Kind] = {
    Transition: Kind.TRANSITION,
    IncidentChange: Kind.INCIDENT,
    Tell: Kind.TELL,
    Hush: Kind.HUSH,
    Refusal: Kind.REFUSAL,
    Notice: Kind.NOTICE,
    Page: Kind.PAGE,
    Receipt: Kind.RECEIPT,
}
_DECODERS: dict[int, Any] = {int(kind): msgspec.msgpack.Decoder(word) for word, kind in KINDS.items()}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Headers of an evaluator's record: its cursor in `messages`, and its books at that cursor by Outcome.

    `probe`: when the newest of our own probes that it has passed was sent (µs), 0 = none since it started.
    """

    cursor: int
    counts: dict[str, int] = {}
    epoch: int = 0
    probe: int = 0


def entry(word: Decision | Page | Receipt, progress: Progress | None = None) -> Entry:
    """The log entry of a decision (with the evaluator's progress) or of a page or receipt (without)."""
    return Entry(KINDS[type(word)], encode(progress) if progress else b"", encode(word))


def decode(record: Record) -> Decision | Page | Receipt | None:
    """The word a record carries; None for a kind without a body."""
    decoder = _DECODERS.get(record.kind)
    word: Decision | Page | Receipt | None = decoder.decode(record.value) if decoder else None
    return word


def progress_of(record: Record) -> Progress | None:
    """The evaluator's progress in this record's headers; None for records of the dispatcher."""
    return msgspec.msgpack.decode(record.meta, type=Progress) if record.meta else None
