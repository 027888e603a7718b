"""A shard's log as one file, and back.

gzip of: the magic, then frames, each eight bytes of length (big endian) and so many bytes. The first frame is the
header (msgpack: format, shard, the names of the extras), then the bytes of each extra, then chunks of records
(msgpack: stream, rows), and last an empty frame and the trailer (msgpack: records by stream). A file that was cut
off has no trailer and is refused.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

from ingest.errors import BelowFloor, OperatorError
from ingest.journal import Journal, Record, Stream

MAGIC = b"EMBERWATCH LOG\r\n"  # a transfer that rewrites line ends shows at once
FORMAT = 1
_CHUNK = 2_000
_LENGTH = struct.Struct(">Q")

T = TypeVar("T")
Row = tuple[int, int, int, bytes, bytes]


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    shard: str = ""
    extras: list[str] = []


class Export:
    """An exported log: its shard, its extra blobs, and its records by (stream name, record), each in order.

    `records` begins anew each time it is asked for; OperatorError as soon as the file turns out damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path) as file:
            header = _header(file, path)
            self.shard = header.shard
            self.extras = {name: _frame(file, path) for name in header.extras}

    @property
    def records(self) -> Iterator[tuple[str, Record]]:
        """Every record; the decisions come first, then the messages."""
        counts: dict[str, int] = {}
        with _reading(self._path) as file:
            for _ in _header(file, self._path).extras:
                _frame(file, self._path)
            while frame := _frame(file, self._path):
                stream, rows = _decode(frame, tuple[str, list[Row]], self._path)
                counts[stream] = counts.get(stream, 0) + len(rows)
                for row in rows:
                    yield stream, Record(*row)
            stated = _decode(_frame(file, self._path), dict[str, int], self._path)
            if file.read(1):  # also makes gzip compare its own checksum
                raise _damaged(self._path, "something follows its end")
        if {name: count for name, count in stated.items() if count} != counts:
            raise _damaged(self._path, f"it holds {counts} records, but says {stated}")

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        return self.records


def read_export(path: Path) -> Export:
    """An exported log; OperatorError when this is none, is newer than this program, or was cut off."""
    return Export(path)


def export_journal(journal: Journal, path: Path, *, extras: Mapping[str, bytes] | None = None) -> dict[str, int]:
    """Write all that the log of a shard holds now into one file, whole or not at all; how many records by stream.

    `extras` are named blobs that go with it, such as the checkpoint to start from.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    extras = extras or {}
    try:
        # without name and time: the same log gives the same file
        with open(draft, "wb") as raw, gzip.GzipFile("", "wb", 5, raw, mtime=0) as packed:
            file = cast(BinaryIO, packed)
            file.write(MAGIC)
            _put(file, msgspec.msgpack.encode(_Header(format=FORMAT, shard=journal.shard, extras=list(extras))))
            for blob in extras.values():
                _put(file, blob)
            counts = _put_streams(file, journal)
            _put(file, b"")
            _put(file, msgspec.msgpack.encode(counts))
        os.replace(draft, path)
    except OSError as error:
        raise OperatorError(f"{path}: cannot write: {error.strerror or error}") from error
    except BelowFloor as error:
        raise OperatorError(f"{path}: the log was trimmed while it was exported; run it again ({error})") from error
    finally:
        draft.unlink(missing_ok=True)
    return counts


def _put_streams(file: BinaryIO, journal: Journal) -> dict[str, int]:
    # decisions first: whatever message a decision names is then in the file too
    streams = {"decisions": journal.decisions, "messages": journal.messages}
    return {name: _put_stream(file, name, stream) for name, stream in streams.items()}


def _put_stream(file: BinaryIO, name: str, stream: Stream) -> int:
    until = stream.head()
    after = stream.floor()
    count = 0
    while after < until:
        records = [record for record in stream.read(after, _CHUNK) if record.offset <= until]
        if not records:
            break
        rows = [(record.offset, record.at, record.kind, record.meta, record.value) for record in records]
        _put(file, msgspec.msgpack.encode((name, rows)))
        after = records[-1].offset
        count += len(records)
    return count


def _put(file: BinaryIO, frame: bytes) -> None:
    file.write(_LENGTH.pack(len(frame)))
    file.write(frame)


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """The unpacked file; whatever turns out wrong with it is an OperatorError that names it."""
    try:
        with gzip.open(path, "rb") as file:
            yield cast(BinaryIO, file)
    except EOFError:
        raise _cut_off(path) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise OperatorError(f"{path}: cannot read: {(error.strerror or str(error)).lower()}") from None


def _header(file: BinaryIO, path: Path) -> _Header:
    if file.read(len(MAGIC)) != MAGIC:
        raise OperatorError(f"{path}: no exported log; write one with `emberwatch journal export {path.name}`")
    header = _decode(_frame(file, path), _Header, path)
    if header.format > FORMAT:
        raise OperatorError(
            f"{path}: exported in format {header.format}, this program reads up to {FORMAT}; use the newer release"
        )
    return header


def _frame(file: BinaryIO, path: Path) -> bytes:
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise _cut_off(path)
    (size,) = _LENGTH.unpack(length)
    frame = file.read(size)
    if len(frame) < size:
        raise _cut_off(path)
    return frame


def _decode(frame: bytes, form: type[T], path: Path) -> T:
    try:
        return msgspec.msgpack.decode(frame, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None


def _cut_off(path: Path) -> OperatorError:
    return OperatorError(f"{path}: the exported log is cut off; copy or export it again")


def _damaged(path: Path, why: str) -> OperatorError:
    return OperatorError(f"{path}: the exported log is damaged ({why}); copy or export it again")
