"""Reading the tables of the data sets, and the rows and times made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pandas as pd

from ingest.errors import OperatorError
from ingest.readings import SECOND, from_datetime, to_datetime

T = TypeVar("T", int, float)

#: The clock of tests that count from the ignition alone: they all begin to burn at this moment.
NOMINAL = from_datetime(datetime(2001, 1, 1, 12, 0, tzinfo=UTC))
NOMINAL_CLOCK = "nominal: every test of this set is ignited at 2001-01-01T12:00:00Z; the steps are real"


#: What marks of kind `heat` are of, °C: a common heat limit (D 3.1).
HEAT_C = 57.0


def table(path: Path) -> pd.DataFrame:
    """A CSV file; OperatorError when it cannot be read."""
    try:
        return pd.read_csv(path, encoding="utf-8-sig")
    except FileNotFoundError:
        raise OperatorError(f"{path}: not there; name the folder of the data sets with --data DIR") from None
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path}: not a readable CSV file: {error}") from None


def after(start: int, seconds: float) -> int:
    """The time (µs) so many seconds after another."""
    return start + round(float(seconds) * SECOND)


def stamp(at: int) -> str:
    """How truth files write a time."""
    return to_datetime(at).isoformat().removesuffix("+00:00") + "Z"


def reported(values: dict[str, float]) -> dict[str, float]:
    """Without what is missing."""
    return {name: float(value) for name, value in values.items() if not math.isnan(value)}


def first_at(times: Iterable[T], values: Iterable[float], limit: float) -> T | None:
    """When values first reach a limit."""
    return next((at for at, value in zip(times, values, strict=True) if value >= limit), None)
