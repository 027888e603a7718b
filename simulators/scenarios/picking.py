"""Where the events of a story happen: sites, devices and parking spaces, by the seed alone. Pure.

What one event gets depends on the seed, its own name, its own choice and which telling it is, never on how many
tellings or other events there are.
"""

from __future__ import annotations

import random

import msgspec

from ingest.errors import OperatorError
from simulators.physics.exposure import Place
from simulators.scenarios.happening import Level, Where
from simulators.town.layout import Device, Site, Town, distance_m
from simulators.town.models import SMOKE, Model

#: How many steps of an area's dotted id belong to each level.
DEPTH: dict[Level, int] = {"city": 1, "street": 2, "community": 3, "compound": 4, "grid": 5}
#: A kitchen stands this high above the floor, m. A.
STOVE_M = 0.9


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """What an event got: the area chosen ("" for none) and the sites, each with its devices and a place."""

    area: str
    sites: tuple[Site, ...]
    devices: dict[str, tuple[Device, ...]]
    places: dict[str, Place]
    bay: int  #: at the first site, -1 where it has no parking spaces


class Picker:
    """Chooses for the tellings of a story, one after the other.

    The first event of a telling that takes any site takes the telling's own of `named`, while there are some.
    """

    def __init__(self, town: Town, *, seed: str, named: tuple[str, ...]) -> None:
        self._town, self._seed, self._named = town, seed, named
        self._earlier: dict[str, Picked] = {}
        self._telling = -1
        self._free: tuple[str, ...] = ()
        self._suiting: dict[tuple[str, str, str], list[Site]] = {}
        self._orders: dict[str, list[Site]] = {}

    def begin(self) -> None:
        """The next telling."""
        self._earlier, self._free = {}, self._named
        self._telling += 1

    def pick(self, where: Where, *, name: str, called: str = "", parked: bool = True) -> Picked:
        """What the event `name` gets; OperatorError where the town has nothing of the kind.

        `parked`: its place is a parking space, else anywhere in the room, or where the event before it there was.
        """
        chosen, area = self._sites(where, name)
        chance = random.Random(f"{self._seed}/place/{name}/{self._telling}")
        earlier = self._earlier.get(where.same_as)
        bays = {site.id: _bay(where, site, chance, earlier) if parked else -1 for site in chosen}
        picked = Picked(
            area=area,
            sites=chosen,
            devices={
                site.id: _same(where, site, earlier)
                or _devices(where, site, f"{self._seed}/devices/{name}/{self._telling}")
                for site in chosen
            },
            places={
                site.id: earlier.places[site.id] if earlier and not parked else _place(site, bays[site.id], chance)
                for site in chosen
            },
            bay=bays[chosen[0].id],
        )
        if called:
            self._earlier[called] = picked
        return picked

    def _sites(self, where: Where, name: str) -> tuple[tuple[Site, ...], str]:
        first = self._first(where, name)
        if where.whole is None:
            return first, ""
        area = ".".join(first[0].area.split(".")[: DEPTH[where.whole]])
        wanted = msgspec.structs.replace(where, has="every")  # only the one it was chosen by needs to have it
        chosen = tuple(site for site in self._town.sites_below(area) if _suits(wanted, site))
        if not chosen:
            raise nothing_suits(f"{name}: {where.whole} {area}", where, 0)
        return chosen, area

    def _first(self, where: Where, name: str) -> tuple[Site, ...]:
        if where.same_as:
            return self._of_earlier(where, name)
        suiting = self._all(where)
        if where.earlier:
            return (_by_distance(where, suiting, self._earlier[where.earlier].sites[0]),)
        if where.pick == "all" and suiting:
            return tuple(suiting)
        if where.pick == "any":
            return (self._any(where, name, suiting),)
        if where.pick == "all" or where.pick > len(suiting):
            raise nothing_suits(name, where, len(suiting))
        return (suiting[where.pick - 1],)

    def _of_earlier(self, where: Where, name: str) -> tuple[Site, ...]:
        sites = self._earlier[where.same_as].sites
        chosen = sites if where.whole else tuple(site for site in sites if _suits(where, site))
        if not chosen:
            raise OperatorError(
                f"{name}: {sites[0].id}, where {where.same_as} is, is not {_wanted(where)}; name another"
            )
        return chosen

    def _all(self, where: Where) -> list[Site]:
        key = (where.kind, where.has, where.device)
        if key not in self._suiting:
            self._suiting[key] = [site for site in self._town.sites if _suits(where, site)]
        return self._suiting[key]

    def _any(self, where: Where, name: str, suiting: list[Site]) -> Site:
        named, self._free = self._free, ()
        if self._telling < len(named):
            return self._of_id(named[self._telling], where)
        if name not in self._orders:
            self._orders[name] = list(suiting)
            random.Random(f"{self._seed}/sites/{name}").shuffle(self._orders[name])
        others = [site for site in self._orders[name] if site.id not in named] if named else self._orders[name]
        if self._telling - len(named) >= len(others):
            raise nothing_suits(name, where, len(suiting))
        return others[self._telling - len(named)]

    def _of_id(self, id: str, where: Where) -> Site:
        site = self._town.site(id)
        if site is None:
            raise OperatorError(f"no site {id}; there are {self._town.sites[0].id} to {self._town.sites[-1].id}")
        if not _suits(where, site):
            raise OperatorError(f"{id}: not {_wanted(where)}, as the story wants; name another site")
        return site


