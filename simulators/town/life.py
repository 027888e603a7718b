"""What the heads of a town report over time, fires included. Pure: the same seed gives the same reports."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence

from ingest.readings import SECOND
from ingest.readings_file import FileRow
from simulators.town.battery_fire import HEAD_SPACING_M, Fire, ignite
from simulators.town.heads import SAMPLE, Report, SmokeHeatHead
from simulators.town.layout import Head, Shed
from simulators.town.weather import Air


class _Device:
    """One head or gateway with its own rhythm."""

    def __init__(self, *, first: int, interval: int) -> None:
        self.due = first
        self.interval = interval

    def next_at(self, at: int, awake: bool) -> int:
        """When to step again: each second while something may be going on, else when the next report is due."""
        return min(self.due, at + SAMPLE) if awake else self.due


class _Head(_Device):
    def __init__(self, *, head: Head, fires: Sequence[Fire], air: Air, seed: str, first: int, interval: int) -> None:
        super().__init__(first=first, interval=interval)
        self._head = SmokeHeatHead(site=head.site, device=head.id, position_m=head.position_m, air=air, seed=seed)
        self._fires = fires

    def step(self, at: int) -> tuple[Report | None, int]:
        """The report at `at`, if any, and when to step again."""
        due = at >= self.due
        if due:
            self.due += self.interval
        burning = [fire for fire in self._fires if fire.start_at <= at < fire.end_at]
        report = self._head.step(at, burning, due=due)
        awake = bool(burning) or self._head.restless
        coming = [fire.start_at for fire in self._fires if fire.start_at > at]
        return report, min([self.next_at(at, awake), *coming])


class _Gateway(_Device):
    """Says with each round that it is there and has mains."""

    def __init__(self, *, site: str, device: str, first: int, interval: int) -> None:
        super().__init__(first=first, interval=interval)
        self._site, self._device = site, device
        self._seq = 0

    def step(self, at: int) -> tuple[Report | None, int]:
        """The report at `at`, and when to step again."""
        self.due += self.interval
        self._seq += 1
        states = {"online": True, "mains_lost": False}
        report = Report(at=at, site=self._site, device=self._device, seq=self._seq, values={}, states=states)
        return report, self.due


def reports(
    sheds: Sequence[Shed], *, fires: Sequence[Fire], start_at: int, interval_s: float, seed: int
) -> Iterator[Report]:
    """Every report of these sheds from `start_at` (µs) on, without end, in order of time, then site, then device.

    Heads begin spread over one interval; the heads of a gateway and the gateway itself report together.
    """
    interval = int(interval_s * SECOND)
    queue: list[tuple[int, str, str, _Head | _Gateway]] = []
    life: _Head | _Gateway
    for shed in sheds:
        air = Air(seed=str(seed), site=shed.id)
        burning = [fire for fire in fires if fire.site == shed.id]
        together = start_at + _phase(shed.id, interval, seed)
        for head in shed.heads:
            first = together if shed.gateway else start_at + _phase(head.id, interval, seed)
            life = _Head(head=head, fires=burning, air=air, seed=str(seed), first=first, interval=interval)
            queue.append((min([first, *(fire.start_at for fire in burning)]), shed.id, head.id, life))
        if shed.gateway:
            own = _Gateway(site=shed.id, device=shed.gateway, first=together, interval=interval)
            queue.append((together, shed.id, shed.gateway, own))
    heapq.heapify(queue)
    while queue:
        at, site, device, life = queue[0]
        report, again = life.step(at)
        heapq.heapreplace(queue, (again, site, device, life))
        if report is not None:
            yield report


def _phase(name: str, interval: int, seed: int) -> int:
    return random.Random(f"phase/{seed}/{name}").randrange(interval // 1000 or 1) * 1000


def battery_fire_reports(
    *, site: str, start_at: int, prefix: str, seed: int, heads: int = 3, before_s: int = 120, after_s: int = 600
) -> list[Report]:
    """One battery_fire as reports of heads `prefix`-h1, -h2, … of a shed of its own, first vapour at `start_at` (µs).

    Each head reports every 10 s, and faster in alarm, from `before_s` before to `after_s` after. The same arguments
    give the same reports.
    """
    row = tuple(
        Head(id=f"{prefix}-h{number + 1}", site=site, position_m=number * HEAD_SPACING_M) for number in range(heads)
    )
    shed = Shed(id=site, name=site, area="", lat=0.0, lon=0.0, heads=row)
    fire = ignite(site=site, start_at=start_at, heads=heads, seed=str(seed))
    begin, end = start_at - before_s * SECOND, start_at + after_s * SECOND
    told = []
    for report in reports([shed], fires=[fire], start_at=begin, interval_s=10.0, seed=seed):
        if report.at >= end:
            break
        told.append(report)
    return told


def battery_fire_rows(
    *, site: str, start_at: int, prefix: str, seed: int, heads: int = 3, before_s: int = 120, after_s: int = 600
) -> list[FileRow]:
    """The same as rows of a readings file."""
    told = battery_fire_reports(
        site=site, start_at=start_at, prefix=prefix, seed=seed, heads=heads, before_s=before_s, after_s=after_s
    )
    return [row_of(report) for report in told]


def row_of(report: Report) -> FileRow:
    """A report as a row of a readings file."""
    return FileRow(at=report.at, site=report.site, device=report.device, values=report.values, states=report.states)
