"""Delays between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Delays 0.1 → 5 s, doubled each time, with jitter."""

    def __init__(self) -> None:
        self._delay = 0.1

    def next(self) -> float:
        delay = self._delay * random.uniform(0.5, 1.0)
        self._delay = min(5.0, self._delay * 2)
        return delay

    def reset(self) -> None:
        self._delay = 0.1
