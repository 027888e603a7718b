"""The blind watch: says so when our own intake has heard nothing for a while."""

from __future__ import annotations

from alerts.alert import Severity, SignalClass
from alerts.incident import INTAKE_SITE, Audience, Tell, TellReason, blind_incident_id, tell_id
from alerts.payload import moment
from ingest.journal import Stream
from ingest.message import Kind
from ingest.readings import SECOND

#: The intake ticks every second or so; without a tick for this long it is deaf.
BLIND_AFTER = 30 * SECOND
#: So many looks in a row must find the same newest tick, a look interval apart: after a machine slept, or its clock
#: was set, a living intake gets the chance to tick first.
LOOKS = 3


class BlindWatch:
    """Watches the ticks of one shard. `started_at` stands for the newest tick where there never was one."""

    def __init__(self, shard: str, started_at: int) -> None:
        self.shard = shard
        self.blind = False
        self._started_at = started_at
        self._since: int | None = None
        self._looks = 0

    def look(self, messages: Stream, now: int) -> Tell | None:
        """What to tell the centre, once a gap; `now` must have been read before this call.

        The engine tells of the same gap when the intake is back, under the same ids, so it is one page in the end.
        """
        newest = [record.at for kind in (Kind.TICK, Kind.INTAKE) if (record := messages.last(kind)) is not None]
        since = max(newest, default=self._started_at)
        if since != self._since:
            self._since, self._looks = since, 0
            self.blind = False
        if now - since <= BLIND_AFTER:
            self._looks = 0
            return None
        self._looks += 1
        if self._looks != LOOKS:
            return None
        self.blind = True
        return blind_tell(self.shard, since)


def blind_tell(shard: str, since: int) -> Tell:
    """What the centre is told when shard's intake has been deaf since then (µs)."""
    incident = blind_incident_id(shard, since)
    return Tell(
        id=tell_id(incident, TellReason.BLIND, since),
        incident=incident,
        site=INTAKE_SITE,
        signal_class=SignalClass.FAULT,
        severity=Severity.CRITICAL,
        reason=TellReason.BLIND,
        audience=Audience.CENTRE,
        at=since,
        opened_at=since,
        alerts=(),
        text=f"blind since {moment(since)}: no messages are taken in (shard {shard}), a fire would not be seen",
    )
