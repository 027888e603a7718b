"""SQL of the alert tables: one door per word of the decisions log, and the way back for exports.

What the relay takes is in alerts.relay_store, what the books count in alerts.ledger_store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from alerts.alert import AlertState, Severity, SignalClass, Transition, derived_id
from alerts.incident import Hush, IncidentChange, IncidentState, Notice, Refusal, Tell
from alerts.outbox import Page, Receipt
from alerts.timeline import Happening, Word, happening
from ingest.journal import Record
from ingest.readings import from_datetime, to_datetime

EVENTS = "emberwatch_events"  #: notified with the newest seq of the table events

#: Held by every transaction that writes events, so that they become visible in the order of their seq.
_EVENTS_LOCK = 0x656D_6265_7265_7674


class Statement(NamedTuple):
    """One statement and its named values."""

    sql: str
    values: Mapping[str, object]


# Each statement inserts the row of a word as `new`, and only with a new row its timeline line and its event:
# a record that is read again, or a copy under another offset, adds nothing.
_LINE = """, line AS (
    INSERT INTO timeline (shard, log_offset, incident, at, kind, author, text, body)
    SELECT %(shard)s, %(log_offset)s, %(line_incident)s::uuid, %(line_at)s, %(line_kind)s, %(author)s, %(line)s,
        %(body)s
    FROM new WHERE %(line_incident)s::uuid IS NOT NULL ON CONFLICT DO NOTHING)"""
_EVENT = """
INSERT INTO events (shard, log_offset, kind, body)
SELECT %(shard)s, %(log_offset)s, %(feed)s, %(body)s FROM new WHERE %(feed)s::text <> '' ON CONFLICT DO NOTHING"""

_TRANSITION = f"""
WITH new AS (
    INSERT INTO transitions (shard, log_offset, at, rule, rule_version, signal_class, severity, site, device, before,
        after, value, "limit", reason, alert, incident, retriggers, input_offset, evidence)
    VALUES (%(shard)s, %(log_offset)s, %(at)s, %(rule)s, %(rule_version)s, %(signal_class)s, %(severity)s, %(site)s,
        %(device)s, %(before)s, %(after)s, %(value)s, %(limit)s, %(reason)s, %(alert)s, %(incident)s, %(retriggers)s,
        %(input_offset)s, %(evidence)s)
    ON CONFLICT DO NOTHING RETURNING *),
