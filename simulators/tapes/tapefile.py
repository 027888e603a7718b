"""Tapes: files of MQTT messages with the time of each, made by `record` and by `--sent`.

An Arrow IPC stream, its buffers packed with zstd; any Arrow library reads it, also up to where it was cut when its
writer was killed. Columns:

- `at`: when it was heard or handed to the broker, µs since 1970
- `topic`, `payload`, `qos`, `retain`: as on the wire
- `properties`: null, or JSON: {"content_type": "…", "user": {"name": "value"}}, those of MQTT 5 that are kept
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.errors import OperatorError
from ingest.readings import SECOND

SCHEMA = pa.schema(
    [
        pa.field("at", pa.int64(), nullable=False),
        pa.field("topic", pa.utf8(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("qos", pa.int8(), nullable=False),
        pa.field("retain", pa.bool_(), nullable=False),
        pa.field("properties", pa.utf8()),
    ],
    metadata={"emberwatch": "tape 1"},
)
#: What waits to be written: at most so many messages, bytes of payload, and messages of so long (µs).
MOST_ROWS, MOST_BYTES, LONGEST = 8_192, 1 << 24, SECOND
#: The mark at the end of a stream whose writer closed it.
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_BEGIN = b"\xff\xff\xff\xff"
_UNHEARD = b"unheard"


class Properties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The properties of MQTT 5 that a tape keeps; of a name that comes twice the last value, as the receiver does."""

    content_type: str = ""
    user: dict[str, str] = {}


