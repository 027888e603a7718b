"""Human acts: rows written in our own transaction; the relay carries them into the log, the engine answers them.

An act is `pending` until the engine applied or refused it. It names what its author saw, so that nobody
acknowledges a fire that came back while the page was on the way.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Response
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import StringConstraints

from api.access import Known, needs, require_centre
from api.doors import Database
from api.metrics import ACTS
from api.parameters import GivenAct, GivenClose, GivenComment
from api.people import Caller, Right
from api.problems import Problem
from api.shapes import ActShape
from ingest.message import ActKind

router = APIRouter(tags=["what people do"])

CHANNEL = "emberwatch_acts"
ACT_COLUMNS = "SELECT id, kind, author, at, incident, alert, comment, body, seen, state, refusal FROM acts"

_READ, _ACT = [Depends(needs(Right.READ))], [Depends(needs(Right.ACT))]

IdempotencyKey = Annotated[
    str | None,
    Header(description="a repeat with the same key returns the first answer"),
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$"),
]
IfMatch = Annotated[str | None, Header(description="the ETag of the incident the author looked at")]

_INSERT = """INSERT INTO acts (id, shard, kind, author, incident, alert, comment, body, seen, idempotency_key)
    VALUES (%(id)s, %(shard)s, %(kind)s, %(author)s, %(incident)s, %(alert)s, %(comment)s, %(body)s, %(seen)s, %(key)s)
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING id, kind, author, at, incident, alert, comment, body, seen, state, refusal"""


@router.post("/incidents/{incident}/acknowledge", status_code=202, dependencies=_ACT)
async def acknowledge(
    database: Database,
    caller: Known,
    incident: UUID,
    response: Response,
    given: GivenAct | None = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ActShape:
    """Somebody has it in hand."""
    act = Drafted(
        kind=ActKind.ACKNOWLEDGE, caller=caller, incident=incident, given=given or GivenAct(), key=idempotency_key
    )
    return await _take(database, act, if_match, response)


@router.post("/incidents/{incident}/comment", status_code=202, dependencies=_ACT)
async def comment(
    database: Database,
    caller: Known,
    incident: UUID,
    response: Response,
    given: GivenComment,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ActShape:
    """A remark for the timeline."""
    act = Drafted(kind=ActKind.COMMENT, caller=caller, incident=incident, given=given, key=idempotency_key)
    return await _take(database, act, if_match, response)


@router.post("/incidents/{incident}/close", status_code=202, dependencies=_ACT)
async def close(
    database: Database,
    caller: Known,
    incident: UUID,
    response: Response,
    given: GivenClose,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ActShape:
    """The work is done: with a verdict, a cause and a closing summary."""
    act = Drafted(kind=ActKind.CLOSE, caller=caller, incident=incident, given=given, key=idempotency_key)
    return await _take(database, act, if_match, response)


@router.post("/alerts/{alert}/reset", status_code=202, dependencies=_ACT)
async def reset(
    database: Database,
    caller: Known,
    alert: UUID,
    response: Response,
    given: GivenAct | None = None,
    idempotency_key: IdempotencyKey = None,
) -> ActShape:
    """Un-latch one alert."""
    act = Drafted(kind=ActKind.RESET, caller=caller, alert=alert, given=given or GivenAct(), key=idempotency_key)
    return await _take(database, act, None, response)


@router.get("/acts/{act}", dependencies=_READ)
async def act(database: Database, act: UUID) -> ActShape:
    """One act and what became of it."""
    row = await (await database.execute(f"{ACT_COLUMNS} WHERE id = %s", (act,))).fetchone()
    if row is None:
        raise Problem(404, f"there is no act {act}")
    return act_shape(row)


class Drafted:
    """An act as its author sent it, before anything is looked up."""

    def __init__(
        self,
        *,
        kind: ActKind,
        caller: Caller,
        given: GivenAct,
        key: str | None,
        incident: UUID | None = None,
        alert: UUID | None = None,
    ) -> None:
        self.kind, self.caller, self.given, self.key = kind, caller, given, key
        self.incident, self.alert = incident, alert

    def is_same(self, row: DictRow) -> bool:
        """Whether a stored act is this one, sent before under the same key."""
        seen = self.given.seen
        return bool(
            row["kind"] == word(self.kind)
            and row["author"] == self.caller.author
            and (row["alert"] == self.alert if self.alert else row["incident"] == self.incident)
            and row["comment"] == self.given.comment
            and row["body"] == self.given.body()
            and (seen is None or row["seen"] == {str(alert): count for alert, count in seen.items()})
        )


def word(kind: ActKind) -> str:
    """The kind as it stands in the table and in answers: `acknowledge`, `close` …"""
    return kind.name.lower()


def act_shape(row: DictRow) -> ActShape:
    """A row of acts as its answer; `relayed` is pending to those outside."""
    return ActShape(**{**row, "state": "pending" if row["state"] == "relayed" else row["state"]})


async def _take(database: Database, act: Drafted, if_match: str | None, response: Response) -> ActShape:
    """Keep the act and wake the relay; a repeat under the same key gets the first answer."""
    if act.key is not None and (first := await _sent_before(database, act)):
        return _answer(first, response)
    subject = await (_of_alert(database, act) if act.alert else _of_incident(database, act, if_match))
    row = await (await database.execute(_INSERT, subject)).fetchone()
    if row is None:  # the same key came in twice at the same moment
        first = await _sent_before(database, act)
        assert first is not None
        return _answer(first, response)
    await database.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(subject["shard"])))
    ACTS.labels(word(act.kind)).inc()
    return _answer(row, response)


async def _sent_before(database: Database, act: Drafted) -> DictRow | None:
    row = await (await database.execute(f"{ACT_COLUMNS} WHERE idempotency_key = %s", (act.key,))).fetchone()
    if row is not None and not act.is_same(row):
        raise Problem(422, "header idempotency-key: was used for another act; take a new key for each act")
    return row


def _answer(row: DictRow, response: Response) -> ActShape:
    """The first answer: what was taken in, pending."""
    response.headers["Location"] = f"/api/v1/acts/{row['id']}"
    return act_shape({**row, "state": "pending", "refusal": ""})


async def _of_incident(database: Database, act: Drafted, if_match: str | None) -> dict[str, Any]:
    row = await (
        await database.execute("SELECT shard, version, site FROM incidents WHERE id = %s", (act.incident,))
    ).fetchone()
    if row is None:
        raise Problem(404, f"there is no incident {act.incident}")
    await require_centre(database, act.caller, row["site"])
    if if_match is not None and if_match.strip() not in ("*", f'"{row["version"]}"'):
        raise Problem(
            412,
            f'header if-match: the incident has changed since, its version is now "{row["version"]}"; look again',
            {"ETag": f'"{row["version"]}"'},
        )
    seen = "SELECT id, retriggers FROM alerts WHERE incident = %s"
    return await _row(database, act, row["shard"], act.incident, seen, act.incident)


async def _of_alert(database: Database, act: Drafted) -> dict[str, Any]:
    row = await (
        await database.execute("SELECT shard, incident, site FROM alerts WHERE id = %s", (act.alert,))
    ).fetchone()
    if row is None:
        raise Problem(404, f"there is no alert {act.alert}")
    await require_centre(database, act.caller, row["site"])
    return await _row(
        database, act, row["shard"], row["incident"], "SELECT id, retriggers FROM alerts WHERE id = %s", act.alert
    )


async def _row(
    database: Database, act: Drafted, shard: str, incident: UUID | None, seen_query: str, subject: UUID | None
) -> dict[str, Any]:
    seen = act.given.seen
    if seen is None:
        rows = await (await database.execute(seen_query, (subject,))).fetchall()
        seen = {row["id"]: row["retriggers"] for row in rows}
    return {
        "id": uuid4(),
        "shard": shard,
        "kind": word(act.kind),
        "author": act.caller.author,
        "incident": incident,
        "alert": act.alert,
        "comment": act.given.comment,
        "body": Jsonb(act.given.body()),
        "seen": Jsonb({str(alert): count for alert, count in seen.items()}),
        "key": act.key,
    }
