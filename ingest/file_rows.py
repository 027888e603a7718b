"""Rows of readings files: their cells checked and converted, a chunk of columns at a time. Pure.

The rules of the columns are those of ingest.readings_file, the same for every format.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ingest.errors import OperatorError
from ingest.readings import QUANTITIES, SECOND, STATES, finite, from_datetime

#: The site of every row of a file that names none.
ONLY_SITE = "site"
#: Numbers from here on are milliseconds: 1e11 s is the year 5138, 1e11 ms the year 1973.
FIRST_MILLISECONDS = 100_000_000_000

T = TypeVar("T")
KEYS = ("time", "site", "device")
KNOWN = (*KEYS, *QUANTITIES, *STATES)
_FIRST = -62_135_596_800 * SECOND  # year 1
_LAST = 253_402_300_800 * SECOND  # year 10000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_STATE = {"true": True, "false": False, "1": True, "0": False}
_TIME_HELP = "write ISO 8601 with a zone, such as 2026-05-01T08:00:00+08:00, or seconds or milliseconds since 1970"
NEEDED = ("time", "device")


class FileRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row: what one device reported at one time (µs since 1970). `line` is 1 for the first line, 0 for none."""

    at: int
    site: str
    device: str
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    line: int = 0


def parse_time(text: str) -> int:
    """Microseconds since 1970 of a `time` cell; ValueError that says what is wrong with it."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        number = Decimal(text)
        scale = SECOND if -FIRST_MILLISECONDS < number < FIRST_MILLISECONDS else 1000
        micros = int((number * scale).to_integral_value()) if -_LAST < number < _LAST else _LAST
        if not _FIRST <= micros < _LAST:
            raise ValueError(f"{text} is no time between the years 1 and 9999; {_TIME_HELP}")
        return micros
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; {_TIME_HELP}" if text else f"empty; {_TIME_HELP}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone; write {text}Z for UTC or {text}+08:00 for China")
    return from_datetime(moment)


class Rows:
    """Turns columns of cells into rows; remembers across chunks whether this file names sites at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_sites: bool | None = None

    def convert(self, columns: dict[str, list[Any]], lines: Sequence[int]) -> list[FileRow]:
        """Cells are text, or numbers and booleans where the format has them; None or "" is not reported."""
        problems: list[tuple[int, str]] = []
        times = _cells(columns["time"], _time, lines, "time", problems)
        devices = _cells(columns["device"], _device, lines, "device", problems)
        sites = self._sites(columns.get("site") or [None] * len(lines), lines, problems)
        values = _sparse(columns, QUANTITIES, _number_column, lines, problems)
        states = _sparse(columns, STATES, _state_column, lines, problems)
        if problems:
            line, what = min(problems)
            raise OperatorError(f"{self._path}:{line}: {what}")
        return [
            FileRow(at=at, site=site, device=device, values=row_values, states=row_states, line=line)
            for at, site, device, row_values, row_states, line in zip(
                times, sites, devices, values, states, lines, strict=True
            )
        ]

    def _sites(self, cells: list[Any], lines: Sequence[int], problems: list[tuple[int, str]]) -> list[str]:
        if self._has_sites is None and cells:
            self._has_sites = cells[0] not in (None, "")
        if self._has_sites:
            return _cells(cells, _site, lines, "site", problems)
        for line, cell in zip(lines, cells, strict=True):
            if cell not in (None, ""):
                what = f"{cell!r} here, but the rows before name no site; name one in every row, or in none"
                problems.append((line, f"site: {what}"))
                break
        return [ONLY_SITE] * len(cells)


def _cells(
    cells: list[Any],
    convert: Callable[[Any], T],
    lines: Sequence[int],
    column: str,
    problems: list[tuple[int, str]],
) -> list[T]:
    try:
        return [convert(cell) for cell in cells]
    except ValueError:
        pass  # find the cell: rare, so the usual way stays short
    for line, cell in zip(lines, cells, strict=True):
        try:
            convert(cell)
        except ValueError as error:
            problems.append((line, f"{column}: {error}"))
            break
    return []


