"""How late a sensor sees the air around it: heat through its mass, smoke through its housing. Pure.

Both lag by first order, with a time that falls as the flow past the head grows. State stays with the caller:

    seen = follow(seen, exposure.temperature, heat_lag_s(THERMISTOR_RTI, exposure.velocity), seconds)
    smoke = follow(smoke, exposure.smoke, chamber_lag_s(CHAMBER_M, exposure.velocity), seconds)
"""

from __future__ import annotations

import math

#: Response time indices, √(m·s): the lag times the root of the flow's speed (Heskestad & Smith 1976).
#: A small bead behind the slots of a housing. A: about 6 s in a ceiling jet of 1 m/s, as such heads are built.
THERMISTOR_RTI = 6.0
#: A whole heat detector of class A1. A: the slowest that passes a rise of 20 K/min in time would be near 40.
HEAT_HEAD_RTI = 20.0
#: A surface probe under a clip. A: it knows no flow, see `PROBE_LAG_S`.
PROBE_LAG_S = 30.0

#: Characteristic length of a smoke entry, m (Heskestad 1977: lag = length / speed). Published: 1.8 m for open housings
#: up to about 15 m for closed ones; optical heads lie near 5 m. A: 4 m for a head with an insect mesh.
CHAMBER_M = 4.0

#: Still air: what diffusion and the room's own draught still bring to a head. A.
STILL_M_S = 0.1
#: No head is faster than this, s. A: the way into the housing, and one sample.
FASTEST_S = 1.0


def follow(seen: float, true: float, lag_s: float, seconds: float) -> float:
    """A sensor of first order so many seconds later, the truth held meanwhile. Exact for any step, never overshoots."""
    if lag_s <= 0:
        return true
    return true + (seen - true) * math.exp(-seconds / lag_s)


def heat_lag_s(rti: float, velocity: float) -> float:
    """How late a mass of this response time index follows a flow of so many m/s."""
    return max(FASTEST_S, rti / math.sqrt(max(velocity, STILL_M_S)))


def chamber_lag_s(length_m: float, velocity: float) -> float:
    """How late smoke is in a chamber of this characteristic length."""
    return max(FASTEST_S, length_m / max(velocity, STILL_M_S))
