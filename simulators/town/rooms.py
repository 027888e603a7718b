"""What a site of each kind is like: its room, its devices, and where they sit. Pure.

Sources: D = ../shared/domain.md with its section and confidence tag, A = our assumption.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, cycle, islice

import msgspec

from simulators.physics.exposure import Enclosure, Place
from simulators.town.models import Model

#: D 5.4: groups of at most 20 m and 25 bikes, sockets at least 0.8 m apart [S]: 25 spaces of 0.8 m are 20 m.
GROUP_M, GROUP_BAYS, BAY_M = 20.0, 25, 0.8
#: Way between two groups of a row. A.
GAP_M = 2.0
#: Heads along the ridge. A: four for each group.
HEAD_M = 5.0
GROUP_HEADS = 4
#: A shed has up to so many groups in a row, a house so many heads. A.
ROW_GROUPS, ROW_HEADS = 3, 4
ROW_BAYS = ROW_GROUPS * GROUP_BAYS
#: The pack of an e-bike above the ground, and how far from the wall the bike stands. A.
PACK_M, BIKE_M = 0.5, 1.0
#: Heights above the ground of what hangs on walls. A: at hand.
PILE_M, CALL_POINT_M = 1.2, 1.4

LETTERS = {
    Model.GATEWAY: "gw",
    Model.MAINS_HEAD: "h",
    Model.LORA_HEAD: "h",
    Model.BATTERY_HEAD: "h",
    Model.HEAT_HEAD: "t",
    Model.PILE: "p",
    Model.SURFACE_PROBE: "s",
    Model.CALL_POINT: "c",
    Model.SIREN: "i",
}


class Shape(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What decides where devices sit; `row_m` is the depth of one row. Numbers in steps of 0.1, so that many rooms
    have the same shape and share the places of their devices."""

    kind: str
    row_m: float
    ceiling_m: float


