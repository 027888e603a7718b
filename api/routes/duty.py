"""Duty checks (查岗): whether somebody is at a fire panel. Asked here, sent by the receiver, answered at the panel."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field

from api.access import Known, needs, require_centre
from api.doors import Database, Here
from api.paging import Key, at, read_page
from api.parameters import Listing, Name
from api.people import Right
from api.problems import Problem
from api.routes.acts import IdempotencyKey
from api.shapes import Items, Time
from ingest.duty_store import ASK, CHANNEL, COLUMNS, asked
from ingest.gb26875_link import transmitter_of

router = APIRouter(tags=["what people do"])

_NEWEST = (Key("at", at, True), Key("id", UUID))
_SELECT = f"SELECT {COLUMNS} FROM duty_checks"


class GivenDutyCheck(BaseModel):
    """How long somebody at the panel has to press the key."""

    model_config = ConfigDict(extra="forbid")
    minutes: int = Field(default=10, ge=1, le=255)


class DutyListing(Listing):
    """Which duty checks."""

    site: Name | None = None
    device: Name | None = None


class DutyShape(BaseModel):
    """A duty check. `state`: pending (not sent yet), sent, not_connected, expired, answered, unanswered."""

    id: UUID
    site: str
    device: str
    address: str
    minutes: int
    author: str
    at: Time
    state: str
    changed_at: Time


@router.post("/devices/{site}/{device}/duty-check", status_code=202, dependencies=[Depends(needs(Right.ACT))])
async def duty_check(
    here: Here,
    database: Database,
    caller: Known,
    site: str,
    device: str,
    response: Response,
    given: GivenDutyCheck | None = None,
    idempotency_key: IdempotencyKey = None,
) -> DutyShape:
    """Ask the transmitter of this device to have its key pressed; what came of it is shown by duty-checks/{id}."""
    values = asked(
        shard=_shard(here.panel_shard),
        site=site,
        device=device,
        address=_address(device),
        minutes=(given or GivenDutyCheck()).minutes,
        author=caller.author,
        key=idempotency_key,
    )
    await _require_device(database, site, device)
    await require_centre(database, caller, site)
    row = await (await database.execute(ASK, values)).fetchone()
    row = row or await _sent_before(database, values)
    await database.execute("SELECT pg_notify(%s, %s)", (CHANNEL, values["shard"]))
    response.headers["Location"] = f"/api/v1/duty-checks/{row['id']}"
    return _shape(row)


@router.get("/duty-checks", dependencies=[Depends(needs(Right.READ))])
async def duty_checks(database: Database, wanted: Annotated[DutyListing, Query()]) -> Items[DutyShape]:
    """Duty checks, newest first."""
    conditions = [f"{name} = %({name})s" for name in ("site", "device") if getattr(wanted, name) is not None]
    page = await read_page(
        database,
        _SELECT,
        conditions=conditions,
        values=wanted.model_dump(),
        order=_NEWEST,
        limit=wanted.limit,
        after=wanted.after,
    )
    return Items[DutyShape](items=[_shape(row) for row in page.rows], next=page.next)


@router.get("/duty-checks/{check}", dependencies=[Depends(needs(Right.READ))])
async def one_duty_check(database: Database, check: UUID) -> DutyShape:
    """One duty check and what came of it."""
    row = await (await database.execute(f"{_SELECT} WHERE id = %s", (check,))).fetchone()
    if row is None:
        raise Problem(404, f"there is no duty check {check}")
    return _shape(row)


def _shard(shard: str) -> str:
    if not shard:
        raise Problem(
            409, "no fire panels report to this installation: set gb26875_bind, and a source with codec gb26875"
        )
    return shard


def _address(device: str) -> str:
    address = transmitter_of(device)
    if address is None:
        detail = f"device {device} speaks through no transmitter of a fire panel; such ids begin with its twelve digits"
        raise Problem(422, detail)
    return address


async def _require_device(database: Database, site: str, device: str) -> None:
    found = await database.execute("SELECT 1 FROM devices WHERE site = %s AND id = %s", (site, device))
    if await found.fetchone() is None:
        raise Problem(404, f"there is no device {device} at site {site}")


async def _sent_before(database: Database, values: dict[str, Any]) -> DictRow:
    """The check that was asked for before under the same key."""
    row = await (await database.execute(f"{_SELECT} WHERE idempotency_key = %(key)s", values)).fetchone()
    if row is None or any(row[name] != values[name] for name in ("site", "device", "minutes", "author")):
        raise Problem(422, "header idempotency-key: was used for another request; take a new key for each")
    return row


def _shape(row: DictRow) -> DutyShape:
    """A row as its answer; `relayed` is pending to those outside."""
    return DutyShape(**{**row, "state": "pending" if row["state"] == "relayed" else row["state"]})
