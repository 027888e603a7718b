"""The weather over the town, and the air under one roof. Pure: the same time, seed and spells give the same air.

D = ../shared/domain.md with section and confidence tag, A = our assumption. The climate is that of an invented town
on the lower Yangtze: mild wet winters, hot summers (A).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ingest.readings import DAY, HOUR, MINUTE, SECOND
from simulators.town.noise import GAUSS, bits, gauss, key_of, uniform
from simulators.town.plan import Spell

#: Local time in China, for the hour of the day; at 120° E it is the sun's time within minutes.
ZONE = 8 * HOUR
LATITUDE = math.radians(31.2)
#: Day's mean over the year, half its swing over the year, its coldest day. A.
YEAR_MEAN_C, YEAR_SWING_C, COLDEST_DAY = 16.5, 12.0, 22
#: Fronts move the day's mean by so much (one deviation). A.
FRONT_C = 2.0
#: Half the day's swing, overcast and clear. A.
SWING_C = (1.5, 5.5)
#: Day's mean less dew point, K: mean, deviation, least. A.
DRYNESS_K = (7.0, 2.0, 2.0)
#: Wind, m/s: mean, deviation, least. A.
WIND_M_S = (2.0, 1.0, 0.4)
#: Share of the sun's heat a roof takes up. A: weathered sheet metal.
ABSORBED = 0.65
#: Heat a roof gives to the air, W/(m² K), still and for each m/s of wind. McAdams 1954.
TO_AIR, TO_AIR_WIND = 5.7, 3.8
#: Share of the roof's excess that the air in the first centimetres under it has: closed shed, canopy without walls.
#: A: so that a hot clear noon gives 50 to 60 °C, the class B–G weather of D 3.1 [S].
UNDER_METAL = (0.5, 0.3)
#: The same under a concrete slab, and how much later its warmth comes through. A.
UNDER_CONCRETE, CONCRETE_LATE = 0.08, 4 * HOUR
#: A shed differs from the town by so much, °C (one deviation). A.
SITE_C = 0.7
#: And wanders by so much, from one value to another in so long. A.
GUST_C, _GUST = 0.25, 20 * MINUTE


class Sky(NamedTuple):
    """Over a part of the town at one time."""

    temperature: float  #: °C, in the shade
    metal: float  #: K, how much hotter than the air a metal roof is
    concrete: float  #: K, the same for the lower side of a slab
    vapour: float  #: hPa, of water
    fog: float  #: dB/m in the air outside


class Air(NamedTuple):
    """At the heads of one site."""

    temperature: float  #: °C, without what the roof adds
    roof: float  #: K, what the roof adds right under it
    vapour: float  #: hPa
    fog: float  #: dB/m


def saturation(celsius: float) -> float:
    """Vapour pressure over water, hPa: the Magnus form of WMO-No. 8."""
    return 6.112 * math.exp(17.62 * celsius / (243.12 + celsius))


def humidity(vapour: float, celsius: float) -> float:
    """%RH of air with so much vapour: the same vapour in warmer air is less."""
    return 100.0 * vapour / saturation(celsius)


def irradiance(at: int, sun: float) -> float:
    """W/m² on the flat, for `sun` from 0 overcast to 1 clear: Kasten and Czeplak 1980."""
    local = at + ZONE
    declination = -math.radians(23.44) * math.cos((local / DAY % 365.2425 + 10) * 2 * math.pi / 365.2425)
    hour = (local % DAY / DAY - 0.5) * 2 * math.pi
    sine = math.sin(LATITUDE) * math.sin(declination) + math.cos(LATITUDE) * math.cos(declination) * math.cos(hour)
    clear = max(0.0, 910.0 * sine - 30.0)
    return clear * (1.0 - 0.75 * math.pow(1.0 - sun, 3.4))


class Weather:
    """Season, day, fronts, clouds and wind by seed, over the part of the town that these spells concern."""

    def __init__(self, *, seed: int, spells: Sequence[Spell] = ()) -> None:
        self._key = key_of(seed, "weather")
        self._spells = tuple(spells)
        self._minute = -1
        self._from = self._to = Sky(0.0, 0.0, 0.0, 0.0, 0.0)

    def at(self, at: int) -> Sky:
        """Straight from minute to minute, so that a town of many devices works each minute out once."""
        minute, rest = divmod(at, MINUTE)
        if minute != self._minute:
            self._from = self._to if minute == self._minute + 1 else self._sky(minute * MINUTE)
            self._to = self._sky((minute + 1) * MINUTE)
            self._minute = minute
        share = rest / MINUTE
        a, b = self._from, self._to
        return Sky(
            a[0] + (b[0] - a[0]) * share,
            a[1] + (b[1] - a[1]) * share,
            a[2] + (b[2] - a[2]) * share,
            a[3] + (b[3] - a[3]) * share,
            a[4] + (b[4] - a[4]) * share,
        )

    def _sky(self, at: int) -> Sky:
        mean, sun, wind = self._season(at)
        vapour = saturation(mean - max(DRYNESS_K[2], DRYNESS_K[0] + DRYNESS_K[1] * self._slow(at, 3)))
        fog = 0.0
        for spell in self._spells:
            share = _share(spell, at)
            mean = _towards(mean, spell.mean_c, share)
            sun = _towards(sun, spell.sun, share)
            wind = _towards(wind, spell.wind_m_s, share)
            told = None if spell.humidity is None else saturation(mean) * spell.humidity / 100.0
            vapour = _towards(vapour, told, share)
            fog += spell.fog_db_m * share
        swing = SWING_C[0] + (SWING_C[1] - SWING_C[0]) * sun
        temperature = mean + swing * math.cos(((at + ZONE) % DAY / HOUR - 15) / 24 * 2 * math.pi)  # warmest at 15 h
        per_watt = ABSORBED / (TO_AIR + TO_AIR_WIND * wind)
        return Sky(
            temperature=temperature,
            metal=irradiance(at, sun) * per_watt,
            concrete=irradiance(at - CONCRETE_LATE, sun) * per_watt,
            vapour=min(vapour, saturation(temperature)),
            fog=fog,
        )

    def _season(self, at: int) -> tuple[float, float, float]:
        """The day's mean °C, sun from 0 to 1, wind in m/s."""
        day = (at + ZONE) / DAY % 365.2425 - COLDEST_DAY
        mean = YEAR_MEAN_C - YEAR_SWING_C * math.cos(day * 2 * math.pi / 365.2425) + FRONT_C * self._slow(at, 0)
        sun = min(1.0, max(0.0, 0.55 + 0.3 * self._slow(at, 1)))
        wind = max(WIND_M_S[2], WIND_M_S[0] + WIND_M_S[1] * self._slow(at, 2))
        return mean, sun, wind

    def _slow(self, at: int, which: int) -> float:
        """Standard normal on each day's midnight, smoothly from one to the next."""
        day, rest = divmod(at + ZONE, DAY)
        share = 0.5 - 0.5 * math.cos(rest / DAY * math.pi)
        before, after = gauss(self._key, 4 * day + which), gauss(self._key, 4 * day + 4 + which)
        return before + (after - before) * share


