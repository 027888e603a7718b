"""Fires in a room the size of a shed, temperatures alone: gas burners, chairs, sofas."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ingest.errors import OperatorError
from ingest.readings import SECOND, from_datetime
from ingest.readings_file import FileRow
from simulators.convert.tables import HEAT_C, after, first_at, reported, stamp, table
from simulators.truth import Burning, Converted, Mark, Span, Truth

QUADRANTS = "ABCD"
#: How the names of gas burners begin; the others are chairs and sofas.
BURNERS = ("100kW", "250kW", "500kW")


def convert(folder: Path) -> Iterator[Converted]:
    """One recording a fire: a heat head in each quadrant, 25 mm under the ceiling. Time 0 is the ignition."""
    paths = sorted(folder.glob("*.csv.gz"))
    if not paths:
        raise OperatorError(f"{folder}: no *.csv.gz in it; name the folder of the data sets with --data DIR")
    for path in paths:
        name = path.name.removesuffix(".csv.gz")
        yield _recording(name, table(path), table(folder / f"{name}_Events.csv"))


def _recording(name: str, data: pd.DataFrame, events: pd.DataFrame) -> Converted:
    ignition = _moment(data.loc[data["Time"] == 0, "Timestamp"].iloc[0])
    times = [after(ignition, second) for second in data["Time"]]
    ceilings = {quadrant: _ceiling(data, quadrant) for quadrant in QUADRANTS}
    rows = [
        FileRow(at=at, site=name, device=_device(quadrant), values=reported({"temperature": values[index]}))
        for index, at in enumerate(times)
        for quadrant, values in ceilings.items()
    ]
    return Converted(rows=rows, truth=_truth(name, ignition, times, ceilings, events))


def _ceiling(data: pd.DataFrame, quadrant: str) -> list[float]:
    column = f"Quadrant {quadrant} Temperature 25 mm Below Ceiling"
    return [float(value) for value in data[column]]


def _device(quadrant: str) -> str:
    return f"quadrant-{quadrant.lower()}"


def _moment(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _truth(name: str, ignition: int, times: list[int], ceilings: dict[str, list[float]], events: pd.DataFrame) -> Truth:
    means = [sum(column) / len(column) for column in zip(*ceilings.values(), strict=True)]
    marks = []
    for device, values in {"": means, **{_device(key): column for key, column in ceilings.items()}}.items():
        hot = first_at(times, values, HEAT_C)
        if hot is not None:
            what = "57 °C at the ceiling" if device else "57 °C, mean of the ceiling"
            after_s = (hot - ignition) / SECOND
            marks.append(Mark(what=what, kind="heat", device=device, at=stamp(hot), after_s=after_s))
    for event in events.to_dict("records"):
        at = from_datetime(datetime.strptime(event["Time"], "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC))
        marks.append(Mark(what=str(event["Event"]), at=stamp(at), after_s=(at - ignition) / SECOND))
    return Truth(
        recording=name,
        source="ulfsri/fsri-compartments-2018 (MIT)",
        site=name,
        fire=True,
        clock="the laboratory's local time, written as if it were UTC",
        interval_s=1.0,
        ignition=stamp(ignition),
        fires=[
            Burning(what="burner" if name.startswith(BURNERS) else "furniture", site=name, ignition=stamp(ignition))
        ],
        references=marks,
        quiet=[Span(what="before the ignition", start=stamp(times[0]), end=stamp(ignition))],
        devices={_device(quadrant): "heat_head" for quadrant in QUADRANTS},
        notes=["burners are a step input: good for latency, not for growth", "events may be a second off"],
    )
