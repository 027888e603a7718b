"""The log on one machine: SQLite, one file a stream and time segment, shared by all processes of this machine.

    <folder>/<shard>/messages/<first offset>.db    and decisions/
                     locks/        who owns a role, whose turn it is to append
                     readers/      what each reader still needs
                     wake/         sockets of readers that wait
                     checkpoints/  the evaluator's

Offsets count up from 0 without gaps; that is this implementation's business and nobody else's.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from ingest import journal_lock, journal_segment
from ingest.errors import BelowFloor, OperatorError, Unavailable
from ingest.journal import BEGINNING, Entry, Record
from ingest.journal_lock import FileOwnership, Turn
from ingest.journal_segment import Missing, Segment, State, listed
from ingest.journal_space import Space
from ingest.journal_wake import Bell
from ingest.message import Kind
from ingest.readings import HOUR

STREAMS = ("messages", "decisions")
_SEGMENT_BYTES = 256 << 20
_RECORD_OVERHEAD = 32  #: bytes a record takes beside its headers and body, about
_COUNT_STEP = 20_000  #: records counted before other threads get their turn
_OPEN_SEGMENTS = 3  #: kept open for reading
_NAME = re.compile(r"[^./\0][^/\0]*")
_NUMBER = re.compile(r"-?\d+")


def shards_of(folder: Path) -> list[str]:
    """Names of the shards that have a log in this folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if (path / "messages").is_dir())