def _share(spell: Spell, at: int) -> float:
    """How much of a spell holds now: it comes and goes over `ease_s`, inside its time."""
    if not spell.start_at <= at < spell.end_at:
        return 0.0
    ease = max(spell.ease_s, 1.0) * SECOND
    return min(1.0, (at - spell.start_at) / ease, (spell.end_at - at) / ease)


def _towards(value: float, told: float | None, share: float) -> float:
    return value if told is None else value + (told - value) * share


class SiteAir:
    """The air of one site: the town's, its own offset, and slow wandering of its own."""

    __slots__ = ("_air", "_at", "_gusts", "_key", "_offset", "_step", "_under", "_weather", "_which")

    def __init__(self, *, key: int, weather: Weather, roof: str, openness: float) -> None:
        self._weather = weather
        self._key = key
        self._offset = SITE_C * gauss(key, 1)
        self._step, self._gusts = -1, (0.0, 0.0)
        self._which = 2 if roof == "concrete" else 1
        metal = UNDER_METAL[0] + (UNDER_METAL[1] - UNDER_METAL[0]) * openness
        self._under = {"metal": metal, "concrete": UNDER_CONCRETE}.get(roof, 0.0) * (0.85 + 0.15 * uniform(key, 3))
        self._at = -1
        self._air = Air(0.0, 0.0, 0.0, 0.0)

    def at(self, at: int) -> Air:
        """Kept for the next device that asks for the same time."""
        if at != self._at:
            sky = self._weather.at(at)
            temperature = sky.temperature + self._offset + self._wander(at)
            self._air = Air(temperature, self._under * sky[self._which], sky.vapour, sky.fog)
            self._at = at
        return self._air

    def _wander(self, at: int) -> float:
        """Gusts and clouds of minutes to an hour, a few tenths of a kelvin. A."""
        step, rest = divmod(at, _GUST)
        if step != self._step:
            self._step = step
            self._gusts = GAUSS[bits(self._key, step) & 4095], GAUSS[bits(self._key, step + 1) & 4095]
        a, b = self._gusts
        return GUST_C * (a + (b - a) * (rest / _GUST))
