"""Measured fires as trials of the physics: what burnt where, and what thermocouples under the ceiling read.

What the model is told of a fire never comes from the thermocouples it is compared with: burners by the power they were
set to, furniture by the calorimeter's curves of other burns of the same piece, NIST's chair and mattress by how fast
they lost weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from ingest.errors import OperatorError
from simulators.convert.nist_smoke_alarms import ORIGIN
from simulators.convert.tables import table
from simulators.physics.exposure import Place
from simulators.physics.jet import plume_kg_s
from simulators.physics.layer import Room
from simulators.physics.release import FUELS, Curve, Fuel, Measured

Column = np.ndarray[tuple[int], np.dtype[np.float64]]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A thermocouple under the ceiling: °C at `Trial.times`; `smoke` dB/m where a meter sat beside it."""

    name: str
    place: Place
    celsius: Column
    smoke: Column | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One measured fire. `times` are s after the ignition; `heads` heat or smoke heads beside it and when they told."""

    group: str
    name: str
    room: Room
    place: Place
    walls: int
    base_m: float
    curve: Curve
    fuel: Fuel
    times: Column
    probes: tuple[Probe, ...]
    heads: tuple[tuple[str, Place, float], ...] = ()


def all_trials(data: Path) -> Iterator[Trial]:
    """Every fire of the data sets that can be compared."""
    yield from burners(data / "fsri_compartments")
    yield from furniture(data / "fsri_compartments")
    yield from vettori(data / "vettori")
    yield from nist(data / "nist_smoke_alarms")


# --- FSRI: a room of 3.7 × 3.7 × 2.4 m, door of 0.9 × 2.0 m open or closed -------------------------------------------

#: A: height of burners and seats, which is not published with the data.
FSRI_M, FSRI_CEILING_M, FSRI_BASE_M = 3.7, 2.4, 0.4
#: Centres of the quadrants, across and from the door: A and B on the left, A and D at the door (from which heads warm
#: first in corner, back and side fires, and where the pressure taps "in the back right corner" sit: C).
QUADRANTS = {"A": (0.925, 0.925), "B": (0.925, 2.775), "C": (2.775, 2.775), "D": (2.775, 0.925)}
#: Where the fuel stood, and how many times over walls reflect it.
STOOD = {
    "Center": (1.85, 1.85, 1),
    "Back": (1.85, 3.35, 2),
    "Side": (0.35, 1.85, 2),
    "Corner": (0.35, 3.35, 4),
}
#: The group of fires that are at full power from the beginning: good for delays, not for growth.
STEPS = "gas burners"
#: What the calorimeter's hood tells below this is noise, kW.
HOOD_NOISE_KW = 10.0


def _room(*, door_open: bool) -> Room:
    return Room(
        area=FSRI_M**2,
        perimeter=4 * FSRI_M,
        height=FSRI_CEILING_M,
        width_open_m=0.9 if door_open else 0.0,
        lintel_m=2.0,
    )


def burners(folder: Path) -> Iterator[Trial]:
    """Gas burners of 100, 250 and 500 kW, at full power 2 s after the ignition."""
    for path in _files(folder, "*kW*.csv.gz"):
        kw = float(path.name.partition("kW")[0])
        yield _fsri(path, STEPS, Measured(times=(0.0, 2.0), kws=(0.0, kw)), FUELS["gas"])


def furniture(folder: Path) -> Iterator[Trial]:
    """Chairs and sofas, each by the mean curve of the calorimeter in the other burns of its kind."""
    for prefix, group in (("RedAccent", "chairs"), ("Overstuffed", "sofas")):
        paths = _files(folder, f"{prefix}_*.csv.gz")
        curves = {path: curve for path in paths if (curve := _hood(table(path))) is not None}
        for path in paths:
            others = [curve for other, curve in curves.items() if other != path]
            if not others:
                raise OperatorError(f"{folder}: only {path.name} of its kind; the model needs other burns beside it")
            yield _fsri(path, group, _mean(others), FUELS["furniture"])


def _fsri(path: Path, group: str, curve: Curve, fuel: Fuel) -> Trial:
    name = path.name.removesuffix(".csv.gz")
    _, door, where, _ = name.split("_")
    data = table(path)
    x, y, walls = STOOD[where]
    times = _numbers(data, "Time", path)
    probes = tuple(
        Probe(name=quadrant, place=Place(x_m=at[0], y_m=at[1]), celsius=_quadrant(data, quadrant, path))
        for quadrant, at in QUADRANTS.items()
    )
    return Trial(
        group=f"{group}, door {door.lower()}",
        name=name,
        room=_room(door_open=door == "Open"),
        place=Place(x_m=x, y_m=y),
        walls=walls,
        base_m=FSRI_BASE_M,
        curve=curve,
        fuel=fuel,
        times=times,
        probes=probes,
    )


def _quadrant(data: pd.DataFrame, quadrant: str, path: Path) -> Column:
    return _numbers(data, f"Quadrant {quadrant} Temperature 25 mm Below Ceiling", path)


def _hood(data: pd.DataFrame) -> Column | None:
    """The calorimeter's curve, kW each second, smoothed over 5 s; None: it was not used."""
    if "Heat Release Rate" not in data:
        return None
    smooth = data["Heat Release Rate"].rolling(5, center=True, min_periods=1).mean().fillna(0)
    return smooth[data["Time"] >= 0].to_numpy(float)


