"""A log in memory that keeps the contract of ingest.journal, gaps in its offsets included."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ingest.errors import BelowFloor, Unavailable
from ingest.journal import BEGINNING, Entry, Record
from ingest.message import Kind, Message, decode_message


class MemoryStream:
    """One stream. `refusal`, when set, is raised by every append, but for urgent ones while `spares_urgent`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.holds: dict[str, int] = {}
        self.refusal: Unavailable | None = None
        self.spares_urgent = False
        self.refused = 0  #: how many appends were
        self.lost_below = BEGINNING
        self._news = threading.Condition()

    def append(self, entries: Sequence[Entry], *, now: int, urgent: bool = False) -> list[int]:
        if self.refusal and not (urgent and self.spares_urgent):
            self.refused += 1
            raise self.refusal
        with self._news:
            offsets = []
            for entry in entries:
                at = max(now, self.records[-1].at) if self.records else now
                offset = self.head() + (2 if len(self.records) % 5 == 4 else 1)  # offsets may have gaps
                self.records.append(Record(offset, at, entry.kind, entry.meta, entry.value))
                offsets.append(offset)
            self._news.notify_all()
        return offsets

    def read(self, after: int, limit: int, *, control_only: bool = False) -> list[Record]:
        if after < self.lost_below:
            raise BelowFloor(f"the log begins after {self.lost_below}")
        found = (record for record in self.records if record.offset > after)
        kept = [record for record in found if not (control_only and record.kind == Kind.MESSAGE)]
        return kept[:limit]

    def head(self) -> int:
        return self.records[-1].offset if self.records else BEGINNING

    def floor(self) -> int:
        return self.lost_below

    def last(self, kind: Kind) -> Record | None:
        return next((record for record in reversed(self.records) if record.kind == kind), None)

    def messages_appended(self) -> int:
        return sum(record.kind == Kind.MESSAGE for record in self.records)

    def messages_after(self, after: int) -> int:
        return sum(record.kind == Kind.MESSAGE and record.offset > after for record in self.records)

    def wait(self, after: int, timeout: float) -> bool:
        with self._news:
            return self._news.wait_for(lambda: self.head() > after, timeout)

    def hold(self, reader: str, offset: int) -> None:
        self.holds[reader] = offset

    def trim(self) -> int:
        return 0

    def close(self) -> None:
        pass

    def received(self) -> list[tuple[Message, bytes]]:
        """Headers and payload of every message."""
        return [(decode_message(record.meta), record.value) for record in self.records if record.kind == Kind.MESSAGE]


class MemoryOwnership:
    """The owner's epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def release(self) -> None:
        pass


class MemoryJournal:
    """Both streams of a shard; each `own` has a higher epoch than the one before. `folder` is for files beside it."""

    def __init__(self, folder: Path = Path(), shard: str = "main") -> None:
        self.folder = folder
        self.shard = shard
        self.messages = MemoryStream()
        self.decisions = MemoryStream()
        self.owned: list[str] = []

    def own(self, role: str) -> MemoryOwnership:
        self.owned.append(role)
        return MemoryOwnership(len(self.owned))

    def close(self) -> None:
        pass
