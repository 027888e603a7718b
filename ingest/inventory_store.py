"""SQL of the inventory tables: areas, centres, sites, devices, and their changes on the way into the log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
import psycopg
from psycopg.rows import TupleRow

from ingest.inventory import Area, Centre, Device, InventoryDelta, Place, Site
from ingest.message import encode

Connection = psycopg.Connection[TupleRow]

#: Columns and their types, in the order of the rows below.
_PLACE = {"id": "text", "name": "text", "parent": "text", "lat": "float8", "lon": "float8", "attributes": "jsonb"}
DEVICE_COLUMNS = {
    "site": "text",
    "id": "text",
    "name": "text",
    "gateway": "text",
    "device_class": "text",
    "expected_interval_s": "float8",
    "credential": "text",
    "enrolled": "boolean",
    "lat": "float8",
    "lon": "float8",
    "attributes": "jsonb",
}
CHUNK = 5_000  #: devices in one change, so that no record of the log grows too large


def lock_inventory(connection: Connection) -> None:
    """One change of the inventory at a time, until the caller's transaction ends; so changes commit in order."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (0x696E7672,))


def upsert_inventory(connection: Connection, delta: InventoryDelta) -> None:
    """Put these rows in place of what was there; rows that are the same already are not touched."""
    for table, places in (("areas", delta.areas), ("centres", delta.centres), ("sites", delta.sites)):
        _upsert(connection, table, _PLACE, ("id",), [_place_row(place) for place in places])
    _upsert(connection, "devices", DEVICE_COLUMNS, ("site", "id"), [_device_row(device) for device in delta.devices])


def _upsert(
    connection: Connection,
    table: str,
    columns: Mapping[str, str],
    keys: Sequence[str],
    rows: list[tuple[object, ...]],
) -> None:
    rest = [column for column in columns if column not in keys]
    fresh, old = (", ".join(f"{place}.{column}" for column in rest) for place in ("excluded", table))
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in columns.values())})"
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET ({', '.join(rest)}) = ROW ({fresh})"
        f" WHERE ({old}) IS DISTINCT FROM ({fresh})"
    ).encode()
    for start in range(0, len(rows), CHUNK):
        columnwise = zip(*rows[start : start + CHUNK], strict=True)
        connection.execute(statement, [list(column) for column in columnwise])


def _place_row(place: Place) -> tuple[object, ...]:
    return (place.id, place.name, place.parent, place.lat, place.lon, json.dumps(place.attributes))


def _device_row(device: Device) -> tuple[object, ...]:
    return (
        device.site,
        device.id,
        device.name,
        device.gateway,
        device.device_class,
        device.expected_interval_s,
        device.credential,
        device.enrolled,
        device.lat,
        device.lon,
        json.dumps(device.attributes),
    )


def load_inventory(connection: Connection) -> InventoryDelta:
    """Everything in the inventory tables, ordered by id."""
    return InventoryDelta(
        areas=msgspec.convert(_rows(connection, "areas", _PLACE), list[Area]),
        centres=msgspec.convert(_rows(connection, "centres", _PLACE), list[Centre]),
        sites=msgspec.convert(_rows(connection, "sites", _PLACE), list[Site]),
        devices=msgspec.convert(_rows(connection, "devices", DEVICE_COLUMNS), list[Device]),
    )


def _rows(connection: Connection, table: str, columns: Mapping[str, str]) -> list[dict[str, object]]:
    rows = connection.execute(
        f'SELECT {", ".join(columns)} FROM {table} ORDER BY {next(iter(columns))} COLLATE "C", id'.encode()
    )
    return [dict(zip(columns, row, strict=True)) for row in rows.fetchall()]


def queue_changes(connection: Connection, delta: InventoryDelta) -> int:
    """Put a delta on its way into the log, in pieces that a record can carry; how many rows that were."""
    pieces = [
        InventoryDelta(areas=delta.areas, centres=delta.centres, sites=delta.sites[:CHUNK], devices=[]),
        *(InventoryDelta(sites=delta.sites[at : at + CHUNK]) for at in range(CHUNK, len(delta.sites), CHUNK)),
        *(InventoryDelta(devices=delta.devices[at : at + CHUNK]) for at in range(0, len(delta.devices), CHUNK)),
    ]
    rows = [(encode(piece),) for piece in pieces if piece != InventoryDelta()]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO inventory_changes (delta) VALUES (%s)", rows)
    return len(rows)
