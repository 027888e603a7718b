"""What a load offered, how late, and what became of it. Pure."""

from __future__ import annotations

import msgspec
import numpy as np

from ingest.readings import SECOND
from simulators.load.connections import Cut
from simulators.load.timetable import Numbers

#: What is later than so many ms is counted as this late in the share below.
_MOST_MS = 600_000
#: A load that ends so much later than planned, or has so many ms between plan and wire, was not the one asked for.
_END_SHARE, _END_S, _LATE_MS = 1.02, 0.05, 1000.0


class PerSecond(msgspec.Struct, frozen=True, kw_only=True):
    """Messages sent in each whole second."""

    min: int
    median: float
    max: int
    seconds: int


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """How long after their planned time messages were handed to the socket, ms."""

    p99: float
    max: float


class Back(msgspec.Struct, frozen=True, kw_only=True):
    """Connections that were cut at once; `back_s` after which all were back, None: not all were."""

    connections: int
    back_s: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a load. `offered`: planned, None in a closed loop. `held`: the load was the one asked for."""

    offered: int | None
    sent: int
    readings: int
    fires: int
    acknowledged: int
    sent_again: int
    seconds: float
    rate: float
    per_second: PerSecond | None
    late_ms: Late | None
    connections: int
    connect_s: float
    cpu_s: float  #: processor time of this process for it, its start left out
    reconnects: list[Back]
    held: bool
    stopped: bool


class Account:
    """Counts while the load goes on; times are µs from its start."""

    def __init__(self, planned: int | None) -> None:
        self.planned = planned
        self.sent = 0
        self.fires = 0
        self.ended = 0  #: when the last message was sent
        self._seconds: list[int] = []
        self._late_ms = np.zeros(_MOST_MS + 1, np.int64)
        self._latest = 0

    def note(self, elapsed: int, count: int, late: Numbers | None = None) -> None:
        """So many messages sent now, each so many µs after its planned time."""
        self.sent += count
        self.ended = elapsed
        second = elapsed // SECOND
        self._seconds += [0] * (second + 1 - len(self._seconds))
        self._seconds[second] += count
        if late is not None:
            found = np.bincount(np.clip(late // 1000, 0, _MOST_MS))
            self._late_ms[: len(found)] += found
            self._latest = max(self._latest, int(late.max()))

    def per_second(self, length: int) -> PerSecond | None:
        """Over the whole seconds of a load of this length; None when there is none."""
        whole = [*self._seconds, *[0] * (length // SECOND)][: length // SECOND]
        if not whole:
            return None
        return PerSecond(min=min(whole), median=float(np.median(whole)), max=max(whole), seconds=len(whole))

    def late(self) -> Late | None:
        """None when nothing had a planned time."""
        counted = np.cumsum(self._late_ms)
        if not counted[-1]:
            return None
        return Late(p99=float(np.searchsorted(counted, 0.99 * counted[-1])), max=round(self._latest / 1000, 1))

    def held(self, length: int, *, cut: bool = False) -> bool:
        """Whether all that was planned went out, and in time; `cut` connections are late on purpose."""
        if self.planned is None:
            return True
        late = self.late()
        on_time = self.ended <= length * _END_SHARE + _END_S * SECOND and (cut or late is None or late.p99 <= _LATE_MS)
        return self.sent == self.planned and on_time


def backs(cuts: list[Cut]) -> list[Back]:
    """For the report."""
    return [
        Back(connections=cut.count, back_s=None if cut.back_after is None else round(cut.back_after / SECOND, 6))
        for cut in cuts
    ]


def lines(report: Report, asked: str) -> list[str]:
    """A report for people; `asked`: the load that was asked for."""
    offered = "" if report.offered is None else f"offered {report.offered}, "
    done = f"{offered}sent {report.sent}, acknowledged {report.acknowledged}"
    said = [f"{done}, {report.rate:,.0f}/s over {report.seconds:.1f} s"]
    said += _about_pace(report)
    if report.reconnects:
        said += [_about(back) for back in report.reconnects]
        said.append(f"{report.sent_again} messages sent again (DUP)")
    if report.stopped:
        said.append("stopped before the end")
    elif not report.held:
        said.append(f"could not offer {asked}; the broker or this machine is too slow for it")
    return [f"load: {line}" for line in said]


def _about_pace(report: Report) -> list[str]:
    parts = []
    if (each := report.per_second) is not None:
        parts.append(f"in each of {each.seconds} s {each.min:,} to {each.max:,}, median {each.median:,.0f}")
    if (late := report.late_ms) is not None:
        parts.append(f"behind plan {late.p99:,.0f} ms (99 %), {late.max:,.0f} ms at most")
    if report.readings != report.sent:
        parts.append(f"{report.readings} readings")
    if report.fires:
        parts.append(f"{report.fires} fires")
    parts.append(f"{report.connections} connections, made in {report.connect_s:.1f} s")
    parts.append(f"{report.cpu_s / report.seconds:.2f} of a core")
    return ["; ".join(parts)]


def _about(back: Back) -> str:
    if back.back_s is None:
        return f"{back.connections} connections cut at once; not all came back"
    rate = back.connections / max(back.back_s, 1e-6)
    return f"{back.connections} connections cut at once; all back after {back.back_s:.3f} s ({rate:,.0f} connects/s)"