def nothing_suits(name: str, where: Where, count: int) -> OperatorError:
    """That the town is too small for the story."""
    return OperatorError(
        f"{name}: this town has {count} of {_wanted(where)}; tell it fewer times, or give more --sites and --devices"
    )


def _wanted(where: Where) -> str:
    kinds = [kind for kind in dict.fromkeys((where.has, where.device)) if kind != "every"]
    site = "a site" if where.kind == "any" else f"a {where.kind}"
    return f"{site} with a {' and a '.join(kinds)}" if kinds else site


def _suits(where: Where, site: Site) -> bool:
    if where.kind not in ("any", site.kind):
        return False
    wanted = [kind for kind in (where.has, where.device) if kind != "every"]
    return all(any(_is(kind, device.model) for device in site.devices) for kind in wanted)


def _is(kind: str, model: Model) -> bool:
    return model in SMOKE if kind == "head" else model == kind


def _by_distance(where: Where, suiting: list[Site], origin: Site) -> Site:
    others = [site for site in suiting if site.id != origin.id]
    if not others:
        raise nothing_suits(f"beside {origin.id}", where, len(others))
    far = max if where.far_from else min
    return far(others, key=lambda site: (distance_m(site, origin), site.number))


def _same(where: Where, site: Site, earlier: Picked | None) -> tuple[Device, ...]:
    """The devices of the kind wanted that an earlier event there had."""
    had = earlier.devices.get(site.id, ()) if earlier and where.device != "every" else ()
    return tuple(device for device in had if _is(where.device, device.model))


def _devices(where: Where, site: Site, seed: str) -> tuple[Device, ...]:
    if where.device == "every":
        return ()
    found = [device for device in site.devices if _is(where.device, device.model)]
    if where.count == 0:
        return tuple(found)
    random.Random(f"{seed}/{site.id}").shuffle(found)
    return tuple(found[: where.count])


def _bay(where: Where, site: Site, chance: random.Random, earlier: Picked | None) -> int:
    if site.bays == 0:
        return -1
    if isinstance(where.bay, int):
        return where.bay % site.bays
    if where.bay == "any" or earlier is None:
        return chance.randrange(site.bays)
    if where.bay == "same":
        return earlier.bay
    if site.bays == 1:
        raise OperatorError(f"{site.id} has one parking space and so none for bay: next; name another site")
    return earlier.bay + 1 if earlier.bay + 1 < site.bays else earlier.bay - 1


def _place(site: Site, bay: int, chance: random.Random) -> Place:
    if bay >= 0:
        return site.bay(bay)
    room = site.enclosure
    return Place(
        x_m=round(chance.uniform(0.1, 0.9) * room.length_m, 2),
        y_m=round(chance.uniform(0.1, 0.9) * room.width_m, 2),
        below_ceiling_m=max(0.1, room.ceiling_m - STOVE_M),
    )
