"""Thirty 18650 lithium-ion cells driven into thermal runaway: temperatures at the surface of the pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ingest.readings_file import FileRow
from simulators.convert.tables import NOMINAL, NOMINAL_CLOCK, after, reported, stamp, table
from simulators.convert.truth import Converted, Mark, Span, Truth

NAME = "cell_level_experiment"
CELLS = range(1, 10)


def convert(folder: Path) -> Iterator[Converted]:
    """One recording. The container tests are tables of events without readings: not converted."""
    data = table(folder / "Cell_Level_Experiment.csv").dropna(subset=["Time (s)"])
    rows = [
        FileRow(
            at=after(NOMINAL, step["Time (s)"]),
            site=NAME,
            device=f"cell-{cell}",
            values=reported({"temperature": step[f"Cell {cell} Temperature (C)"]}),
        )
        for step in data.to_dict("records")
        for cell in CELLS
    ]
    yield Converted(rows=rows, truth=_truth(data))


def _truth(data: pd.DataFrame) -> Truth:
    runaway = _first(data, "Thermal Runaway")
    return Truth(
        recording=NAME,
        source="ulfsri/fsri-lib-ess-demo-2020 (MIT)",
        site=NAME,
        fire=True,
        clock=NOMINAL_CLOCK.replace("is ignited", "begins to be heated"),
        interval_s=1.0,
        ignition=stamp(after(NOMINAL, _first(data, "Flaming"))),
        references=[
            Mark(what="thermal runaway", at=stamp(after(NOMINAL, runaway))),
            Mark(what="flaming", at=stamp(after(NOMINAL, _first(data, "Flaming"))), after_s=0.0),
        ],
        quiet=[Span(what="heated, not yet in runaway", start=stamp(NOMINAL), end=stamp(after(NOMINAL, runaway)))],
        notes=[
            "surface of the pack, not room air: enrol the devices as surface_probe; the cells are heated on purpose"
        ],
    )


def _first(data: pd.DataFrame, flag: str) -> float:
    told = data[flag].astype(str).str.upper() == "TRUE"
    return float(data.loc[told, "Time (s)"].iloc[0])
