"""The tree of areas of a town, and its centres. Pure."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict

import msgspec

from simulators.town import names
from simulators.town.ground import Point, compounds, degrees

#: A district of 620,000 devices has six centres.
CENTRE_DEVICES, CENTRES = 100_000, 6
#: A grid has at most so many sites; a compound three grids, a community four compounds, a street five communities.
GRID_SITES, GRIDS, COMPOUNDS, COMMUNITIES = 24, 3, 4, 5
#: A small town still has so many of each level.
AT_LEAST = 4

#: Id, name, parent.
Node = tuple[str, str, str]
CITY: Node = ("yj", names.CITY, "")


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """A node of city → street → community → compound → grid; the id is a dotted path (`yj.s1.c2.p3.g1`)."""

    id: str
    name: str
    parent: str
    lat: float
    lon: float

    @property
    def level(self) -> int:
        """0 the city to 4 a grid."""
        return self.id.count(".")


class Centre(msgspec.Struct, frozen=True, kw_only=True):
    """A fire-safety centre, responsible for the area `parent`."""

    id: str
    name: str
    parent: str
    lat: float
    lon: float


def build_areas(*, devices: int, sites: int, chance: random.Random) -> tuple[list[Area], list[Centre]]:
    """The tree level by level, each spread evenly over the one above it; and the centres."""
    centres = min(CENTRES, max(1, (devices + CENTRE_DEVICES // 2) // CENTRE_DEVICES))
    grids = max(math.ceil(sites / GRID_SITES), min(AT_LEAST, math.ceil(sites / 2)))
    estates = _enough(grids, GRIDS)
    communities = _enough(estates, COMPOUNDS)
    streets = centres if centres > 1 else _enough(communities, COMMUNITIES)
    street = _level("s", [CITY], names.invented(chance, streets, names.STREET))
    community = _level("c", street, names.invented(chance, communities, names.COMMUNITY))
    compound = _level("p", community, names.invented(chance, estates, names.COMPOUND))
    grid = _level("g", compound, [""] * grids)
    called = {id: name for id, name, _ in compound}
    grid = [
        (id, f"{called[parent]}第{names.numeral(int(id.rpartition('.g')[2]))}网格", parent) for id, _, parent in grid
    ]
    nodes = [CITY, *street, *community, *compound, *grid]
    areas = _placed(nodes, dict(zip((id for id, _, _ in compound), compounds(estates, chance), strict=True)))
    return areas, _centres(areas, centres)


def _enough(below: int, most: int) -> int:
    """How many nodes for so many of the level below, so that none has more than `most`, and none is empty."""
    return max(math.ceil(below / most), min(AT_LEAST, below))


def _level(letter: str, parents: list[Node], called: list[str]) -> list[Node]:
    """Nodes of these names, spread evenly over the parents and numbered below each."""
    numbers: Counter[str] = Counter()
    nodes = []
    for place, name in enumerate(called):
        parent = parents[place * len(parents) // len(called)][0]
        numbers[parent] += 1
        nodes.append((f"{parent}.{letter}{numbers[parent]}", name, parent))
    return nodes


def _placed(nodes: list[Node], where: dict[str, Point]) -> list[Area]:
    """Grids stand where their compound is, the areas above in the middle of their compounds."""
    below: dict[str, list[Point]] = defaultdict(list)
    for id, point in where.items():
        below[id].append(point)
        while id := id.rpartition(".")[0]:
            below[id].append(point)
    areas = []
    for id, name, parent in nodes:
        points = below[id] or below[parent]
        east, north = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
        lat, lon = degrees((east, north))
        areas.append(Area(id=id, name=name, parent=parent, lat=lat, lon=lon))
    return areas


def _centres(areas: list[Area], count: int) -> list[Centre]:
    """One for the city, or one for each street."""
    over = [area for area in areas if area.level == (1 if count > 1 else 0)]
    return [
        Centre(id=f"centre-{number}", name=f"{area.name}智慧消防服务中心", parent=area.id, lat=area.lat, lon=area.lon)
        for number, area in enumerate(over, start=1)
    ]