class SqliteStream:
    """One stream of one shard; see ingest.journal.Stream. Safe between threads and between processes."""

    def __init__(self, shard_folder: Path, name: str, *, space: Space, segment_span: int, segment_bytes: int) -> None:
        self.name = name
        self._folder = shard_folder / name
        self._holds = shard_folder / "readers" / name
        for folder in (self._folder, self._holds):
            folder.mkdir(parents=True, exist_ok=True)
        self._space = space
        self._span = segment_span
        self._bytes = segment_bytes
        self._turn = Turn(shard_folder / "locks", f"{name}.append")
        self._trimming = Turn(shard_folder / "locks", f"{name}.trim")
        self._bell = Bell(shard_folder / "wake", name)
        self._writer: Segment | None = None  # only in our turn
        self._reading = threading.Lock()
        self._readers: dict[int, Segment] = {}  # least recently used first
        self._newest = -1  # the newest segment we know to be part of the stream
        self._held: dict[str, int] = {}
        self._closed = False
        if not listed(self._folder):
            self._create_first()

    # -- appending -------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], *, now: int, urgent: bool = False) -> list[int]:
        if not entries:
            return []
        size = sum(len(entry.meta) + len(entry.value) for entry in entries) + _RECORD_OVERHEAD * len(entries)
        with self._turn.taken():
            with journal_segment.named(self._folder):
                self._space.take(size, urgent=urgent)
            try:
                first = self._append(entries, now, size)
            except BaseException:
                self._give_up_writing()
                raise
        self._bell.ring()
        return list(range(first, first + len(entries)))

    def _append(self, entries: Sequence[Entry], now: int, size: int) -> int:
        while True:
            segment = self._open_writer()
            state = segment.begin()
            if state.next is None and not segment.in_place():
                raise OperatorError(f"{segment.path}: somebody moved or replaced it; put it back, then restart")
            if state.next is None and self._is_due(segment, state, now):
                self._roll(segment, state)
            elif state.next is None:
                at = now if state.at is None else max(now, state.at)
                segment.insert(entries, state, at=at, size=size)
                segment.commit()
                return state.head + 1
            # sealed, by us just now or by another process before: the stream goes on in a later segment
            self._give_up_writing()

    def _is_due(self, segment: Segment, state: State, now: int) -> bool:
        if state.head < segment.first or state.opened_at is None:
            return False
        return state.bytes >= self._bytes or now - state.opened_at >= self._span

    def _roll(self, segment: Segment, state: State) -> None:
        """Go on in a new segment: it is whole before this one points to it, in the transaction begun."""
        following = state.head + 1
        self._remove_beyond(segment.first)
        journal_segment.create(self._folder, following, stream=self.name, at=state.at, messages=state.messages)
        segment.seal(following)
        segment.commit()
        segment.flush(wait=False)

    def _open_writer(self) -> Segment:
        if self._closed:
            raise Unavailable(f"{self._folder}: closed")
        if self._writer is None:
            self._writer = self._open_newest()
        return self._writer

    def _open_newest(self) -> Segment:
        """The segment that is appended to, open for writing; removes what a crash left beyond it."""
        newest = self._valid()[-1]
        self._remove_beyond(newest)
        return Segment(self._folder, newest, stream=self.name, writing=True)

    def _remove_beyond(self, newest: int) -> None:
        """Remove segments that were created and never became part of the stream. Only in our turn."""
        for first in listed(self._folder):
            if first > newest:
                journal_segment.remove(journal_segment.path_of(self._folder, first))
        for draft in self._folder.glob("*.new*"):
            draft.unlink(missing_ok=True)

    def _create_first(self) -> None:
        with self._turn.taken():
            if not listed(self._folder):
                journal_segment.create(self._folder, BEGINNING + 1, stream=self.name, at=None, messages=0)

    def _give_up_writing(self) -> None:
        """Forget the writing connection, whatever state it is in; nothing uncommitted remains."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, after: int, limit: int, *, control_only: bool = False) -> list[Record]:
        records: list[Record] = []
        if limit <= 0:
            return records
        with self._reading:
            segment = self._segment_behind(after)
            while True:
                found, state = segment.read(after, limit - len(records), control_only=control_only)
                records += found
                if state.next is None:
                    self._check_known(after, state)
                    return records
                if len(records) >= limit:
                    return records
                segment = self._open_next(state.next)

    def head(self) -> int:
        with self._reading:
            return self._newest_state().head

    def floor(self) -> int:
        return self._valid()[0] - 1

    def last(self, kind: Kind) -> Record | None:
        with self._reading:
            for first in reversed(self._valid_open()):
                try:
                    record = self._open(first).last(kind)
                except Missing:  # trimmed while we searched
                    return None
                if record is not None:
                    return record
        return None

    def messages_appended(self) -> int:
        with self._reading:
            return self._newest_state().messages

    def messages_after(self, after: int) -> int:
        with self._reading:
            until = self._newest_state()
            self._check_known(after, until)
            segment = self._segment_behind(after)
            state = segment.state()
        # one by one where `after` lies; the segments behind it carry counts made when they were written
        behind = max(0, until.messages - state.messages)
        return self._count(segment, after, min(until.head, state.head)) + behind

    def _count(self, segment: Segment, after: int, until: int) -> int:
        total = 0
        while True:
            with self._reading:
                if self._readers.get(segment.first) is not segment:  # put away meanwhile
                    segment = self._open_next(segment.first)
                found, last = segment.count(after, until, _COUNT_STEP)
            if last is None:
                return total
            total += found
            after = last

    def wait(self, after: int, timeout: float) -> bool:
        return self._bell.wait(lambda: self.head() > after, timeout)

    def _check_known(self, after: int, state: State) -> None:
        """A reader that is ahead of the log would skip all that comes: somebody replaced the log."""
        if after > state.head:
            raise OperatorError(
                f"{self._folder}: the log ends at offset {state.head}, but a reader has already read {after};"
                " this is another or an older log; put the right one back, or reset the reader"
            )

    def _segment_behind(self, after: int) -> Segment:
        """The segment that holds the record behind `after`, or the newest when that is not written yet."""
        for segment in self._readers.values():
            if self._is_behind(segment, after) and segment.in_place():
                return self._open(segment.first)
        while True:
            firsts = self._valid_open()
            if after < firsts[0] - 1:
                raise BelowFloor(f"{self._folder}: offset {after} was trimmed; the log begins after {firsts[0] - 1}")
            try:
                return self._open(max(first for first in firsts if first <= max(after + 1, firsts[0])))
            except Missing:  # trimmed since the listing: look again
                continue

    def _is_behind(self, segment: Segment, after: int) -> bool:
        if segment.sealed is None or segment.sealed.next is None:
            return segment.first == self._newest and after + 1 >= segment.first
        return segment.first <= after + 1 < segment.sealed.next

    def _open_next(self, first: int) -> Segment:
        try:
            return self._open(first)
        except Missing:
            raise BelowFloor(f"{self._folder}: offset {first} was trimmed while it was read") from None

    def _newest_state(self) -> State:
        newest = self._readers.get(self._newest)
        if newest is not None and newest.in_place():
            state = newest.state()
            if state.next is None:
                return state
        while True:
            try:
                state = self._open(self._valid_open()[-1]).state()
            except Missing:
                continue
            if state.next is None:
                return state

    def _open(self, first: int) -> Segment:
        """This segment open for reading; keeps the last few."""
        if self._closed:
            raise Unavailable(f"{self._folder}: closed")
        segment = self._readers.pop(first, None)
        if segment is None:
            segment = Segment(self._folder, first, stream=self.name)
            for oldest in list(self._readers)[: max(0, len(self._readers) - _OPEN_SEGMENTS + 1)]:
                self._readers.pop(oldest).close()
        self._readers[first] = segment
        return segment

    def _valid(self) -> list[int]:
        with self._reading:
            return self._valid_open()

    def _valid_open(self) -> list[int]:
        """First offsets of the stream's segments in order, without what a crash left at the end."""
        while True:
            firsts = listed(self._folder)
            if not firsts:
                raise OperatorError(f"{self._folder}: its segments are gone; put them back, then restart")
            for first in set(self._readers).difference(firsts):
                self._readers.pop(first).close()
            try:
                # only the last can be a left-over: who creates one removes any other first
                if len(firsts) > 1 and self._open(firsts[-2]).state().next != firsts[-1]:
                    firsts.pop()
            except Missing:
                continue
            self._newest = firsts[-1]
            return firsts

    # -- keeping and dropping --------------------------------------------------------------------------------------

    def hold(self, reader: str, offset: int) -> None:
        if self._held.get(reader) == offset:
            return
        if not _NAME.fullmatch(reader):
            raise ValueError(f"{reader!r} cannot name a reader")
        path = self._holds / reader
        with journal_segment.named(path):
            _replace(path, f"{offset:020d}\n")
        self._held[reader] = offset

    def trim(self) -> int:
        needed = self._lowest_hold()
        dropped = 0
        with self._trimming.taken():
            for first in self._valid()[:-1]:
                following = self._trim_one(first, needed)
                if following is None:
                    break
                dropped += following - first
        if dropped:
            self._space.look()
        return dropped

    def _trim_one(self, first: int, needed: int) -> int | None:
        """Drop this segment when nobody needs it; the first offset behind it, None when it has to stay."""
        segment = Segment(self._folder, first, stream=self.name)
        try:
            following = segment.state().next
            # all of it must be in the file, so that whoever still has it open reads it whole
            if following is None or following - 1 > needed or not segment.flush(wait=True):
                return None
        finally:
            segment.close()
        with journal_segment.named(segment.path):
            journal_segment.remove(segment.path)
        return following

    def _lowest_hold(self) -> int:
        """What every reader is done with; a hold that cannot be read keeps everything."""
        offsets: list[int] = []
        with journal_segment.named(self._holds):
            for path in self._holds.iterdir():
                if not path.name.startswith("."):
                    text = path.read_text(encoding="ascii", errors="replace").strip()
                    offsets.append(int(text) if _NUMBER.fullmatch(text) else BEGINNING)
        return min(offsets, default=BEGINNING)

    def close(self) -> None:
        if self._closed:
            return
        self._bell.close()
        with self._reading:
            self._closed = True
            for segment in self._readers.values():
                segment.close()
            self._readers.clear()
        with self._turn.taken():
            self._give_up_writing()
        self._turn.close()
        self._trimming.close()


