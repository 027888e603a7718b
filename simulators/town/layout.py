"""An invented town: areas, one centre, charging sheds and their heads. Pure; the same seed gives the same town.

All names are made up; a likeness to a real street or compound is chance.
"""

from __future__ import annotations

import csv
import io
import random
from functools import cached_property

import msgspec

from simulators.physics.exposure import Enclosure, Place
from simulators.town.battery_fire import HEAD_SPACING_M
from simulators.town.models import Model

CITY = "云江市"
STREETS = ("青枫街道", "望湖街道", "石桥镇", "南塘街道", "明溪镇", "长亭街道")
COMMUNITIES = ("槐荫社区", "东篱社区", "竹影社区", "晨光社区", "碧波社区", "梧桐社区", "和畅社区", "银杏社区")
COMPOUNDS = ("锦绣苑", "听雨轩", "幸福里", "阳光花园", "丽景苑", "翠竹园", "紫薇花园", "金桂小区", "枫林雅居", "兰亭苑")
#: The middle of the town: open water on real maps, so that no real shed is meant.
LAT, LON = 31.2100, 120.1500
#: Every third shed has a gateway that speaks for its heads.
GATEWAY_EVERY = 3
HEADER = "kind,id,parent,name,class,lat,lon,expected_interval_s,credential,attributes"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A smoke and heat head of a shed, `position_m` along its row of heads."""

    id: str
    site: str
    position_m: float


class Shed(msgspec.Struct, frozen=True, kw_only=True):
    """A charging shed; `gateway` is "" where each head speaks for itself."""

    id: str
    name: str
    area: str
    lat: float
    lon: float
    heads: tuple[Head, ...]
    gateway: str = ""


class Device(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One device of a site. `gateway` is the id of the device that speaks for it, "" = it speaks for itself."""

    id: str
    site: str
    model: Model
    place: Place
    gateway: str = ""


class Site(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A watched place: a charging shed, a shop on the street, or the hall and corridors of a stairwell.

    Its room is a rectangle, `length_m` along x and `width_m` along y; `lat` and `lon` are its middle. Devices come
    gateway first, then heads along the ridge, then the others.
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
        raise NotImplementedError


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """A node of city → street → community → compound → grid; the id is a dotted path (`yj.s1.c2.p3.g1`)."""

    id: str
    name: str
    parent: str
    lat: float = 0.0
    lon: float = 0.0


class Centre(msgspec.Struct, frozen=True, kw_only=True):
    """A fire-safety centre, responsible for the area `parent`."""

    id: str
    name: str
    parent: str
    lat: float
    lon: float


class Town(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All there is to see. Sites stand in the order of their areas, so neighbours are near each other."""

    areas: tuple[Area, ...]
    sheds: tuple[Shed, ...]  # the old words, until the life of the town knows sites
    centres: tuple[Centre, ...] = ()
    sites: tuple[Site, ...] = ()

    @cached_property
    def _by_id(self) -> dict[str, Site]:
        return {site.id: site for site in self.sites}

    def site(self, id: str) -> Site | None:
        """The site of this id."""
        return self._by_id.get(id)

    def sites_below(self, area: str) -> tuple[Site, ...]:
        """The sites of this area and of all below it."""
        return tuple(site for site in self.sites if site.area == area or site.area.startswith(area + "."))

    def shed(self, site: str) -> Shed | None:
        """The shed of this id."""
        return next((shed for shed in self.sheds if shed.id == site), None)


def build_town(*, sites: int, devices: int, seed: int) -> Town:
    """`devices` heads spread evenly over `sites` sheds; gateways come on top."""
    chance = random.Random(f"town/{seed}")
    areas: dict[str, Area] = {"yj": Area(id="yj", name=CITY, parent="")}
    sheds = []
    for number in range(sites):
        heads = devices // sites + (number < devices % sites)
        sheds.append(_shed(number=number, heads=heads, areas=areas, chance=chance))
    return Town(areas=tuple(areas.values()), sheds=tuple(sheds))


def _shed(*, number: int, heads: int, areas: dict[str, Area], chance: random.Random) -> Shed:
    grid, compound = _grid(number, areas)
    site = f"shed-{number + 1:03d}"
    width = max(2, len(str(heads)))
    return Shed(
        id=site,
        name=f"{compound}{number // len(COMPOUNDS) + 1}号充电车棚",
        area=grid,
        lat=round(LAT + chance.uniform(-0.05, 0.05), 6),
        lon=round(LON + chance.uniform(-0.06, 0.06), 6),
        heads=tuple(
            Head(id=f"{site}-h{head + 1:0{width}d}", site=site, position_m=head * HEAD_SPACING_M)
            for head in range(heads)
        ),
        gateway=f"{site}-gw" if number % GATEWAY_EVERY == GATEWAY_EVERY - 1 else "",
    )


def _grid(number: int, areas: dict[str, Area]) -> tuple[str, str]:
    """The grid area of shed `number`, made with all above it when new; and the name of its compound."""
    compound = COMPOUNDS[number % len(COMPOUNDS)]
    steps = (
        (f"s{number % len(STREETS) + 1}", STREETS[number % len(STREETS)]),
        (f"c{number % len(COMMUNITIES) + 1}", COMMUNITIES[number % len(COMMUNITIES)]),
        (f"p{number % len(COMPOUNDS) + 1}", compound),
        (f"g{number // len(COMPOUNDS) % 4 + 1}", f"{compound}第{'一二三四'[number // len(COMPOUNDS) % 4]}网格"),
    )
    path = "yj"
    for step, name in steps:
        parent, path = path, f"{path}.{step}"
        areas.setdefault(path, Area(id=path, name=name, parent=parent))
    return path, compound


def inventory_csv(town: Town, *, interval_s: float) -> str:
    """The file `emberwatch inventory import` reads."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER.split(","))
    for area in town.areas:
        writer.writerow(("area", area.id, area.parent, area.name, "", "", "", "", "", ""))
    writer.writerow(("centre", "centre-1", "yj", f"{CITY}智慧消防服务中心", "", LAT, LON, "", "", ""))
    for shed in town.sheds:
        writer.writerow(("site", shed.id, shed.area, shed.name, "", shed.lat, shed.lon, "", "", ""))
        writer.writerows(_device_rows(shed, interval_s))
    return out.getvalue()


def _device_rows(shed: Shed, interval_s: float) -> list[tuple[object, ...]]:
    every = f"{interval_s:g}"
    rows: list[tuple[object, ...]] = []
    if shed.gateway:
        rows.append(("device", shed.gateway, shed.id, "网关", "gateway", shed.lat, shed.lon, every, "", ""))
    for number, head in enumerate(shed.heads, start=1):
        place = msgspec.json.encode({"position_m": head.position_m}).decode()
        name = f"{number}号烟温探测器"
        parent = shed.gateway or shed.id
        rows.append(("device", head.id, parent, name, "smoke_heat_head", shed.lat, shed.lon, every, "", place))
    return rows
