"""Events that burn: what a scenario may say of each, and the fire it lights. Pure."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, TypedDict

import msgspec

from ingest.readings import SECOND
from simulators.physics import fire
from simulators.physics.exposure import NOTHING, Enclosure, Exposure, Place
from simulators.scenarios.happening import Event, Fire, Here, Piece
from simulators.scenarios.schema import Positive, Seconds

#: Once a fire is put out, its heat is down to a third after this, its smoke after that. A: a room that is aired.
HEAT_GOES_S, SMOKE_GOES_S = 60.0, 150.0


class PutOut(msgspec.Struct, frozen=True, kw_only=True):
    """A fire that people put out at `out_at`: a Source."""

    source: fire.Fire
    out_at: int

    @property
    def site(self) -> str:
        """Its site."""
        return self.source.site

    @property
    def start_at(self) -> int:
        """When the fire begins."""
        return self.source.start_at

    @property
    def end_at(self) -> int:
        """When nothing is left of its smoke."""
        return self.out_at + round(6 * SMOKE_GOES_S * SECOND)

    def at_place(self, place: Place, at: int) -> Exposure:
        """As it burns, then what is left of how it was at the end."""
        if at < self.out_at:
            return self.source.at_place(place, at)
        if at >= self.end_at:
            return NOTHING
        last, seconds = self.source.at_place(place, self.out_at - 1), (at - self.out_at) / SECOND
        heat, smoke = math.exp(-seconds / HEAT_GOES_S), math.exp(-seconds / SMOKE_GOES_S)
        return Exposure(
            temperature=last.temperature * heat,
            smoke=last.smoke * smoke,
            humidity=last.humidity * smoke,
            co=last.co * smoke,
            velocity=last.velocity * heat,
        )


class Where(TypedDict):
    """What all fires are told of their surroundings."""

    site: str
    start_at: int
    place: Place
    enclosure: Enclosure


def where(here: Here) -> Where:
    """The place chosen for an event."""
    return {"site": here.site.id, "start_at": here.start_at, "place": here.place, "enclosure": here.site.enclosure}


class Burns(Event, frozen=True, kw_only=True):
    """What all fires have. `out_after`: people put it out so long after its first smoke."""

    out_after: Seconds | None = None

    word: ClassVar[str] = ""
    parked = True

    def light(self, here: Here) -> fire.Fire:
        """The fire, were nobody to put it out."""
        raise NotImplementedError

    def happen(self, here: Here) -> Piece:
        """One fire."""
        lit = self.light(here)
        marks = dict(lit.events)
        ignition = lit.lit_at
        out = None if self.out_after is None else ignition + round(self.out_after * SECOND)
        source = lit if out is None else PutOut(source=lit, out_at=out)
        known = tuple((what, at) for what, at in marks.items() if out is None or at < out)
        told = Fire(
            what=self.word,
            source=source,
            place=here.place,
            warm_at=lit.start_at,
            ignition=ignition,
            marks=known,
            first_flame=dict(known).get("first flame"),
            out=out,
        )
        return Piece(sources=(source,), fires=(told,))


class BatteryFire(Burns, frozen=True, kw_only=True):
    """The pack of an e-bike runs away. `lead`: from the first vapour to the flame (default: drawn, 12 s to 3 min)."""

    lead: Seconds | None = None

    word = "battery_fire"

    def light(self, here: Here) -> fire.Fire:
        """A pack on a parking space."""
        return fire.battery_fire(
            **where(here),
            seed=here.seed,
            lead_s=self.lead,
        )


class GrowingFire(Burns, frozen=True, kw_only=True):
    """Something burns from the first moment on, with flames that grow by the square of time."""

    fuel: Literal["plastic", "foam", "wood", "petrol", "furniture"] = "plastic"
    growth: Literal["slow", "medium", "fast", "ultra_fast"] = "fast"
    peak_kw: Positive = 1000.0

    word = "growing_fire"

    def light(self, here: Here) -> fire.Fire:
        """An open fire."""
        return fire.growing_fire(
            **where(here),
            fuel=self.fuel,
            growth=self.growth,
            peak_kw=self.peak_kw,
        )


class Smoulder(Burns, frozen=True, kw_only=True):
    """Glows without flame: smoke, and hardly any heat, for a long time."""

    lasts: Seconds = Seconds(1800.0)

    word = "smoulder"

    def light(self, here: Here) -> fire.Fire:
        """A fire without flame."""
        return fire.smoulder(
            **where(here),
            seconds=math.ceil(self.lasts),
        )
