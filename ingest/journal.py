"""The log: its contract. The implementation for one machine is ingest.journal_sqlite.

The contract is what Kafka can keep too: append a batch durably, read from an offset, head, floor, trim. Offsets
are opaque, monotone and may have gaps; reading below the floor is an error; counts are carried by whoever counts,
never computed from offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ingest.message import Kind

BEGINNING = -1  #: read after this to read from the first record ever appended


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record to append: kind, headers and body (see ingest.message)."""

    kind: Kind
    meta: bytes = b""
    value: bytes = b""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record of the log: `at` is its log time in µs, which never goes back within a stream."""

    offset: int
    at: int
    kind: int
    meta: bytes
    value: bytes


class Stream(Protocol):
    """One append-only stream (`messages` or `decisions`) of one shard."""

    def append(self, entries: Sequence[Entry], *, now: int, urgent: bool = False) -> list[int]:
        """Append all or nothing; durable on return; their offsets. Log time is max(now, the last record's).

        `urgent` may use the reserve that is kept for urgent sources. Raises LogFull (nothing kept) or Unavailable.
        """

    def read(self, after: int, limit: int, *, control_only: bool = False) -> list[Record]:
        """Up to `limit` records with offset > `after`, in order; empty at the head. Raises BelowFloor.

        Also OperatorError for an `after` the log never reached: it is not the log this reader read.

        `control_only` leaves out Kind.MESSAGE records (the SQLite log answers from an index).
        """

    def head(self) -> int:
        """Offset of the newest record, BEGINNING when there is none."""

    def floor(self) -> int:
        """The smallest `after` that read accepts."""

    def last(self, kind: Kind) -> Record | None:
        """The newest record of this kind that the log still holds."""

    def messages_appended(self) -> int:
        """How many Kind.MESSAGE records were ever appended, trimmed ones too: carried, not computed."""

    def messages_after(self, after: int) -> int:
        """How many Kind.MESSAGE records are waiting behind `after`, counted one by one."""

    def wait(self, after: int, timeout: float) -> bool:
        """Block until something may have been appended behind `after`, or `timeout` seconds; True if so."""

    def hold(self, reader: str, offset: int) -> None:
        """This reader needs nothing at or below `offset` again; trimming never passes the lowest hold."""

    def trim(self) -> int:
        """Drop whole segments that lie below every hold; how many records were dropped."""

    def close(self) -> None: ...


class Ownership(Protocol):
    """One role of one shard, held by this process; it ends with the process, whatever kills that."""

    @property
    def epoch(self) -> int:
        """Counts the owners of this role: a later owner's is higher, for ever."""

    def release(self) -> None:
        """Let the next owner in."""


class Journal(Protocol):
    """The log of one shard."""

    @property
    def shard(self) -> str: ...

    @property
    def folder(self) -> Path:
        """The shard's folder on local disk; `checkpoints` in it is the evaluator's."""

    @property
    def messages(self) -> Stream: ...

    @property
    def decisions(self) -> Stream: ...

    def own(self, role: str) -> Ownership:
        """Take a role that only one process may have; OperatorError that names who has it."""

    def close(self) -> None: ...
