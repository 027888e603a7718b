"""SQL of what people wrote and the log does not have yet: acts and inventory changes.

Rows are locked while they are carried, so every function works inside one transaction of its caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import dict_row

from ingest.message import Act, ActKind
from ingest.readings import from_datetime, to_datetime

ACTS = "emberwatch_acts"  #: notified by whoever writes an act


class WaitingAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act the log does not have yet. `act` is None when its row makes none; then `problem` says why."""

    id: str
    shard: str
    act: Act | None
    problem: str = ""


def waiting_acts(connection: Connection[Any], shards: Sequence[str], limit: int) -> list[WaitingAct]:
    """Acts of these shards not yet in the log, locked; those another relay has in hand are left out."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT id::text, shard, kind, author, at, COALESCE(incident::text, '') AS incident,"
            " COALESCE(alert::text, '') AS alert, comment, body, seen FROM acts"
            " WHERE state = 'pending' AND shard = ANY(%s) ORDER BY at, id LIMIT %s FOR UPDATE SKIP LOCKED",
            (list(shards), limit),
        ).fetchall()
    return [_waiting_act(row) for row in rows]


def _waiting_act(row: dict[str, Any]) -> WaitingAct:
    kind = str(row["kind"]).upper()
    if kind not in ActKind.__members__:
        known = ", ".join(ActKind.__members__).lower()
        return WaitingAct(id=row["id"], shard=row["shard"], act=None, problem=f"unknown act; known: {known}")
    try:
        act = msgspec.convert(row | {"kind": ActKind[kind], "at": from_datetime(row["at"])}, Act, strict=False)
    except msgspec.ValidationError as error:
        return WaitingAct(id=row["id"], shard=row["shard"], act=None, problem=str(error))
    return WaitingAct(id=row["id"], shard=row["shard"], act=act)


def mark_relayed(connection: Connection[Any], acts: Sequence[str], *, now: int) -> None:
    """These acts are in the log; one that the engine has answered already keeps its answer."""
    connection.execute(
        "UPDATE acts SET state = 'relayed', relayed_at = %s WHERE id = ANY(%s::uuid[]) AND state = 'pending'",
        (to_datetime(now), list(acts)),
    )


def refuse_act(connection: Connection[Any], act: str, refusal: str) -> None:
    """This act cannot enter the log; its author is shown why."""
    connection.execute("UPDATE acts SET state = 'refused', refusal = %s WHERE id = %s", (refusal, act))


def waiting_inventory(connection: Connection[Any], limit: int) -> list[tuple[int, bytes]]:
    """Inventory changes not yet in the log, oldest first, locked: (id, msgpack InventoryDelta)."""
    rows = connection.execute(
        "SELECT id, delta FROM inventory_changes WHERE relayed_at IS NULL ORDER BY id LIMIT %s FOR UPDATE", (limit,)
    ).fetchall()
    return [(row[0], bytes(row[1])) for row in rows]


def mark_inventory_relayed(connection: Connection[Any], changes: Sequence[int], *, now: int) -> None:
    """These inventory changes are in the log of every shard."""
    connection.execute(
        "UPDATE inventory_changes SET relayed_at = %s WHERE id = ANY(%s)", (to_datetime(now), list(changes))
    )
