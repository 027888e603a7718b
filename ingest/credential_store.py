"""SQL of devices' credentials: giving them, and telling those who answer brokers which device has which.

A credential goes the way of every change of the inventory: the row, and with it the record for the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import psycopg
from psycopg.rows import TupleRow

from ingest.inventory import Device, InventoryDelta
from ingest.inventory_store import CHUNK, DEVICE_COLUMNS, queue_changes

Connection = psycopg.Connection[TupleRow]
Key = tuple[str, str]  #: site and id of a device

#: What an answer to a broker depends on; most devices have no filters of their own.
_FOR_BROKERS = """SELECT site, id, gateway, device_class, credential,
    CASE WHEN attributes ?| array['publish', 'subscribe'] THEN attributes ELSE '{}' END AS attributes FROM devices"""


def without_credential(connection: Connection) -> Iterator[list[Key]]:
    """Registered devices that have none, in pieces of CHUNK, by site and id."""
    last = ("", "")
    while True:
        rows = connection.execute(
            "SELECT site, id FROM devices WHERE credential = '' AND NOT enrolled AND (site, id) > (%s, %s)"
            " ORDER BY site, id LIMIT %s",
            (*last, CHUNK),
        ).fetchall()
        if not rows:
            return
        yield [(site, id) for site, id in rows]
        last = rows[-1]


def credential_of(connection: Connection, key: Key) -> str | None:
    """What this device has; None when there is no such device."""
    row = connection.execute("SELECT credential FROM devices WHERE site = %s AND id = %s", key).fetchone()
    return None if row is None else str(row[0])


def set_credentials(connection: Connection, credentials: Mapping[Key, str]) -> None:
    """Give these devices these credentials. The caller holds the lock of the inventory."""
    sites, ids = zip(*credentials, strict=True)
    rows = connection.execute(
        "UPDATE devices SET credential = fresh.credential"
        " FROM unnest(%s::text[], %s::text[], %s::text[]) AS fresh (site, id, credential)"
        " WHERE devices.site = fresh.site AND devices.id = fresh.id"
        f" RETURNING {', '.join(f'devices.{column}' for column in DEVICE_COLUMNS)}".encode(),
        (list(sites), list(ids), list(credentials.values())),
    ).fetchall()
    changed = msgspec.convert([dict(zip(DEVICE_COLUMNS, row, strict=True)) for row in rows], list[Device])
    queue_changes(connection, InventoryDelta(devices=changed))


def newest_change(connection: Connection) -> int:
    """The number of the newest change of the inventory; 0 before the first."""
    row = connection.execute("SELECT coalesce(max(id), 0) FROM inventory_changes").fetchone()
    assert row is not None
    return int(row[0])


def devices_for_brokers(connection: Connection) -> Iterator[Device]:
    """Every device, with as much of it as answers to brokers depend on. Changes newer than one asked for before are
    in it or not."""
    with connection.cursor(name="devices_for_brokers") as cursor:
        cursor.itersize = CHUNK
        cursor.execute(_FOR_BROKERS.encode())
        names = ("site", "id", "gateway", "device_class", "credential", "attributes")
        for row in cursor:
            yield msgspec.convert(dict(zip(names, row, strict=True)), Device)


def changes_since(connection: Connection, change: int) -> Iterator[InventoryDelta]:
    """The changes of the inventory after this one, in order."""
    with connection.cursor(name="changes_since") as cursor:
        cursor.itersize = 1
        cursor.execute("SELECT delta FROM inventory_changes WHERE id > %s ORDER BY id", (change,))
        for (delta,) in cursor:
            yield msgspec.msgpack.decode(delta, type=InventoryDelta)
