"""Events that befall devices, not the air: stuck, empty, away, off, late by its clock, alarming for nothing. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypedDict

from ingest.readings import FIRE_STATES, SECOND
from simulators.scenarios.happening import Event, Here, Piece, Tempting, joined
from simulators.scenarios.schema import Count, NotNegative, Percent, Quantity, Seconds, Share, State
from simulators.town.plan import (
    Away,
    Battery,
    Charging,
    Clock,
    Drift,
    Glitch,
    Mains,
    Reboot,
    States,
    Stuck,
    Trouble,
)


class When(TypedDict):
    """What all troubles have."""

    site: str
    device: str
    start_at: int
    end_at: int


class Befalls(Event, frozen=True, kw_only=True):
    """Trouble of one kind with each of the devices chosen; without `lasts` until the story ends."""

    lasts: Seconds | None = None

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """That of one device, "" for a whole site."""
        raise NotImplementedError

    def when(self, here: Here, device: str, late: int = 0) -> When:
        """From the beginning of the event, or `late` µs after it, to its end."""
        return {
            "site": here.site.id,
            "device": device,
            "start_at": here.start_at + late,
            "end_at": here.until(self.lasts),
        }

    def happen(self, here: Here) -> Piece:
        """One trouble for each device."""
        chance = here.chance()
        return Piece(troubles=tuple(self.trouble(here, device, chance) for device in here.subjects()))


class StuckSensor(Befalls, frozen=True, kw_only=True):
    """A quantity repeats the value it had, or `value`."""

    quantity: Quantity = Quantity("temperature")
    value: float | None = None

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """It no longer moves."""
        return Stuck(
            **self.when(here, device),
            quantity=self.quantity,
            value=self.value,
        )


class DriftingSensor(Befalls, frozen=True, kw_only=True):
    """A quantity reads wrong by so much more each day; each device by half to one and a half times that."""

    quantity: Quantity
    per_day: float

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """It moves away from the truth."""
        return Drift(
            **self.when(here, device),
            quantity=self.quantity,
            per_day=round(self.per_day * chance.uniform(0.5, 1.5), 6),
        )


class DustDrift(DriftingSensor, frozen=True, kw_only=True):
    """Dust settles in smoke chambers: the floor rises, 0.003 dB/m a day until somebody cleans them.

    A: four weeks of a dusty shed bring a chamber near its own alarm; no published rate was found.
    """

    quantity: Quantity = Quantity("smoke")
    per_day: float = 0.003

    def happen(self, here: Here) -> Piece:
        """Drift, which tempts."""
        told = (Tempting(what="dust", **self.when(here, device)) for device in here.subjects())
        return Piece(troubles=super().happen(here).troubles, nuisances=tuple(told))


class Glitches(Befalls, frozen=True, kw_only=True):
    """Single readings are off by `by`, each with this chance."""

    quantity: Quantity
    by: float
    share: Share = 0.01

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """Odd samples."""
        return Glitch(
            **self.when(here, device),
            quantity=self.quantity,
            by=self.by,
            chance=self.share,
        )


class DyingBattery(Befalls, frozen=True, kw_only=True):
    """The battery stands at `percent` (give or take 3 points, device by device) and loses `per_day` points."""

    percent: Percent = 20.0
    per_day: float = 2.0

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """It runs empty."""
        return Battery(
            **self.when(here, device),
            percent=round(self.percent + chance.uniform(-3.0, 3.0), 1),
            per_day=self.per_day,
        )


class Gone(Befalls, frozen=True, kw_only=True):
    """No way to the broker, each device within `spread`; `keeps` sends afterwards what was measured meanwhile."""

    keeps: bool = False
    will_after: Seconds | None = Seconds(45.0)
    spread: Seconds = Seconds(0.0)

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """Silence."""
        late = round(chance.uniform(0.0, self.spread) * SECOND)
        return Away(
            **self.when(here, device, late),
            keeps=self.keeps,
            will_after_s=self.will_after,
        )


class WrongClock(Befalls, frozen=True, kw_only=True):
    """The device's clock is ahead by `offset` s and gains `ppm` µs each second, to either side by chance."""

    offset: float = 0.0
    ppm: float = 0.0

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """A wrong clock."""
        side = chance.choice((-1.0, 1.0))
        return Clock(
            **self.when(here, device),
            offset_s=self.offset * side,
            ppm=self.ppm * side,
        )


class DeviceReboot(Befalls, frozen=True, kw_only=True):
    """Off for a while, then its numbers begin again at 1."""

    lasts: Seconds | None = Seconds(20.0)

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """Off and on."""
        return Reboot(**self.when(here, device))


class PowerCut(Befalls, frozen=True, kw_only=True):
    """No mains: mains devices say so and live on a reserve, some longer than others."""

    reserve: Seconds = Seconds(3600.0)

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """Darkness."""
        return Mains(
            **self.when(here, device),
            reserve_s=round(self.reserve * chance.uniform(0.7, 1.3), 1),
        )


class Says(Befalls, frozen=True, kw_only=True):
    """Devices say these states, whatever they measure: `states: {tamper: true}`.

    Each begins within `spread`; never more than `at_most` devices. States of fire class tempt, as nothing burns.
    """

    states: dict[State, bool]
    spread: Seconds = Seconds(0.0)
    at_most: Count = 10_000

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """States nobody measured."""
        late = round(chance.uniform(0.0, self.spread) * SECOND)
        return States(
            **self.when(here, device, late),
            states={str(name): value for name, value in self.states.items()},
        )

    def over(self, area: str, heres: Sequence[Here]) -> Piece:
        """The first `at_most` of all devices."""
        said = joined([self.happen(here) for here in heres]).troubles[: self.at_most]
        if not any(value and name in FIRE_STATES for name, value in self.states.items()):
            return Piece(troubles=said)
        sites = dict.fromkeys(trouble.site for trouble in said)
        start_at, end_at = heres[0].start_at, heres[0].until(self.lasts)
        told = (Tempting(what="alarm without a fire", site=site, start_at=start_at, end_at=end_at) for site in sites)
        return Piece(troubles=said, nuisances=tuple(told))


class Charges(Befalls, frozen=True, kw_only=True):
    """A pile charges with so many watts beside its ordinary use; 0: a protective stop holds it off."""

    watts: NotNegative = 0.0

    def trouble(self, here: Here, device: str, chance: random.Random) -> Trouble:
        """More, or nothing."""
        return Charging(
            **self.when(here, device),
            watts=self.watts,
        )
