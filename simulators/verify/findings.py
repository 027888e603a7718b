"""What `verify` finds, and how it says so."""

from __future__ import annotations

from enum import StrEnum
from typing import IO, Any

import msgspec

from ingest.readings import SECOND, iso

SHOWN = 20  #: findings written out in the report; all of them go to --out


class Kind(StrEnum):
    """What is wrong with something that was sent or told."""

    LOST = "lost"  #: it should be there and is not
    TWICE = "twice"  #: it is there more often than it should be
    LATE = "late"  #: it is there, and took too long
    WRONG = "wrong"  #: it is there and says something else, or nothing accounts for it


class Check(StrEnum):
    """What is compared with what was sent."""

    MESSAGES = "messages"  #: the ledger's books
    READINGS = "readings"  #: the API
    ALERTS = "alerts"  #: the exported transitions
    PAGES = "pages"  #: the collector's lines


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is not as it should be. `what` it is about; `at`: its own time, ISO 8601, as the device said."""

    kind: Kind
    check: Check
    what: str
    site: str = ""
    device: str = ""
    at: str = ""
    topic: str = ""
    expected: str = ""
    seen: str = ""

    def line(self) -> str:
        """The finding as one line for people."""
        who = f"{self.site}/{self.device}" if self.device else self.site
        where = [self.what, f"of {who}" if who else "", f"at {self.at}" if self.at else ""]
        text = f"{self.kind}: {' '.join(part for part in where if part)}"
        text += f" ({self.topic})" if self.topic else ""
        return text + f": expected {self.expected or 'nothing'}, seen {self.seen or 'nothing'}"


class Tally:
    """Counts what was compared and found; `out` gets every finding as a JSON line, the first ones are kept."""

    def __init__(self, out: IO[bytes] | None = None) -> None:
        self.compared: dict[Check, int] = {}
        self.counts: dict[Check, dict[Kind, int]] = {}
        self.slowest: dict[Check, float] = {}
        self.shown: list[Finding] = []
        self.unchecked: list[str] = []
        self._out = out

    def begin(self, check: Check) -> None:
        """From here on it counts as looked at."""
        self.compared.setdefault(check, 0)
        self.counts.setdefault(check, dict.fromkeys(Kind, 0))

    def compare(self, check: Check, count: int = 1) -> None:
        """So many more were looked at."""
        self.compared[check] += count

    def took(self, check: Check, micros: int) -> None:
        """Something took so long; the longest is reported."""
        self.slowest[check] = max(self.slowest.get(check, 0.0), micros / SECOND)

    def found(self, finding: Finding) -> None:
        """Note one."""
        self.counts[finding.check][finding.kind] += 1
        if len(self.shown) < SHOWN:
            self.shown.append(finding)
        if self._out is not None:
            self._out.write(msgspec.json.encode(finding) + b"\n")

    def not_checked(self, why: str) -> None:
        """Something was not looked at: the report says so."""
        self.unchecked.append(why)

    @property
    def total(self) -> int:
        """How many findings there are."""
        return sum(sum(kinds.values()) for kinds in self.counts.values())


def as_json(tally: Tally) -> bytes:
    """The report as one JSON object."""
    checks = {
        str(check): {
            "compared": tally.compared[check],
            **{str(kind): count for kind, count in kinds.items()},
            "slowest_s": tally.slowest.get(check),
        }
        for check, kinds in tally.counts.items()
    }
    report: dict[str, Any] = {
        "found": tally.total,
        "checks": checks,
        "not_checked": tally.unchecked,
        "findings": tally.shown,
    }
    return msgspec.json.encode(report)


def as_text(tally: Tally) -> str:
    """The report for people: a line a finding, a table, what was not looked at, and the verdict."""
    lines = [finding.line() for finding in tally.shown]
    if tally.total > len(lines):
        lines.append(f"… and {tally.total - len(lines):,} more; --out FILE has them all")
    lines += [""] * bool(lines) + [_row("check", "compared", *Kind, "slowest")]
    for check, kinds in sorted(tally.counts.items(), key=lambda item: list(Check).index(item[0])):
        took = tally.slowest.get(check)
        slowest = "" if took is None else f"{took:.2f} s"
        lines.append(_row(check, f"{tally.compared[check]:,}", *(f"{kinds[kind]:,}" for kind in Kind), slowest))
    lines += [f"not checked: {why}" for why in tally.unchecked]
    found = f"{tally.total:,} findings" if tally.total != 1 else "1 finding"
    return "\n".join([*lines, found if tally.total else "nothing found in what was checked"])


def _row(*cells: str) -> str:
    first, *rest = cells
    return f"{first:<10}" + "".join(f"{cell:>12}" for cell in rest)


def moment(micros: int) -> str:
    """ISO 8601, or the bare number where a clock went beyond the calendar."""
    try:
        return iso(micros)
    except ValueError:
        return f"{micros} µs"
