"""Fires as sources in the air of a site: what burns, where, and what each place under the ceiling has of it. Pure.

A fire is worked out once, second by second, when it is made; asking it afterwards is constant work. Its rise of
temperature is all it says of humidity: heads work out themselves what heated air of the same vapour reads in %RH.
Not in it: wind, water, the limit that oxygen sets in a closed room, fire going over to the roof.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from operator import itemgetter

import msgspec

from ingest.readings import SECOND
from simulators.physics import batteries, jet
from simulators.physics.exposure import NOTHING, Enclosure, Exposure, Place
from simulators.physics.layer import NO_LAYER, Inflow, Layer, Room, fill, gathers, room_of
from simulators.physics.release import FUELS, GROWTH, ULTRA_FAST, Curve, Fuel, Linear, TSquared

#: dB/m of smoke whose extinction is 1/m: 10 / ln 10.
DB = 10 / math.log(10)
#: ppm of CO when the air has 1 g/m³ of it, at 20 °C: 24.05 L/mol / 28.01 g/mol.
PPM = 24.05 / 28.01 * 1000
#: Share of the fire's power that a canopy without walls keeps below it. A: wind, and what spills over the edges.
CANOPY_KEEPS = 0.7
#: Nearer than this to a wall, the plume leans on it. A: half the width of a burning bike.
AT_WALL_M = 0.4
#: How high a bike burns, m: battery and seat; and anything else: a low heap. A.
BIKE_M, HEAP_M = 0.5, 0.3
#: After this long the air is as it was; a battery's flames have so long at least. A.
LASTS_S, BURNT_OUT_S = 1800, 1500
#: What the truth calls hot: the usual limit of heat detectors; where the air was so warm before. A: 20 °C.
HOT_C, AIR_C = 57.0, 20.0
#: Smouldering. A: 2 W/s to 1.5 kW, half a gram a second in the end, as a seat or a rag glows through in a quarter of
#: an hour.
GLOW_KW_S, GLOW_KW = 0.002, 1.5
#: A bike, or two of them: growth, end of growth. A: the textbook's ultra-fast fire; D 5.1 [S]: whole scene burning
#: 20 s after the flame, neighbour alight a little over 1 min after it.
BIKE = TSquared(growth=ULTRA_FAST, peak_kw=700.0, burn_s=240.0, decay_s=90.0)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Something that burns in a fire, so long after its beginning."""

    curve: Curve
    fuel: Fuel
    after_s: float = 0.0


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A fire second by second: power kW as the jet sees it, its highest so far, and for each kJ that warms the air the
    smoke's area m² and the CO g; the layer in the room, None where none gathers."""

    kw: array[float]
    most: array[float]
    smoke: array[float]
    co: array[float]
    layer: Layer | None


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """One fire; `lit_at` (µs) is its first sign in the air. Made by the functions below."""

    site: str
    lit_at: int
    place: Place
    base_m: float  #: height of what burns above the floor
    height: float  #: of the ceiling above what burns, m
    openness: float
    course: Course
    events: tuple[tuple[str, int], ...]  #: what could be seen when (µs), for the truth
    lead_s: float = 0.0
    warms_s: float = 0.0  #: how long before `lit_at` a probe on the pack feels it

    @property
    def start_at(self) -> int:
        """Before it, nothing; a battery warms its probe before the first vapour."""
        return self.lit_at - int(self.warms_s * SECOND)

    @property
    def end_at(self) -> int:
        """From here on nothing of it is left."""
        return self.lit_at + len(self.course.kw) * SECOND

    def at_place(self, place: Place, at: int) -> Exposure:
        """What it adds there."""
        if not self.start_at <= at < self.end_at:
            return NOTHING
        since = (at - self.lit_at) / SECOND
        if place.bay >= 0:
            return self._on_surface(place, since)
        if since <= 0:
            return NOTHING
        r = math.hypot(place.x_m - self.place.x_m, place.y_m - self.place.y_m)
        course = self.course
        then = since - jet.delay_s(_at(course.most, since), r, self.height)
        return self._in_air(r, place.below_ceiling_m, then) if then > 0 else NOTHING

    def _on_surface(self, place: Place, since: float) -> Exposure:
        """A probe on the parking space feels this pack if it is its own."""
        if self.warms_s <= 0 or place.bay != self.place.bay:
            return NOTHING
        return Exposure(temperature=batteries.surface_rise(since, self.lead_s, self.lead_s + BIKE.burn_s))

    def _in_air(self, r: float, below: float, then: float) -> Exposure:
        """Under the ceiling: the jet by itself, or the layer with what the jet has more; whichever is more."""
        course, layer = self.course, self.course.layer
        kw = _at(course.kw, then) if below <= jet.DEPTH * self.height else 0.0
        rise = jet.rise(kw, r, self.height)
        area, co = _mixed(_at(course.smoke, then), rise), _mixed(_at(course.co, then), rise)
        if layer is not None and (share := self._share(layer, below, then)) > 0:
            fresh = jet.rise(kw * _at(layer.fresh, then), r, self.height)
            rise = max(rise, share * _at(layer.rise, then) + fresh)
            area, co = max(area, share * _at(layer.smoke, then)), max(co, share * _at(layer.co, then))
        return Exposure(temperature=rise, smoke=DB * area, co=PPM * co, velocity=jet.velocity(kw, r, self.height))

    def _share(self, layer: Layer, below: float, then: float) -> float:
        """How much of the layer is at a place: none below it; while it is thinner than the jet it is the jet, and has
        not covered the ceiling yet."""
        depth = self.base_m + self.height - _at(layer.bottom, then)
        return gathers(self.openness) * min(1.0, depth / (jet.DEPTH * self.height)) if depth >= below else 0.0