class Room(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One room as chance made it."""

    shape: Shape
    openness: float
    roof: str


class Spot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device to be: the end of its id, what it is, where it sits."""

    ending: str
    model: Model
    place: Place


def make_room(kind: str, chance: random.Random) -> Room:
    """A room of this kind."""
    if kind == "shed":
        # D 5.4: ≥2.2 m² for each space of 0.8 m makes 2.75 m; canopies not fully enclosed [S]. A: the rest
        roof = chance.choices(("metal", "concrete", "none"), (7, 2, 1))[0]
        return _room(kind, chance, row=(3.0, 4.0), ceiling=(2.2, 2.8), openness=(0.5, 1.0), roof=roof)
    if kind == "shop":  # A: one storey of a house, a door and a window
        return _room(kind, chance, row=(4.0, 6.0), ceiling=(3.0, 4.0), openness=(0.1, 0.2), roof="none")
    # A: the hall and corridors of an entrance; doors stand open
    return _room(kind, chance, row=(1.8, 2.4), ceiling=(2.6, 2.8), openness=(0.1, 0.3), roof="none")


def _room(
    kind: str,
    chance: random.Random,
    *,
    row: tuple[float, float],
    ceiling: tuple[float, float],
    openness: tuple[float, float],
    roof: str,
) -> Room:
    shape = Shape(kind=kind, row_m=_step(chance, *row), ceiling_m=_step(chance, *ceiling))
    return Room(shape=shape, openness=_step(chance, *openness), roof=roof)


def _step(chance: random.Random, low: float, high: float) -> float:
    """A number from low to high in steps of 0.1."""
    return chance.randint(round(low * 10), round(high * 10)) / 10


def enclosure(room: Room, heads: int) -> Enclosure:
    """The room that so many heads need."""
    shape = room.shape
    rows = math.ceil(max(heads, 1) / _heads_in_row(shape.kind))
    last = min(max(heads, 1), _heads_in_row(shape.kind)) - 1
    return Enclosure(
        length_m=round(head_x(last, shape.kind) + HEAD_M / 2, 1),
        width_m=round(shape.row_m * rows, 1),
        ceiling_m=shape.ceiling_m,
        openness=room.openness,
    )


def bays(kind: str, heads: int) -> int:
    """Parking spaces under so many heads. A: a shop has one bike indoors, a stairwell three that should not be."""
    if kind != "shed":
        return 1 if kind == "shop" else 3
    return heads * GROUP_BAYS // GROUP_HEADS


def bay_place(number: int, row_m: float, ceiling_m: float) -> Place:
    """The pack of the bike on this space."""
    row, in_row = divmod(number, ROW_BAYS)
    group, in_group = divmod(in_row, GROUP_BAYS)
    return _place(
        group * (GROUP_M + GAP_M) + BAY_M * (in_group + 0.5), row * row_m + BIKE_M, ceiling_m - PACK_M, bay=number
    )


def head_x(number: int, kind: str) -> float:
    """Where head `number` of a row hangs along the ridge."""
    gaps = number // GROUP_HEADS if kind == "shed" else 0
    return HEAD_M * (number + 0.5) + gaps * GAP_M


def _heads_in_row(kind: str) -> int:
    return ROW_GROUPS * GROUP_HEADS if kind == "shed" else ROW_HEADS


def _place(x: float, y: float, below: float, *, bay: int = -1) -> Place:
    return Place(x_m=round(x, 2), y_m=round(y, 2), below_ceiling_m=round(below, 2), bay=bay)


@lru_cache(maxsize=4096)
def spots(shape: Shape, devices: int, *, gateway: bool, lora: bool) -> tuple[Spot, ...]:
    """So many devices in their places: the gateway, if any, then heads along the ridge, then the others."""
    counts = Counter(_models(shape.kind, devices - gateway, lora))
    if gateway:
        counts[Model.GATEWAY] = 1
    found = []
    for model, letter in LETTERS.items():
        width = max(2, len(str(counts[model])))
        for number in range(counts[model]):
            ending = letter if model is Model.GATEWAY else f"{letter}{number + 1:0{width}d}"
            found.append(Spot(ending=ending, model=model, place=_where(shape, model, number)))
    return tuple(found)


def _models(kind: str, count: int, lora: bool) -> Iterator[Model]:
    """What a site is given first, second and so on: heads before all else."""
    probes = [Model.SURFACE_PROBE]
    if kind == "shed":
        heads = [Model.LORA_HEAD if lora else Model.MAINS_HEAD] * GROUP_HEADS
        first = [*heads, Model.PILE, *probes, Model.CALL_POINT, Model.SIREN, Model.PILE, *probes * 3]
        return islice(chain(first, cycle([*heads, *[Model.PILE] * 2, *probes * 4])), count)
    if kind == "shop":
        first = [Model.BATTERY_HEAD, Model.HEAT_HEAD, Model.BATTERY_HEAD, Model.BATTERY_HEAD, Model.CALL_POINT]
        return islice(chain(first, [Model.SIREN], cycle([Model.BATTERY_HEAD])), count)
    head = Model.LORA_HEAD if lora else Model.BATTERY_HEAD
    return islice(chain([head] * GROUP_HEADS, [Model.CALL_POINT, Model.SIREN], cycle([head])), count)


def _where(shape: Shape, model: Model, number: int) -> Place:
    if model is Model.GATEWAY:
        return _place(0.0, 0.0, 0.5)
    if model is Model.CALL_POINT:
        return _place(0.0, shape.row_m / 2, shape.ceiling_m - CALL_POINT_M)
    if model is Model.SIREN:
        return _place(0.0, shape.row_m / 2, 0.2)
    if model is Model.PILE:  # two for each group, at the wall between the bikes of their ten sockets
        place = bay_place(number // 2 * GROUP_BAYS + 6 + number % 2 * 12, shape.row_m, shape.ceiling_m)
        return _place(place.x_m, place.y_m - BIKE_M, shape.ceiling_m - PILE_M)
    if model is Model.SURFACE_PROBE:  # four for each group, each sixth space
        return bay_place(number // 4 * GROUP_BAYS + 3 + number % 4 * 6, shape.row_m, shape.ceiling_m)
    row, in_row = divmod(number, _heads_in_row(shape.kind))
    if model is Model.HEAT_HEAD:  # above the stove at the back
        return _place(HEAD_M - 1, shape.row_m - 0.5, 0.03)
    return _place(head_x(in_row, shape.kind), (row + 0.5) * shape.row_m, 0.03)
