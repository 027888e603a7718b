"""What is no fire and yet reaches a head: steam, oil smoke, welding, swept dust, exhaust. Pure.

Each is a cloud that rises to the ceiling at one place and thins out along it. How dense clouds of kitchens and
workshops are at a head differs by orders of magnitude and nobody has measured it in sheds; what is known is how often
heads alarm: photoelectric ones 1.5 m from a stove in 3.0 % of the meals cooked, at 3 m in 6.0 %, at 6 m in 0.9 %
(CPSC, pilot study of nuisance alarms associated with cooking, 2010). So an ordinary meal stays well below a head's
own alarm and a burnt one does not: `strength` is that difference, of smoke and CO alone. All other numbers here are
A = our assumption.
"""

from __future__ import annotations

import bisect
import math
import random

import msgspec

from ingest.readings import SECOND
from simulators.physics.exposure import NOTHING, Exposure, Place

#: A cloud of which less than this is left is gone. A.
TRACE = 0.01


class Puff(msgspec.Struct, frozen=True, gc=False):
    """One time it gives off smoke: seconds after the start, how long, and how strong beside the others."""

    start_s: float
    lasts_s: float
    strength: float


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of cloud looks at the ceiling right above it when it has lasted long, and how it moves."""

    full: Exposure
    rise_s: float  #: it builds up to two thirds within this
    fade_s: float  #: afterwards a third of it is left after this
    half_m: float  #: half as dense this far away
    speed_m_s: float  #: of its front along the ceiling
    on_s: tuple[float, float]  #: how long it gives off smoke at a time; infinite = all the time
    off_s: tuple[float, float] = (0.0, 0.0)  #: pauses
    uneven: float = 0.0  #: how much puffs differ: standard deviation of the logarithm


ALWAYS = (math.inf, math.inf)

KINDS: dict[str, Kind] = {
    # A: 1.5 kW of boiling gives off 0.66 g/s of vapour (1.5 kW / 2.26 MJ/kg), which in 20 m³ of room air at 25 °C
    # (23 g/m³ when saturated) is some points of %RH a second at first; droplets scatter light for moments.
    "steam": Kind(
        full=Exposure(temperature=3.0, smoke=0.05, humidity=32.0, velocity=0.3),
        rise_s=90.0,
        fade_s=240.0,
        half_m=2.5,
        speed_m_s=0.3,
        on_s=ALWAYS,
    ),
    # A: frying; strength 1 is below any head's alarm (0.15 dB/m), a burnt meal is 2 to 4.
    "oil": Kind(
        full=Exposure(temperature=4.0, smoke=0.1, humidity=5.0, co=5.0, velocity=0.3),
        rise_s=120.0,
        fade_s=300.0,
        half_m=2.5,
        speed_m_s=0.3,
        on_s=ALWAYS,
    ),
    # A: fume of arc welding in strokes of 10 to 40 s; warm, but a few kW for moments do not warm a ceiling.
    "welding": Kind(
        full=Exposure(temperature=2.5, smoke=0.25, co=4.0, velocity=0.4),
        rise_s=15.0,
        fade_s=30.0,
        half_m=2.0,
        speed_m_s=0.4,
        on_s=(10.0, 40.0),
        off_s=(20.0, 120.0),
        uneven=0.4,
    ),
    # A: a broom throws up dust by strokes; cold and dry.
    "sweeping": Kind(
        full=Exposure(smoke=0.2, velocity=0.1),
        rise_s=6.0,
        fade_s=40.0,
        half_m=1.5,
        speed_m_s=0.25,
        on_s=(2.0, 6.0),
        off_s=(5.0, 25.0),
        uneven=0.5,
    ),
    # A: a petrol moped left idling below the canopy: carbon monoxide, hardly any smoke once warm.
    "exhaust": Kind(
        full=Exposure(temperature=1.5, smoke=0.04, humidity=3.0, co=60.0, velocity=0.2),
        rise_s=60.0,
        fade_s=90.0,
        half_m=2.0,
        speed_m_s=0.3,
        on_s=ALWAYS,
    ),
}


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """One nuisance at one place: a Source. `puffs` in order of time; `still_at`: it gives off nothing more."""

    site: str
    start_at: int
    still_at: int
    place: Place
    kind: Kind
    strength: float
    puffs: tuple[Puff, ...]

    @property
    def end_at(self) -> int:
        """When hardly anything is left at any place."""
        return self.still_at + round(self.kind.fade_s * -math.log(TRACE) * SECOND) + 30 * SECOND

    def at_place(self, place: Place, at: int) -> Exposure:
        """What it adds there."""
        away = math.dist((place.x_m, place.y_m), (self.place.x_m, self.place.y_m))
        seconds = (at - self.start_at) / SECOND - away / self.kind.speed_m_s
        density = self._density(seconds) * 0.5 ** (away / self.kind.half_m)
        if at >= self.end_at or density < TRACE / 10:
            return NOTHING
        full = self.kind.full
        return Exposure(
            temperature=full.temperature * density,
            smoke=full.smoke * density * self.strength,
            humidity=full.humidity * density,
            co=full.co * density * self.strength,
            velocity=full.velocity * min(density, 1.0),
        )

    def _density(self, seconds: float) -> float:
        """Of the cloud at its middle, 1 = what one that lasts tends to. The last few puffs are all that is left."""
        last = bisect.bisect_right(self.puffs, seconds, key=lambda puff: puff.start_s)
        return sum(_left(self.kind, puff, seconds) for puff in self.puffs[max(0, last - 8) : last])


def cloud(*, what: str, site: str, start_at: int, lasts_s: float, place: Place, strength: float, seed: str) -> Cloud:
    """A nuisance of this kind (a key of KINDS)."""
    kind = KINDS[what]
    return Cloud(
        site=site,
        start_at=start_at,
        still_at=start_at + round(lasts_s * SECOND),
        place=place,
        kind=kind,
        strength=strength,
        puffs=tuple(_puffs(kind, lasts_s, random.Random(f"nuisance/{seed}"))),
    )


def _puffs(kind: Kind, lasts_s: float, chance: random.Random) -> list[Puff]:
    puffs, at = list[Puff](), 0.0
    while at < lasts_s:
        on_s = min(chance.uniform(*kind.on_s) if kind.on_s != ALWAYS else math.inf, lasts_s - at)
        puffs.append(Puff(round(at, 3), round(on_s, 3), round(math.exp(chance.gauss(0.0, kind.uneven)), 4)))
        at += on_s + chance.uniform(*kind.off_s) + 0.001
    return puffs


def _left(kind: Kind, puff: Puff, seconds: float) -> float:
    """Of one puff: it builds up while it lasts, then fades."""
    since = seconds - puff.start_s
    built = puff.strength * (1.0 - math.exp(-min(since, puff.lasts_s) / kind.rise_s))
    return built * math.exp(-max(0.0, since - puff.lasts_s) / kind.fade_s)