def _sparse(
    columns: dict[str, list[Any]],
    names: Iterable[str],
    convert: Callable[[list[Any], Sequence[int], str, list[tuple[int, str]]], list[T]],
    lines: Sequence[int],
    problems: list[tuple[int, str]],
) -> list[dict[str, T]]:
    """For each row the reported cells of these columns by name."""
    found: list[dict[str, T]] = [{} for _ in lines]
    for name in names:
        cells = columns.get(name)
        if cells is None:
            continue
        at = [row for row, cell in enumerate(cells) if cell is not None and cell != ""]
        converted = convert([cells[row] for row in at], [lines[row] for row in at], name, problems)
        for row, value in zip(at, converted, strict=False):
            found[row][name] = value
    return found


def _number_column(cells: list[Any], lines: Sequence[int], name: str, problems: list[tuple[int, str]]) -> list[float]:
    return _cells(cells, _number, lines, name, problems)


def _state_column(cells: list[Any], lines: Sequence[int], name: str, problems: list[tuple[int, str]]) -> list[bool]:
    return _cells(cells, _state, lines, name, problems)


def _time(cell: Any) -> int:
    if isinstance(cell, bool):
        raise ValueError(f"{cell} is no time; {_TIME_HELP}")
    if isinstance(cell, int | float):
        return parse_time(repr(cell))  # repr is exact: a float of seconds keeps its microseconds
    if cell is not None and not isinstance(cell, str):
        raise ValueError(f"{cell!r} is no time; {_TIME_HELP}")
    return parse_time(cell or "")


def _device(cell: Any) -> str:
    return _name(cell, "name the device that reported")


def _site(cell: Any) -> str:
    return _name(cell, "name the site, or leave the column out for a file of one site")


def _name(cell: Any, right: str) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        cell = str(cell)  # ids made of digits come as numbers from Parquet and JSON
    if not cell:
        raise ValueError(f"empty; {right}")
    if not isinstance(cell, str) or cell != cell.strip() or not cell.isprintable():
        raise ValueError(f"{cell!r} is no id; write printable text without spaces around it")
    return cell


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        if not _NUMBER.fullmatch(cell.strip()):
            raise ValueError(f"{cell!r} is no number; write one such as 21.5, or leave it empty if not reported")
        cell = float(cell)
    elif isinstance(cell, bool) or not isinstance(cell, int | float):
        raise ValueError(f"{cell!r} is no number; write one such as 21.5, or leave it out if not reported")
    try:
        return finite("it", cell)
    except ValueError:
        raise ValueError(f"{cell} is no finite number; leave it empty if not reported") from None


def _state(cell: Any) -> bool:
    if isinstance(cell, bool):
        return cell
    known = cell in (0, 1) if isinstance(cell, int | float) else str(cell).strip().lower() in _STATE
    if not known:
        raise ValueError(f"{cell!r} is no state; write true or false (or 1 or 0), or leave it empty if not reported")
    return bool(cell) if isinstance(cell, int | float) else _STATE[str(cell).strip().lower()]


def check_columns(path: Path, line: int, names: Sequence[str]) -> None:
    for name in names:
        if name not in KNOWN:
            near = difflib.get_close_matches(name.lower(), KNOWN, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise OperatorError(f"{path}:{line}: {name}: unknown column; {guess}known: {', '.join(KNOWN)}")
        if names.count(name) > 1:
            raise OperatorError(f"{path}:{line}: {name}: the column is there twice; keep one")
    for name in NEEDED:
        if name not in names:
            raise OperatorError(f"{path}:{line}: {name}: the column is missing; add it, its cells: {_needed(name)}")


def _needed(name: str) -> str:
    return _TIME_HELP if name == "time" else "the id of the device that reported"
