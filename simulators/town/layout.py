"""An invented town: its areas, centres, sites and devices. Pure; the same seed gives the same town.

All names are made up; a likeness to a real street or compound is chance. Shares and sizes that have no source beside
them are our assumptions.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, pairwise

import msgspec

from simulators.physics.exposure import Enclosure, Place
from simulators.town.areas import Area, Centre, build_areas
from simulators.town.ground import BLOCK_DEPTH_M, Point, block, degrees, metres
from simulators.town.models import SMOKE, Model
from simulators.town.rooms import ROW_BAYS, Room, bay_place, bays, enclosure, make_room, spots

#: Devices of a site: few in a small town, so that it has several sites; a district's sites have twenty.
SMALL_SITE, SITE, MIXED_FROM = 6, 20, 20
#: Every third shed and stairwell has a gateway that speaks for its heads; behind every second gateway they are LoRa.
GATEWAY_EVERY = 3
#: Kinds of sites in their turn where there are at least MIXED_FROM sites, else there are sheds alone; how many devices
#: each has for one of a shop's; and the word in its id.
KINDS = ("shed", "shed", "stairwell", "shed", "shop", "shed", "stairwell", "shed", "stairwell", "shop")
SHARES = {"shed": 5, "stairwell": 3, "shop": 1}
WORDS = {"shed": "shed", "stairwell": "stair", "shop": "shop"}
#: Sites of one residential block; how far west to east from one to the next, sheds (which lie apart) and others.
BLOCK_SITES, SHED_SHIFT_M, STRIP_M = 3, 10.0, 20.0
#: From a house to a shed, and from shed to shed. D 5.4: ≥6 m from wall openings and exits [S].
CLEAR_M = 6.0


class Device(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One device of a site. `gateway` is the id of the device that speaks for it, "" = it speaks for itself."""

    id: str
    site: str
    model: Model
    place: Place
    gateway: str = ""


