"""A log in memory: the contract of ingest.journal, small, for tests that need no disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ingest.errors import LogFull
from ingest.journal import BEGINNING, Entry, Record
from ingest.message import Kind, Message, decode_message


class MemoryStream:
    """Keeps every record. While `refuses` is set, appends raise LogFull; urgent ones only with `refuses_urgent`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.refuses = False
        self.refuses_urgent = False
        self._changed = threading.Condition()

    def append(self, entries: Sequence[Entry], *, now: int, urgent: bool = False) -> list[int]:
        with self._changed:
            if self.refuses_urgent if urgent else self.refuses:
                raise LogFull("the test's log is full")
            at = max(now, self.records[-1].at) if self.records else now
            first = len(self.records)
            for offset, entry in enumerate(entries, first):
                self.records.append(Record(offset, at, int(entry.kind), entry.meta, entry.value))
            self._changed.notify_all()
            return list(range(first, len(self.records)))

    def read(self, after: int, limit: int, *, control_only: bool = False) -> list[Record]:
        found = [record for record in self.records[after + 1 :] if not control_only or record.kind != Kind.MESSAGE]
        return found[:limit]

    def head(self) -> int:
        return len(self.records) - 1

    def floor(self) -> int:
        return BEGINNING

    def last(self, kind: Kind) -> Record | None:
        return next((record for record in reversed(self.records) if record.kind == kind), None)

    def messages_appended(self) -> int:
        return sum(record.kind == Kind.MESSAGE for record in self.records)

    def messages_after(self, after: int) -> int:
        return sum(record.kind == Kind.MESSAGE for record in self.records[after + 1 :])

    def wait(self, after: int, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.head() > after, timeout)

    def hold(self, reader: str, offset: int) -> None:
        pass

    def trim(self) -> int:
        return 0

    def close(self) -> None:
        pass

    # for tests

    def messages(self) -> list[tuple[Message, bytes]]:
        """Headers and payload of every message."""
        return [(decode_message(record.meta), record.value) for record in self.records if record.kind == Kind.MESSAGE]


class Ownership:
    epoch = 1

    def release(self) -> None:
        pass


class MemoryJournal:
    """A shard's log of two MemoryStreams, whose roles anybody may own. `folder` is for files beside the log."""

    def __init__(self, folder: Path, shard: str = "main") -> None:
        self.shard = shard
        self.folder = folder
        self.messages = MemoryStream()
        self.decisions = MemoryStream()
        self.owned: list[str] = []

    def own(self, role: str) -> Ownership:
        self.owned.append(role)
        return Ownership()

    def close(self) -> None:
        pass
