"""A gas burner under a flat ceiling: thermocouple trees and the activation times of sprinklers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ingest.errors import OperatorError
from ingest.readings_file import FileRow
from simulators.convert.tables import NOMINAL, NOMINAL_CLOCK, after, reported, stamp, table
from simulators.truth import Burning, Converted, Mark, Truth

TREES = range(1, 5)
LEVELS = range(1, 13)


def convert(folder: Path) -> Iterator[Converted]:
    """One recording a test. A heat head at each tree sees its warmest level: the jet under the ceiling."""
    activations = table(folder / "Vettori_Flat_Ceiling_Act.csv").iloc[0]
    paths = sorted(folder.glob("Vettori_Flat_Ceiling_Test_*.csv"))
    if not paths:
        raise OperatorError(f"{folder}: no tests in it; name the folder of the data sets with --data DIR")
    for path in paths:
        number = int(path.stem.rpartition("_")[2])
        name = f"vettori_{number:02d}"
        yield Converted(rows=_rows(name, table(path)), truth=_truth(name, number, activations))


def _rows(name: str, data: pd.DataFrame) -> list[FileRow]:
    warmest = {tree: data[[f"TC_{tree}_{level:02d}" for level in LEVELS]].max(axis=1).tolist() for tree in TREES}
    times = [after(NOMINAL, seconds) for seconds in data["TIME"]]
    return [
        FileRow(at=at, site=name, device=_device(tree), values=reported({"temperature": warmest[tree][index]}))
        for index, at in enumerate(times)
        for tree in TREES
    ]


def _device(tree: int) -> str:
    return f"tree-{tree}"


def _truth(name: str, number: int, activations: pd.Series) -> Truth:
    marks = []
    for key in activations.index:  # Time-TEST-POSITION
        if str(key).startswith(f"Time-{number}-"):
            what, seconds = f"sprinkler at position {str(key).rpartition('-')[2]}", float(activations[key])
            marks.append(Mark(what=what, kind="sprinkler", at=stamp(after(NOMINAL, seconds)), after_s=seconds))
    return Truth(
        recording=name,
        source="Vettori, flat ceiling tests (firemodels/exp, NIST notice)",
        site=name,
        fire=True,
        clock=NOMINAL_CLOCK,
        interval_s=6.8,
        ignition=stamp(NOMINAL),
        fires=[Burning(what="burner", site=name, ignition=stamp(NOMINAL))],
        references=marks,
        devices={_device(tree): "heat_head" for tree in TREES},
        notes=["burners are a step input: good for latency, not for growth"],
    )
