"""At which sites people were told of a fire lately: by the engine's tells, and by the scanner before any of them.

The scanner runs ahead of the evaluator over a stretch of the log, named by the offset at which it began. What it has
told in a stretch answers the tells that the evaluator makes of that stretch later; a row stays open for further signs
until the evaluator has judged all of them.
"""

from __future__ import annotations

import msgspec

from alerts.grouping import GROUP_WINDOW
from alerts.incident import Audience, IncidentState, Tell
from alerts.outbox import Outbox
from alerts.signs import Sign

_SCHEMA = """
CREATE TABLE IF NOT EXISTS told_fires (
    tell TEXT PRIMARY KEY, site TEXT NOT NULL, audience TEXT NOT NULL,
    incident TEXT NOT NULL,       -- "" as long as no tell of the engine was answered by it
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,  -- log times (µs) of its first and last sign
    stretch INTEGER,              -- of the scanner's: offset at which its stretch began; NULL for the engine's
    first INTEGER, last INTEGER,  -- of the scanner's: offsets of its first and last sign
    until INTEGER,                -- of the scanner's: up to where its stretch was looked through
    judged INTEGER NOT NULL       -- the evaluator has passed its last sign
) WITHOUT ROWID"""
_BY_SITE = "CREATE INDEX IF NOT EXISTS told_fires_by_site ON told_fires (site, audience)"
_COLUMNS = "tell, site, audience, incident, first_at, last_at, stretch, first, last, until, judged"


class ToldFire(msgspec.Struct, frozen=True):
    """A row of the table."""

    tell: str
    site: str
    audience: str
    incident: str
    first_at: int
    last_at: int
    stretch: int | None
    first: int | None
    last: int | None
    until: int | None
    judged: int


class ToldFires:
    """The table told_fires of an outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        outbox.do(_SCHEMA)
        outbox.do(_BY_SITE)

    def told(self, tell: Tell, *, now: int) -> None:
        """The engine's tell is being paged."""
        self._keep(ToldFire(tell.id, tell.site, tell.audience, tell.incident, now, now, None, None, None, None, 1))

    def suspected(self, tell: str, site: str, sign: Sign, stretch: int) -> None:
        """The scanner pages because of this sign."""
        place = (sign.at, sign.at, stretch, sign.offset, sign.offset, sign.offset)
        self._keep(ToldFire(tell, site, sign.audience, "", *place, 0))

    def covers(self, site: str, sign: Sign, stretch: int) -> bool:
        """Whether the people of this site were told of it before; remembers the sign then."""
        for row in self._of(site, sign.audience):
            if row.first is not None and row.last is not None and row.first <= sign.offset <= row.last:
                return True
            if sign.at > row.last_at + GROUP_WINDOW or self._is_over(row):
                continue
            last = sign.offset if row.stretch == stretch and not row.judged else row.last
            self._outbox.do(
                "UPDATE told_fires SET last_at = max(last_at, ?), last = ? WHERE tell = ?", sign.at, last, row.tell
            )
            return True
        return False

    def looked_through(self, stretch: int, until: int) -> None:
        """The scanner has come this far; what was judged is not about what comes now."""
        self._outbox.do("UPDATE told_fires SET until = ? WHERE stretch = ? AND NOT judged", until, stretch)

    def answer(self, tell: Tell) -> ToldFire | None:
        """What the scanner told of the fire this tell is about; from now on it belongs to the tell's incident."""
        found = [row for row in self._of(tell.site, tell.audience) if _answers(row, tell)]
        if not found:
            return None
        row = min(found, key=lambda row: abs(tell.offset - (row.first or 0)))
        self._outbox.do("UPDATE told_fires SET incident = ? WHERE tell = ?", tell.incident, row.tell)
        return row

    def judged(self, cursor: int) -> list[ToldFire]:
        """The evaluator has passed this offset, and its tells were taken: what it made no tell of, once each."""
        rows = self._rows("stretch IS NOT NULL AND NOT judged AND last <= ?", cursor)
        for row in rows:
            self._outbox.do("UPDATE told_fires SET judged = 1 WHERE tell = ?", row.tell)
        return [row for row in rows if not row.incident]

    def forget(self, *, before: int) -> None:
        """Forget what is older than this."""
        self._outbox.do("DELETE FROM told_fires WHERE judged AND last_at < ?", before)

    def _is_over(self, row: ToldFire) -> bool:
        """Whether another sign is another fire: the incident is closed, or it was judged to be none."""
        if not row.incident:
            return bool(row.judged)
        change = self._outbox.incident(row.incident)
        return change is not None and change.state is IncidentState.CLOSED

    def _of(self, site: str, audience: Audience) -> list[ToldFire]:
        return self._rows("site = ? AND audience = ? ORDER BY last_at DESC", site, audience)

    def _rows(self, where: str, *values: object) -> list[ToldFire]:
        return [ToldFire(*row) for row in self._outbox.all(f"SELECT {_COLUMNS} FROM told_fires WHERE {where}", *values)]

    def _keep(self, row: ToldFire) -> None:
        values = msgspec.structs.astuple(row)
        self._outbox.do(f"INSERT OR IGNORE INTO told_fires VALUES ({', '.join('?' * len(values))})", *values)


def _answers(row: ToldFire, tell: Tell) -> bool:
    if row.stretch is None or row.first is None or row.last is None or row.until is None:
        return False
    if row.first <= tell.offset <= row.last:
        return True
    near = row.first_at - GROUP_WINDOW <= tell.at <= row.last_at + GROUP_WINDOW
    return near and row.stretch < tell.offset <= row.until
