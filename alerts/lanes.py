"""Lanes: each channel has its own few threads, so that a dead one holds up nobody else."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from alerts.alert import SignalClass

#: Attempts made at once on one channel.
WIDTH = 4
_ORDER = {signal_class: rank for rank, signal_class in enumerate(SignalClass)}  # fire first


class Lane:
    """The pages of one channel: those due now by class and age, the others by their time.

    `work(page)` makes one attempt and answers in how many seconds the next is due, None for never. Waiting counts on
    the monotonic clock, so that a step of the wall clock neither rushes nor holds up a page.
    """

    def __init__(self, name: str, work: Callable[[str], float | None]) -> None:
        self.name = name
        self._work = work
        self._changed = threading.Condition()
        self._ready: list[tuple[int, int, str]] = []
        self._later: list[tuple[float, int, int, str]] = []
        self._count = itertools.count()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def put(self, page: str, signal_class: SignalClass, delay_s: float) -> None:
        """Send this page after so many seconds."""
        with self._changed:
            self._queue(page, _ORDER[signal_class], delay_s)
            if self._idle < len(self._ready) + len(self._later) and len(self._threads) < WIDTH:
                self._start_thread()
            self._changed.notify()

    def stop(self) -> None:
        """Take no further page; `join` waits for the attempts being made."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, deadline: float) -> bool:
        """Wait for the threads until this time of the monotonic clock; whether all have ended."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _queue(self, page: str, rank: int, delay_s: float) -> None:
        if delay_s <= 0:
            heapq.heappush(self._ready, (rank, next(self._count), page))
        else:
            heapq.heappush(self._later, (time.monotonic() + delay_s, rank, next(self._count), page))

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"lane-{self.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while (taken := self._take()) is not None:
            rank, page = taken
            delay_s = self._work(page)
            if delay_s is not None:
                with self._changed:
                    self._queue(page, rank, delay_s)
                    self._changed.notify()

    def _take(self) -> tuple[int, str] | None:
        """The next page that is due, waiting for one; None when the lane has stopped."""
        with self._changed:
            while not self._stopped:
                while self._later and self._later[0][0] <= time.monotonic():
                    _, rank, count, page = heapq.heappop(self._later)
                    heapq.heappush(self._ready, (rank, count, page))
                if self._ready:
                    rank, _, page = heapq.heappop(self._ready)
                    return rank, page
                self._idle += 1
                self._changed.wait(self._later[0][0] - time.monotonic() if self._later else None)
                self._idle -= 1
            return None


class Lanes:
    """All lanes of a dispatcher, opened as channels are first used."""

    def __init__(self, work: Callable[[str], float | None]) -> None:
        self._work = work
        self._lanes: dict[str, Lane] = {}

    def put(self, page: str, channel: str, signal_class: SignalClass, delay_s: float) -> None:
        if channel not in self._lanes:
            self._lanes[channel] = Lane(channel, self._work)
        self._lanes[channel].put(page, signal_class, delay_s)

    def stop(self, patience_s: float) -> bool:
        """Stop all lanes and wait this long for the attempts being made; whether all have ended."""
        for lane in self._lanes.values():
            lane.stop()
        deadline = time.monotonic() + patience_s
        return all([lane.join(deadline) for lane in self._lanes.values()])
