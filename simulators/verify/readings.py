"""Readings: what devices said against what the API shows, device by device. `match` is pure."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from ingest.readings import HOUR, MINUTE, SECOND, Observation, from_datetime, to_datetime
from simulators.verify.api import PAGE, Shown
from simulators.verify.findings import Check, Finding, Kind, Tally, moment
from simulators.verify.said import NO_TIME, Column, Key, Said, digest, messages_again

#: A device's own time is kept when it is this near to when it was received; else it is corrected.
BELIEVED = MINUTE
#: Two machines' clocks may differ by this.
CLOCKS_DIFFER = 2 * SECOND
#: 1900 and 2199: whatever a device says, no reading is given a time outside of them.
_NEVER_BEFORE, _NEVER_AFTER = -2_208_988_800_000_000, 7_258_118_400_000_000


class Source(Protocol):
    """Where readings are shown."""

    def readings(self, *, site: str, device: str | None, since: datetime, until: datetime) -> Iterable[Shown]: ...


class Sent(NamedTuple):
    """A reading that was sent: its row in `Said`; times in µs. `maybe`: it may count as a repeat of another."""

    row: int
    ts: int
    at: int
    digest: int
    alone: bool = True
    maybe: bool = False


class Seen(NamedTuple):
    """A reading that is shown; times in µs."""

    time: int
    received: int
    digest: int
    shown: Shown


#: Pairs, and what is left over on either side.
Parted = tuple[list[tuple[Sent, Seen]], list[Sent], list[Seen]]


class Matches(msgspec.Struct, frozen=True):
    """Which readings of one device belong together, and what is left over on either side."""

    pairs: list[tuple[Sent, Seen]]
    altered: list[tuple[Sent, Seen]]  #: the same time, but not the same values and states
    lost: list[Sent]
    extra: list[Seen]


def match(sent: Sequence[Sent], seen: Sequence[Seen]) -> Matches:
    """First by time and content, then by content alone, where the time was corrected, then by time alone."""
    pairs, rest, left = _by_key(sent, seen, lambda time, digest: (time, digest))
    by_content, rest, left = _by_content(rest, left) if rest and left else ([], rest, left)
    altered, rest, left = _by_key(rest, left, lambda time, digest: time)
    return Matches(pairs + by_content, altered, [one for one in rest if not one.maybe], left)


def _by_key(sent: Sequence[Sent], seen: Sequence[Seen], key: Callable[[int, int], object]) -> Parted:
    """Each that was sent belongs to the first received of those with its key, made of time and digest."""
    waiting: dict[object, list[Seen]] = defaultdict(list)
    for each in sorted(seen, key=lambda each: each.received, reverse=True):
        waiting[key(each.time, each.digest)].append(each)
    pairs, lost = [], []
    for one in sent:
        bucket = waiting.get(key(one.ts, one.digest))
        if bucket:
            pairs.append((one, bucket.pop()))
        else:
            lost.append(one)
    return pairs, lost, [each for bucket in waiting.values() for each in bucket]


def _by_content(sent: list[Sent], seen: list[Seen]) -> Parted:
    """Each that is shown belongs to the latest with its content that was sent before it was received."""
    events: list[tuple[int, int, Sent | Seen]] = [(one.at - CLOCKS_DIFFER, 0, one) for one in sent]
    events += [(each.received, 1, each) for each in seen]
    waiting: dict[int, list[Sent]] = defaultdict(list)
    pairs, extra = [], []
    for _, _, event in sorted(events, key=lambda event: event[:2]):
        if isinstance(event, Sent):
            waiting[event.digest].append(event)
        elif waiting[event.digest]:
            pairs.append((waiting[event.digest].pop(), event))
        else:
            extra.append(event)
    lost = sorted((one for stack in waiting.values() for one in stack), key=lambda one: one.at)
    return pairs, lost, extra


class Surplus(msgspec.Struct):
    """Messages that nobody on the tapes sent and that are right all the same."""

    wills: int = 0  #: a broker said `offline` for a device
    retained: int = 0  #: a broker repeated what it keeps


class ReadingsCheck:
    """Compares, and tells a tally. `late`: µs from sending to receipt that are too long."""

    def __init__(self, said: Said, paths: Sequence[str | Path], tally: Tally, *, late: int) -> None:
        self._said, self._paths, self._tally, self._late = said, paths, tally, late
        #: row → what is the matter, worded when the tape is read again
        self._problems: dict[int, tuple[Kind, str]] = {}
        self.surplus = Surplus()

    def run(self, api: Source, *, sample: int, progress: Callable[[int], object]) -> None:
        """Ask for every device, or for so many (`sample`, 0 = all). `progress` gets numbers of readings."""
        self._tally.begin(Check.READINGS)
        rows = self._rows(sample)
        since, until = self._span()
        for device, seen in self._asked(api, rows, since, until):
            mine = rows.pop(device)
            sent = [self._sent(row) for row in mine[~self._said.repeat[mine]].tolist()]
            self._judge(device, match(sent, seen))
            progress(len(mine))
        self._word()

    def _rows(self, sample: int) -> dict[Key, Column]:
        """The rows of each device that is looked at, sites together."""
        said = self._said
        names = sorted(said.names)
        if 0 < sample < len(names):
            names = sorted(random.Random(0).sample(names, sample))
            self._tally.not_checked(f"readings of {len(said.names) - sample:,} devices (--sample {sample})")
        order = np.argsort(said.device, kind="stable")
        starts = np.searchsorted(said.device[order], np.arange(len(said.names) + 1))
        return {name: order[starts[code] : starts[code + 1]] for name in names for code in [said.devices[name]]}

    def _span(self) -> tuple[datetime, datetime]:
        """All times that these readings may have been given."""
        first, last = (min(max(each, _NEVER_BEFORE), _NEVER_AFTER) for each in self._said.span())
        return to_datetime(first - BELIEVED), to_datetime(last + HOUR)

    def _asked(
        self, api: Source, rows: dict[Key, Column], since: datetime, until: datetime
    ) -> Iterator[tuple[Key, list[Seen]]]:
        """Small sites in one question each, else device by device."""
        for site, group in groupby(list(rows), key=lambda key: key[0]):
            devices = list(group)
            if sum(len(rows[key]) for key in devices) > PAGE:
                for key in devices:
                    yield key, self._seen(api.readings(site=site, device=key[1], since=since, until=until))
                continue
            found: dict[str, list[Shown]] = defaultdict(list)
            for shown in api.readings(site=site, device=None, since=since, until=until):
                found[shown.device].append(shown)
            for key in devices:
                yield key, self._seen(found[key[1]])

    def _seen(self, items: Iterable[Shown]) -> list[Seen]:
        """What came since the tapes began."""
        found = [
            Seen(from_datetime(each.time), from_datetime(each.received_at), digest(each.values, each.states), each)
            for each in items
        ]
        return [each for each in found if each.received >= self._said.first_at - CLOCKS_DIFFER]

    def _sent(self, row: int) -> Sent:
        said = self._said
        return Sent(
            row,
            int(said.ts[row]),
            int(said.at[row]),
            int(said.digest[row]),
            bool(said.alone[row]),
            bool(said.maybe_repeat[row]),
        )

    def _judge(self, key: Key, matches: Matches) -> None:
        self._tally.compare(Check.READINGS, len(matches.pairs) + len(matches.altered) + len(matches.lost))
        known = set()
        for one, other in matches.pairs:
            known.add((other.time, other.digest))
            self._judge_pair(one, other)
        for one, other in matches.altered:
            self._problems[one.row] = Kind.WRONG, _worded(other.shown.values, other.shown.states)
        for one in matches.lost:
            self._problems[one.row] = Kind.LOST, ""
        contents = {pair[1].digest for pair in matches.pairs}
        for other in matches.extra:
            self._judge_extra(key, other, again=(other.time, other.digest) in known, said=other.digest in contents)

    def _judge_pair(self, one: Sent, other: Seen) -> None:
        took = other.received - one.at
        self._tally.took(Check.READINGS, max(took, 0))
        corrected = one.ts == NO_TIME or abs(other.received - one.ts) > BELIEVED - CLOCKS_DIFFER or not one.alone
        if other.time != one.ts and not corrected:
            self._problems[one.row] = Kind.WRONG, f"the time {moment(other.time)}"
        elif took > self._late:
            self._problems[one.row] = Kind.LATE, f"received {took / SECOND:.1f} s after it was sent"

    def _judge_extra(self, key: Key, other: Seen, *, again: bool, said: bool) -> None:
        shown = other.shown
        if self._said.cuts and other.received > self._said.last_at:  # what the tape has lost, perhaps
            return
        if shown.late == "retained" and said:
            self.surplus.retained += 1
            return
        if shown.states == {"online": False} and not shown.values:
            self.surplus.wills += 1
            return
        self._tally.found(
            Finding(
                kind=Kind.TWICE if again else Kind.WRONG,
                check=Check.READINGS,
                what="a reading",
                site=key[0],
                device=key[1],
                at=moment(other.time),
                expected="it once" if again else "",
                seen="it again" if again else _worded(shown.values, shown.states),
            )
        )

    def _word(self) -> None:
        """Read the tapes again for what the readings in question said."""
        said = self._said
        rows = np.array(sorted(self._problems), np.int64)
        wanted = np.unique(said.message[rows])
        for index, topic, items in messages_again(self._paths, wanted):
            first = int(np.searchsorted(said.message, index))
            for place, item in enumerate(items):
                problem = self._problems.get(first + place)
                if problem is not None:
                    self._tally.found(_finding(problem, topic, item))


def _finding(problem: tuple[Kind, str], topic: str, item: Observation) -> Finding:
    return Finding(
        kind=problem[0],
        check=Check.READINGS,
        what="a reading",
        site=item.site or "",
        device=item.device,
        at="" if item.observed_at is None else moment(item.observed_at),
        topic=topic,
        expected=_worded(item.values, item.states),
        seen=problem[1],
    )


def _worded(values: dict[str, float], states: dict[str, bool]) -> str:
    words = [f"{name} {value!r}" for name, value in values.items()]
    words += [f"{name} {str(value).lower()}" for name, value in states.items()]
    return ", ".join(words)
