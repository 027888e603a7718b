"""Incidents, alerts and pages: what happened, why, who was told, and whether a channel took it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from psycopg.rows import DictRow

from api.doors import Database
from api.paging import NEWEST_OPENED, Key, at, read_page
from api.parameters import AlertListing, DeliveryListing, IncidentListing
from api.problems import Problem
from api.routes.acts import ACT_COLUMNS, act_shape
from api.shapes import (
    AlertDetail,
    AlertShape,
    IncidentDetail,
    IncidentShape,
    Items,
    PageShape,
    ReceiptShape,
    Sample,
    TimelineShape,
    TransitionShape,
)
from ingest.readings import to_datetime

router = APIRouter(tags=["what happened"])

_ALERT = """SELECT id, rule, rule_version, signal_class AS class, severity, site, device, state, started_at, fired_at,
    ended_at, value, "limit", reason, incident, retriggers, told, told_reason FROM alerts"""
_TRANSITION = """SELECT at, before, after, signal_class AS class, value, "limit", reason, rule_version, input_offset,
    evidence FROM transitions"""
_INCIDENT = """SELECT * FROM (
    SELECT incidents.id, site, coalesce(nullif(sites.name, ''), site) AS site_name, coalesce(sites.parent, '') AS area,
        state, signal_class, signal_class AS class, severity, opened_at, changed_at, closed_at, reason, team, verdict,
        cause, summary, next_action, version
    FROM incidents LEFT JOIN sites ON sites.id = incidents.site) AS incidents"""
_PAGE = """SELECT id, incident, site, tell, step, target, channel, signal_class AS class, reason, due_at, created_at,
    state FROM pages"""
_RECEIPT = "SELECT page, attempt, outcome, final, at, detail FROM receipts"
_TIMELINE = "SELECT at, kind, author, text, body FROM timeline WHERE incident = %s ORDER BY at, log_offset"


@router.get("/incidents")
async def incidents(database: Database, wanted: Annotated[IncidentListing, Query()]) -> Items[IncidentShape]:
    """Incidents, newest first, each with its alerts and who was told."""
    conditions = _equal(wanted.model_dump(), ("site", "state", "signal_class"))
    if wanted.open is not None:
        conditions.append("state <> 'closed'" if wanted.open else "state = 'closed'")
    page = await read_page(
        database,
        _INCIDENT,
        conditions=conditions,
        values=wanted.model_dump(),
        order=NEWEST_OPENED,
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[IncidentShape](items=await _incident_shapes(database, page.rows), next=page.next)


@router.get("/incidents/{incident}")
async def incident(database: Database, incident: UUID, response: Response) -> IncidentDetail:
    """One incident with everything that explains it; its version is the ETag."""
    rows = await (await database.execute(f"{_INCIDENT} WHERE id = %s", (incident,))).fetchall()
    if not rows:
        raise Problem(404, f"there is no incident {incident}")
    [shape] = await _incident_shapes(database, rows)
    timeline = await (await database.execute(_TIMELINE, (incident,))).fetchall()
    acts = await database.execute(f"{ACT_COLUMNS} WHERE incident = %s ORDER BY at, id", (incident,))
    response.headers["ETag"] = f'"{shape.version}"'
    return IncidentDetail(
        **shape.model_dump(by_alias=True),
        timeline=[TimelineShape(**row) for row in timeline],
        acts=[act_shape(row) for row in await acts.fetchall()],
    )


@router.get("/alerts")
async def alerts(database: Database, wanted: Annotated[AlertListing, Query()]) -> Items[AlertShape]:
    """Alerts, newest first."""
    page = await read_page(
        database,
        _ALERT,
        conditions=_equal(wanted.model_dump(), ("site", "device", "rule", "state", "signal_class", "incident")),
        values=wanted.model_dump(),
        order=(Key("started_at", at, True), Key("id", UUID)),
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[AlertShape](items=[AlertShape(**row) for row in page.rows], next=page.next)


@router.get("/alerts/{alert}")
async def alert(database: Database, alert: UUID) -> AlertDetail:
    """One alert and every change of it, with the samples it was judged by."""
    row = await (await database.execute(f"{_ALERT} WHERE id = %s", (alert,))).fetchone()
    if row is None:
        raise Problem(404, f"there is no alert {alert}")
    changes = await database.execute(f"{_TRANSITION} WHERE alert = %s ORDER BY log_offset", (alert,))
    return AlertDetail(**row, transitions=[_transition_shape(change) for change in await changes.fetchall()])


@router.get("/deliveries")
async def deliveries(database: Database, wanted: Annotated[DeliveryListing, Query()]) -> Items[PageShape]:
    """Pages, newest first, each with its receipts."""
    page = await read_page(
        database,
        _PAGE,
        conditions=_equal(wanted.model_dump(), ("incident", "target", "state")),
        values=wanted.model_dump(),
        order=(Key("created_at", at, True), Key("id", UUID)),
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[PageShape](items=await _page_shapes(database, page.rows), next=page.next)


def _transition_shape(row: DictRow) -> TransitionShape:
    samples = [Sample(at=to_datetime(int(at)), value=value) for at, value in row["evidence"]]
    return TransitionShape(**{**row, "evidence": samples})


def _equal(given: dict[str, Any], columns: Iterable[str]) -> list[str]:
    """Conditions for those columns whose value was given."""
    return [f"{column} = %({column})s" for column in columns if given[column] is not None]


async def _incident_shapes(database: Database, rows: Sequence[DictRow]) -> list[IncidentShape]:
    """Incidents with their alerts and pages, by two more queries for all of them."""
    ids = [row["id"] for row in rows]
    alerts: dict[UUID, list[AlertShape]] = defaultdict(list)
    found = await database.execute(f"{_ALERT} WHERE incident = ANY(%s) ORDER BY started_at, id", (ids,))
    for row in await found.fetchall():
        alerts[row["incident"]].append(AlertShape(**row))
    pages: dict[UUID, list[PageShape]] = defaultdict(list)
    sent = await database.execute(f"{_PAGE} WHERE incident = ANY(%s) ORDER BY created_at, id", (ids,))
    for page in await _page_shapes(database, await sent.fetchall()):
        pages[page.incident].append(page)
    return [IncidentShape(**row, alerts=alerts[row["id"]], pages=pages[row["id"]]) for row in rows]


async def _page_shapes(database: Database, rows: Sequence[DictRow]) -> list[PageShape]:
    receipts: dict[UUID, list[ReceiptShape]] = defaultdict(list)
    ids = [row["id"] for row in rows]
    found = await database.execute(f"{_RECEIPT} WHERE page = ANY(%s) ORDER BY attempt, at", (ids,))
    for row in await found.fetchall():
        receipts[row["page"]].append(ReceiptShape(**row))
    return [PageShape(**row, receipts=receipts[row["id"]]) for row in rows]
