"""For probes and scrapers: is it alive, is it of use, what does it count. No token needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg.rows import DictRow
from starlette.concurrency import run_in_threadpool

from api.doors import Database, Doors, Here
from api.liveness import Passed, ages, standing_still
from api.problems import DATABASE_AWAY, problem_response
from ingest.errors import EmberwatchError
from ingest.readings import SECOND, from_datetime

router = APIRouter(tags=["health"])

#: Without probes: a reader that is alive notes its cursor far more often than this, if only because of ticks.
STALE = 60 * SECOND
#: Readers that keep a cursor in the database.
READERS = ("writer", "recorder")


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "not ready, with the reasons"}})
async def ready(here: Here, request: Request) -> JSONResponse:
    """Ready when the database is there, its schema is applied, and our own probes come through.

    `probe` says for each shard how many seconds ago the newest probe was sent that is in the log, that the writer has
    in the database, and that the evaluator has passed.
    """
    reasons, passed = await look(here)
    if not reasons:
        now = here.now()
        return JSONResponse({"ready": True, "reasons": [], "probe": {name: ages(passed[name], now) for name in passed}})
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


async def look(here: Doors) -> tuple[list[str], Mapping[str, Passed]]:
    """Every reason why this installation does not do its work now, and how far the probes of each shard have come."""
    try:
        if reasons := await run_in_threadpool(here.not_migrated):
            return reasons, {}
        async with here.transaction() as connection:
            rows = await cursors(connection)
    except DATABASE_AWAY:
        return ["the database is not reachable"], {}
    try:
        logged = await run_in_threadpool(here.watch.logged)
    except EmberwatchError as error:
        return [f"the log cannot be read: {error}"], {}
    passed = {shard: _passed(shard, rows, logged.get(shard)) for shard in here.watch.shards}
    return reasons_not_ready(here, rows, passed, here.now()), passed


async def cursors(connection: Database) -> list[DictRow]:
    """Where the readers of the logs stand."""
    return await (await connection.execute("SELECT reader, shard, changed_at, probe_sent_at FROM cursors")).fetchall()


def reasons_not_ready(here: Doors, rows: Sequence[DictRow], passed: Mapping[str, Passed], now: int) -> list[str]:
    """A line for each stage of each shard that does not do its work."""
    watched = {} if here.watch.too_early(now) else passed
    return [
        *(
            line
            for shard, stages in watched.items()
            for line in standing_still(shard, stages, now=now, stale=here.watch.stale)
        ),
        *lagging([row for row in rows if row["shard"] not in watched], now),
        *(
            f"{reader} has never written here; is it running?"
            for reader in READERS
            if reader not in {row["reader"] for row in rows}
        ),
    ]


def lagging(rows: Sequence[DictRow], now: int) -> list[str]:
    """The readers of the log that have noted nothing for too long."""
    return [_since(row, now) for row in rows if now - from_datetime(row["changed_at"]) > STALE]


def _passed(shard: str, rows: Sequence[DictRow], logged: int | None) -> Passed:
    found = {row["reader"]: row for row in rows if row["shard"] == shard}
    writer, recorder = found.get("writer"), found.get("recorder")
    return Passed(
        log=logged,
        writer=_sent_at(writer),
        evaluator=_sent_at(recorder),
        recorded_at=from_datetime(recorder["changed_at"]) if recorder else None,
    )


def _sent_at(row: DictRow | None) -> int | None:
    return from_datetime(row["probe_sent_at"]) if row and row["probe_sent_at"] else None


def _since(row: DictRow, now: int) -> str:
    seconds = (now - from_datetime(row["changed_at"])) // SECOND
    return f"{row['reader']} of shard {row['shard']} has written nothing for {seconds} s"
