"""When the next thing is due: simulated time against the wall clock, ended promptly by a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ingest.readings import SECOND


class Pace:
    """Plays a time line that begins at `origin` (µs) from now on, `speed` times as fast; infinity: no waiting."""

    def __init__(self, *, now: Callable[[], int], stop: threading.Event, origin: int, speed: float = 1.0) -> None:
        self._now = now
        self._stop = stop
        self._origin = origin
        self._speed = speed
        self._started = now()

    def until(self, at: int) -> bool:
        """Wait until the time line reaches `at`; False when stopped meanwhile."""
        due = self.wall(at)
        while not self._stop.is_set() and (left := due - self._now()) > 0:
            self._stop.wait(min(left / SECOND, 1.0))  # short waits, so that a changed clock is noticed
        return not self._stop.is_set()

    def ahead(self, at: int) -> bool:
        """Whether there is time until `at`."""
        return self.wall(at) > self._now()

    def wall(self, at: int) -> int:
        """The wall time at which the time line reaches `at`."""
        return self._started + int((at - self._origin) / self._speed)