class Site(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A watched place: a charging shed, a shop on the street, or the hall and corridors of a stairwell.

    Its room is a rectangle, `length_m` along x (to the east) and `width_m` along y (to the north); `lat` and `lon`
    are its middle. Devices come gateway first, then heads along the ridge, then the others.
    """

    id: str
    number: int  #: from 0, in the order of Town.sites
    name: str
    kind: str  #: "shed", "shop" or "stairwell"
    area: str  #: id of its grid
    lat: float
    lon: float
    enclosure: Enclosure
    roof: str  #: "metal", "concrete", or "none": nothing of it is in the sun
    bays: int  #: parking spaces, numbered from 0
    devices: tuple[Device, ...]
    gateway: str = ""  #: id of its gateway, "" = none

    def bay(self, number: int) -> Place:
        """The pack of the bike on this parking space."""
        if not 0 <= number < self.bays:
            raise IndexError(f"{self.id} has no parking space {number}; there are 0 to {self.bays - 1}")
        rows = math.ceil(self.bays / ROW_BAYS)
        return bay_place(number, self.enclosure.width_m / rows, self.enclosure.ceiling_m)


class Town(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All there is to see. Sites stand in the order of their areas: those of one grid follow each other."""

    seed: int
    areas: tuple[Area, ...]
    centres: tuple[Centre, ...]
    sites: tuple[Site, ...]

    @cached_property
    def _by_id(self) -> dict[str, Site]:
        return {site.id: site for site in self.sites}

    def site(self, id: str) -> Site | None:
        """The site of this id."""
        return self._by_id.get(id)

    def sites_below(self, area: str) -> tuple[Site, ...]:
        """The sites of this area and of all below it."""
        return tuple(site for site in self.sites if site.area == area or site.area.startswith(area + "."))


def distance_m(one: Site, other: Site) -> float:
    """From middle to middle."""
    return math.dist(metres(one.lat, one.lon), metres(other.lat, other.lon))


def usual_sites(devices: int) -> int:
    """How many sites a town of so many devices has when nobody says."""
    return max(1, min(devices // SMALL_SITE, MIXED_FROM), devices // SITE)


def build_town(*, devices: int, sites: int | None = None, seed: int) -> Town:
    """A town of exactly so many devices, gateways and all; ValueError where a site would stand empty."""
    sites = usual_sites(devices) if sites is None else sites
    if not 1 <= sites <= devices:
        raise ValueError(f"{devices} devices for {sites} sites: each site needs one at least")
    chance = random.Random(f"town/{seed}")
    areas, centres = build_areas(devices=devices, sites=sites, chance=chance)
    built = tuple(_build_sites(areas, sites, devices, chance))
    return Town(seed=seed, areas=tuple(areas), centres=tuple(centres), sites=built)


class _Compound:
    """A compound while its sites are laid out."""

    def __init__(self, area: Area) -> None:
        self.name = area.name
        self._middle = metres(area.lat, area.lon)
        self._sites = 0
        self._used_m = 0.0
        self._numbers: Counter[str] = Counter()

    def next(self, kind: str, room: Enclosure) -> tuple[str, Point]:
        """Name and middle of one more site: sheds south of their block, shops and stairwells within it."""
        number, strip = divmod(self._sites, BLOCK_SITES)
        self._sites += 1
        self._numbers[kind] += 1
        if strip == 0:
            self._used_m = 0.0
        x, y = block(self._middle, number)
        x += (strip - 1) * (SHED_SHIFT_M if kind == "shed" else STRIP_M)
        if kind == "stairwell":
            return f"{self.name}{number + 1}号楼{strip + 1}单元楼道", (x, y)
        if kind == "shop":  # its door is on the street, north
            return f"{self.name}{self._numbers[kind]}号商铺", (x, y + (BLOCK_DEPTH_M - room.width_m) / 2)
        self._used_m += CLEAR_M + room.width_m
        south = BLOCK_DEPTH_M / 2 + self._used_m - room.width_m / 2
        return f"{self.name}{self._numbers[kind]}号充电车棚", (x, y - south)


def _build_sites(areas: list[Area], count: int, devices: int, chance: random.Random) -> Iterator[Site]:
    kinds = [KINDS[number % len(KINDS)] if count >= MIXED_FROM else "shed" for number in range(count)]
    compounds = {area.id: _Compound(area) for area in areas if area.level == 3}
    grids = [area for area in areas if area.level == 4]
    width = max(3, len(str(count)))
    numbers: Counter[str] = Counter()
    for number, (kind, share) in enumerate(zip(kinds, _shares(kinds, devices), strict=True)):
        grid = grids[number * len(grids) // count]
        numbers[kind] += 1
        id = f"{WORDS[kind]}-{numbers[kind]:0{width}d}"
        room = make_room(kind, chance)
        every = numbers[kind] % GATEWAY_EVERY == 0 and kind != "shop" and share > 1
        lora = every and (kind == "stairwell" or numbers[kind] // GATEWAY_EVERY % 2 == 0)
        made = _devices(id, room, share, gateway=every, lora=lora)
        heads = sum(device.model in SMOKE for device in made)
        space = enclosure(room, heads)
        name, middle = compounds[grid.parent].next(kind, space)
        lat, lon = degrees(middle)
        yield Site(
            id=id,
            number=number,
            name=name,
            kind=kind,
            area=grid.id,
            lat=lat,
            lon=lon,
            enclosure=space,
            roof=room.roof,
            bays=bays(kind, heads),
            devices=made,
            gateway=made[0].id if every else "",
        )


def _shares(kinds: list[str], devices: int) -> Iterator[int]:
    """Devices of each site: one, and of the rest as much as its kind has; all of them together are `devices`."""
    weights = [0, *accumulate(SHARES[kind] for kind in kinds)]
    rest = devices - len(kinds)
    for before, after in pairwise(weights):
        yield 1 + rest * after // weights[-1] - rest * before // weights[-1]


def _devices(site: str, room: Room, count: int, *, gateway: bool, lora: bool) -> tuple[Device, ...]:
    speaks = f"{site}-gw" if gateway else ""
    return tuple(
        Device(
            id=f"{site}-{spot.ending}",
            site=site,
            model=spot.model,
            place=spot.place,
            # piles have a link of their own, and a gateway speaks for itself
            gateway="" if spot.model in (Model.PILE, Model.GATEWAY) else speaks,
        )
        for spot in spots(room.shape, count, gateway=gateway, lora=lora)
    )