def _mixed(per_kj: float, rise: float) -> float:
    """In a m³ of the jet: smoke and heat come together and are thinned alike (Heskestad & Delichatsios)."""
    return per_kj * jet.AIR_KJ_KG_K * jet.DENSITY_K / (jet.AMBIENT_K + rise) * rise


def _at(column: array[float], second: float) -> float:
    """Between the rows of a table; its ends beyond them."""
    index = int(second)
    if index + 1 >= len(column):
        return column[-1]
    share = second - index
    return column[index] * (1 - share) + column[index + 1] * share


def course_of(
    parts: Sequence[Part], *, room: Room, base_m: float, walls: int = 1, openness: float = 0.0, seconds: int = LASTS_S
) -> Course:
    """The tables of a fire in a room; `walls` 1 in the open, 2 at a wall, 4 in a corner; no layer when all open."""
    kept = 1 - (1 - CANOPY_KEEPS) * openness
    kws, convective, smoke, co = ([0.0] * seconds for _ in range(4))
    for part in parts:
        for second in range(seconds):
            kw = kept * part.curve.kw(second - part.after_s)
            kws[second] += kw * walls
            convective[second] += kw * (1 - part.fuel.radiated)
            grams = kw / part.fuel.heat_kj_g
            smoke[second] += grams * part.fuel.smoke_g_g * part.fuel.extinction_m2_g
            co[second] += grams * part.fuel.co_g_g
    inflow = Inflow(convective=convective, smoke=smoke, co=co, base_m=base_m, walls=walls)
    most = array("d")
    for kw in kws:
        most.append(max(kw, most[-1]) if most else kw)
    return Course(
        kw=array("d", kws),
        most=most,
        smoke=array("d", (area / warm if warm > 0 else 0.0 for area, warm in zip(smoke, convective, strict=True))),
        co=array("d", (grams / warm if warm > 0 else 0.0 for grams, warm in zip(co, convective, strict=True))),
        layer=fill(room, inflow) if openness < NO_LAYER else None,
    )


def walls_near(place: Place, enclosure: Enclosure) -> int:
    """How many times over the walls reflect a fire there: 1, 2 at a wall, 4 in a corner; a canopy has no walls."""
    if enclosure.openness >= NO_LAYER:
        return 1
    lengthwise = min(place.x_m, enclosure.length_m - place.x_m) < AT_WALL_M
    widthwise = min(place.y_m, enclosure.width_m - place.y_m) < AT_WALL_M
    return (1, 2, 4)[lengthwise + widthwise]