def hood_delay_s(kw: float) -> float:
    """How late the hood sees a growing fire in that room: smoke first fills the room down to the lintel, then mixes
    with what is there, each as long as the plume takes to bring that volume.

    The burners bear it out: to half of 250 kW the hood took 9 to 20 s (this: 12), of 500 kW 4 to 12 s (this: 8).
    """
    above = FSRI_M**2 * (FSRI_CEILING_M - 2.0)
    flow = plume_kg_s(kw * (1 - FUELS["furniture"].radiated), 2.0 - FSRI_BASE_M) / 1.2
    return 2 * above / flow


def _mean(curves: Sequence[Column]) -> Measured:
    """As fast and as late as the mean of several: mean over the times at which each reaches a power, not over powers
    at a time, which would begin with the earliest and grow with the slowest."""
    tops = [np.maximum.accumulate(curve) for curve in curves]
    levels = np.geomspace(HOOD_NOISE_KW, min(top[-1] for top in tops), 60)
    seen = np.mean([[float(np.argmax(top >= level)) for level in levels] for top in tops], axis=0)
    times = np.maximum.accumulate(seen - [hood_delay_s(level) for level in levels])
    steps, index = np.unique(np.maximum(times, 2.0), return_index=True)
    # Below what the hood can tell: growth with time squared, drawn back from the first levels.
    fourfold = float(np.interp(4 * HOOD_NOISE_KW, levels, times))
    begins = max(0.0, 2 * float(steps[0]) - fourfold)
    first = (begins, (begins + float(steps[0])) / 2)
    return Measured(times=(*first, *steps.tolist()), kws=(0.0, levels[0] / 4, *levels[index].tolist()))


# --- Vettori: a room of 9.2 × 5.6 × 2.44 m, burner programmes, sprinklers -------------------------------------------

#: The burner's three programmes, kW at seconds (NISTIR 6253, as NIST's validation of its models repeats them).
PROGRAMMES = {
    "fast": Measured(
        times=(0, 5, 10, 15, 20, 25, 30, 40, 45, 50, 55, 60, 65, 70, 80, 90, 100),
        kws=(0, 57, 75, 110, 127, 163, 173, 196, 216, 271, 309, 379, 443, 515, 673, 852, 1053),
    ),
    "medium": Measured(
        times=(0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 150, 200),
        kws=(0, 9.5, 20, 34, 51, 66, 83, 104, 124, 143, 162, 174, 192, 239, 280, 373, 663),
    ),
    "slow": Measured(
        times=(0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160, 180, 200, 240),
        kws=(0, 6.3, 9.5, 16, 23, 30, 35, 42, 52, 62, 69, 78, 85, 94, 109, 124, 148, 179, 250),
    ),
}
TREES = {1: (2.4, 1.4), 2: (6.8, 1.4), 3: (6.8, 4.2), 4: (2.4, 4.2)}
#: Tests 1 to 15 in the open, 16 to 30 at a wall, 31 to 45 in a corner; of each five the last two under beams.
BURNER_AT = ((4.6, 1.4, 1), (4.6, 0.44, 2), (0.5, 0.5, 4))
SPRINKLER_RTI, SPRINKLER_C = 56.0, 68.0  # of the residential quick-response heads used


