"""Decisions as fires make them: per alert its transition, incident, tell, page and receipt."""

from __future__ import annotations

from alerts.alert import derived_id
from alerts.decisions import entry
from alerts.engine import Engine
from alerts.incident import Tell
from alerts.outbox import DeliveryOutcome, Page, Receipt
from alerts.rulebook import load_rulebook
from ingest.admission import Admission, Outcome
from ingest.journal_sqlite import SqliteStream
from ingest.readings import Reading
from ingest.sources import Clock
from tests.bench.material import SHARD, wall

WORDS = 5  #: records an alert


def decide(stream: SqliteStream, alerts: int) -> int:
    """Append the decisions of so many fires, each at a site of its own; how many records that were."""
    engine, at = Engine(shard=SHARD, clock=Clock.RECEIVED, rulebook=load_rulebook(None)), wall()
    for first in range(0, alerts, 100):
        for number in range(first, min(first + 100, alerts)):
            engine.admitted(_fire(number, at + number), offset=number, at=at + number)
        decided = engine.take()
        words = [word for each in decided for word in (each, *(_told(each) if isinstance(each, Tell) else ()))]
        stream.append([entry(word) for word in words], now=at)
    return alerts * WORDS


def _fire(number: int, at: int) -> Admission:
    site, device = f"load-s{number + 1:05d}", f"load-d{number + 1:07d}"
    reading = Reading(site=site, device=device, at=at, received_at=at, device_at=at, states={"smoke_alarm": True})
    return Admission(outcome=Outcome.STORED, readings=(reading,))


def _told(tell: Tell) -> tuple[Page, Receipt]:
    page = Page(
        id=derived_id("bench", "page", tell.id),
        tell=tell.id,
        incident=tell.incident,
        site=tell.site,
        step=0,
        target="north",
        channel="hook",
        signal_class=tell.signal_class,
        reason="opened",
        due_at=tell.at,
        created_at=tell.at,
        alerts=tell.alerts,
    )
    receipt = Receipt(
        id=derived_id("bench", "receipt", tell.id),
        page=page.id,
        attempt=1,
        outcome=DeliveryOutcome.ACCEPTED,
        final=True,
        at=tell.at,
        detail="HTTP 200",
    )
    return page, receipt
