"""The hot layer that gathers under the ceiling of a room: one zone, integrated once for each fire. Pure.

The plume carries air, heat and smoke into the layer; ceiling and walls take heat from it; what sinks below the lintel
of an opening flows out. Air enters below. There is no limit by oxygen: a closed room with a large fire is too hot here
after some minutes.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import msgspec

from simulators.physics.exposure import Enclosure
from simulators.physics.jet import AIR_KJ_KG_K, AMBIENT_K, DENSITY_K, GRAVITY, plume_kg_s

#: Steps of the integration each second.
STEPS = 4
#: Heat through a plasterboard wall: √(kρc), kW·√s/(m²·K) (0.48 W/m·K, 1440 kg/m³, 0.84 kJ/kg·K, NBSIR 88-3752).
THICK = math.sqrt(0.48e-3 * 1440 * 0.84)
#: From gas to wall by convection and radiation, kW/(m²·K). Textbook: 10 to 30 W/m²·K beside a warm layer; the middle.
FILM = 0.02
#: Flow through an opening: the usual discharge coefficient.
DISCHARGE = 0.7
#: Air changes of a closed shed. A: 2 an hour through gaps.
GAPS_PER_S = 2 / 3600
#: What wind exchanges in a shed that is all openings. A: in about 50 s.
WIND_PER_S = 0.02
#: Lintel of the openings of a site below its ceiling, m. A.
LINTEL_M = 0.2
#: From this openness on no layer gathers: half of the perimeter is open, what comes spills over the edges. A.
NO_LAYER = 0.5


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A room with one opening `width_open_m` wide, from the floor to `lintel_m`."""

    area: float
    perimeter: float
    height: float
    width_open_m: float
    lintel_m: float

    @property
    def change_per_s(self) -> float:
        """Share of the air that draught exchanges each second."""
        return GAPS_PER_S + WIND_PER_S * self.width_open_m / self.perimeter


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """The layer each second: its rise K, bottom m above the floor, per m³ the smoke's area m² and CO g, and the share
    of the fire's heat that it does not have already, by which the jet is warmer than the layer."""

    rise: array[float]
    bottom: array[float]
    smoke: array[float]
    co: array[float]
    fresh: array[float]


class Inflow(msgspec.Struct, frozen=True, kw_only=True):
    """What the fire gives each second: kW not radiated, smoke as area m²/s, CO g/s; and where it is."""

    convective: Sequence[float]
    smoke: Sequence[float]
    co: Sequence[float]
    base_m: float
    walls: int


def room_of(enclosure: Enclosure) -> Room:
    """The room of a site, by how open it is."""
    perimeter = 2 * (enclosure.length_m + enclosure.width_m)
    return Room(
        area=enclosure.length_m * enclosure.width_m,
        perimeter=perimeter,
        height=enclosure.ceiling_m,
        width_open_m=enclosure.openness * perimeter,
        lintel_m=enclosure.ceiling_m - LINTEL_M,
    )


def gathers(openness: float) -> float:
    """How much of the layer there is under a roof so open: all in a closed room, none from `NO_LAYER` on."""
    return max(0.0, 1 - openness / NO_LAYER)


def fill(room: Room, inflow: Inflow) -> Layer:
    """The layer from the beginning of the fire on, one value a second."""
    state = _State()
    columns = Layer(rise=array("d"), bottom=array("d"), smoke=array("d"), co=array("d"), fresh=array("d"))
    for second, convective in enumerate(inflow.convective):
        for step in range(STEPS):
            time = second + step / STEPS
            state.step(room, inflow, convective, inflow.smoke[second], inflow.co[second], time, 1 / STEPS)
        state.append_to(columns, room, inflow, convective)
    return columns


class _State:
    """Mass kg, heat above the ambient air kJ, smoke m² and CO g in the layer."""

    __slots__ = ("co", "heat", "mass", "smoke")

    def __init__(self) -> None:
        self.mass = self.heat = self.smoke = self.co = 0.0

    @property
    def rise(self) -> float:
        return self.heat / (AIR_KJ_KG_K * self.mass) if self.mass > 0 else 0.0

    def volume(self) -> float:
        return self.mass * (AMBIENT_K + self.rise) / DENSITY_K

    def bottom(self, room: Room) -> float:
        return max(0.0, room.height - self.volume() / room.area)

    def step(
        self, room: Room, inflow: Inflow, convective: float, smoke: float, co: float, time: float, dt: float
    ) -> None:
        """One step of `dt` seconds: in by the plume, heat lost to the walls, out by the opening and the gaps."""
        bottom = self.bottom(room)
        if convective > 0:
            self.mass += plume_kg_s(convective, bottom - inflow.base_m, inflow.walls) * dt
            self.heat += convective * dt
        self.smoke += smoke * dt
        self.co += co * dt
        if self.mass <= 0:
            return
        wall = room.area + room.perimeter * (room.height - bottom)
        loss = wall / (1 / FILM + math.sqrt(time + dt) / THICK) / (AIR_KJ_KG_K * self.mass)
        self.heat *= math.exp(-loss * dt)
        out = outflow_kg_s(room, self.rise, self.bottom(room)) * dt + self._crowded(room)
        left = math.exp(-out / self.mass)
        self.mass *= left
        self._keep(left * math.exp(-room.change_per_s * dt))  # draught brings fresh air for what it takes

    def _crowded(self, room: Room) -> float:
        """kg that the room has no space for."""
        over = self.volume() - room.area * room.height
        return max(0.0, over * DENSITY_K / (AMBIENT_K + self.rise))

    def _keep(self, kept: float) -> None:
        self.heat *= kept
        self.smoke *= kept
        self.co *= kept

    def append_to(self, columns: Layer, room: Room, inflow: Inflow, convective: float) -> None:
        """What it is now, as a row."""
        volume = max(self.volume(), 1e-6)
        rise, bottom = self.rise, self.bottom(room)
        columns.rise.append(rise)
        columns.bottom.append(bottom)
        columns.smoke.append(self.smoke / volume)
        columns.co.append(self.co / volume)
        had = plume_kg_s(convective, bottom - inflow.base_m, inflow.walls) * AIR_KJ_KG_K * rise
        columns.fresh.append(max(0.0, 1 - had / convective) if convective > 0 else 0.0)


def outflow_kg_s(room: Room, rise: float, bottom: float) -> float:
    """What leaves through the opening: a hot layer that stands `lintel - bottom` deep against cold air outside."""
    deep = room.lintel_m - bottom
    if deep <= 0 or rise <= 0 or room.width_open_m <= 0:
        return 0.0
    hot = DENSITY_K / (AMBIENT_K + rise)
    lighter = rise / AMBIENT_K  # (ρ cold - ρ hot) / ρ hot
    return 2 / 3 * DISCHARGE * room.width_open_m * hot * math.sqrt(2 * GRAVITY * lighter) * math.pow(deep, 1.5)