def _replace(path: Path, text: str) -> None:
    """Replace a small file at once; in place when the disk has no room for a second, as that is when it counts."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_text(text, encoding="ascii")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        with open(path, "r+", encoding="ascii") as file:
            file.write(text)


class SqliteJournal:
    """Both streams of one shard; see ingest.journal.Journal. `folder` is the shard's own."""

    def __init__(
        self,
        folder: Path,
        shard: str,
        *,
        quota_bytes: int = 0,
        reserve_bytes: int = 0,
        segment_span: int = HOUR,
        segment_bytes: int = _SEGMENT_BYTES,
    ) -> None:
        if not _NAME.fullmatch(shard):
            raise OperatorError(f"{shard!r} cannot name a shard; use letters, digits, - and _")
        self.shard = shard
        self.folder = folder / shard
        with journal_segment.named(self.folder):
            for name in ("locks", "wake", "checkpoints"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._space = Space(self.folder, shard=shard, quota_bytes=quota_bytes, reserve_bytes=reserve_bytes)
            self.messages, self.decisions = (
                SqliteStream(
                    self.folder,
                    name,
                    space=self._space,
                    segment_span=segment_span,
                    segment_bytes=segment_bytes,
                )
                for name in STREAMS
            )

    @property
    def bytes_left(self) -> int:
        """Room for urgent appends, about."""
        return self._space.left

    def own(self, role: str) -> FileOwnership:
        """Take this role of the shard; OperatorError that names the process which has it."""
        return journal_lock.own(self.folder / "locks", role)

    def close(self) -> None:
        """Close both streams."""
        self.messages.close()
        self.decisions.close()
