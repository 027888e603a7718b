"""What brokers were told to refuse, folded so that a client that tries for ever is one row with a count. Pure.

User and topic are whatever a stranger sent: they are cut to a length, and both the rows and the lines in the log are
bounded, so that nobody can fill a disk by being refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from api.brokers_desk import Reason, What
from api.metrics import BROKER_FORGOTTEN
from ingest.readings import MINUTE

KEPT = 10_000  #: rows; the one refused longest ago is forgotten first
USER_CHARACTERS, TOPIC_CHARACTERS = 200, 400
QUIET = 10 * MINUTE  #: between two lines in the log about the same
LINES = 10  #: in the log at a time


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The same refusal, so many times (µs)."""

    user: str
    what: What
    topic: str
    reason: Reason
    count: int
    first_at: int
    last_at: int


class Refusals:
    """Those that are not in the database yet."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[str, What, str, Reason], Refused] = OrderedDict()

    def note(self, user: str, what: What, topic: str, reason: Reason, now: int) -> None:
        """One more."""
        user, topic = _cut(user, USER_CHARACTERS), _cut(topic, TOPIC_CHARACTERS)
        self._add(Refused(user=user, what=what, topic=topic, reason=reason, count=1, first_at=now, last_at=now))

    def take(self) -> list[Refused]:
        """All of them, to be written; what cannot be written comes back by `give_back`."""
        rows, self._rows = list(self._rows.values()), OrderedDict()
        return rows

    def give_back(self, rows: Iterable[Refused]) -> None:
        """They could not be written; what was refused meanwhile is newer."""
        newer = self.take()
        for row in (*rows, *newer):
            self._add(row)

    def _add(self, row: Refused) -> None:
        key = (row.user, row.what, row.topic, row.reason)
        if (before := self._rows.pop(key, None)) is not None:
            row = msgspec.structs.replace(row, count=before.count + row.count, first_at=before.first_at)
        self._rows[key] = row
        if len(self._rows) > KEPT:
            self._rows.popitem(last=False)
            BROKER_FORGOTTEN.inc()


class Herald:
    """Chooses what of it is worth a line in the log: the same user, wish and reason once in QUIET, LINES at a time."""

    def __init__(self) -> None:
        self._quiet_until: dict[tuple[str, What, Reason], int] = {}

    def worth_telling(self, rows: Sequence[Refused], now: int) -> list[Refused]:
        """The first of each user, wish and reason, with their number; those not told now are told when they go on."""
        if len(self._quiet_until) > KEPT:
            self._quiet_until = {key: until for key, until in self._quiet_until.items() if until > now}
        folded: dict[tuple[str, What, Reason], Refused] = {}
        for row in rows:
            key = (row.user, row.what, row.reason)
            first = folded.setdefault(key, row)
            if first is not row:
                folded[key] = msgspec.structs.replace(first, count=first.count + row.count)
        told = {key: row for key, row in folded.items() if self._quiet_until.get(key, 0) <= now}
        chosen = dict(list(told.items())[:LINES])
        self._quiet_until.update((key, now + QUIET) for key in chosen)
        return list(chosen.values())


def _cut(text: str, length: int) -> str:
    """What a column can hold: no NUL, and not longer than an index takes."""
    text = text.replace("\0", "�")
    return text if len(text) <= length else f"{text[: length - 1]}…"