def hot_after_s(course: Course, height: float, rise: float, openness: float = 0.0) -> int | None:
    """Seconds to a rise of so many K at the ceiling straight above, as the gas there has it; None: never."""
    layer = course.layer
    for second, kw in enumerate(course.kw):
        above = jet.rise(kw, 0.0, height)
        if layer is not None:
            fresh = jet.rise(kw * layer.fresh[second], 0.0, height)
            above = max(above, gathers(openness) * layer.rise[second] + fresh)
        if above >= rise:
            return second
    return None


def _fire(
    parts: Sequence[Part],
    marks: Sequence[tuple[str, float]],
    *,
    site: str,
    start_at: int,
    place: Place,
    enclosure: Enclosure,
    base_m: float,
    seconds: int = LASTS_S,
    lead_s: float = 0.0,
    warms_s: float = 0.0,
) -> Fire:
    course = course_of(
        parts,
        room=room_of(enclosure),
        base_m=base_m,
        walls=walls_near(place, enclosure),
        openness=enclosure.openness,
        seconds=seconds,
    )
    height = enclosure.ceiling_m - base_m
    hot = hot_after_s(course, height, HOT_C - AIR_C, enclosure.openness)
    seen = [*marks, *([("57 °C at the ceiling above", float(hot))] if hot is not None else [])]
    return Fire(
        site=site,
        lit_at=start_at,
        place=place,
        base_m=base_m,
        height=height,
        openness=enclosure.openness,
        course=course,
        events=tuple((what, start_at + round(after * SECOND)) for what, after in sorted(seen, key=itemgetter(1))),
        lead_s=lead_s,
        warms_s=warms_s,
    )


def battery_fire(
    *, site: str, start_at: int, place: Place, enclosure: Enclosure, seed: str, lead_s: float | None = None
) -> Fire:
    """An e-bike's pack: first vapour at `start_at`, first flame `lead_s` later (drawn by the seed), then the bike.

    With `place.bay` set, a probe on that parking space feels it warm for minutes before the vapour.
    """
    chance = random.Random(f"battery/{seed}/{site}")
    drawn = batteries.draw_lead(chance)
    lead = drawn if lead_s is None else lead_s
    vapour, flames = batteries.cells(lead, chance)
    parts = [
        Part(curve=vapour, fuel=batteries.VAPOUR),
        Part(curve=flames, fuel=batteries.JETS),
        Part(curve=BIKE, fuel=FUELS["plastic"], after_s=lead),
    ]
    marks = [("first vapour", 0.0), ("first flame", lead)]
    warms_s = batteries.WARMS_S if place.bay >= 0 else 0.0
    if warms_s:
        marks.append(("the surface of the pack begins to warm", -warms_s))
    return _fire(
        parts,
        marks,
        site=site,
        start_at=start_at,
        place=place,
        enclosure=enclosure,
        base_m=BIKE_M,
        seconds=max(LASTS_S, math.ceil(lead) + BURNT_OUT_S),
        lead_s=lead,
        warms_s=warms_s,
    )


def growing_fire(
    *,
    site: str,
    start_at: int,
    place: Place,
    enclosure: Enclosure,
    fuel: str = "plastic",
    growth: str = "fast",
    peak_kw: float = 1000.0,
) -> Fire:
    """Flames from the beginning, growing with time squared. `growth` and `fuel` name entries of GROWTH and FUELS."""
    part = Part(curve=TSquared(growth=GROWTH[growth], peak_kw=peak_kw), fuel=FUELS[fuel])
    marks = [("first flame", 0.0)]
    return _fire([part], marks, site=site, start_at=start_at, place=place, enclosure=enclosure, base_m=HEAP_M)


def smoulder(*, site: str, start_at: int, place: Place, enclosure: Enclosure, seconds: int = LASTS_S) -> Fire:
    """Cotton or foam without flame, for so long: smoke and CO, hardly heat, growing evenly."""
    glow = Linear(per_s=GLOW_KW_S, peak_kw=GLOW_KW, burn_s=max(0.0, seconds - GLOW_KW / GLOW_KW_S))
    return _fire(
        [Part(curve=glow, fuel=FUELS["smoulder"])],
        [("first smoke", 0.0)],
        site=site,
        start_at=start_at,
        place=place,
        enclosure=enclosure,
        base_m=BIKE_M,
        seconds=seconds,
    )
