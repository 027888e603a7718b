"""How many messages of a load are due when: a steady rate, bursts, a storm of heartbeats. Pure.

Times are µs from the start. Messages are numbered from 0 in the order in which they are due.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from ingest.readings import SECOND

Numbers = npt.NDArray[np.int64]
#: No stretch is longer, µs: messages in it times its length must be a number of 64 bits.
_LONGEST = 3_600 * SECOND


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """`count` messages at once, at the start and then each `every` µs."""

    count: int
    every: int


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """`count` messages spread evenly over `span` µs, from `start` on."""

    count: int
    start: int
    span: int


class Timetable:
    """Stretches of time, in each of which so many messages are due evenly; all at once in a stretch without length."""

    def __init__(self, *, length: int, rate: int = 0, burst: Burst | None = None, storm: Storm | None = None) -> None:
        """`rate` (messages a second) and bursts last for `length`; a storm goes on after it when it has to."""
        times = {0, length, *(range(0, length, burst.every) if burst else ())}
        if storm:
            times |= {storm.start, storm.start + storm.span}
        times |= set(range(0, max(times), _LONGEST))
        stretches: list[tuple[int, int, int]] = []  # start, span, messages
        for at, after in pairwise([*sorted(times), max(times)]):
            if burst and at < length and at % burst.every == 0:
                stretches.append((at, 0, burst.count))
            due = _even(rate, length, storm, after) - _even(rate, length, storm, at)
            stretches.append((at, after - at, due))
        self.length = max(times)
        self._starts, self._spans, self._counts = np.array(stretches).T
        self._until = np.cumsum(self._counts)
        self.total = int(self._until[-1])

    def due(self, elapsed: int) -> int:
        """How many are due by then; at the start of a stretch its first is."""
        last = int(np.searchsorted(self._starts, elapsed, side="right")) - 1
        if last < 0:
            return 0
        count, span = int(self._counts[last]), int(self._spans[last])
        done = min(count, (elapsed - int(self._starts[last])) * count // span + 1) if span else count
        return int(self._until[last]) - count + done

    def when(self, numbers: Numbers) -> Numbers:
        """When messages with these numbers, below `total`, are due."""
        found = np.searchsorted(self._until, numbers, side="right")
        before = numbers - self._until[found] + self._counts[found]
        times: Numbers = self._starts[found] - (-before * self._spans[found] // self._counts[found])  # rounded up
        return times


def _even(rate: int, length: int, storm: Storm | None, at: int) -> int:
    """How many of rate and storm are due by then."""
    count = rate * min(at, length) // SECOND
    if storm:
        count += storm.count * min(max(at - storm.start, 0), storm.span) // storm.span
    return count
