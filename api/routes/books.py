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
from api.shapes import Items, QuarantineShape
from ingest.quarantine import STILL_ASIDE

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
