"""What is watched: areas, centres, sites, devices; and who responds by which rules."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.doors import Database, Here
from api.paging import BY_ID, Key, decode_cursor, encode_cursor, read_page
from api.parameters import AreaListing, DeviceListing, Listing, Name, SiteListing
from api.problems import Problem
from api.shapes import DeviceShape, Items, Place, RuleShape, TeamShape

router = APIRouter(tags=["what is watched"])

_PLACE = "SELECT id, name, parent, lat, lon, attributes FROM "
_BELOW = """parent IN (
    WITH RECURSIVE below AS (
        SELECT %(area)s::text AS id UNION SELECT areas.id FROM areas JOIN below ON areas.parent = below.id
    ) SELECT id FROM below)"""


@router.get("/areas")
async def areas(database: Database, wanted: Annotated[AreaListing, Query()]) -> Items[Place]:
    """The tree city → street → community → compound → grid, by id."""
    conditions = ["parent = %(parent)s"] if wanted.parent is not None else []
    return await _places(database, "areas", wanted, conditions, {"parent": wanted.parent})


@router.get("/centres")
async def centres(database: Database, wanted: Annotated[Listing, Query()]) -> Items[Place]:
    """Fire-safety centres, by id."""
    return await _places(database, "centres", wanted, [], {})


@router.get("/sites")
async def sites(database: Database, wanted: Annotated[SiteListing, Query()]) -> Items[Place]:
    """Sheds and other watched places, by id."""
    conditions = [_BELOW] if wanted.area is not None else []
    return await _places(database, "sites", wanted, conditions, {"area": wanted.area})


async def _places(
    database: Database, table: str, wanted: Listing, conditions: list[str], values: dict[str, object]
) -> Items[Place]:
    page = await read_page(
        database,
        _PLACE + table,
        conditions=conditions,
        values=values,
        order=BY_ID,
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[Place](items=[Place(**row) for row in page.rows], next=page.next)


_DEVICE = """SELECT id, site, name, gateway, device_class, expected_interval_s, enrolled, lat, lon, attributes,
    ahead_s AS clock_skew_s FROM devices LEFT JOIN device_clocks ON device = key"""


@router.get("/devices")
async def devices(database: Database, wanted: Annotated[DeviceListing, Query()]) -> Items[DeviceShape]:
    """Sensors and gateways, by site and id. Credentials are never shown."""
    conditions = ["site = %(site)s"] if wanted.site is not None else []
    conditions += ["device_class = %(device_class)s"] if wanted.device_class is not None else []
    page = await read_page(
        database,
        _DEVICE,
        conditions=conditions,
        values=wanted.model_dump(),
        order=(Key("site"), Key("id")),
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[DeviceShape](items=[DeviceShape(**row) for row in page.rows], next=page.next)


@router.get("/devices/{site}/{device}")
async def device(database: Database, site: Name, device: Name) -> DeviceShape:
    """One sensor or gateway."""
    found = await database.execute(f"{_DEVICE} WHERE site = %s AND id = %s".encode(), (site, device))
    row = await found.fetchone()
    if row is None:
        raise Problem(404, f"no device {device} at site {site}")
    return DeviceShape(**row)


@router.get("/teams")
async def teams(here: Here, wanted: Annotated[Listing, Query()]) -> Items[TeamShape]:
    """Response teams, as of the start of this process."""
    return _slice([team.id for team in here.teams], here.teams, wanted)


@router.get("/rules")
async def rules(here: Here, wanted: Annotated[Listing, Query()]) -> Items[RuleShape]:
    """The rulebook, as of the start of this process."""
    return _slice([rule.id for rule in here.rules], here.rules, wanted)


def _slice(ids: list[str], shapes: Any, wanted: Listing) -> Items[Any]:
    """A page of what is held in memory, by id."""
    by_id = sorted(zip(ids, shapes, strict=True), key=lambda pair: pair[0])
    behind = decode_cursor(wanted.after, BY_ID)[0] if wanted.after else ""
    rest = [pair for pair in by_id if pair[0] > str(behind)]
    shown = rest[: wanted.limit]
    following = encode_cursor({"id": shown[-1][0]}, BY_ID) if len(rest) > len(shown) else None
    return Items[Any](items=[shape for _, shape in shown], next=following)