alert AS (
    INSERT INTO alerts AS a (id, shard, rule, rule_version, signal_class, severity, site, device, state, started_at,
        fired_at, ended_at, value, "limit", reason, incident, retriggers, log_offset)
    SELECT alert, shard, rule, rule_version, signal_class, severity, site, device, after, at,
        CASE WHEN after = 'firing' THEN at END, CASE WHEN after IN ('cleared', 'reset') THEN at END,
        value, "limit", reason, incident, retriggers, log_offset
    FROM new
    ON CONFLICT (id) DO UPDATE SET rule_version = EXCLUDED.rule_version, signal_class = EXCLUDED.signal_class,
        severity = EXCLUDED.severity, state = EXCLUDED.state, fired_at = COALESCE(a.fired_at, EXCLUDED.fired_at),
        ended_at = EXCLUDED.ended_at, value = EXCLUDED.value, "limit" = EXCLUDED."limit", reason = EXCLUDED.reason,
        incident = COALESCE(EXCLUDED.incident, a.incident), retriggers = EXCLUDED.retriggers,
        log_offset = EXCLUDED.log_offset
    WHERE a.log_offset < EXCLUDED.log_offset){_LINE}{_EVENT}"""
_INCIDENT = f"""
WITH new AS (
    INSERT INTO incidents AS i (id, shard, site, state, signal_class, severity, opened_at, changed_at, closed_at,
        alerts, reason, team, verdict, cause, summary, next_action, version)
    VALUES (%(id)s, %(shard)s, %(site)s, %(state)s, %(signal_class)s, %(severity)s, %(opened_at)s, %(changed_at)s,
        %(closed_at)s, %(alerts)s, %(reason)s, %(team)s, %(verdict)s, %(cause)s, %(summary)s, %(next_action)s,
        %(log_offset)s)
    ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, signal_class = EXCLUDED.signal_class,
        severity = EXCLUDED.severity, opened_at = EXCLUDED.opened_at, changed_at = EXCLUDED.changed_at,
        closed_at = EXCLUDED.closed_at, alerts = EXCLUDED.alerts, team = EXCLUDED.team,
        reason = CASE WHEN %(act_id)s::text = '' THEN EXCLUDED.reason ELSE i.reason END,
        verdict = EXCLUDED.verdict, cause = EXCLUDED.cause, summary = EXCLUDED.summary,
        next_action = EXCLUDED.next_action, version = EXCLUDED.version
    WHERE i.version < EXCLUDED.version
    RETURNING 1){_LINE}{_EVENT}"""
_TELL = f"""
WITH new AS (
    INSERT INTO tells (id, shard, incident, site, signal_class, severity, reason, audience, at, alerts, text)
    VALUES (%(id)s, %(shard)s, %(incident)s, %(site)s, %(signal_class)s, %(severity)s, %(reason)s, %(audience)s,
        %(at)s, %(alerts)s, %(text)s)
    ON CONFLICT DO NOTHING RETURNING 1){_LINE}{_EVENT}"""
_HUSH = f"""
WITH new AS (
    INSERT INTO hushes (shard, log_offset, alert, incident, reason, at)
    VALUES (%(shard)s, %(log_offset)s, %(alert)s, %(incident)s, %(reason)s, %(at)s)
    ON CONFLICT DO NOTHING RETURNING 1){_LINE}{_EVENT}"""
_PAGE = f"""
WITH new AS (
    INSERT INTO pages (id, shard, tell, incident, site, step, target, channel, signal_class, reason, due_at,
        created_at, alerts)
    VALUES (%(id)s, %(shard)s, %(tell)s, %(incident)s, %(site)s, %(step)s, %(target)s, %(channel)s,
        %(signal_class)s, %(reason)s, %(due_at)s, %(created_at)s, %(alerts)s)
    ON CONFLICT DO NOTHING RETURNING 1){_LINE}{_EVENT}"""
_RECEIPT = f"""
WITH new AS (
    INSERT INTO receipts (id, shard, page, attempt, outcome, final, at, detail)
    VALUES (%(id)s, %(shard)s, %(page)s, %(attempt)s, %(outcome)s, %(final)s, %(at)s, %(detail)s)
    ON CONFLICT DO NOTHING RETURNING page),
line AS (
    INSERT INTO timeline (shard, log_offset, incident, at, kind, author, text, body)
    SELECT %(shard)s, %(log_offset)s, incident, %(line_at)s, %(line_kind)s, %(author)s,
        'Page to ' || target || ' by ' || channel || ': ' || %(line)s::text, %(body)s
    FROM pages JOIN new ON pages.id = new.page ON CONFLICT DO NOTHING){_EVENT}"""
_PAGE_STATE = """
UPDATE pages SET state = CASE
    WHEN EXISTS (SELECT FROM receipts WHERE page = pages.id AND outcome = 'accepted') THEN 'accepted'
    WHEN EXISTS (SELECT FROM receipts WHERE page = pages.id AND final) THEN 'failed' ELSE 'waiting' END
