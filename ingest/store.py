"""SQL of the ingest tables: cursors, batches, readings, state changes, the writer's memory. Narrow functions only.

Every function works on the connection it is handed, inside the transaction of its caller.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ingest.errors import Fenced
from ingest.readings import QUANTITIES, SECOND, STATES, Reading, to_datetime
from ingest.skews import SkewNews

Connection = psycopg.Connection[TupleRow]
DeviceKey = tuple[str, str]  #: site, device

#: PostgreSQL counts microseconds from 2000; binary COPY takes a timestamptz as that number.
PG_EPOCH = 946_684_800_000_000

_READING_COLUMNS = ("device", "time", "delay_ms", "device_time", "seq", "late", "batch", *QUANTITIES, *STATES)
_READING_TYPES = ["int4", "int8", "int8", "int8", "int8", "text", "int8"]
_READING_TYPES += ["float8"] * len(QUANTITIES) + ["bool"] * len(STATES)
_NO_STATES = (None,) * len(STATES)
_COPY_READINGS = f"COPY readings ({', '.join(_READING_COLUMNS)}) FROM STDIN (FORMAT BINARY)".encode()
_COPY_CHANGES = b"COPY state_changes (device, time, state, value, batch) FROM STDIN (FORMAT BINARY)"
_COPY_MEMORY = b"COPY writer_memory (shard, part, log_offset, dump) FROM STDIN (FORMAT BINARY)"
_PART = 4 << 20  #: bytes of one row of the writer's memory


class Cursor(NamedTuple):
    """How far a reader of a shard has come, and its books at that offset."""

    offset: int
    epoch: int
    counts: dict[str, int]


class Change(NamedTuple):
    """A state of a device that is not what it was."""

    site: str
    device: str
    at: int
    state: str
    value: bool


# cursors


def claim_cursor(connection: Connection, *, reader: str, shard: str, epoch: int) -> Cursor:
    """Put our epoch beside the cursor, so that an older owner writes no more. Fenced when a newer one stands there."""
    connection.execute("INSERT INTO cursors (reader, shard) VALUES (%s, %s) ON CONFLICT DO NOTHING", (reader, shard))
    row = connection.execute(
        "UPDATE cursors SET epoch = %s WHERE reader = %s AND shard = %s AND epoch <= %s RETURNING log_offset, counts",
        (epoch, reader, shard, epoch),
    ).fetchone()
    if row is None:
        raise Fenced(f"a newer {reader} of shard {shard} has taken over; epoch {epoch} is over")
    return Cursor(row[0], epoch, row[1])


def lock_cursor(connection: Connection, *, reader: str, shard: str) -> Cursor:
    """The cursor, held until the end of the transaction."""
    row = connection.execute(
        "SELECT log_offset, epoch, counts FROM cursors WHERE reader = %s AND shard = %s FOR UPDATE", (reader, shard)
    ).fetchone()
    if row is None:
        raise Fenced(f"the cursor of {reader} of shard {shard} is gone; the database was replaced")
    return Cursor(*row)


def move_cursor(
    connection: Connection, *, reader: str, shard: str, offset: int, counts: Mapping[str, int], probe: int = 0
) -> None:
    """Move a cursor that `lock_cursor` holds. `probe`: when the newest probe before it was sent (µs), 0 = none new."""
    connection.execute(
        "UPDATE cursors SET log_offset = %s, counts = %s::jsonb, changed_at = now(),"
        " probe_sent_at = coalesce(%s, probe_sent_at) WHERE reader = %s AND shard = %s",
        (offset, json.dumps(counts), to_datetime(probe) if probe else None, reader, shard),
    )


# batches and readings


def next_batch(connection: Connection) -> int:
    """The id of a batch to be."""
    row = connection.execute("SELECT nextval(pg_get_serial_sequence('batches', 'id'))").fetchone()
    assert row is not None
    return int(row[0])


def add_batch(
    connection: Connection,
    *,
    batch: int,
    shard: str,
    offsets: tuple[int, int],
    counts: Mapping[str, int],
    readings: Iterable[Reading],
) -> None:
    """The row of a batch, with the span of time its readings cover."""
    times = [reading.at for reading in readings]
    connection.execute(
        "INSERT INTO batches (id, shard, from_offset, to_offset, counts, first_time, last_time)"
        " OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s::jsonb,"
        " timestamptz '2000-01-01Z' + %s * interval '1 microsecond',"
        " timestamptz '2000-01-01Z' + %s * interval '1 microsecond')",
        (
            batch,
            shard,
            *offsets,
            json.dumps(counts),
            float(min(times) - PG_EPOCH) if times else None,
            float(max(times) - PG_EPOCH) if times else None,
        ),
    )


def device_keys(connection: Connection, devices: Iterable[DeviceKey]) -> dict[DeviceKey, int]:
    """The keys that readings refer to; a device that admit enrolled and no row has yet gets its row, and its site."""
    wanted = list(devices)
    if not wanted:
        return {}
    sites, ids = [site for site, _ in wanted], [device for _, device in wanted]
    keys = _known_keys(connection, sites, ids)
    missing = [device for device in wanted if device not in keys]
    if missing:
        sites, ids = [site for site, _ in missing], [device for _, device in missing]
        connection.execute("INSERT INTO sites (id) SELECT DISTINCT unnest(%s::text[]) ON CONFLICT DO NOTHING", (sites,))
        connection.execute(
            "INSERT INTO devices (site, id, enrolled) SELECT site, id, true FROM unnest(%s::text[], %s::text[])"
            " AS missing (site, id) ON CONFLICT DO NOTHING",
            (sites, ids),
        )
        keys |= _known_keys(connection, sites, ids)
    return keys


def _known_keys(connection: Connection, sites: list[str], ids: list[str]) -> dict[DeviceKey, int]:
    rows = connection.execute(
        "SELECT devices.site, devices.id, key FROM devices"
        " JOIN unnest(%s::text[], %s::text[]) AS wanted (site, id) USING (site, id)",
        (sites, ids),
    )
    return {(site, device): key for site, device, key in rows}


def copy_readings(
    connection: Connection, readings: Iterable[Reading], keys: Mapping[DeviceKey, int], batch: int
) -> None:
    """Add readings by binary COPY."""
    with connection.cursor() as cursor, cursor.copy(_COPY_READINGS) as copy:
        copy.set_types(_READING_TYPES)
        write = copy.write_row
        for reading in readings:
            at, stated = reading.at, reading.device_at
            states = reading.states
            write(
                (
                    keys[reading.site, reading.device],
                    at - PG_EPOCH,
                    (reading.received_at - at) // 1000,
                    None if stated is None else stated - PG_EPOCH,
                    reading.seq,
                    reading.late,
                    batch,
                    *map(reading.values.get, QUANTITIES),
                    *(map(states.get, STATES) if states else _NO_STATES),
                )
            )


def copy_changes(connection: Connection, changes: Sequence[Change], keys: Mapping[DeviceKey, int], batch: int) -> None:
    """Add state changes by binary COPY."""
    if not changes:
        return
    with connection.cursor() as cursor, cursor.copy(_COPY_CHANGES) as copy:
        copy.set_types(["int4", "int8", "text", "bool", "int8"])
        for change in changes:
            key = keys[change.site, change.device]
            copy.write_row((key, change.at - PG_EPOCH, change.state, change.value, batch))


# wrong clocks


def load_skews(connection: Connection, *, shard: str) -> dict[DeviceKey, int]:
    """The wrong clocks that are shown of this shard: log time less device time, in µs."""
    rows = connection.execute(
        "SELECT site, id, ahead_s FROM device_clocks JOIN devices ON device = key WHERE shard = %s", (shard,)
    )
    return {(site, device): round(-ahead * SECOND) for site, device, ahead in rows}


def save_skews(connection: Connection, *, shard: str, at: int, news: SkewNews) -> None:
    """Show the clocks that are wrong as of this log time, and no longer those that are right."""
    clocks = news.wrong.values()
    connection.execute(
        "INSERT INTO device_clocks (device, shard, ahead_s, learned_at, heard_at)"
        " SELECT key, %s, ahead, %s, heard FROM unnest(%s::text[], %s::text[], %s::float8[], %s::timestamptz[])"
        " AS wrong (site, id, ahead, heard) JOIN devices USING (site, id) ON CONFLICT (device) DO UPDATE SET"
        " shard = excluded.shard, ahead_s = excluded.ahead_s, learned_at = excluded.learned_at,"
        " heard_at = excluded.heard_at",
        (
            shard,
            to_datetime(at),
            [site for site, _ in news.wrong],
            [device for _, device in news.wrong],
            [-clock.skew / SECOND for clock in clocks],
            [to_datetime(clock.heard) for clock in clocks],
        ),
    )
    connection.execute(
        "DELETE FROM device_clocks USING devices, unnest(%s::text[], %s::text[]) AS fixed (site, id)"
        " WHERE device = key AND devices.site = fixed.site AND devices.id = fixed.id AND device_clocks.shard = %s",
        ([site for site, _ in news.right], [device for _, device in news.right], shard),
    )


# the writer's memory


def save_memory(connection: Connection, *, shard: str, offset: int, dump: bytes) -> None:
    """What the writer remembers of a shard at this offset, in place of what it remembered before."""
    connection.execute("DELETE FROM writer_memory WHERE shard = %s", (shard,))
    with connection.cursor() as cursor, cursor.copy(_COPY_MEMORY) as copy:
        copy.set_types(["text", "int4", "int8", "bytea"])
        for part, start in enumerate(range(0, len(dump), _PART)):
            copy.write_row((shard, part, offset, dump[start : start + _PART]))


def load_memory(connection: Connection, *, shard: str) -> tuple[int, bytes] | None:
    """Offset and dump of what was saved last, None when nothing was."""
    rows = connection.execute(
        "SELECT log_offset, dump FROM writer_memory WHERE shard = %s ORDER BY part", (shard,), binary=True
    ).fetchall()
    return (rows[0][0], b"".join(row[1] for row in rows)) if rows else None
