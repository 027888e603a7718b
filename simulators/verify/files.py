"""The files that `verify` reads beside tapes. OperatorError says in one line which is unreadable or something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from ingest.errors import OperatorError
from simulators.options import os_errors

T = TypeVar("T")


def read_object(path: str, shape: type[T], *, option: str, made_by: str) -> T:
    """One JSON object."""
    text = _read(path, option, made_by)
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "empty" if not text.strip() else _line(error)
        raise OperatorError(f"{option} {path}: {what}; give what {made_by} wrote") from None


def read_lines(path: str, shape: type[T], *, option: str, made_by: str) -> Iterator[T]:
    """JSON lines; a last one that was cut, because its writer was killed, is an error like any other."""
    decoder = msgspec.json.Decoder(shape)
    for number, line in enumerate(_read(path, option, made_by).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise OperatorError(f"{option} {path}:{number}: {_line(error)}; give what {made_by} wrote") from None


def _read(path: str, option: str, made_by: str) -> bytes:
    with os_errors(f"{option} {path}", f"give what {made_by} wrote"):
        text = Path(path).read_bytes()
    return text


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
