"""A quarantined message judged once more, by writer and evaluator alike. Pure.

It comes as a control record that carries the message whole, with its first offset and log time, because the log may
have let go of it long ago. It is judged by today's inventory and sources, as of the time it was received; what it says
is history, so a fire in it is told as late. In the books it moves from quarantined to where it ends now.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ingest.admission import Admission, Outcome, Reason
from ingest.admit import admit
from ingest.journal import Entry, Record
from ingest.memory import Memory
from ingest.message import MESSAGE, Kind, Message, Redrive, encode
from ingest.readings import Lateness

#: What was never understood or let in may be now. The readings of the other reasons are known already: the database
#: or the engine could not take them.
REASONS = (
    Reason.UNKNOWN_DEVICE,
    Reason.WRONG_SITE,
    Reason.WRONG_GATEWAY,
    Reason.RATE,
    Reason.UNDECODABLE,
    Reason.NO_SOURCE,
)
#: Messages that left the quarantine and are remembered, so that a record carried into the log twice moves them once.
REMEMBERED = 65_536

_decode = msgspec.msgpack.Decoder(Redrive).decode


class Again(NamedTuple):
    """The message as it was, and what becomes of it now: readings are late, and a suspicion was told long ago."""

    record: Record
    admission: Admission


def entry(message: Message, payload: bytes, *, offset: int, at: int) -> Entry:
    """The control record for a message that stood at this offset with this log time (µs)."""
    return Entry(Kind.REDRIVE, encode(Redrive(offset=offset, at=at, message=message)), payload)


def judge_again(record: Record, memory: Memory) -> Again | None:
    """What a Kind.REDRIVE record comes to; None when its message left the quarantine before. Changes `memory`."""
    word = _decode(record.meta)
    if word.offset in memory.redriven:
        return None
    held = msgspec.structs.replace(word.message, backlog=True)
    old = Record(offset=word.offset, at=word.at, kind=MESSAGE, meta=encode(held), value=record.value)
    admission = admit(old, memory, again=True)
    if admission.outcome is not Outcome.QUARANTINED:
        _remember(memory.redriven, word.offset)
    readings = tuple(
        reading if reading.late else msgspec.structs.replace(reading, late=Lateness.BACK_FILL)
        for reading in admission.readings
    )
    return Again(old, msgspec.structs.replace(admission, readings=readings, suspicion=None))


def _remember(redriven: dict[int, None], offset: int) -> None:
    redriven[offset] = None
    while len(redriven) > REMEMBERED:
        del redriven[next(iter(redriven))]
