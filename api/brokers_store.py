"""SQL of what brokers were told to refuse."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.brokers_refusals import KEPT, Refused
from ingest.readings import to_datetime

_KEEP = """INSERT INTO broker_refusals (user_name, what, topic, reason, count, first_at, last_at)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[],
        %s::timestamptz[])
    ON CONFLICT (user_name, what, topic, reason) DO UPDATE
    SET count = broker_refusals.count + excluded.count, last_at = greatest(broker_refusals.last_at, excluded.last_at)"""
_TRIM = (
    """DELETE FROM broker_refusals WHERE id IN (SELECT id FROM broker_refusals ORDER BY last_at DESC, id OFFSET %s)"""
)


async def keep_refusals(connection: AsyncConnection[DictRow], rows: Sequence[Refused]) -> None:
    """Add these to what is there, and drop all but the newest KEPT."""
    columns = [
        (
            row.user,
            row.what.value,
            row.topic,
            row.reason.value,
            row.count,
            to_datetime(row.first_at),
            to_datetime(row.last_at),
        )
        for row in rows
    ]
    await connection.execute(_KEEP.encode(), [list(column) for column in zip(*columns, strict=True)])
    await connection.execute(_TRIM.encode(), (KEPT,))
