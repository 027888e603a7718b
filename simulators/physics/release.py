"""How fast something burns, kW over seconds since it began, and what its smoke is made of. Pure."""

from __future__ import annotations

import bisect
import math
from typing import Protocol

import msgspec

#: Growth with time squared, kW/s² (textbook classes: 1,055 kW after 600, 300, 150, 75 s).
SLOW, MEDIUM, FAST, ULTRA_FAST = 0.00293, 0.01172, 0.0469, 0.1876
GROWTH = {"slow": SLOW, "medium": MEDIUM, "fast": FAST, "ultra_fast": ULTRA_FAST}


class Curve(Protocol):
    """Heat release over time."""

    def kw(self, t_s: float) -> float:
        """kW so many seconds after the beginning; 0 before it. Never negative."""


class TSquared(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing for `incubation_s`, then growth with time squared to `peak_kw`, burning for `burn_s`, dying away."""

    growth: float
    peak_kw: float
    incubation_s: float = 0.0
    burn_s: float = 240.0
    decay_s: float = 90.0

    def kw(self, t_s: float) -> float:
        """kW at this time."""
        since = t_s - self.incubation_s
        if since <= 0:
            return 0.0
        over = since - math.sqrt(self.peak_kw / self.growth) - self.burn_s
        return min(self.growth * since * since, self.peak_kw) * (math.exp(-over / self.decay_s) if over > 0 else 1.0)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A measured curve: `kws` at `times`, straight lines between; before the first nothing, after the last it stays."""

    times: tuple[float, ...]
    kws: tuple[float, ...]

    def kw(self, t_s: float) -> float:
        """kW at this time."""
        after = bisect.bisect_right(self.times, t_s)
        if after == 0:
            return 0.0
        if after == len(self.times):
            return self.kws[-1]
        share = (t_s - self.times[after - 1]) / (self.times[after] - self.times[after - 1])
        return self.kws[after - 1] + share * (self.kws[after] - self.kws[after - 1])


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """Grows by so many kW each second to `peak_kw`, stays for `burn_s`, ends: how smouldering spreads through a bed."""

    per_s: float
    peak_kw: float
    burn_s: float

    def kw(self, t_s: float) -> float:
        """kW at this time."""
        if not 0 < t_s < self.peak_kw / self.per_s + self.burn_s:
            return 0.0
        return min(self.per_s * t_s, self.peak_kw)


class Pulses(msgspec.Struct, frozen=True, kw_only=True):
    """Many like things that each burn evenly for `lasts_s`, beginning at `times` (sorted): the cells of a pack."""

    times: tuple[float, ...]
    kj_each: float
    lasts_s: float

    def kw(self, t_s: float) -> float:
        """kW at this time."""
        burning = bisect.bisect_right(self.times, t_s) - bisect.bisect_right(self.times, t_s - self.lasts_s)
        return burning * self.kj_each / self.lasts_s


class Fuel(msgspec.Struct, frozen=True, kw_only=True):
    """What one gram of it gives. Yields: Tewarson's tables in the SFPE handbook, rounded, unless said otherwise."""

    heat_kj_g: float
    smoke_g_g: float  #: soot or droplets
    co_g_g: float
    extinction_m2_g: float = 8.7  #: of flaming soot (Mulholland & Croarkin 2000)
    radiated: float = 0.35  #: share of the heat that leaves as radiation and warms no air


#: Extinction of smouldering smoke and of droplets, m²/g (Mulholland: about half that of flaming soot).
PALE_M2_G = 4.4

FUELS = {
    "foam": Fuel(heat_kj_g=24.0, smoke_g_g=0.13, co_g_g=0.03),  # flexible polyurethane
    "plastic": Fuel(heat_kj_g=29.0, smoke_g_g=0.10, co_g_g=0.06),  # ABS and its like: fairings and seats of bikes
    "wood": Fuel(heat_kj_g=17.0, smoke_g_g=0.015, co_g_g=0.005, radiated=0.3),
    "petrol": Fuel(heat_kj_g=43.0, smoke_g_g=0.04, co_g_g=0.01),
    "gas": Fuel(heat_kj_g=49.6, smoke_g_g=0.0, co_g_g=0.0, radiated=0.2),  # natural gas; no visible smoke
    # Furniture as a whole: cover, padding and foam together, open flame (Babrauskas & Krasny 1985: 18.9 MJ/kg).
    "furniture": Fuel(heat_kj_g=18.9, smoke_g_g=0.06, co_g_g=0.03),
    # Cotton and foam without flame: much pale smoke and CO, hardly any heat (Tewarson's tables, A for the heat).
    "smoulder": Fuel(heat_kj_g=3.0, smoke_g_g=0.15, co_g_g=0.15, extinction_m2_g=PALE_M2_G, radiated=0.1),
}
