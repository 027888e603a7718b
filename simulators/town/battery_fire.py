"""The scenario battery_fire: an e-bike battery vents, then burns, under the ceiling of a shed.

Smoke first: white vapour from venting cells reaches the ceiling within seconds. 15 to 20 s later the vapour takes
fire and the air under the ceiling heats by tens of kelvin within a minute. Heads farther away see both weaker and
later. Every number is below with its source: D = ../shared/domain.md with the section and its confidence tag
([T] read in the document, [S] second hand, [D] derived there), A = our assumption. Enough to exercise
rules in the right order and at the right pace; no fire engineer should size a shed with it.
"""

from __future__ import annotations

import math
import random

import msgspec

from ingest.readings import SECOND

#: Vapour to flame. D 5.1: Yiwu, parked: white smoke, black smoke in <10 s, flame at 20 s [S]; the fast end of the
#: <20 s to ~3 min [D] of warning that batteries give, because that end tests us hardest.
SMOKE_LEAD_S = (15.0, 20.0)
#: Obscuration right above the bike tends to this. A: above the 2 dB/m at which EN 54-7's test fires end (D 3.2 [M]).
SMOKE_MAX_DB_M = 3.0
#: How fast it gets there. A: a jet of vapour that passes 0.15 dB/m in some seconds, as the Yiwu video looks.
SMOKE_RISE_S = 12.0
#: Smoke travels along the ceiling. A: a weak ceiling jet, metres a second.
SMOKE_SPEED_M_S = 0.5
#: Smoke halves over this distance. A: an open shed thins it out (D 5.4: canopies may not be fully enclosed [S]).
SMOKE_HALF_M = 4.0
#: Heat release after the first flame grows with time squared. A: the textbook's ultra-fast fire, kW/s².
GROWTH_KW_S2 = 0.1876
#: Where growth ends. A: one bike and its neighbour (D 5.1: neighbour alight a little over 1 min after ignition [S]).
HEAT_MAX_KW = 700.0
#: First flame to the beginning of decay, and how slowly it decays. A: a bike burns some minutes.
BURN_S = 240.0
DECAY_S = 90.0
#: Ceiling above the battery. A: a 2.6 m canopy (D: the FSRI room of ../shared/data is 2.4 m), battery at 0.5 m.
CEILING_M = 2.1
#: Share of the heat that stays under an open canopy. A.
KEPT = 0.5
#: A head follows the air with this delay. A: a small thermistor in a vented housing.
HEAT_LAG_S = 10.0
#: Smoke gets into the head's chamber with this delay. A.
SMOKE_LAG_S = 2.0
#: Distance between heads. D 5.4: groups of bikes are at most 20 m long [S]; A: four heads for each.
HEAD_SPACING_M = 5.0

#: The head's own smoke alarm. D 3.2: EN 54-7 allows no response below 0.05 dB/m [T]; A: 0.15 is a usual setting.
SMOKE_ALARM_DB_M = 0.15
SMOKE_CLEAR_DB_M = 0.05
#: The head's own heat alarm. D 3.1: static response of class A1 54–65 °C [S]; 57.2 °C in a common combined head [S].
HEAT_ALARM_C = 57.0
HEAT_CLEAR_C = 50.0
#: A head in alarm reports each so many seconds. A: 2 to 5 s; D 6.4: alarms at once, repeats vary by vendor.
ALARM_INTERVAL_S = (2.0, 5.0)
#: The thermistor's end of scale. A.
SCALE_END_C = 125.0

#: After this long the air is as it was.
LASTS_S = 1800.0


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """One fire: first vapour at `start_at` (µs) at `position_m` along the row of heads of `site`."""

    site: str
    start_at: int
    position_m: float
    smoke_lead_s: float

    @property
    def end_at(self) -> int:
        """From here on nothing of it is left."""
        return self.start_at + int(LASTS_S * SECOND)

    def at_ceiling(self, *, head_m: float, at: int) -> tuple[float, float]:
        """What it adds to the air at a head `head_m` along the row: obscuration in dB/m, temperature in K."""
        after = (at - self.start_at) / SECOND
        distance = abs(head_m - self.position_m)
        return smoke_at(distance, after), heat_at(distance, after - self.smoke_lead_s)


def ignite(*, site: str, start_at: int, heads: int, seed: str) -> Fire:
    """A fire below one of the heads of a site, by this seed."""
    chance = random.Random(f"fire/{seed}/{site}")
    return Fire(
        site=site,
        start_at=start_at,
        position_m=chance.randrange(max(heads, 1)) * HEAD_SPACING_M + chance.uniform(0.5, 1.5),
        smoke_lead_s=chance.uniform(*SMOKE_LEAD_S),
    )


def smoke_at(distance_m: float, after_s: float) -> float:
    """Obscuration under the ceiling, dB/m, so long after the first vapour."""
    since = after_s - distance_m / SMOKE_SPEED_M_S
    if since <= 0:
        return 0.0
    thinned = SMOKE_MAX_DB_M * math.pow(0.5, distance_m / SMOKE_HALF_M)
    fading = math.exp(-max(0.0, since - BURN_S) / DECAY_S)
    return thinned * (1 - math.exp(-since / SMOKE_RISE_S)) * fading


def heat_release(flame_s: float) -> float:
    """kW so long after the first flame."""
    if flame_s <= 0:
        return 0.0
    return min(GROWTH_KW_S2 * flame_s**2, HEAT_MAX_KW) * math.exp(-max(0.0, flame_s - BURN_S) / DECAY_S)


def heat_at(distance_m: float, flame_s: float) -> float:
    """Kelvin above the outside air under the ceiling: Alpert's ceiling jet (1972), less what an open shed loses."""
    power = heat_release(flame_s)
    if distance_m <= 0.18 * CEILING_M:
        return KEPT * 16.9 * math.pow(power, 2 / 3) / math.pow(CEILING_M, 5 / 3)
    return KEPT * 5.38 * math.pow(power / distance_m, 2 / 3) / CEILING_M
