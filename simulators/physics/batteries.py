"""A lithium-ion pack of an e-bike in thermal runaway: cell after cell vents, then burns. Pure.

Where numbers come from: D = ../shared/domain.md with section and confidence tag; C = the cell test of
../shared/data/fsri_liion_ess (30 × 18650); A = our assumption.
"""

from __future__ import annotations

import math
import random

from simulators.physics.release import PALE_M2_G, Fuel, Pulses

#: D 5.2 [T]: the packs of e-scooters tested by FSRI have 136 cells 18650, 1.2 kWh.
CELLS = 136
#: First vapour to first flame, s. D 5.1 [D]: under 20 s to about 3 min; C: 38 s from runaway to flaming.
LEAD_S = (12.0, 180.0)
#: From one cell to the next: at first, and how much less each time, and the least. A: a pack is done in some minutes,
#: D 5.1 [S]: its box at about 900 °C within 3 min.
NEXT_S, SOONER, LEAST_S = 8.0, 0.93, 0.6
#: What a cell blows off before anything burns: g, and for how long. A: a fifth of the 47 g of an 18650.
VAPOUR_G, VENTS_S = 7.0, 6.0
#: Its sensible heat lifts it. A: gas and spray at some hundreds of °C. Droplets: A. CO: C, 87 L from 30 cells ≈ 3.4 g
#: each, most of it before the flame. White droplets scatter like smouldering smoke.
VAPOUR = Fuel(heat_kj_g=0.8, smoke_g_g=0.1, co_g_g=0.4, extinction_m2_g=PALE_M2_G, radiated=0.0)
#: A burning cell, kJ, over so many s. A: three times its charge of 36 kJ; C has more, with what held the cells.
CELL_KJ, CELL_BURNS_S = 100.0, 15.0
#: The flames' smoke, for each g of fuel that burns. A: electrolyte and cases of plastic.
JETS = Fuel(heat_kj_g=20.0, smoke_g_g=0.05, co_g_g=0.05)

#: Surface of the pack where a probe sits: so long before the first vapour it begins to warm. A: ten minutes, then
#: D 5.2 [T] 6 K/min, the rate of FSRI's overheating; from the first vapour 20 K/min, where UL calls it runaway [T].
WARMS_S = 600.0
WARMING_K_S, RUNAWAY_K_S = 6 / 60, 20 / 60
#: Once it burns. D 5.1 [S]: about 900 °C within 3 min.
BURNING_K_S, HOTTEST_K = 880 / 180, 880.0
#: How slowly a burnt pack cools. A.
COOLS_S = 600.0


def draw_lead(chance: random.Random) -> float:
    """First vapour to first flame: anything from the fastest to the slowest, on a scale of ratios."""
    low, high = LEAD_S
    return low * math.pow(high / low, chance.random())


def cells(lead_s: float, chance: random.Random) -> tuple[Pulses, Pulses]:
    """The vapour of the cells that go before the first flame, and the flames of all, as kW over time."""
    times, at, gap = [0.0], 0.0, NEXT_S
    while len(times) < CELLS:
        at += max(gap, LEAST_S) * chance.uniform(0.5, 1.5)
        gap *= SOONER
        times.append(at)
    venting = tuple(time for time in times if time < lead_s)
    # What has vented before the flame burns as a torch when it comes; each later cell burns at once.
    flaming = tuple(max(time, lead_s) for time in times)
    return (
        Pulses(times=venting, kj_each=VAPOUR_G * VAPOUR.heat_kj_g, lasts_s=VENTS_S),
        Pulses(times=flaming, kj_each=CELL_KJ, lasts_s=CELL_BURNS_S),
    )


def surface_rise(since_s: float, lead_s: float, ends_s: float) -> float:
    """K of the pack's surface above the air, so long after the first vapour (before it: negative)."""
    if since_s <= -WARMS_S:
        return 0.0
    if since_s <= 0:
        return WARMING_K_S * (since_s + WARMS_S)
    burning = max(0.0, since_s - lead_s)
    warmed = WARMING_K_S * WARMS_S + RUNAWAY_K_S * min(since_s, lead_s) + BURNING_K_S * burning
    return min(warmed, HOTTEST_K) * math.exp(-max(0.0, since_s - ends_s) / COOLS_S)
