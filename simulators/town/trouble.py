"""What a plan's troubles do to one device: when it is off, what its clock says, what its sensors make of the truth."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ingest.readings import DAY, SECOND
from simulators.town.models import MODELS, Model
from simulators.town.noise import uniform
from simulators.town.plan import Battery, Charging, Clock, Drift, Glitch, Mains, Reboot, States, Stuck, Trouble

#: Later than anything.
FAR = 2**62
#: Below this a device says `low_battery`. A; domain.md 3.3: at least 30 days before the end [S].
LOW_BATTERY = 15.0
#: What hangs on the supply that fails, without a reserve of its own. A.
_AT_ONCE = (Model.PILE, Model.SURFACE_PROBE)


class Afflictions:
    """The troubles of one device. Not pure: a stuck sensor remembers what it read first."""

    __slots__ = (
        "_batteries",
        "_charging",
        "_clocks",
        "_drifts",
        "_edges",
        "_glitches",
        "_held",
        "_mains",
        "_off",
        "_states",
        "_stuck",
    )

    def __init__(self, troubles: Sequence[Trouble], model: Model) -> None:
        self._stuck = [t for t in troubles if isinstance(t, Stuck)]
        self._held: dict[int, float] = {}
        self._drifts = [t for t in troubles if isinstance(t, Drift)]
        self._glitches = [t for t in troubles if isinstance(t, Glitch)]
        self._clocks = [t for t in troubles if isinstance(t, Clock)]
        self._batteries = [t for t in troubles if isinstance(t, Battery)]
        self._states = [t for t in troubles if isinstance(t, States)]
        self._charging = [t for t in troubles if isinstance(t, Charging)]
        self._mains = [t for t in troubles if isinstance(t, Mains)] if MODELS[model].mains else []
        self._off = silences(troubles, model)
        times = {edge for t in troubles for edge in (t.start_at, t.end_at)}
        times |= {edge for span in self._off for edge in span}
        times |= {_reaches(t, LOW_BATTERY) for t in self._batteries}
        self._edges = sorted(times)

    def next_edge(self, at: int) -> int:
        """When something begins or ends next, after `at`."""
        index = bisect_right(self._edges, at)
        return self._edges[index] if index < len(self._edges) else FAR

    def off(self, at: int) -> bool:
        """Without power: it measures and says nothing."""
        return any(start <= at < end for start, end in self._off)

    def clock(self, at: int) -> int:
        """What the device's own clock says at `at`."""
        wrong = 0.0
        for t in self._clocks:
            if t.start_at <= at < t.end_at:
                wrong += t.offset_s * SECOND + t.ppm * (at - t.start_at) / SECOND
        return at + round(wrong)

    def sensed(self, quantity: str, true: float, at: int) -> float:
        """What the sensor gives for the truth; the device itself believes it."""
        for index, stuck in enumerate(self._stuck):
            if stuck.quantity == quantity and stuck.start_at <= at < stuck.end_at:
                if stuck.value is not None:
                    return stuck.value
                return self._held.setdefault(index, true)
        for drift in self._drifts:
            if drift.quantity == quantity and drift.start_at <= at < drift.end_at:
                true += drift.per_day * (at - drift.start_at) / DAY
        return true

    def glitched(self, values: dict[str, float], key: int, at: int) -> dict[str, float]:
        """What is told of these values: single ones are wrong, and only in the telling."""
        for number, t in enumerate(self._glitches):
            hit = t.start_at <= at < t.end_at and uniform(key, -at - number) < t.chance
            if hit and t.quantity in values:
                values = values | {t.quantity: round(values[t.quantity] + t.by, 3)}
        return values

    def states(self, states: dict[str, bool], at: int) -> dict[str, bool]:
        """What the device says of its states."""
        if self._mains:
            states = states | {"mains_lost": self._mains_lost(at)}
        for t in self._states:
            if t.start_at <= at < t.end_at:
                states = states | t.states
            elif t.end_at <= at and not t.states.keys() <= states.keys():
                states = dict.fromkeys(t.states, False) | states  # it says that they have ended
        return states

    def _mains_lost(self, at: int) -> bool:
        """Whether it lives on its reserve."""
        return any(t.start_at <= at < t.end_at for t in self._mains)

    def reserve(self, at: int) -> float | None:
        """% of the reserve it lives on; None while there is mains."""
        left = [1.0 - (at - t.start_at) / SECOND / t.reserve_s for t in self._mains if t.start_at <= at < t.end_at]
        return max(0.0, 100.0 * min(left)) if left else None

    def battery(self, at: int) -> float | None:
        """%; None where nothing is wrong with it."""
        left = [t.percent - t.per_day * (at - t.start_at) / DAY for t in self._batteries if t.start_at <= at < t.end_at]
        return max(0.0, min(left)) if left else None

    def watts(self, at: int) -> float | None:
        """What a pile gives beside its ordinary use; 0: it is held off; None: nothing is said."""
        told = [t.watts for t in self._charging if t.start_at <= at < t.end_at]
        return None if not told else 0.0 if min(told) == 0 else sum(told)


def silences(troubles: Sequence[Trouble], model: Model) -> list[tuple[int, int]]:
    """From when until when a device of this model is without power."""
    spans = []
    for t in troubles:
        match t:
            case Reboot():
                spans.append((t.start_at, t.end_at))
            case Mains() if MODELS[model].mains:
                reserve = 0 if model in _AT_ONCE else int(t.reserve_s * SECOND)
                spans.append((t.start_at + reserve, t.end_at))
            case Battery() if not MODELS[model].mains:
                spans.append((_reaches(t, 0.0), t.end_at))
    return [(start, end) for start, end in spans if start < end]


def _reaches(battery: Battery, percent: float) -> int:
    """When it is down to so many percent."""
    if battery.percent <= percent:
        return battery.start_at
    if battery.per_day <= 0:
        return FAR
    return min(FAR, battery.start_at + int((battery.percent - percent) / battery.per_day * DAY))


class Troubles:
    """The troubles of a plan by site and device."""

    def __init__(self, troubles: Sequence[Trouble]) -> None:
        self._of_site: dict[str, list[Trouble]] = {}
        for trouble in troubles:
            self._of_site.setdefault(trouble.site, []).append(trouble)

    def of(self, *, site: str, device: str) -> list[Trouble]:
        """Those of one device, its site's included."""
        return [t for t in self._of_site.get(site, ()) if t.device in ("", device)]

    def at(self, site: str) -> bool:
        """Whether there is any at this site."""
        return site in self._of_site
