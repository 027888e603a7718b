"""The physics held against measured fires: how far off, and when. Pure but for what it is handed to compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from ingest.readings import SECOND
from simulators.physics.detectors import CHAMBER_M, chamber_lag_s, follow, heat_lag_s
from simulators.physics.exposure import Exposure, Place
from simulators.physics.fire import HOT_C, Fire, Part, course_of
from simulators.physics.trials import SPRINKLER_C, SPRINKLER_RTI, STEPS, Column, Probe, Trial

#: A bare bead of a thermocouple in a ceiling jet. A.
BEAD_S = 1.5
#: From this rise on a ceiling is warming: the time from here to 57 °C does not hang on how long the fuel took to catch.
WARM_K = 5.0
#: The rate of rise is taken over so long, or since the ignition.
RATE_S = 15.0
#: So long after 57 °C the rise is compared once more; so long the model goes on after a record.
LATER_S, AFTER_S = 60.0, 180
#: Nothing is compared later than this, s.
LONGEST_S = 900
#: Smoke well above the noise of NIST's meters (to 0.8 dB/m).
DENSE_DB_M = 1.0
#: What a photoelectric alarm tells at. A: as the heads of our town.
ALARM_DB_M = 0.15


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One thermocouple that reached 57 °C. None where the model did not within the record."""

    group: str
    name: str
    hot_s: float  #: measured, s after the ignition
    late_s: float | None  #: model minus measured
    warming_s: float  #: measured, from +5 K to 57 °C
    warming_late_s: float | None
    rise_k: float  #: measured then
    over_k: float  #: model minus measured at that moment
    rate_k_min: float
    rate_over_k_min: float
    later_percent: float | None  #: model over measured in %, a minute later; None: the record ends before


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A head beside a fire: when it told, and when ours does."""

    group: str
    kind: str
    name: str
    told_s: float
    late_s: float | None
    dense_late_s: float | None = None  #: `DENSE_DB_M` at the ceiling there, where a meter is: model minus measured
    smoke_times: float | None = None  #: the model's smoke over the meter's when the head told


def fire_of(trial: Trial) -> Fire:
    """What the model makes of it; lit at 0."""
    course = course_of(
        [Part(curve=trial.curve, fuel=trial.fuel)],
        room=trial.room,
        base_m=trial.base_m,
        walls=trial.walls,
        seconds=min(int(trial.times[-1]) + AFTER_S, LONGEST_S),
    )
    height = trial.room.height - trial.base_m
    return Fire(
        site=trial.name,
        lit_at=0,
        place=trial.place,
        base_m=trial.base_m,
        height=height,
        openness=0.0,
        course=course,
        events=(),
    )


def compare(trial: Trial) -> list[Compared]:
    """Each thermocouple of a fire that got to 57 °C."""
    fire = fire_of(trial)
    found = [_compared(trial, probe, _modelled(fire, probe.place)) for probe in trial.probes]
    return [one for one in found if one is not None]


def _modelled(fire: Fire, place: Place) -> Column:
    """The rise a bead there shows, K each second."""
    seen, rises = 0.0, []
    for second in range(len(fire.course.kw)):
        seen = follow(seen, fire.at_place(place, second * SECOND).temperature, BEAD_S, 1.0)
        rises.append(seen)
    return np.array(rises)


def _compared(trial: Trial, probe: Probe, model: Column) -> Compared | None:
    lit = trial.times >= 0
    times, celsius = trial.times[lit], probe.celsius[lit]
    air = _air(trial, probe)
    seconds = np.arange(float(len(model)))
    hot, hot_model = _crossing(times, celsius, HOT_C), _crossing(seconds, model + air, HOT_C)
    warm, warm_model = _crossing(times, celsius, air + WARM_K), _crossing(seconds, model, WARM_K)
    if hot is None or warm is None:
        return None
    since = max(0.0, hot - RATE_S)
    rate, later = _slope(times, celsius, since, hot), hot + LATER_S
    return Compared(
        group=trial.group,
        name=f"{trial.name} {probe.name}",
        hot_s=hot,
        late_s=None if hot_model is None else hot_model - hot,
        warming_s=hot - warm,
        warming_late_s=None if hot_model is None or warm_model is None else (hot_model - warm_model) - (hot - warm),
        rise_k=HOT_C - air,
        over_k=float(np.interp(hot, seconds, model)) - (HOT_C - air),
        rate_k_min=rate,
        rate_over_k_min=_slope(seconds, model, since, hot) - rate,
        later_percent=None
        if later > times[-1]
        else _percent(model, later, float(np.interp(later, times, celsius)) - air),
    )


def _percent(model: Column, second: float, measured: float) -> float:
    return 100 * (float(np.interp(second, np.arange(float(len(model))), model)) / measured - 1)


def _air(trial: Trial, probe: Probe) -> float:
    """Before the fire: the mean up to the ignition, or the first row of a record that begins after it."""
    return float(np.mean(probe.celsius[: max(1, int(np.count_nonzero(trial.times <= 0)))]))


def _crossing(times: Column, values: Column, limit: float) -> float | None:
    """When values first reach a limit, between two rows by a straight line."""
    over = np.flatnonzero(values >= limit)
    if len(over) == 0:
        return None
    first = int(over[0])
    if first == 0:
        return float(times[0])
    step = (limit - values[first - 1]) / (values[first] - values[first - 1])
    return float(times[first - 1] + step * (times[first] - times[first - 1]))


def _slope(times: Column, values: Column, start: float, end: float) -> float:
    """K/min between two times."""
    if end <= start:
        return 0.0
    return float(np.interp(end, times, values) - np.interp(start, times, values)) / (end - start) * 60


def tell(trial: Trial) -> list[Told]:
    """Each head beside a fire: the sprinklers by their mass, the smoke alarms by their chamber."""
    if not trial.heads:
        return []
    fire = fire_of(trial)
    air = sum(_air(trial, probe) for probe in trial.probes) / len(trial.probes)
    return [_told(trial, fire, air, kind, place, told) for kind, place, told in trial.heads]


def _told(trial: Trial, fire: Fire, air: float, kind: str, place: Place, told: float) -> Told:
    exposures = [fire.at_place(place, second * SECOND) for second in range(len(fire.course.kw))]
    ours = _sprinkler(exposures, air) if kind == "sprinkler" else _smoke_alarm(exposures)
    plain = Told(
        group=trial.group, kind=kind, name=trial.name, told_s=told, late_s=None if ours is None else ours - told
    )
    return plain if trial.probes[0].smoke is None else _with_smoke(plain, trial, fire, trial.probes[0].smoke)


def _with_smoke(told: Told, trial: Trial, fire: Fire, measured: Column) -> Told:
    place = trial.probes[0].place
    model = np.array([fire.at_place(place, second * SECOND).smoke for second in range(len(fire.course.kw))])
    seconds = np.arange(float(len(model)))
    dense, ours = _crossing(trial.times, measured, DENSE_DB_M), _crossing(seconds, model, DENSE_DB_M)
    then = float(np.interp(told.told_s, trial.times, measured))
    return msgspec.structs.replace(
        told,
        dense_late_s=None if dense is None or ours is None else ours - dense,
        smoke_times=float(np.interp(told.told_s, seconds, model)) / then,
    )


def _sprinkler(exposures: Sequence[Exposure], air: float) -> float | None:
    seen = 0.0
    for second, exposure in enumerate(exposures):
        seen = follow(seen, exposure.temperature, heat_lag_s(SPRINKLER_RTI, exposure.velocity), 1.0)
        if air + seen >= SPRINKLER_C:
            return float(second)
    return None


def _smoke_alarm(exposures: Sequence[Exposure]) -> float | None:
    seen = 0.0
    for second, exposure in enumerate(exposures):
        seen = follow(seen, exposure.smoke, chamber_lag_s(CHAMBER_M, exposure.velocity), 1.0)
        if seen >= ALARM_DB_M:
            return float(second)
    return None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A group of fires in the table: medians over its thermocouples."""

    group: str
    fires: int
    heads: int
    missed: int  #: the model never got to 57 °C
    hot_s: float
    late_s: float
    off_s: float  #: median of the error without its sign
    off_percent: float
    warming_off_s: float
    over_k: float
    off_k: float
    rate_k_min: float
    rate_over_k_min: float
    later_percent: float


