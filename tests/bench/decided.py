"""Decisions as a fire makes them: per alert its transition, incident, tell, page and receipt."""

from __future__ import annotations

from alerts.alert import AlertState, Severity, SignalClass, Transition, derived_id
from alerts.decisions import entry
from alerts.incident import Audience, IncidentChange, IncidentState, Tell, TellReason
from alerts.outbox import DeliveryOutcome, Page, Receipt
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteStream
from tests.bench.material import wall

WORDS = 5  #: records an alert


def decide(stream: SqliteStream, alerts: int) -> int:
    """Append the decisions of so many fires; how many records that were."""
    at = wall()
    for first in range(0, alerts, 100):
        entries = [each for number in range(first, min(first + 100, alerts)) for each in _fire(number, at + number)]
        stream.append(entries, now=at)
    return alerts * WORDS


def _fire(number: int, at: int) -> list[Entry]:
    alert, incident, tell, page = (derived_id("bench", what, number) for what in ("alert", "incident", "tell", "page"))
    site, device = f"load-s{number + 1:05d}", f"load-d{number + 1:07d}"
    fire = {"signal_class": SignalClass.FIRE, "severity": Severity.CRITICAL, "site": site}
    return [
        entry(
            Transition(
                at=at,
                rule="smoke-alarm",
                device=device,
                before=None,
                after=AlertState.FIRING,
                value=True,
                reason="smoke_alarm is true",
                alert_id=alert,
                rule_version="v1",
                incident_id=incident,
                evidence=((at, 1.0),),
                **fire,  # type: ignore[arg-type]
            )
        ),
        entry(
            IncidentChange(
                id=incident,
                state=IncidentState.OPEN,
                opened_at=at,
                changed_at=at,
                alerts=(alert,),
                reason=f"fire at {device}",
                **fire,  # type: ignore[arg-type]
            )
        ),
        entry(
            Tell(
                id=tell,
                incident=incident,
                reason=TellReason.OPENED,
                audience=Audience.TEAM,
                at=at,
                opened_at=at,
                alerts=(alert,),
                text=f"Fire at {site}: smoke_alarm at {device}",
                **fire,  # type: ignore[arg-type]
            )
        ),
        entry(
            Page(
                id=page,
                tell=tell,
                incident=incident,
                site=site,
                step=0,
                target="north",
                channel="hook",
                signal_class=SignalClass.FIRE,
                reason="opened",
                due_at=at,
                created_at=at,
                alerts=(alert,),
            )
        ),
        entry(
            Receipt(
                id=derived_id("bench", "receipt", number),
                page=page,
                attempt=1,
                outcome=DeliveryOutcome.ACCEPTED,
                final=True,
                at=at,
                detail="HTTP 200",
            )
        ),
    ]
