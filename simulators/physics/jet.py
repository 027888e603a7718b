"""The hot flow under a flat ceiling: how warm, how fast, how late at a distance from the fire. Pure.

Alpert (1972) for a steady fire, with the time the gas needs to come: it takes any curve and any change of it, and
splits into jet and layer. Heskestad & Delichatsios (1978) is for growth with time squared alone: where the rise is
10 K or more the two agree within a third from two heights outward; nearer the axis theirs gives up to 1.8 times as
much (tests/simulators/physics/test_jet.py), which the measured fires do not show (`python -m simulators physics`).
Lengths in m, power in kW, rises in K.
"""

from __future__ import annotations

import math

AMBIENT_K = 293.0
GRAVITY = 9.81
AIR_KJ_KG_K = 1.005
#: ρ = 353 / T in kg/m³ for air at sea level.
DENSITY_K = 353.0
#: Depth of the jet under the ceiling as a share of the height above the fire (Alpert: 5 to 12 %).
DEPTH = 0.12
#: Alpert measured to about four heights from the axis. Farther out the ceiling cools the flow, by the share that
#: Delichatsios (1981) gives for flow along a corridor: Stanton number 0.03 times 6.67 for each height.
MEASURED_HEIGHTS, COOLS = 4.0, 6.67 * 0.03
#: Below this power the correlations mean nothing; the room's own draught is as strong. A.
LEAST_KW = 0.2


def rise(kw: float, r: float, height: float) -> float:
    """Alpert 1972: the highest rise in the jet of a steady fire at a horizontal distance from its axis; cooled beyond
    the distances he measured."""
    if kw <= 0:
        return 0.0
    if r <= 0.18 * height:
        return 16.9 * math.pow(kw, 2 / 3) / math.pow(height, 5 / 3)
    far = max(0.0, r / height - MEASURED_HEIGHTS)
    return 5.38 * math.pow(kw / r, 2 / 3) / height * math.exp(-COOLS * far)


def velocity(kw: float, r: float, height: float) -> float:
    """Alpert 1972: the highest speed in the jet, m/s."""
    if kw <= 0:
        return 0.0
    if r <= 0.15 * height:
        return 0.96 * math.pow(kw / height, 1 / 3)
    return 0.195 * math.pow(kw, 1 / 3) * math.sqrt(height) / math.pow(r, 5 / 6)


def delay_s(kw: float, r: float, height: float) -> float:
    """How long the gas is on its way: up the axis of the plume (Heskestad's 1.03 Qc^⅓ z^-⅓ m/s) and along the jet."""
    third = math.pow(max(kw, LEAST_KW), 1 / 3)
    up = 0.75 * math.pow(height, 4 / 3) / (1.03 * 0.9 * third)  # 0.9: the cube root of what is not radiated
    near = 0.15 * height
    if r <= near:
        return up + r * math.pow(height, 1 / 3) / (0.96 * third)
    turn = near * math.pow(height, 1 / 3) / (0.96 * third)
    along = (math.pow(r, 11 / 6) - math.pow(near, 11 / 6)) * 6 / 11 / (0.195 * third * math.sqrt(height))
    return up + turn + along


def plume_kg_s(convective_kw: float, z: float, walls: int = 1) -> float:
    """Air and gas in the plume at a height over the fire (Zukoski, Heskestad). `walls` 2: at a wall, 4: in a corner.

    A wall halves the plume: what is left is that of twice the fire (method of images).
    """
    power = convective_kw * walls
    return (0.071 * math.pow(power, 1 / 3) * math.pow(max(z, 0.0), 5 / 3) + 0.0018 * power) / walls
