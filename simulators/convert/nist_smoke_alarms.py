"""Four flaming fires in a manufactured home, with the activation times of 71 real smoke alarms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ingest.readings_file import FileRow
from simulators.convert.tables import HEAT_C, NOMINAL, NOMINAL_CLOCK, after, first_at, reported, stamp, table
from simulators.truth import Burning, Converted, Mark, Truth

TESTS = ("SDC02", "SDC05", "SDC07", "SDC10")
#: Where the fire was: E the living room (chair), B the main bedroom (mattress).
ORIGIN = {"SDC02": "E", "SDC05": "B", "SDC07": "B", "SDC10": "E"}
STATIONS = "ABCDE"


def convert(folder: Path) -> Iterator[Converted]:
    """One recording a test: a head at each station, 20 mm under the ceiling."""
    times = table(folder / "Activation_Times.csv").iloc[0]
    for test in TESTS:
        data = table(folder / f"NIST_Smoke_Alarms_{test}.csv").dropna(subset=["TIME"])
        activations = {str(name)[6:]: float(times[name]) for name in times.index if str(name).startswith(f"{test}-")}
        yield Converted(rows=_rows(test, data, activations), truth=_truth(test, data, activations))


def _device(station: str) -> str:
    return f"station-{station.lower()}"


def _rows(test: str, data: pd.DataFrame, activations: dict[str, float]) -> list[FileRow]:
    photoelectric = {station: _first(activations, "Pho", station) for station in STATIONS}
    found = []
    for step in data.to_dict("records"):
        for station in STATIONS:
            density = step.get(f"SM{station}_1", math.nan)  # 1/m; × 10 = dB/m. SDC10 has none at C and E
            values = reported({"temperature": step.get(f"TC{station}_1", math.nan), "smoke": 10 * density})
            alarm = photoelectric[station]
            states = {} if alarm is None else {"smoke_alarm": bool(step["TIME"] >= alarm)}
            at = after(NOMINAL, step["TIME"])
            found.append(FileRow(at=at, site=test.lower(), device=_device(station), values=values, states=states))
    return found


def _first(activations: dict[str, float], kind: str, station: str) -> float | None:
    times = [at for name, at in activations.items() if name.startswith(kind) and name.endswith(station)]
    return min(times, default=None)


def _truth(test: str, data: pd.DataFrame, activations: dict[str, float]) -> Truth:
    marks = [_alarm(name, seconds) for name, seconds in activations.items()]
    steps = [float(seconds) for seconds in data["TIME"]]
    for station in STATIONS:
        ceiling = [float(value) for value in data[f"TC{station}_1"]]
        hot = first_at(steps, ceiling, HEAT_C)
        if hot is not None:
            what = "57 °C at the ceiling"
            marks.append(Mark(what=what, kind="heat", device=_device(station), at=_at(hot), after_s=hot))
    origin = _device(ORIGIN[test])
    return Truth(
        recording=test,
        source="NIST home smoke alarm study, TN 1455 (firemodels/exp, NIST notice)",
        site=test.lower(),
        fire=True,
        clock=NOMINAL_CLOCK,
        interval_s=5.0 if test == "SDC05" else 2.0,
        ignition=_at(0.0),
        fires=[Burning(what="furniture", site=test.lower(), ignition=_at(0.0), nearest=origin, room=[origin])],
        references=sorted(marks, key=lambda mark: mark.after_s or 0.0),
        devices={_device(station): "smoke_heat_head" for station in STATIONS},
        notes=[
            "smoke = 10 × optical density; noise to 0.2 dB/m before any alarm, drift in hot gas",
            "alarms after the last row are in references alone",
        ],
    )


def _alarm(name: str, seconds: float) -> Mark:
    """The column Pho1E is a photoelectric alarm, model 1, at station E."""
    kind = {"Ion": "ionisation", "Pho": "photoelectric"}[name[:3]]
    what, device = f"{kind} alarm, model {name[3]}", _device(name[4])
    return Mark(what=what, kind=kind, device=device, at=_at(seconds), after_s=seconds)


def _at(seconds: float) -> str:
    return stamp(after(NOMINAL, seconds))
