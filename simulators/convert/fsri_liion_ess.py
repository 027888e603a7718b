"""Thirty 18650 lithium-ion cells driven into thermal runaway: temperatures at the surface of the pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ingest.readings_file import FileRow
from simulators.convert.tables import NOMINAL, NOMINAL_CLOCK, after, reported, stamp, table
from simulators.truth import Burning, Converted, Mark, Span, Truth

NAME = "cell_level_experiment"
CELLS = range(1, 10)


def convert(folder: Path) -> Iterator[Converted]:
    """One recording. The container tests are tables of events without readings: not converted."""
    data = table(folder / "Cell_Level_Experiment.csv").dropna(subset=["Time (s)"])
    rows = [
        FileRow(
            at=after(NOMINAL, step["Time (s)"]),
            site=NAME,
            device=_device(cell),
            values=reported({"temperature": step[f"Cell {cell} Temperature (C)"]}),
        )
        for step in data.to_dict("records")
        for cell in CELLS
    ]
    yield Converted(rows=rows, truth=_truth(data))


def _device(cell: int) -> str:
    return f"cell-{cell}"


def _truth(data: pd.DataFrame) -> Truth:
    runaway, flaming = _first(data, "Thermal Runaway"), _first(data, "Flaming")
    ignition = stamp(after(NOMINAL, flaming))
    return Truth(
        recording=NAME,
        source="ulfsri/fsri-lib-ess-demo-2020 (MIT)",
        site=NAME,
        fire=True,
        clock=NOMINAL_CLOCK.replace("is ignited", "begins to be heated"),
        interval_s=1.0,
        ignition=ignition,
        fires=[Burning(what="battery_fire", site=NAME, ignition=ignition, first_flame=ignition)],
        references=[
            Mark(what="thermal runaway", kind="runaway", at=stamp(after(NOMINAL, runaway)), after_s=runaway - flaming),
            Mark(what="flaming", kind="flaming", at=ignition, after_s=0.0),
        ],
        quiet=[Span(what="heated, not yet in runaway", start=stamp(NOMINAL), end=stamp(after(NOMINAL, runaway)))],
        devices={_device(cell): "surface_probe" for cell in CELLS},
        notes=["surface of the pack, not room air; the cells are heated on purpose"],
    )


def _first(data: pd.DataFrame, flag: str) -> float:
    told = data[flag].astype(str).str.upper() == "TRUE"
    return float(data.loc[told, "Time (s)"].iloc[0])
