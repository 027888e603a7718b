"""The books: the ledger, and what could not be admitted."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from psycopg.rows import DictRow
from starlette.concurrency import run_in_threadpool

from api.doors import Database, Here
from api.paging import Key, at, read_page
from api.parameters import QuarantineListing
from api.shapes import Items, QuarantineGroupShape, QuarantineShape
from ingest.admission import Reason
from ingest.quarantine import STILL_ASIDE, Wanted, grouped

router = APIRouter(tags=["the books"])

_QUARANTINE = """SELECT shard, log_offset, log_offset AS "offset", received_at, topic, reason, detail, headers, payload
    FROM quarantine"""


@router.get("/quarantine")
async def quarantine(database: Database, wanted: Annotated[QuarantineListing, Query()]) -> Items[QuarantineShape]:
    """What could not be admitted, newest first, whole and with its reason."""
    conditions = [STILL_ASIDE, *(["shard = %(shard)s"] if wanted.shard is not None else [])]
    conditions += ["reason = %(reason)s"] if wanted.reason is not None else []
    page = await read_page(
        database,
        _QUARANTINE,
        conditions=conditions,
        values=wanted.model_dump(),
        order=(Key("received_at", at, True), Key("shard"), Key("log_offset", int, True)),
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[QuarantineShape](items=[_shape(row) for row in page.rows], next=page.next)


@router.get("/quarantine/groups")
async def quarantine_groups(
    database: Database, wanted: Annotated[QuarantineListing, Query()]
) -> Items[QuarantineGroupShape]:
    """The same by device and reason, the most recent first: first and last seen, and how many."""
    if wanted.reason is not None and wanted.reason not in set(Reason):
        return Items[QuarantineGroupShape](items=[], next=None)
    page = await read_page(
        database,
        f"SELECT * FROM ({grouped(Wanted(reason=wanted.reason, shard=wanted.shard))}) AS groups",
        values=wanted.model_dump(),
        order=(Key("last_seen", at, True), Key("reason"), Key("site"), Key("device")),
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[QuarantineGroupShape](items=[QuarantineGroupShape(**row) for row in page.rows], next=page.next)


def _shape(row: DictRow) -> QuarantineShape:
    payload = bytes(row["payload"])
    try:
        text: str | None = payload.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return QuarantineShape(**row, payload_base64=base64.b64encode(payload).decode(), payload_text=text)


@router.get("/ledger")
async def ledger(here: Here) -> dict[str, Any]:
    """The books of the invariants; `balanced` says whether they do."""
    return await run_in_threadpool(here.read_ledger)
