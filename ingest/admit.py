"""admit: what becomes of one message. One pure function with its own small memory, used by writer and evaluator
alike, so that the two never disagree."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from ingest.inventory import Inventory, InventoryDelta
from ingest.readings import Reading
from ingest.sources import Sources


class Outcome(StrEnum):
    """Where a message ends; every message ends in exactly one."""

    STORED = "stored"  #: at least one new reading or state
    DUPLICATE = "duplicate"  #: nothing in it that was not there before
    QUARANTINED = "quarantined"  #: could not be admitted; kept whole with its reason
    NO_READING = "no_reading"  #: understood, and carries no reading (a command's acknowledgement …)


class Reason(StrEnum):
    """Why a message was quarantined; the same word in log, metric, column and console."""

    UNDECODABLE = "undecodable"  #: the codec cannot understand the payload
    UNKNOWN_DEVICE = "unknown_device"  #: not registered, and the source does not enrol
    WRONG_SITE = "wrong_site"  #: registered, but under another site than the topic's
    NO_SOURCE = "no_source"  #: its source is not in the sources of this offset
    OVERSIZE = "oversize"  #: larger than any device sends
    ENGINE_ERROR = "engine_error"  #: admit or the engine raised on it
    DATABASE = "database"  #: the database refused it; the detail has the SQLSTATE


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A fire-class sign in a message that could not be admitted; pages the centre. `site` "" = unlocated."""

    site: str
    device: str
    why: str


class Admission(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What admit says of one message. `readings` only new ones, in order of the message; empty unless stored."""

    outcome: Outcome
    readings: tuple[Reading, ...] = ()
    duplicates: int = 0  #: readings of this message that were there before
    reason: Reason | None = None
    detail: str = ""
    suspicion: Suspicion | None = None


class LogRecord(Protocol):
    """What admit needs of a record of the log (ingest.journal.Record fits): a Kind.MESSAGE record."""

    @property
    def offset(self) -> int: ...
    @property
    def at(self) -> int: ...
    @property
    def meta(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


class Memory:
    """What admit remembers between messages; one per reader of a shard. Equal records give equal memories."""

    def __init__(self, sources: Sources, inventory: Inventory | None = None) -> None:
        self.sources = sources
        self.inventory = inventory or Inventory()  #: changed by enrolment, in both readers alike

    def apply_sources(self, sources: Sources) -> None:
        """Take over the sources of a Kind.SOURCES record."""
        self.sources = sources

    def apply_inventory(self, delta: InventoryDelta) -> None:
        """Take over a Kind.INVENTORY record."""
        self.inventory.apply(delta)

    def dump(self) -> bytes:
        """Everything, exactly, for a checkpoint."""
        raise NotImplementedError

    @classmethod
    def load(cls, dumped: bytes) -> Memory:
        """The memory that was dumped; msgspec.ValidationError when these bytes are none."""
        raise NotImplementedError


def admit(record: LogRecord, memory: Memory) -> Admission:
    """What becomes of this Kind.MESSAGE record; changes `memory`."""
    raise NotImplementedError
