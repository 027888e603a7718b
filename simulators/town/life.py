"""What the devices of a town report over time, a plan carried out. Pure: the same arguments give the same reports."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from typing import Protocol

from ingest.readings import SECOND
from simulators.physics.exposure import Source
from simulators.town.charging import charging_key
from simulators.town.device import Life, Tell
from simulators.town.gateways import Plain
from simulators.town.heads import MAKES, Head, Here
from simulators.town.layout import Device, Site
from simulators.town.lines import Line, cuts
from simulators.town.models import MODELS, Model
from simulators.town.noise import key_of, uniform
from simulators.town.piles import Pile
from simulators.town.plan import ORDINARY, Plan, Spell
from simulators.town.report import Report
from simulators.town.trouble import FAR, Afflictions, Troubles
from simulators.town.weather import SiteAir, Weather


class Stepped(Protocol):
    """Something that does something at times."""

    def step(self, at: int) -> int:
        """Do it; when to do the next."""


class Calendar:
    """What is due when: a list for each second, sorted when it comes, which is cheaper than one large heap."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[tuple[int, int, Stepped]]] = {}

    def add(self, at: int, order: int, what: Stepped) -> None:
        """`order` decides between things due at the same time, and is different for each."""
        if at < FAR:
            self._seconds.setdefault(at // SECOND, []).append((at, order, what))

    def run(self, start_at: int) -> Iterator[int]:
        """Step all that is due, second by second; gives each second once it is done. Ends when nothing is due."""
        second = start_at // SECOND
        while self._seconds:
            due = self._seconds.pop(second, None)
            if due is not None:
                self._run(due, second)
                yield second
            second += 1

    def _run(self, due: list[tuple[int, int, Stepped]], second: int) -> None:
        due.sort()
        seconds = self._seconds
        index = 0
        while index < len(due):
            at, order, what = due[index]
            index += 1
            again = what.step(at)
            if again // SECOND == second:
                insort(due, (again, order, what), lo=index)
            elif again < FAR:
                later = seconds.get(again // SECOND)
                if later is None:
                    seconds[again // SECOND] = [(again, order, what)]
                else:
                    later.append((again, order, what))


def reports(
    sites: Sequence[Site], *, plan: Plan = ORDINARY, start_at: int, interval_s: float | None = None, seed: int
) -> Iterator[Report]:
    """Every report of these sites from `start_at` (µs) on, without end, in order of time, then site, then device.

    Without `interval_s` each device reports as often as its model does. They begin spread over one interval; the
    devices of a gateway report in its rounds, together.
    """
    told: list[Report] = []
    calendar = Calendar()
    builder = _Builder(plan=plan, start_at=start_at, interval_s=interval_s, seed=seed, tell=told.append)
    for site in sites:
        builder.add(site, calendar)
    for _ in calendar.run(start_at):
        yield from told
        told.clear()


class _Builder:
    """Brings the devices to life, site by site."""

    def __init__(self, *, plan: Plan, start_at: int, interval_s: float | None, seed: int, tell: Tell) -> None:
        self._troubles = Troubles(plan.troubles)
        self._spells = plan.spells
        self._sources: dict[str, list[Source]] = {}
        for source in plan.sources:
            self._sources.setdefault(source.site, []).append(source)
        self._start, self._interval, self._seed = start_at, interval_s, seed
        self._tell = tell
        self._weather: dict[tuple[int, ...], Weather] = {}
        self._order = 0

    def add(self, site: Site, calendar: Calendar) -> None:
        """All devices of a site, and the ways that are cut at times."""
        here = self._here(site)
        troubled = self._troubles.at(site.id)
        lines = self._lines(site, calendar) if troubled else {}
        piles = [device.id for device in site.devices if device.model is Model.PILE]
        for device in site.devices:
            line = lines.get(device.id) or lines.get(device.gateway)
            life = self._life(device, here, site, piles, line.carry if line else self._tell)
            first = life.due if here.calm else min(life.due, self._first_look(here))
            if troubled and (own := self._troubles.of(site=site.id, device=device.id)):
                life.trouble = Afflictions(own, device.model)
                first = min(first, life.trouble.next_edge(self._start - 1))
            self._order += 1
            calendar.add(first, self._order, life)

    def _first_look(self, here: Here) -> int:
        return self._start if here.active(self._start) else here.look_again(self._start - 1)

    def _life(self, device: Device, here: Here, site: Site, piles: list[str], tell: Tell) -> Life:
        key = key_of(self._seed, device.id)
        first, every = self._rhythm(device, key)
        if device.model in MAKES:
            return Head(device=device, here=here, key=key, first=first, every=every, tell=tell)
        if device.model is Model.PILE:
            bays = range(piles.index(device.id), site.bays, len(piles))
            return Pile(device=device, here=here, bays=bays, key=key, first=first, every=every, tell=tell)
        return Plain(device=device, key=key, first=first, every=every, tell=tell)

    def _rhythm(self, device: Device, key: int) -> tuple[int, int]:
        """First report, and µs from one to the next. What a gateway speaks for falls into its rounds."""
        every = int((self._interval or MODELS[device.model].interval_s) * SECOND)
        if not device.gateway:
            return self._start + _spread(key, every), every
        together = key_of(self._seed, device.gateway)
        rounds = int((self._interval or MODELS[Model.GATEWAY].interval_s) * SECOND)
        later = int(uniform(key, 0) * max(1, every // rounds)) * rounds
        return self._start + _spread(together, rounds) + later, every

    def _here(self, site: Site) -> Here:
        group = tuple(number for number, spell in enumerate(self._spells) if concerns(spell, site))
        spells = [self._spells[number] for number in group]
        weather = self._weather.get(group)
        if weather is None:
            weather = self._weather[group] = Weather(seed=self._seed, spells=spells)
        key = key_of(self._seed, f"air/{site.id}")
        air = SiteAir(key=key, weather=weather, roof=site.roof, openness=site.enclosure.openness)
        watch = [(spell.start_at, spell.end_at) for spell in spells]
        key = charging_key(self._seed, site.id)
        return Here(air=air, key=key, sources=self._sources.get(site.id, ()), watch=watch)

    def _lines(self, site: Site, calendar: Calendar) -> dict[str, Line]:
        """For those alone whose way is cut at times, gateway first: its devices' lines lead into its own."""
        lines: dict[str, Line] = {}
        for device in site.devices:
            status = keeps_status(device)
            own = self._troubles.of(site=site.id, device=device.id)
            found = cuts(own, device, has_will=status)
            if found:
                beyond = lines.get(device.gateway)
                tell = self._tell if beyond is None else beyond.carry
                line = lines[device.id] = Line(device=device, cuts=found, status=status, tell=tell)
                self._order += 1
                calendar.add(line.first_edge(), -self._order, line)
        return lines


def concerns(spell: Spell, site: Site) -> bool:
    """Whether it holds over this site."""
    return not spell.area or site.area == spell.area or site.area.startswith(spell.area + ".")


def keeps_status(device: Device) -> bool:
    """Whether it has a connection of its own that stays: a gateway, or a mains device without one.

    What lives on a battery connects to speak and leaves.
    """
    return not device.gateway and MODELS[device.model].mains


def _spread(key: int, every: int) -> int:
    """Where in its interval a device begins, in whole milliseconds."""
    return int(uniform(key, 0) * (every // 1000 or 1)) * 1000