def summary(compared: Iterable[Compared]) -> list[Line]:
    """One line a group, in the order they come, one for all fires that grow, one for all."""
    groups: dict[str, list[Compared]] = {}
    for one in compared:
        groups.setdefault(one.group, []).append(one)
    everything = [one for members in groups.values() for one in members]
    growing = [one for one in everything if one.group.partition(",")[0] != STEPS]
    return [
        *(_line(group, members) for group, members in groups.items()),
        _line("all that grow", growing),
        _line("all", everything),
    ]


def _line(group: str, members: Sequence[Compared]) -> Line:
    reached = [(one.late_s, one.hot_s) for one in members if one.late_s is not None]
    warming = [abs(one.warming_late_s) for one in members if one.warming_late_s is not None]
    return Line(
        group=group,
        fires=len({one.name.partition(" ")[0] for one in members}),
        heads=len(members),
        missed=len(members) - len(reached),
        hot_s=_median([one.hot_s for one in members]),
        late_s=_median([late for late, _ in reached]),
        off_s=_median([abs(late) for late, _ in reached]),
        off_percent=_median([100 * abs(late) / max(hot, 1.0) for late, hot in reached]),
        warming_off_s=_median(warming),
        over_k=_median([one.over_k for one in members]),
        off_k=_median([abs(one.over_k) for one in members]),
        rate_k_min=_median([one.rate_k_min for one in members]),
        rate_over_k_min=_median([one.rate_over_k_min for one in members]),
        later_percent=_median([one.later_percent for one in members if one.later_percent is not None]),
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


class HeadLine(msgspec.Struct, frozen=True, kw_only=True):
    """Heads of one kind in the table, medians."""

    group: str
    kind: str
    heads: int
    missed: int
    told_s: float
    late_s: float
    off_s: float
    dense_late_s: float
    smoke_times: float


def head_summary(told: Iterable[Told]) -> list[HeadLine]:
    """One line a group."""
    groups: dict[tuple[str, str], list[Told]] = {}
    for one in told:
        groups.setdefault((one.group, one.kind), []).append(one)
    return [_head_line(group, kind, members) for (group, kind), members in groups.items()]


def _head_line(group: str, kind: str, members: Sequence[Told]) -> HeadLine:
    late = [one.late_s for one in members if one.late_s is not None]
    return HeadLine(
        group=group,
        kind=kind,
        heads=len(members),
        missed=len(members) - len(late),
        told_s=_median([one.told_s for one in members]),
        late_s=_median(late),
        off_s=_median([abs(seconds) for seconds in late]),
        dense_late_s=_median([one.dense_late_s for one in members if one.dense_late_s is not None]),
        smoke_times=_median([one.smoke_times for one in members if one.smoke_times is not None]),
    )