def vettori(folder: Path) -> Iterator[Trial]:
    """A burner that grows, under a smooth ceiling or one with beams, with the sprinklers' times."""
    activations = table(folder / "Vettori_Flat_Ceiling_Act.csv").iloc[0]
    room = Room(area=9.2 * 5.6, perimeter=29.6, height=2.44, width_open_m=0.0, lintel_m=2.1)
    for path in _files(folder, "Vettori_Flat_Ceiling_Test_*.csv"):
        number = int(path.stem.rpartition("_")[2])
        x, y, walls = BURNER_AT[(number - 1) // 15]
        data = table(path)
        told = [key.split("-") for key in map(str, activations.index) if key.startswith(f"Time-{number}-")]
        yield Trial(
            group="smooth ceiling" if (number - 1) % 5 < 3 else "ceiling with beams",
            name=f"vettori_{number:02d}",
            room=room,
            place=Place(x_m=x, y_m=y),
            walls=walls,
            base_m=0.3,
            curve=PROGRAMMES[("fast", "medium", "slow")[(number - 1) % 15 // 5]],
            fuel=FUELS["gas"],
            times=_numbers(data, "TIME", path),
            probes=tuple(
                Probe(name=f"tree {tree}", place=_tree_place(tree), celsius=_numbers(data, f"TC_{tree}_02", path))
                for tree in TREES  # _02: 25 mm below the ceiling, where a head sits
            ),
            heads=tuple(("sprinkler", _tree_place(int(key[2])), float(activations["-".join(key)])) for key in told),
        )


def _tree_place(tree: int) -> Place:
    x, y = TREES[tree]
    return Place(x_m=x, y_m=y)


# --- NIST: a chair or a mattress in a manufactured home ------------------------------------------------------------

#: The room of origin: its area, perimeter, door; where fuel, thermocouple and smoke alarms were (from the plan of the
#: home in NIST's validation of its models). The living room opens to the kitchen beside it.
NIST_ROOMS = {
    "E": (Room(area=28.5, perimeter=22.4, height=2.4, width_open_m=1.0, lintel_m=2.0), (12.9, 3.2), (12.55, 2.1)),
    "B": (Room(area=9.8, perimeter=12.8, height=2.4, width_open_m=0.6, lintel_m=2.0), (18.1, 3.1), (18.7, 2.0)),
}
NIST_ALARMS = {"E": (13.0, 1.63), "B": (17.8, 1.63)}
#: The balance reads in steps of 6 g: loss is taken over so many seconds around each time.
WEIGHED_S = 20.0


def nist(folder: Path) -> Iterator[Trial]:
    """Flaming fires that are told by their loss of weight times the heat of furniture."""
    activations = table(folder / "Activation_Times.csv").iloc[0]
    for test, station in ORIGIN.items():
        path = folder / f"NIST_Smoke_Alarms_{test}.csv"
        data = table(path)
        times = _numbers(data, "TIME", path)
        room, burnt, probe = NIST_ROOMS[station]
        meter = f"SM{station}_1"
        alarms = [float(activations[key]) for key in activations.index if _photoelectric(str(key), test, station)]
        yield Trial(
            group="chair, mattress by weight",
            name=test,
            room=room,
            place=Place(x_m=burnt[0], y_m=burnt[1]),
            walls=1,
            base_m=0.4,
            curve=_by_weight(times, _numbers(data, "Load", path)),
            fuel=FUELS["furniture"],
            times=times,
            probes=(
                Probe(
                    name=station,
                    place=Place(x_m=probe[0], y_m=probe[1]),
                    celsius=_numbers(data, f"TC{station}_1", path),
                    smoke=10 * _numbers(data, meter, path) if meter in data else None,
                ),
            ),
            heads=(("photoelectric", Place(x_m=NIST_ALARMS[station][0], y_m=NIST_ALARMS[station][1]), min(alarms)),),
        )


def _photoelectric(key: str, test: str, station: str) -> bool:
    return key.startswith(f"{test}-Pho") and key.endswith(station)


def _by_weight(times: Column, lost: Column) -> Measured:
    """kW from the loss of weight, as far as it only grows: then the fire was put out."""
    until = int(np.argmax(lost)) + 1
    seconds = np.arange(0.0, times[until - 1])
    before, after = seconds - WEIGHED_S / 2, seconds + WEIGHED_S / 2
    weight = np.maximum.accumulate(lost[:until])
    loss = np.interp(after, times[:until], weight) - np.interp(before, times[:until], weight)
    kws = loss / (np.minimum(after, times[until - 1]) - np.maximum(before, 0.0)) * FUELS["furniture"].heat_kj_g * 1000
    return Measured(times=tuple(seconds.tolist()), kws=tuple(kws.tolist()))


def _numbers(data: pd.DataFrame, name: str, path: Path) -> Column:
    """A column of a table; OperatorError when it has none of that name."""
    if name not in data:
        raise OperatorError(f"{path}: no column {name!r}; is it the table of the data set that --data DIR should hold?")
    return data[name].to_numpy(float)


def _files(folder: Path, pattern: str) -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise OperatorError(f"{folder}: no {pattern} in it; name the folder of the data sets with --data DIR")
    return paths
