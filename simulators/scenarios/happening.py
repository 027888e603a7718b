"""What an event of a scenario is: where and when it happens, what it adds to the plan, what is true of it. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import msgspec

from ingest.readings import SECOND
from simulators.physics.exposure import Place, Source
from simulators.scenarios.schema import Count, Seconds, Whole
from simulators.town.layout import Device, Site
from simulators.town.models import Model
from simulators.town.plan import Spell, Trouble

SiteKind = Literal["any", "shed", "shop", "stairwell"]
Level = Literal["city", "street", "community", "compound", "grid"]
#: "head" is any head that smells smoke; the others are models of the town.
DeviceKind = Literal["every", "head"] | Model


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which sites, which devices there, and where in the room.

    `same_as`, `next_to`, `far_from` name an earlier event by its `called`: its site, the nearest other one, the
    farthest one. Without them `pick` chooses among the sites of this `kind` that `has` such a device: any (by the
    seed), all, or the n-th. `whole` widens the choice to all sites of the area of this level around it.
    `device` "every" means the site as a whole; else `count` devices of that kind at each site (0 = all of them).
    `bay` is a parking space, counted from 0; "same" and "next" are those of the event `same_as` names.
    """

    kind: SiteKind = "any"
    pick: Literal["any", "all"] | Count = "any"
    has: DeviceKind = "every"
    same_as: str = ""
    next_to: str = ""
    far_from: str = ""
    whole: Level | None = None
    device: DeviceKind = "every"
    count: Whole = 1
    bay: Literal["any", "same", "next"] | Whole = "any"

    @property
    def earlier(self) -> str:
        """The event it refers to, "" for none."""
        return self.same_as or self.next_to or self.far_from


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """One site at which an event happens, once everything is chosen. Times are µs.

    `devices` are those chosen there; none when the site is meant as a whole.
    """

    site: Site
    devices: tuple[Device, ...]
    place: Place
    start_at: int
    end_at: int  #: of the story; whatever is not said to end earlier ends then
    seed: str

    def chance(self) -> random.Random:
        """Chance of this event at this site alone."""
        return random.Random(self.seed)

    def until(self, lasts: float | None) -> int:
        """When something ends that begins now."""
        return self.end_at if lasts is None else self.start_at + round(lasts * SECOND)

    def subjects(self) -> list[str]:
        """The devices concerned; "" is the whole site."""
        return [device.id for device in self.devices] or [""]


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """One fire as it was planned, in µs: for the truth."""

    what: str
    source: Source
    place: Place
    warm_at: int  #: the first change anything can see: from here on an alarm is right
    ignition: int  #: the first vapour or smoke
    marks: tuple[tuple[str, int], ...] = ()
    first_flame: int | None = None
    out: int | None = None


class Tempting(msgspec.Struct, frozen=True, kw_only=True):
    """Something that tempts to a false alarm, in µs. `site` "" = everywhere."""

    what: str
    site: str
    start_at: int
    end_at: int
    device: str = ""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What one event adds to the plan, and what is true of it."""

    sources: tuple[Source, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    spells: tuple[Spell, ...] = ()
    fires: tuple[Fire, ...] = ()
    nuisances: tuple[Tempting, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`at` counts from the beginning of the story. `called` is the name later events refer to it by."""

    at: Seconds = Seconds(0.0)
    where: Where = Where()
    called: str = ""

    parked: ClassVar[bool] = False  #: it happens to a bike on a parking space

    def happen(self, here: Here) -> Piece:
        """What it adds to the plan at one site."""
        raise NotImplementedError

    def over(self, area: str, heres: Sequence[Here]) -> Piece:
        """What it adds in all; `area` is the one `where.whole` named, "" for none. At least one site."""
        return joined([self.happen(here) for here in heres])


def joined(pieces: Iterable[Piece]) -> Piece:
    """Several as one."""
    pieces = list(pieces)
    return Piece(
        sources=tuple(source for piece in pieces for source in piece.sources),
        troubles=tuple(trouble for piece in pieces for trouble in piece.troubles),
        spells=tuple(spell for piece in pieces for spell in piece.spells),
        fires=tuple(fire for piece in pieces for fire in piece.fires),
        nuisances=tuple(nuisance for piece in pieces for nuisance in piece.nuisances),
    )
