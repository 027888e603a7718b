"""Checkpoints: the engine's memory on local disk beside the log, so that a restart need not begin at the beginning.

A checkpoint is written in slices of whole sites between batches, so that none stalls the alarm path. What belongs to no
site comes first, at offset G; each site's slice carries its own later offset. A restart reads the log from G: the
global part evolves as it did, and each site skips the records its slice already has. Two checkpoints are kept.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
import structlog

from alerts.judge import Judge
from alerts.memory import ClockMemory, SiteMemory
from alerts.rulebook import parse_rulebook
from ingest.journal import BEGINNING
from ingest.memory import Memory

#: Version of the file. The release before can be read: add a reader here before changing it.
FORMAT = 1
KEPT = 2
_LENGTH = 4

Part = TypeVar("Part", bound=msgspec.Struct)

log = structlog.get_logger()


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """First part of a file: what belongs to no site, at `offset` of `messages`; `decided` is the head of `decisions`
    then, and `counts` the books of messages."""

    format: int
    shard: str
    offset: int
    decided: int
    counts: dict[str, int]
    rulebook: str
    clock: ClockMemory
    memory: bytes


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One site."""

    site: str
    memory: SiteMemory


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """Last part: a file without it, or with another number of sites, was never finished."""

    sites: int


class Checkpoints:
    """The checkpoints of one shard in `folder`."""

    def __init__(self, folder: Path, shard: str) -> None:
        self.folder = folder
        self.shard = shard
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.draft"):
            left.unlink()

    def load(self, judge: Judge) -> Header | None:
        """Put the newest readable checkpoint into a new judge; None when there is none."""
        for path in sorted(self.folder.glob("*.checkpoint"), reverse=True):
            try:
                return read_checkpoint(path.read_bytes(), judge)
            except (msgspec.MsgspecError, ValueError, OSError) as error:
                log.warning("checkpoint unreadable, trying the one before", file=str(path), error=str(error))
        return None

    def oldest(self) -> bytes | None:
        """The older kept checkpoint, whole; an export of a trimmed log begins with it."""
        kept = sorted(self.folder.glob("*.checkpoint"))
        return kept[0].read_bytes() if kept else None

    def floors(self) -> tuple[int, int]:
        """Offsets in `messages` and `decisions` that a restart may still read after: those of the older checkpoint."""
        kept = sorted(self.folder.glob("*.checkpoint"))
        if len(kept) < KEPT:
            return BEGINNING, BEGINNING
        header = first_part(kept[0], Header)
        return header.offset, header.decided

    def begin(self, judge: Judge, *, offset: int, decided: int) -> Writing:
        """Start a checkpoint of this judge as it is after `offset`; finish it slice by slice."""
        header = Header(
            format=FORMAT,
            shard=self.shard,
            offset=offset,
            decided=decided,
            counts=dict(judge.counts),
            rulebook=judge.engine.rulebook.text,
            clock=judge.engine.remember(),
            memory=judge.memory.dump(),
        )
        return Writing(self.folder, header, judge)


class Writing:
    """A checkpoint being written."""

    def __init__(self, folder: Path, header: Header, judge: Judge) -> None:
        self._folder = folder
        self._offset = header.offset
        self._judge = judge
        self._names = list(judge.engine.sites)
        self._next = 0
        self._path = folder / f"{max(header.offset, 0):020d}.checkpoint"
        self._draft = self._path.with_suffix(".draft")
        self._file: BinaryIO = self._draft.open("wb")
        self._closing: Future[None] | None = None
        self._put(header)

    def some(self, *, offset: int, sites: int) -> bool:
        """Write up to `sites` more sites as they are after `offset`; True once the checkpoint is on disk.

        Raises OSError when the disk does not take it.
        """
        if self._closing is None:
            self._write(offset=offset, sites=sites)
        elif self._closing.done():
            self._closing.result()
            return True
        return False

    def rest(self, *, offset: int) -> None:
        """Write all that is left, and return when it is on disk; raises OSError like `some`."""
        while self._closing is None:
            self._write(offset=offset, sites=len(self._names))
        self._closing.result()

    def _write(self, *, offset: int, sites: int) -> None:
        for name in self._names[self._next : self._next + sites]:
            memory = self._judge.engine.sites[name]
            written = msgspec.structs.replace(memory, offset=offset)
            self._put(Slice(site=name, memory=written))
        self._next += sites
        if self._next >= len(self._names):
            self._put(Trailer(sites=len(self._names)))
            self._closing = ThreadPoolExecutor(1, "checkpoint").submit(self._finish)

    def abandon(self) -> None:
        """Give this checkpoint up; nothing of it is kept, unless it is on its way to disk already."""
        if self._closing is not None:
            wait([self._closing])
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def _put(self, part: msgspec.Struct) -> None:
        body = msgspec.msgpack.encode(part)
        self._file.write(len(body).to_bytes(_LENGTH, "big") + body)

    def _finish(self) -> None:
        """In a thread of its own: a disk may take long to say that it has it all, and no alarm waits for that."""
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        self._draft.replace(self._path)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        for old in sorted(self._folder.glob("*.checkpoint"))[:-KEPT]:
            old.unlink()


def read_checkpoint(content: bytes, judge: Judge) -> Header:
    """Put a checkpoint into a new judge; ValueError or MsgspecError when it is not whole or of another shard."""
    parts = list(_parts(io.BytesIO(content)))
    if len(parts) < 2:
        raise ValueError("it was never finished")
    header = msgspec.msgpack.decode(parts[0], type=Header)
    if header.format != FORMAT or header.shard != judge.shard:
        raise ValueError(f"it is of format {header.format} and shard {header.shard}, not {FORMAT} and {judge.shard}")
    decoder = msgspec.msgpack.Decoder(Slice)
    slices = [decoder.decode(part) for part in parts[1:-1]]
    if msgspec.msgpack.decode(parts[-1], type=Trailer).sites != len(slices):
        raise ValueError("sites are missing")
    memory = Memory.load(header.memory)
    judge.engine.rulebook = parse_rulebook(header.rulebook, "rulebook of the checkpoint")
    sites = {each.site: each.memory for each in slices}
    judge.restore(memory=memory, clock=header.clock, sites=sites, counts=header.counts)
    return header


def first_part(path: Path, word: type[Part]) -> Part:
    """The header of a checkpoint's file, or of it what `word` names."""
    with path.open("rb") as file:
        return msgspec.msgpack.decode(next(_parts(file)), type=word)


def checkpoint_offset(content: bytes) -> int:
    """The offset of `messages` at which this checkpoint begins."""
    return msgspec.msgpack.decode(next(_parts(io.BytesIO(content))), type=Header).offset


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while prefix := file.read(_LENGTH):
        length = int.from_bytes(prefix, "big")
        body = file.read(length)
        if len(body) != length:
            raise ValueError("it ends in the middle of a part")
        yield body
