"""Recordings of original MQTT messages, byte for byte: a JSON array or JSON lines, also inside .zip or .gz."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ingest.errors import OperatorError
from simulators.tapes.fields import look_up, micros


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a recording: its own bytes, the same decoded, and when it was sent (µs)."""

    at: int
    raw: bytes
    body: dict[str, Any]


class Recording:
    """A recording, held in memory as its bytes; can be gone through again and again."""

    def __init__(self, path: Path, *, time_field: str = "ts") -> None:
        self._path = path
        self._time_field = time_field
        self._messages = _split(path, _load(path))

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Recorded]:
        """Messages in the order of the file; OperatorError names the one that is wrong."""
        for number, raw in enumerate(self._messages, start=1):
            yield self._recorded(number, bytes(raw))

    def span(self) -> tuple[int, int]:
        """Earliest and latest time (µs) of a recording that is not empty."""
        times = [message.at for message in self]
        if not times:
            raise OperatorError(f"{self._path}: no messages in it; nothing to replay")
        return min(times), max(times)

    def _recorded(self, number: int, raw: bytes) -> Recorded:
        where = f"{self._path}: message {number}"
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise OperatorError(f"{where}: not JSON: {error}") from None
        if not isinstance(body, dict):
            raise OperatorError(f"{where}: not a JSON object; a recording holds one object a message")
        return Recorded(at=self._time(where, body), raw=raw, body=body)

    def _time(self, where: str, body: dict[str, Any]) -> int:
        value = look_up(body, self._time_field)
        if value is None or isinstance(value, bool | dict | list):
            what = f"no time in {self._time_field}"
            raise OperatorError(f"{where}: {what}; name the field that holds it with --time-field")
        try:
            return micros(value)
        except ValueError as error:
            raise OperatorError(f"{where}: {self._time_field}: {error}") from None


def _load(path: Path) -> bytes:
    try:
        if path.suffix == ".zip":
            return _unzip(path)
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (zipfile.BadZipFile, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise OperatorError(f"{path}: broken archive: {error}; copy it again") from None
    except RuntimeError as error:  # a password, or a way to pack that Python does not know
        raise OperatorError(f"{path}: cannot be unpacked: {error}; unpack it yourself") from None
    except OSError as error:
        raise OperatorError(f"{path}: {(error.strerror or str(error)).lower()}; name a readable file") from None


def _unzip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise OperatorError(f"{path}: {len(names)} files inside; a recording is one JSON file in its archive")
        return archive.read(names[0])


def _split(path: Path, text: bytes) -> list[msgspec.Raw] | list[bytes]:
    text = text.removeprefix(b"\xef\xbb\xbf").strip()
    if not text.startswith(b"["):
        return [line for line in text.splitlines() if line.strip()]
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OperatorError(f"{path}: not a JSON array: {error}") from None