class Taped(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a tape; `at` in µs."""

    at: int
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: Properties | None = None


class TapeWriter:
    """Appends to a new tape; without a path it keeps nothing. OperatorError, naming `option`, when it cannot.

    At most a second of messages is lost when the process is killed, as long as messages come or `flush` is called.
    """

    def __init__(self, path: str | Path | None, option: str = "--sent") -> None:
        self._where = f"{option} {path}"
        self._rows: list[Taped] = []
        self._bytes = 0
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._file: pa.NativeFile | None = None
        if path:
            self._trying(lambda: self._open(Path(path)))

    def add(
        self,
        *,
        at: int,
        topic: str,
        payload: bytes,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Note one message."""
        self.put(Taped(at=at, topic=topic, payload=payload, qos=qos, retain=retain, properties=properties))

    def put(self, row: Taped) -> None:
        """Note one message that is made already."""
        if self._writer is None:
            return
        self._rows.append(row)
        self._bytes += len(row.payload)
        if len(self._rows) >= MOST_ROWS or self._bytes >= MOST_BYTES or row.at - self._rows[0].at >= LONGEST:
            self.flush()

    def add_batch(self, at: npt.NDArray[np.int64], topics: pa.Array, payloads: pa.Array) -> None:
        """Note many at once, QoS 1 and not retained: `topics` utf8 and `payloads` binary, as long as `at`."""
        self.flush()
        count = len(at)
        columns = [
            pa.array(at, pa.int64()),
            topics,
            payloads,
            pa.repeat(pa.scalar(1, pa.int8()), count),
            pa.repeat(False, count),
            pa.nulls(count, pa.utf8()),
        ]
        self._write(pa.record_batch(columns, schema=SCHEMA))

    def unheard(self, start: int, end: int) -> None:
        """Note that nothing could be heard from `start` until `end` (µs)."""
        self.flush()
        self._write(_batch([]), {_UNHEARD: msgspec.json.encode((start, end))})

    def flush(self) -> None:
        """Write what waits."""
        if self._rows:
            batch = _batch(self._rows)
            self._rows, self._bytes = [], 0
            self._write(batch)

    def close(self) -> None:
        """Write what waits, and the mark at the end."""
        self.flush()
        writer, file, self._writer, self._file = self._writer, self._file, None, None
        if writer is not None and file is not None:
            self._trying(writer.close)
            self._trying(file.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "wb")
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(self._file, SCHEMA, options=options)
        self._writer.write_batch(_batch([]))  # the schema goes out with the first batch

    def _write(self, batch: pa.RecordBatch, meta: dict[bytes, bytes] | None = None) -> None:
        writer = self._writer
        if writer is not None:
            self._trying(lambda: writer.write_batch(batch, custom_metadata=meta))

    def _trying(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self._writer = None  # what follows could only come after a broken piece
            what = os.strerror(error.errno).lower() if error.errno else str(error)
            raise OperatorError(f"{self._where}: {what}; name a file to write to, with room for it") from None


def _batch(rows: list[Taped]) -> pa.RecordBatch:
    texts = [None if row.properties is None else msgspec.json.encode(row.properties).decode() for row in rows]
    columns: list[list[Any]] = [
        [row.at for row in rows],
        [row.topic for row in rows],
        [row.payload for row in rows],
        [row.qos for row in rows],
        [row.retain for row in rows],
        texts,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def say(line: str) -> None:
    """What a reader has to say of a tape, on stderr."""
    print(f"simulators: {line}", file=sys.stderr)


def read_tape(path: str | Path, *, tell: Callable[[str], None] = say) -> Iterator[Taped]:
    """The messages of a tape in its order; see `read_batches`."""
    decode = msgspec.json.Decoder(Properties).decode
    for batch in read_batches(path, tell=tell):
        for at, topic, payload, qos, retain, text in zip(*(column.to_pylist() for column in batch), strict=True):
            try:
                properties = None if text is None else decode(text)
            except msgspec.DecodeError as error:
                what = 'write {"content_type": "…", "user": {"name": "value"}}, or null'
                raise OperatorError(f"{path}: properties of a message on {topic}: {error}; {what}") from None
            yield Taped(at=at, topic=topic, payload=payload, qos=qos, retain=retain, properties=properties)


def read_batches(path: str | Path, *, tell: Callable[[str], None] = say) -> Iterator[pa.RecordBatch]:
    """The same as record batches. One that was cut off is read up to there, and `tell` gets a line that says so.

    OperatorError: not a tape, or broken before its end.
    """
    for batch, _ in _pieces(path, tell):
        if batch.num_rows:
            yield batch


def read_unheard(path: str | Path) -> list[tuple[int, int]]:
    """From when until when (µs) its writer could not hear anything."""
    notes = [meta[_UNHEARD] for _, meta in _pieces(path, lambda _: None) if _UNHEARD in meta]
    return [msgspec.json.decode(note, type=tuple[int, int]) for note in notes]


def is_tape(path: str | Path) -> bool:
    """Whether a file begins as tapes do; False also when it cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
            return start.startswith(_BEGIN) and b"tape 1" in start
    except OSError:
        return False


def _pieces(path: str | Path, tell: Callable[[str], None]) -> Iterator[tuple[pa.RecordBatch, dict[bytes, bytes]]]:
    count = 0
    with _opened(path) as file:
        reader = _reader(path, file)
        while True:
            try:
                batch, meta = reader.read_next_batch_with_custom_metadata()
                batch.validate(full=True)
            except StopIteration:
                break
            except (pa.ArrowInvalid, OSError) as error:
                if file.tell() < file.size():
                    raise OperatorError(
                        f"{path}: broken after {count} messages: {_line(error)}; copy it again"
                    ) from None
                break
            count += batch.num_rows
            yield batch, dict(meta or {})
        if not _ended(file):
            tell(f"{path}: its writer did not end it: it was killed, or still writes; {count} messages are in it")


def _opened(path: str | Path) -> pa.NativeFile:
    try:
        return pa.OSFile(str(path), "rb")
    except OSError as error:
        what = os.strerror(error.errno).lower() if error.errno else _line(error)
        raise OperatorError(f"{path}: {what}; name a tape, made by record or --sent") from None


def _reader(path: str | Path, file: pa.NativeFile) -> pa.RecordBatchStreamReader:
    try:
        reader = pa.ipc.open_stream(file)
    except (pa.ArrowInvalid, OSError):
        raise OperatorError(f"{path}: not a tape; name one made by record or --sent") from None
    if not reader.schema.equals(SCHEMA):
        raise OperatorError(f"{path}: not a tape: its columns are others; name one made by record or --sent")
    return reader


def _ended(file: pa.NativeFile) -> bool:
    file.seek(max(0, file.size() - len(END)))
    return bool(file.read(len(END)) == END)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
