"""The temperature of an office, each hour for ten months; labelled anomalies, no fire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from ingest.errors import OperatorError
from ingest.readings import HOUR, from_datetime
from ingest.readings_file import FileRow
from simulators.convert.tables import stamp, table
from simulators.truth import Converted, Mark, Span, Truth

SITE, DEVICE = "office", "office-1"
KEY = "realKnownCause/ambient_temperature_system_failure.csv"


def convert(folder: Path) -> Iterator[Converted]:
    """One recording; °F become °C. Missing hours are missing rows: the device was away."""
    data = table(folder / "ambient_temperature_system_failure.csv")
    rows = [
        FileRow(at=_at(when), site=SITE, device=DEVICE, values={"temperature": (float(value) - 32) / 1.8})
        for when, value in zip(data["timestamp"], data["value"], strict=True)
    ]
    truth = Truth(
        recording="nab_office",
        source="numenta/NAB (MIT)",
        site=SITE,
        fire=False,
        clock="the set states no zone: written as if it were UTC",
        interval_s=3600.0,
        references=[
            Mark(what="labelled anomaly", at=stamp(_at(when))) for when in _labels(folder, "labels", list[str])
        ],
        quiet=[Span(what="no fire", start=stamp(rows[0].at), end=stamp(rows[-1].at + HOUR))],
        nuisances=[*_windows(folder), *_gaps(rows)],
        devices={DEVICE: "heat_head"},
    )
    yield Converted(rows=rows, truth=truth)


def _at(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


T = TypeVar("T")


def _labels(folder: Path, kind: str, form: type[T]) -> T:
    path = folder / f"combined_{kind}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, form])[KEY]  # type: ignore[valid-type]
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise OperatorError(f"{path}: cannot read the labels: {error}") from None


def _windows(folder: Path) -> Iterator[Span]:
    for start, end in _labels(folder, "windows", list[tuple[str, str]]):
        yield Span(what="window of a labelled anomaly", start=stamp(_at(start)), end=stamp(_at(end)))


def _gaps(rows: list[FileRow]) -> Iterator[Span]:
    for before, after in pairwise(rows):
        if after.at - before.at > 24 * HOUR:
            yield Span(what="offline", device=DEVICE, start=stamp(before.at), end=stamp(after.at))
