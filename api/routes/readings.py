"""Readings, as they came or summed up over minutes, hours and days. Newest first."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query
from psycopg.rows import DictRow

from api.doors import Database, Here
from api.paging import Key, Page, at, read_page
from api.parameters import AggregateListing, Merged, ReadingListing, Resolution
from api.problems import Problem
from api.shapes import AggregateShape, Items, ReadingShape, Statistic
from ingest.readings import QUANTITIES, STATES, to_datetime

router = APIRouter(tags=["readings"])

#: A question that reads more than the database can in this time is answered by a problem, not by patience.
LONGEST_QUERY = "20s"
#: Minutes are summed up when asked, so without `from` only this much is.
MINUTES_SPAN = timedelta(hours=24)

_COLUMNS = ", ".join([*QUANTITIES, *STATES])
# `tie` sets apart readings of one device, time and batch, so that a page may end between them
_RAW = f"""SELECT * FROM (SELECT device, time, delay_ms, late, batch, {_COLUMNS},
    hashtextextended(readings::text, 0) AS tie FROM readings) AS readings"""
_RAW_ORDER = (Key("time", at, True), Key("device", int), Key("batch", int), Key("tie", int))

_BUCKETS = {
    Resolution.HOUR: "readings_1h",
    Resolution.DAY: "readings_1d",
    Resolution.MINUTE: "(SELECT device, date_bin('1 minute', time, timestamptz '2000-01-01 00:00:00+00') AS bucket,"
    " count(*) AS readings, "
    + ", ".join(
        f"avg({name}) AS {name}_avg, min({name}) AS {name}_min, max({name}) AS {name}_max,"
        f" count({name}) AS {name}_count"
        for name in QUANTITIES
    )
    + " FROM readings WHERE time >= %(since)s AND time < coalesce(%(until)s::timestamptz, 'infinity')"
    " AND (%(keys)s::int[] IS NULL OR device = ANY(%(keys)s)) GROUP BY 1, 2) AS minutes",
}
_PER_DEVICE = (Key("bucket", at, True), Key("device", int))
_PER_SITE = (Key("bucket", at, True), Key("site"))


class Device(NamedTuple):
    """Who a key of the table readings is."""

    site: str
    id: str


@router.get("/readings")
async def readings(
    database: Database, here: Here, wanted: Annotated[ReadingListing, Query()]
) -> Items[ReadingShape] | Items[AggregateShape]:
    """Readings of a device or site. `resolution` other than raw gives what /readings/aggregate gives."""
    if wanted.resolution is not Resolution.RAW:
        return await _aggregate(database, here, wanted, Merged.DEVICE)
    keys = await _keys(database, wanted)
    conditions = _bounds(wanted, keys, "time")
    conditions += [f"{wanted.quantity} IS NOT NULL"] if wanted.quantity else []
    page = await _page(database, _RAW, conditions, wanted, keys, _RAW_ORDER)
    devices = await _devices(database, [row["device"] for row in page.rows])
    names = [wanted.quantity] if wanted.quantity else [*QUANTITIES, *STATES]
    shapes = [_reading_shape(row, devices[row["device"]], names) for row in page.rows]
    return Items[ReadingShape](items=shapes, next=page.next)


@router.get("/readings/aggregate")
async def aggregate(
    database: Database, here: Here, wanted: Annotated[AggregateListing, Query()]
) -> Items[AggregateShape]:
    """Least, greatest and mean value of each quantity over whole minutes, hours or days (UTC)."""
    if wanted.resolution is Resolution.RAW:
        raise Problem(422, "query parameter resolution: must be '1m', '1h' or '1d' here; raw is /api/v1/readings")
    return await _aggregate(database, here, wanted, wanted.by)


async def _aggregate(database: Database, here: Here, wanted: ReadingListing, by: Merged) -> Items[AggregateShape]:
    if wanted.quantity in STATES:
        raise Problem(422, f"query parameter quantity: {wanted.quantity} is a state; ask for it at resolution=raw")
    keys = await _keys(database, wanted)
    if wanted.resolution is Resolution.MINUTE and wanted.since is None:
        wanted = wanted.model_copy(update={"since": (wanted.until or to_datetime(here.now())) - MINUTES_SPAN})
    conditions = _bounds(wanted, keys, "bucket")
    names = [wanted.quantity] if wanted.quantity else list(QUANTITIES)
    conditions += [f"{wanted.quantity}_count > 0"] if wanted.quantity else []
    source = f"SELECT * FROM {_BUCKETS[wanted.resolution]}"
    if by is Merged.SITE:
        source, order = _per_site(source, conditions), _PER_SITE
        page = await _page(database, source, [], wanted, keys, order)
        return Items[AggregateShape](items=[_site_shape(row, names) for row in page.rows], next=page.next)
    page = await _page(database, source, conditions, wanted, keys, _PER_DEVICE)
    devices = await _devices(database, [row["device"] for row in page.rows])
    shapes = [_aggregate_shape(row, *devices[row["device"]], names) for row in page.rows]
    return Items[AggregateShape](items=shapes, next=page.next)


def _per_site(source: str, conditions: list[str]) -> str:
    """The same buckets, those of all devices of a site made one."""
    merged = ", ".join(
        f"sum({name}_avg * {name}_count) / nullif(sum({name}_count), 0) AS {name}_avg,"
        f" min({name}_min) AS {name}_min, max({name}_max) AS {name}_max, sum({name}_count)::bigint AS {name}_count"
        for name in QUANTITIES
    )
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT * FROM (SELECT bucket, devices.site, sum(readings)::bigint AS readings, {merged}"
        f" FROM ({source}{where}) AS buckets JOIN devices ON devices.key = buckets.device"
        " GROUP BY bucket, devices.site) AS sites"
    )


async def _keys(database: Database, wanted: ReadingListing) -> list[int] | None:
    """Keys of the devices asked for; None: all."""
    if wanted.device is None and wanted.site is None:
        if wanted.since is None:
            raise Problem(422, "query parameters: give device, site or from; all readings ever are too many")
        return None
    rows = await database.execute(
        "SELECT key FROM devices WHERE (%(device)s::text IS NULL OR id = %(device)s)"
        " AND (%(site)s::text IS NULL OR site = %(site)s)",
        {"device": wanted.device, "site": wanted.site},
    )
    return [row["key"] for row in await rows.fetchall()]


def _bounds(wanted: ReadingListing, keys: list[int] | None, time: str) -> list[str]:
    conditions = []
    if keys is not None:  # one key written as an equation lets the index give the order
        conditions.append("device = %(key)s" if len(keys) == 1 else "device = ANY(%(keys)s)")
    if wanted.since is not None:
        conditions.append(f"{time} >= %(since)s")
    if wanted.until is not None:
        conditions.append(f"{time} < %(until)s")
    return conditions


async def _page(
    database: Database,
    select: str,
    conditions: list[str],
    wanted: ReadingListing,
    keys: list[int] | None,
    order: tuple[Key, ...],
) -> Page:
    await database.execute("SELECT set_config('statement_timeout', %s, true)", (LONGEST_QUERY,))
    values: dict[str, Any] = {"keys": keys, "since": wanted.since, "until": wanted.until}
    values["key"] = keys[0] if keys else None
    return await read_page(
        database,
        select,
        conditions=conditions,
        values=values,
        order=order,
        limit=wanted.limit,
        after=wanted.after,
    )


async def _devices(database: Database, keys: list[int]) -> dict[int, Device]:
    rows = await database.execute("SELECT key, site, id FROM devices WHERE key = ANY(%s)", (list(set(keys)),))
    found = {row["key"]: Device(row["site"], row["id"]) for row in await rows.fetchall()}
    return {key: found.get(key, Device("", f"removed device {key}")) for key in keys}


def _reading_shape(row: DictRow, device: Device, names: list[str]) -> ReadingShape:
    reported = {name: row[name] for name in names if row[name] is not None}
    return ReadingShape(
        time=row["time"],
        site=device.site,
        device=device.id,
        received_at=row["time"] + timedelta(milliseconds=row["delay_ms"]),
        values={name: value for name, value in reported.items() if name in QUANTITIES},
        states={name: value for name, value in reported.items() if name in STATES},
        late=row["late"],
    )


def _site_shape(row: DictRow, names: list[str]) -> AggregateShape:
    return _aggregate_shape(row, row["site"], None, names)


def _aggregate_shape(row: DictRow, site: str, device: str | None, names: list[str]) -> AggregateShape:
    statistics = {
        name: Statistic(
            min=row[f"{name}_min"], max=row[f"{name}_max"], avg=row[f"{name}_avg"], count=row[f"{name}_count"]
        )
        for name in names
        if row[f"{name}_count"]
    }
    return AggregateShape(time=row["bucket"], site=site, device=device, count=row["readings"], quantities=statistics)
