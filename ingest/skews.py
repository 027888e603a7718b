"""Wrong device clocks as the database shows them: kept in step with what admit learns, off its hot path."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice

import msgspec

from ingest.readings import SECOND
from ingest.timing import Key, WrongClock

#: A skew is shown anew when it has moved this far; that of a slow radio moves a little with every reading.
MOVED = 5 * SECOND
#: Compared this often, but never for more than a fiftieth of the time: a wrong time zone may be a whole district's.
EVERY_SECONDS = 5.0
SHARE = 50
MOST = 20_000  #: devices in one transaction; the others come with the next comparison


class SkewNews(msgspec.Struct, frozen=True):
    """What is to be written: clocks that are wrong, or wrong in another way, and those that are right again."""

    wrong: dict[Key, WrongClock]
    right: list[Key]


class Skews:
    """`shown` are the skews (µs, log time less device time) that the database has."""

    def __init__(self, shown: dict[Key, int] | None = None) -> None:
        self._shown = shown if shown is not None else {}
        self._due = 0.0

    def news(self, wrong: Mapping[Key, WrongClock]) -> SkewNews | None:
        """What differs from what is shown, when it is time to look; None where nothing does."""
        started = time.monotonic()
        if started < self._due or not (wrong or self._shown):
            return None
        differing = (key for key, clock in wrong.items() if self._differs(key, clock.skew))
        news = SkewNews(
            wrong={key: wrong[key] for key in islice(differing, MOST)},
            right=list(islice((key for key in self._shown if key not in wrong), MOST)),
        )
        now = time.monotonic()
        self._due = now + max(EVERY_SECONDS, SHARE * (now - started))
        return news if news.wrong or news.right else None

    def _differs(self, key: Key, skew: int) -> bool:
        shown = self._shown.get(key)
        return shown is None or not -MOVED <= skew - shown <= MOVED

    def written(self, news: SkewNews) -> None:
        """The database has these now."""
        self._shown.update((key, clock.skew) for key, clock in news.wrong.items())
        for key in news.right:
            self._shown.pop(key, None)
