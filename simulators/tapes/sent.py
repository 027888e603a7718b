"""The file of what a simulator sent: one JSON line a message, to be compared with what arrived."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from ingest.errors import OperatorError


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message as it was published. `ts` is the device's own time as the payload states it."""

    topic: str
    hash: str  #: BLAKE2b of the payload, 8 bytes, hex
    at: int  #: wall clock at publishing, µs since 1970
    device: str = ""
    seq: int | None = None
    ts: str | int | float | None = None


def payload_hash(payload: bytes) -> str:
    """Short enough to keep for each message, long enough not to meet by chance."""
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


class SentFile:
    """Appends to the file of what was sent; without a path it keeps nothing."""

    def __init__(self, path: str | None) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._file: IO[bytes] | None = None
        if path:
            try:
                self._file = Path(path).open("wb")  # noqa: SIM115 - closed by __exit__
            except OSError as error:
                what = (error.strerror or str(error)).lower()
                raise OperatorError(f"--sent {path}: {what}; name a file to write to") from None

    def add(
        self,
        *,
        topic: str,
        payload: bytes,
        at: int,
        device: str = "",
        seq: int | None = None,
        ts: str | int | float | None = None,
    ) -> None:
        """Note one message."""
        if self._file is not None:
            line = Sent(topic=topic, hash=payload_hash(payload), at=at, device=device, seq=seq, ts=ts)
            self._file.write(self._encode(line) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
