"""The way of reports to the broker, and what becomes of them while there is none."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.readings import FIRE_STATES, SECOND
from simulators.town.device import Tell
from simulators.town.layout import Device
from simulators.town.plan import WILL_AFTER_S, Away, Trouble
from simulators.town.report import Report
from simulators.town.trouble import FAR, silences


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """From when until when nothing goes through."""

    start_at: int
    end_at: int
    keeps: bool
    told_at: int  #: when the broker tells of it; FAR: never


def cuts(troubles: Sequence[Trouble], device: Device, *, has_will: bool) -> list[Cut]:
    """Those of one device: cut off, or without power. What cuts a whole site cuts those that speak for themselves."""
    found = [
        Cut(start_at=t.start_at, end_at=t.end_at, keeps=t.keeps, told_at=_told_at(t.start_at, t.will_after_s))
        for t in troubles
        if isinstance(t, Away) and (t.device or not device.gateway)
    ]
    if not device.gateway:  # the others say nothing then, and nobody asks where they are
        found += [
            Cut(start_at=start, end_at=end, keeps=False, told_at=_told_at(start, WILL_AFTER_S))
            for start, end in silences(troubles, device.model)
        ]
    if not has_will:
        found = [msgspec.structs.replace(cut, told_at=FAR) for cut in found]
    return sorted(found, key=lambda cut: cut.start_at)


def _told_at(start: int, after_s: float | None) -> int:
    return FAR if after_s is None else start + int(after_s * SECOND)


class Line:
    """The way of one speaker, a gateway or a device for itself; stepped where something begins or ends."""

    def __init__(self, *, device: Device, cuts: Sequence[Cut], status: bool, tell: Tell) -> None:
        self._device = device
        self._cuts = cuts
        self._status = status  # it keeps one at the broker
        self._tell = tell
        self._kept: list[Report] = []
        self._missed: set[str] = set()
        times = {cut.end_at for cut in cuts} | {cut.told_at for cut in cuts if cut.told_at < cut.end_at}
        self._edges = sorted(time for time in times if time < FAR)

    def carry(self, report: Report) -> None:
        """Tell it now, keep it, or lose it."""
        holding = self._holding(report.at)
        if not holding:
            self._tell(self._caught_up(report))
        elif all(cut.keeps for cut in holding):
            self._kept.append(report)
        else:
            self._missed.add(report.device)

    def first_edge(self) -> int:
        """When to step first."""
        return self._edges[0] if self._edges else FAR

    def step(self, at: int) -> int:
        """The broker tells that it is gone; or it is back and sends what it kept, oldest first."""
        holding = self._holding(at)
        if self._status and holding and any(cut.told_at == at for cut in holding):
            self._tell(self._presence(at, online=False))
        if not holding:
            if self._status:
                self._tell(self._presence(at, online=True))
            kept, self._kept = self._kept, []
            for report in kept:
                self._tell(msgspec.structs.replace(report, at=at, late=True, urgent=False))
        return next((edge for edge in self._edges if edge > at), FAR)

    def _holding(self, at: int) -> list[Cut]:
        return [cut for cut in self._cuts if cut.start_at <= at < cut.end_at]

    def _caught_up(self, report: Report) -> Report:
        """The first that goes through after others were lost is urgent when it stands in alarm."""
        if report.device not in self._missed:
            return report
        self._missed.discard(report.device)
        alarm = any(report.states.get(name) for name in FIRE_STATES)
        return msgspec.structs.replace(report, urgent=True) if alarm else report

    def _presence(self, at: int, *, online: bool) -> Report:
        return Report(at=at, stated_at=at, site=self._device.site, device=self._device.id, online=online)
