"""A lithium-ion pack of an e-bike in thermal runaway: cell after cell vents, then burns. Pure.

Where numbers come from: D = ../shared/domain.md with section and confidence tag; C = the cell test of
../shared/data/fsri_liion_ess (groups of 30 × 18650; the first alone burns until 1,950 s); A = our assumption.
"""

from __future__ import annotations

import math
import random

from simulators.physics.release import PALE_M2_G, Fuel, Pulses

#: D 5.2 [T]: the packs of e-scooters tested by FSRI have 136 cells 18650, 1.2 kWh.
CELLS = 136
#: First vapour to first flame, s. D 5.1 [D]: under 20 s to about 3 min; C: 38 s from runaway to flaming.
LEAD_S = (12.0, 180.0)
#: Cells that vent one after the other before the flame, and the least time from one to the next, s. A: a handful; D 5.1
#: [S]: an overcharged pack shows white wisps, marked smoke a minute later, flames three minutes later.
WISPS, WISPS_S = 5, 6.0
#: In the fire, from one cell to the next: at first, how much less each time, the least. A: a pack is done in some
#: minutes, D 5.1 [S]: its box at about 900 °C within 3 min.
NEXT_S, SOONER, LEAST_S = 8.0, 0.93, 0.6
#: What a cell blows off before anything burns, g. A: a seventh of the 47 g of an 18650.
VAPOUR_G = 7.0
#: Its sensible heat lifts it. A: gas and spray at some hundreds of °C. Droplets: A. CO: C, 2.0 g a cell in the 38 s
#: between runaway and flame. White droplets scatter like smouldering smoke.
VAPOUR = Fuel(heat_kj_g=0.8, smoke_g_g=0.1, co_g_g=0.3, extinction_m2_g=PALE_M2_G, radiated=0.0)
#: A burning cell, kJ, over so many s. A: three times its charge of 36 kJ; C: 105 kJ.
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
    gap = max(lead_s / WISPS, WISPS_S)
    venting, at = [0.0], gap * chance.uniform(0.7, 1.0)
    while at < lead_s:
        venting.append(at)
        at += gap * chance.uniform(0.7, 1.0)
    # What has vented burns as a torch with the first flame; in the fire each cell burns at once.
    flaming, at, next_s = [lead_s] * len(venting), lead_s, NEXT_S
    while len(flaming) < CELLS:
        at += max(next_s, LEAST_S) * chance.uniform(0.5, 1.5)
        next_s *= SOONER
        flaming.append(at)
    return (
        Pulses(times=tuple(venting), kj_each=VAPOUR_G * VAPOUR.heat_kj_g, lasts_s=gap),
        Pulses(times=tuple(flaming), kj_each=CELL_KJ, lasts_s=CELL_BURNS_S),
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
