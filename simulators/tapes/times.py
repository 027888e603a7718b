"""Recorded time into published time."""

from __future__ import annotations

from enum import StrEnum

from simulators.wire.pace import Pace


class TimeMode(StrEnum):
    """What a replayed message says about its time."""

    ORIGINAL = "original"  #: what it said then
    SHIFT_TO_NOW = "shift-to-now"  #: the first one says now, all others keep their distance to it
    SCALE = "scale"  #: each says when it is published


class TimeMap:
    """The times of one round of a replay; `moved` (µs) is how far its round lies behind the first."""

    def __init__(self, *, mode: TimeMode, first: int, moved: int, pace: Pace) -> None:
        self._pace = pace
        self._moved = moved
        self._mode = mode
        self._shift = moved + (pace.wall(first) - first if mode is TimeMode.SHIFT_TO_NOW else 0)
        self.changes = mode is not TimeMode.ORIGINAL

    def due(self, at: int) -> int:
        """Where on the time line of the pace a recorded time lies."""
        return at + self._moved

    def stated(self, at: int) -> int:
        """What the message says in place of a recorded time."""
        if self._mode is TimeMode.SCALE:
            return self._pace.wall(self.due(at))
        return at + self._shift if self.changes else at
