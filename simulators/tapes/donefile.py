"""The list of what was done to which message of a recording, one JSON line a deed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from simulators.options import os_errors
from simulators.tapes.spoil import Done


class DoneFile:
    """Appends to the list; without a path it keeps nothing. OperatorError when it cannot."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._encode = msgspec.json.Encoder().encode
        self._file: IO[bytes] | None = None
        if path:
            with self._trying():
                self._file = Path(path).open("wb")  # noqa: SIM115 - closed by __exit__

    def add(self, done: Done) -> None:
        """Note one deed."""
        if self._file is not None:
            with self._trying():
                self._file.write(self._encode(done) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with self._trying():
                self._file.close()

    def _trying(self) -> AbstractContextManager[None]:
        return os_errors(f"--done {self._path}", "name a file to write to, with room for it")


def summary(done: Mapping[str, int]) -> str:
    """What was done, in words; "" for nothing."""
    told = ", ".join(f"{what} {count}" for what, count in done.items() if count)
    return told and f"; faults: {told}"