WHERE id = %(page)s"""
_REFUSAL = f"WITH new AS (SELECT 1){_LINE}{_EVENT}"
_NOTICE = f"""
WITH new AS (
    INSERT INTO notices (id, shard, at, text) VALUES (%(id)s, %(shard)s, %(at)s, %(text)s)
    ON CONFLICT DO NOTHING RETURNING 1){_LINE}{_EVENT}"""
_ANSWER_ACT = """
UPDATE acts SET state = %(state)s, refusal = %(refusal)s WHERE id = %(act)s AND state IN ('pending', 'relayed')"""
_UNRECORDED = """
INSERT INTO unrecorded (shard, log_offset, at, kind, meta, value, error)
VALUES (%(shard)s, %(log_offset)s, %(at)s, %(kind)s, %(meta)s, %(value)s, %(error)s) ON CONFLICT DO NOTHING"""

# What is true of an alert's telling follows from hushes, tells, pages and receipts as they stand, in any order.
_TOLD = """
UPDATE alerts SET told = facts.told, told_reason = facts.told_reason FROM (
    SELECT alert.id,
        CASE WHEN paged.accepted IS NOT NULL THEN 'notified' WHEN hushed.reason IS NOT NULL THEN 'suppressed'
            ELSE 'pending' END AS told,
        CASE WHEN paged.accepted IS NOT NULL THEN 'accepted: ' || paged.accepted
            WHEN hushed.reason IS NOT NULL THEN hushed.reason
            WHEN paged.tells = 0 THEN '' WHEN paged.pages = 0 THEN 'told, no page made yet'
            WHEN paged.failed = paged.pages THEN 'every page failed' ELSE 'page on its way' END AS told_reason
    FROM alerts AS alert
    LEFT JOIN LATERAL (
        SELECT reason FROM hushes WHERE alert = alert.id ORDER BY log_offset DESC LIMIT 1) AS hushed ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS tells, count(page.id) AS pages, count(*) FILTER (WHERE page.state = 'failed') AS failed,
            (array_agg(page.target || ' by ' || page.channel ORDER BY page.created_at, page.id)
                FILTER (WHERE page.state = 'accepted'))[1] AS accepted
        FROM tells AS tell LEFT JOIN pages AS page ON page.tell = tell.id
        WHERE tell.alerts @> ARRAY[alert.id]) AS paged ON true
    WHERE alert.id = ANY(%(alerts)s::uuid[]) OR alert.id IN (
        SELECT unnest(tell.alerts) FROM tells AS tell JOIN pages AS page ON page.tell = tell.id
        WHERE page.id = ANY(%(pages)s::uuid[]))) AS facts
WHERE alerts.id = facts.id AND (alerts.told, alerts.told_reason) IS DISTINCT FROM (facts.told, facts.told_reason)"""

_SQL: dict[type[msgspec.Struct], str] = {
    Transition: _TRANSITION,
    IncidentChange: _INCIDENT,
    Tell: _TELL,
    Hush: _HUSH,
    Refusal: _REFUSAL,
    Notice: _NOTICE,
    Page: _PAGE,
    Receipt: _RECEIPT,
}
_IDS = frozenset({"id", "incident", "incident_id", "alert_id", "tell", "page"})
_COLUMNS = {"alert_id": "alert", "incident_id": "incident", "offset": "input_offset"}


def statements(shard: str, record: Record, word: Word) -> list[Statement]:
    """Everything that records this word, in order. ValueError for an id or a time that no column can hold."""
    values = _place(shard, record) | _columns(word) | _line(happening(word))
    if isinstance(word, IncidentChange):
        values["closed_at"] = values["changed_at"] if word.state is IncidentState.CLOSED else None
    made = [Statement(_SQL[type(word)], values)]
    if isinstance(word, Page | Receipt):
        made.append(Statement(_PAGE_STATE, {"page": values["page" if isinstance(word, Receipt) else "id"]}))
    if isinstance(word, IncidentChange | Refusal) and (act := _id_or_none(word.act_id)):
        refusal = _clean(word.reason) if isinstance(word, Refusal) else ""
        state = "refused" if isinstance(word, Refusal) else "applied"
        made.append(Statement(_ANSWER_ACT, {"act": act, "state": state, "refusal": refusal}))
    return made


def unrecorded(shard: str, record: Record, word: Word | None, error: str) -> list[Statement]:
    """Set a record aside that the tables refuse: kept whole, told to the centre and in its incident's timeline."""
    what = type(word).__name__ if word else f"record of kind {record.kind}"
    text = f"A decision could not be recorded ({what}, offset {record.offset} of {shard}): {error}"
    notice = Notice(id=derived_id("unrecorded", shard, record.offset), at=record.at, text=text)
    values = _place(shard, record) | _columns(notice) | _line(happening(notice))
    incident = getattr(word, "incident", "") or getattr(word, "incident_id", "")
    incident = word.id if isinstance(word, IncidentChange) else incident
    values |= {"line_incident": _id_or_none(incident), "line_kind": "unrecorded"}
    whole = {"kind": record.kind, "meta": record.meta, "value": record.value, "error": _clean(error)}
    return [Statement(_UNRECORDED, values | whole), Statement(_NOTICE, values)]


