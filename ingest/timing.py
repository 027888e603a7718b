"""When a reading really was: device clocks against the log's, and what counts as history. Pure.

A device's clock is believed while it is near the log's. A fire is never judged late because of a device's clock:
what arrives live under an implausible clock happened when we heard it, and the clock's skew is remembered so that
the intervals between its later readings stay right.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.readings import DAY, MINUTE, Lateness

#: A device's clock is believed this near to ours: more than a sleepy radio, a queue and a daily time
#: synchronisation add up to, and less than anything a person would call late. One bound for both directions.
BOUND = MINUTE
#: Buffered readings older than this are a wrong clock, not a long outage: no device buffers a month.
OLDEST = 30 * DAY
#: Outside the years 1900 to 2199 even a recording's time is a defect: judging needs room for windows around it.
_FIRST_OBSERVED = -2_208_988_800_000_000
_LAST_OBSERVED = 7_258_118_400_000_000

#: (site, device)
Key = tuple[str, str]


class WrongClock(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A device whose clock is not ours: log time less device time, and its last stated and heard times (µs)."""

    skew: int
    stated: int
    heard: int


class Clocks:
    """The devices whose clocks are known to be wrong."""

    def __init__(self) -> None:
        self.wrong: dict[Key, WrongClock] = {}

    def live(self, key: Key, stated: int, received: int) -> int:
        """The corrected time of one live reading."""
        offset = received - stated
        if -BOUND <= offset <= BOUND:
            if key in self.wrong:
                del self.wrong[key]
            return stated
        known = self.wrong.get(key)
        if known is None or not -BOUND <= offset - known.skew <= BOUND:
            self.wrong[key] = WrongClock(offset, stated, received)
            return received
        # the smallest delay seen is nearest to the clock's true offset, and nothing happens after it was heard
        skew = min(known.skew, offset)
        self.wrong[key] = WrongClock(skew, stated, received)
        return received if stated == known.stated else stated + skew  # a clock that stands still tells nothing

    def stored(self, key: Key, stated: Sequence[int], received: int, *, held: bool) -> int | None:
        """What to add to the times of readings that a device stored and sent together; the newest decides.

        `held`: the broker held them too, so that their age says nothing about the clock; None where the times then
        tell nothing at all.
        """
        newest = max(stated)
        known = self.wrong.get(key)
        if -BOUND <= received - newest <= BOUND:
            if known is not None and not held:
                del self.wrong[key]
            return 0
        if known is not None and plausible(newest + known.skew, received):
            return known.skew
        if plausible(newest, received):
            return 0
        if held:
            return None
        self.wrong[key] = WrongClock(received - newest, newest, received)
        return received - newest


def plausible(at: int, received: int) -> bool:
    """Whether a device may have stored a reading since then."""
    return received - OLDEST <= at <= received + BOUND


def historical(stated: int | None, received: int) -> int:
    """Time of a reading that calls itself history, however old; not of one from the future."""
    return received if stated is None or not _FIRST_OBSERVED <= stated <= received + BOUND else stated


def observed(stated: int | None, received: int) -> int:
    """Time of a recorded reading: the recording's own, where it has one that can be judged."""
    return received if stated is None or not _FIRST_OBSERVED <= stated <= _LAST_OBSERVED else stated


def past(at: int, received: int, why: Lateness) -> Lateness | None:
    """`why` when this time is too long ago to be news."""
    return why if received - at > BOUND else None
