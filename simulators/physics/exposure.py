"""What the air at one place has beyond the ordinary air of its site: the word between sources and heads. Pure."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Exposure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one source adds at one place and time. Adds of several sources sum up; `velocity` is the largest of them."""

    temperature: float = 0.0  #: K
    smoke: float = 0.0  #: obscuration, dB/m
    humidity: float = 0.0  #: points of %RH beside what heating the same vapour takes away, may be negative
    co: float = 0.0  #: ppm
    velocity: float = 0.0  #: of the flow past the place, m/s; 0 = still air


NOTHING = Exposure()


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a device sits in its site: metres from one corner along the length and the width, and below the ceiling.

    `bay` is the parking space a surface probe is fixed to, -1 for everything under the ceiling.
    """

    x_m: float
    y_m: float
    below_ceiling_m: float = 0.03
    bay: int = -1


class Enclosure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The room or canopy around a source. `openness` 0 = a closed room, 1 = a canopy without walls."""

    length_m: float
    width_m: float
    ceiling_m: float
    openness: float


class Source(Protocol):
    """Something at a site that changes the air there: a fire, steam from a kitchen, a welder. Pure and immutable."""

    @property
    def site(self) -> str:
        """Its site."""

    @property
    def start_at(self) -> int:
        """µs; before it adds nothing anywhere."""

    @property
    def end_at(self) -> int:
        """µs; from here on it adds nothing anywhere."""

    def at_place(self, place: Place, at: int) -> Exposure:
        """What it adds there at this time (µs). Constant work, no memory: any times in any order."""