def gap_id(shard: str, cursor: int, floor: int) -> str:
    """Id of the notice that the log lost what lies between."""
    return derived_id("gap", shard, cursor, floor)


def settle_told(words: Iterable[Word]) -> Statement | None:
    """What brings alerts.told up to date after these words; None when they touch no alert."""
    alerts: set[str] = set()
    pages: set[str] = set()
    for word in words:
        if isinstance(word, Transition | Hush):
            alerts.add(word.alert_id)
        elif isinstance(word, Tell):
            alerts.update(word.alerts)
        elif isinstance(word, Page | Receipt):
            pages.add(word.id if isinstance(word, Page) else word.page)
    return Statement(_TOLD, {"alerts": sorted(alerts), "pages": sorted(pages)}) if alerts or pages else None


def _place(shard: str, record: Record) -> dict[str, object]:
    return {"shard": shard, "log_offset": record.offset}


def _line(line: Happening) -> dict[str, object]:
    return {
        "line_incident": UUID(line.incident) if line.incident else None,
        "line_at": to_datetime(line.at),
        "line_kind": line.kind,
        "author": _clean(line.author),
        "line": _clean(line.text),
        "body": _json(line.body),
        "feed": line.feed,
    }


def _columns(word: Word) -> dict[str, object]:
    return {_COLUMNS.get(name, name): _column(name, getattr(word, name)) for name in word.__struct_fields__}


def _column(name: str, value: Any) -> object:
    if name in _IDS:
        return UUID(value) if value else None
    if name == "alerts":
        return [UUID(alert) for alert in value]
    if name == "at" or name.endswith("_at"):
        return to_datetime(value)
    if name in ("value", "evidence"):
        return None if value is None else _json(value)
    return _clean(value)


def _id_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _json(value: object) -> Jsonb:
    return Jsonb(_clean(value), dumps=msgspec.json.encode)  # writes null for NaN, which JSON does not have


def _clean(value: Any) -> Any:
    """The value with its NUL characters made visible: no text of PostgreSQL can hold one."""
    if isinstance(value, str):
        return str(value).replace("\0", "␀")
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def order_events(connection: Connection[Any]) -> None:
    """Make this transaction the only one that writes events until it ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_EVENTS_LOCK,))


def announce_events(connection: Connection[Any]) -> None:
    """Wake everyone who listens for events when this transaction commits."""
    connection.execute("SELECT pg_notify(%s, (SELECT max(seq) FROM events)::text)", (EVENTS,))


def transitions(connection: Connection[Any]) -> Iterator[Transition]:
    """Every transition in the order of exports: time, rule, device, then log order. Streams; keeps a transaction."""
    order = """at, rule COLLATE "C", COALESCE(device, '') COLLATE "C", shard COLLATE "C", log_offset"""
    with connection.transaction(), connection.cursor("transitions", row_factory=dict_row) as cursor:
        for row in cursor.execute(f"SELECT * FROM transitions ORDER BY {order}"):
            yield _transition(row)


def _transition(row: Mapping[str, Any]) -> Transition:
    value = row["value"]
    return Transition(
        at=from_datetime(row["at"]),
        rule=row["rule"],
        signal_class=SignalClass(row["signal_class"]),
        severity=Severity(row["severity"]),
        site=row["site"],
        device=row["device"],
        before=AlertState(row["before"]) if row["before"] else None,
        after=AlertState(row["after"]),
        value=value if value is None or isinstance(value, bool) else float(value),
        reason=row["reason"],
        alert_id=str(row["alert"]),
        rule_version=row["rule_version"],
        incident_id=str(row["incident"] or ""),
        limit=row["limit"],
        retriggers=row["retriggers"],
        offset=row["input_offset"],
        evidence=tuple((int(at), float("nan") if level is None else float(level)) for at, level in row["evidence"]),
    )
