"""For probes and scrapers: is it alive, is it of use, what does it count. No token needed."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg.rows import DictRow
from starlette.concurrency import run_in_threadpool

from api.doors import Database, Doors, Here
from api.problems import DATABASE_AWAY, problem_response
from ingest.readings import SECOND, from_datetime

router = APIRouter(tags=["health"])

#: A reader of the log that is alive notes its cursor far more often than this, if only because of ticks.
STALE = 60 * SECOND
#: Readers that keep a cursor in the database.
READERS = ("writer", "recorder")


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "not ready, with the reasons"}})
async def ready(here: Here, request: Request) -> JSONResponse:
    """Ready when the database is there, its schema is applied, and the roles behind it keep up."""
    reasons = await reasons_not_ready(here)
    if not reasons:
        return JSONResponse({"ready": True, "reasons": []})
    return problem_response(
        503,
        "; ".join(reasons),
        instance=request.url.path,
        errors=[{"where": "readyz", "what": reason} for reason in reasons],
    )


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Counters of this process for Prometheus."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def reasons_not_ready(here: Doors) -> list[str]:
    """Every reason why this installation does not do its work now."""
    try:
        if reasons := await run_in_threadpool(here.not_migrated):
            return reasons
        async with here.transaction() as connection:
            return await lagging(connection, here.now())
    except DATABASE_AWAY:
        return ["the database is not reachable"]


async def lagging(connection: Database, now: int) -> list[str]:
    """The readers of the log that have noted nothing for too long."""
    rows = await (await connection.execute("SELECT reader, shard, changed_at FROM cursors")).fetchall()
    return [_since(row, now) for row in rows if now - from_datetime(row["changed_at"]) > STALE] + [
        f"{reader} has never written here; is it running?"
        for reader in READERS
        if reader not in {row["reader"] for row in rows}
    ]


def _since(row: DictRow, now: int) -> str:
    seconds = (now - from_datetime(row["changed_at"])) // SECOND
    return f"{row['reader']} of shard {row['shard']} has written nothing for {seconds} s"
