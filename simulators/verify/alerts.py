"""Alerts: fires that devices said, and those of a truth file, against the exported transitions. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from ingest.file_rows import parse_time
from ingest.readings import SECOND, from_datetime
from simulators.truth import Span, Truth
from simulators.verify.findings import Check, Finding, Kind, Tally, moment
from simulators.verify.readings import BELIEVED
from simulators.verify.said import FireWord, Key, Said

#: The site of an alert for a device of a site nobody knows; the device is then named SITE/DEVICE.
UNLOCATED = "unlocated"


class Line(msgspec.Struct, frozen=True, kw_only=True, rename={"signal_class": "class"}):
    """A line of `emberwatch alerts export`, as far as it is compared."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    rule: str
    signal_class: str
    site: str
    device: str | None
    before: str | None
    after: str
    alert_id: str

    @property
    def time(self) -> int:
        """µs."""
        return from_datetime(self.at)

    @property
    def is_fire(self) -> bool:
        """Whether it says: there is a fire."""
        return self.signal_class == "fire" and self.after == "firing"

    @property
    def subject(self) -> Key:
        """Site and device, "" for the whole site."""
        device = self.device or ""
        if self.site != UNLOCATED:
            return self.site, device
        site, _, name = device.partition("/")
        return site, name


class AlertsCheck:
    """Compares, and tells a tally. `said` began and `ended` (µs), older lines are of others; `late`: µs too long."""

    def __init__(self, lines: Iterable[Line], said: Said, tally: Tally, *, ended: int, late: int) -> None:
        self._said, self._tally, self._ended, self._late = said.fires, tally, ended, late
        self._lines: list[Line] = []
        self._fires: dict[Key, list[Line]] = defaultdict(list)
        earlier: dict[str, Line] = {}
        begins = said.begins()
        for line in lines:
            began = begins.get(line.subject, begins.get((line.subject[0], ""), said.first_at))
            if line.time < began - BELIEVED:
                earlier[line.alert_id] = line
                continue
            self._lines.append(line)
            if line.is_fire:
                self._fires[line.subject].append(line)
        #: since before the tapes began: a new word opens no alert
        self._burning: set[Key] = {line.subject for line in earlier.values() if line.is_fire}

    def run(self, truth: Truth | None) -> None:
        """What devices said, what was opened twice, and what the truth knows."""
        self._tally.begin(Check.ALERTS)
        self._tally.compare(Check.ALERTS, len(self._said))
        for key, word in self._said.items():
            self._check_word(key, word)
        for finding in _doubled(self._lines):
            self._tally.found(finding)
        if truth is not None:
            self._check_truth(truth)

    def fire_sites(self) -> dict[str, int]:
        """Sites with a new fire, and when an alert first said so (µs)."""
        sites: dict[str, int] = {}
        for (site, _), lines in self._fires.items():
            first = min(line.time for line in lines)
            sites[site] = min(first, sites.get(site, first))
        return sites

    def burning_sites(self) -> set[str]:
        """Sites that burnt already when the tapes began."""
        return {site for site, _ in self._burning}

    def _check_word(self, key: Key, word: FireWord) -> None:
        times = [line.time for line in self._fires.get(key, ())]
        if not times and key in self._burning:
            return
        took = min((_delay(time, word) for time in times), key=abs, default=None)
        if took is not None:
            self._tally.took(Check.ALERTS, max(took, 0))
        if took is None or took > self._late:
            self._tally.found(
                Finding(
                    kind=Kind.LOST if took is None else Kind.LATE,
                    check=Check.ALERTS,
                    what="an alert of fire class",
                    site=key[0],
                    device=key[1],
                    at=moment(word.at if word.ts is None else word.ts),
                    topic=word.topic,
                    expected=f"one for {word.states} within {self._late / SECOND:g} s",
                    seen="" if took is None else f"one {took / SECOND:.1f} s after it was said",
                )
            )

    def _check_truth(self, truth: Truth) -> None:
        alarmed = {site for site, _ in self._fires}
        first = {fire.site: fire for fire in reversed(truth.fires) if parse_time(fire.ignition) <= self._ended}
        self._tally.compare(Check.ALERTS, len(first))
        if unsent := {fire.site for fire in truth.fires} - first.keys():
            self._tally.not_checked(f"fires of the truth after the end of what was sent: {', '.join(sorted(unsent))}")
        for site, fire in first.items():
            if site not in alarmed:
                expected = f"one for the fire of the truth ({fire.what})"
                self._tally.found(
                    Finding(
                        kind=Kind.LOST,
                        check=Check.ALERTS,
                        what="an alert of fire class",
                        site=site,
                        at=fire.ignition,
                        expected=expected,
                    )
                )
        firsts = {line.alert_id: line for lines in self._fires.values() for line in reversed(lines)}
        for finding in _unexplained(firsts.values(), truth, self._said):
            self._tally.found(finding)


def _delay(told: int, word: FireWord) -> int:
    """µs from when it was said or sent, whichever is nearer: the times of a feed may be a recording's own."""
    starts = [word.at] if word.ts is None else [word.at, word.ts]
    return min((told - start for start in starts), key=abs)


def _doubled(lines: list[Line]) -> Iterator[Finding]:
    """Alerts that were opened twice, or one of whose changes stands there twice."""
    opened = Counter(line.alert_id for line in lines if line.before is None)
    changes = Counter((line.alert_id, line.at, line.rule, line.before, line.after, line.signal_class) for line in lines)
    doubled = {change[0] for change, count in changes.items() if count > 1}
    for line in {line.alert_id: line for line in lines}.values():
        count = opened[line.alert_id]
        if count > 1 or line.alert_id in doubled:
            yield Finding(
                kind=Kind.TWICE,
                check=Check.ALERTS,
                what=f"alert {line.alert_id}",
                site=line.site,
                device=line.device or "",
                at=moment(line.time),
                expected="each of its changes once",
                seen=f"it opened {count} times" if count > 1 else "one of them twice",
            )


class _Quiet:
    """A span of a truth without a fire, its times as numbers."""

    def __init__(self, span: Span, truth: Truth) -> None:
        self.span = span
        self.start, self.end = parse_time(span.start), parse_time(span.end)
        self._site = span.site or truth.site
        self._burning = {fire.site for fire in truth.fires}

    def covers(self, line: Line) -> bool:
        there = line.site == self._site if self._site else line.site not in self._burning
        return there and self.span.device in ("", line.device) and self.start <= line.time < self.end


def _unexplained(lines: Iterable[Line], truth: Truth, said: Mapping[Key, FireWord]) -> Iterator[Finding]:
    """Fires that neither a device said nor the truth knows."""
    quiet = [_Quiet(span, truth) for span in truth.quiet]
    sites = {fire.site for fire in truth.fires}
    for line in lines:
        span = next((each.span for each in quiet if each.covers(line)), None)
        if line.subject in said or (line.site in sites and span is None):
            continue
        yield Finding(
            kind=Kind.WRONG,
            check=Check.ALERTS,
            what="an alert of fire class",
            site=line.site,
            device=line.device or "",
            at=moment(line.time),
            expected=f"none while the truth says quiet ({span.what})" if span else "none: the truth has no fire there",
            seen=f"one by rule {line.rule}",
        )
