"""Quarantine: what could not be admitted, kept whole with its reason, to look at and (later) to drive again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import psycopg
from psycopg.rows import TupleRow

from ingest.admit import Reason
from ingest.errors import EmberwatchError
from ingest.journal import Record
from ingest.message import Message, decode_message
from ingest.readings import to_datetime

Connection = psycopg.Connection[TupleRow]
_DETAIL = 2_000  #: characters kept of a detail


class Aside(NamedTuple):
    """A message on its way into quarantine."""

    record: Record
    reason: Reason
    detail: str


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the quarantine; `received_at` in µs."""

    shard: str
    offset: int
    received_at: int
    topic: str
    payload: bytes
    headers: dict[str, object]
    reason: str
    detail: str


class Listing(NamedTuple):
    """The newest rows, and how many there are of each reason."""

    rows: list[Quarantined]
    counts: dict[str, int]


def readable(text: str) -> str:
    """Text that PostgreSQL can hold: NUL and lone surrogates stand as escapes."""
    if "\x00" in text:
        text = text.replace("\x00", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()


def put_aside(connection: Connection, *, shard: str, batch: int, asides: Sequence[Aside]) -> None:
    """Add rows; one that is there already stays as it is."""
    if not asides:
        return
    rows = [_row(shard, batch, aside) for aside in asides]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO quarantine (shard, log_offset, received_at, topic, payload, headers, reason, detail, batch)"
            " VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s) ON CONFLICT DO NOTHING",
            rows,
        )


def _row(shard: str, batch: int, aside: Aside) -> tuple[object, ...]:
    record = aside.record
    try:
        message = decode_message(record.meta)
    except msgspec.DecodeError:  # headers that nobody can read: the payload is kept all the same
        message = Message(topic="", source="", received_at=record.at)
    headers = {name: getattr(message, name) for name in Message.__struct_fields__ if name != "topic"}
    headers["properties"] = {readable(key): readable(value) for key, value in message.properties.items()}
    headers["source"], headers["content_type"] = readable(message.source), readable(message.content_type)
    return (
        shard,
        record.offset,
        to_datetime(record.at),
        readable(message.topic),
        record.value,
        json.dumps(headers),
        aside.reason,
        readable(aside.detail[:_DETAIL]),
        batch,
    )


def is_aside(connection: Connection, *, shard: str, offset: int) -> bool:
    """Is the message at this offset in quarantine?"""
    row = connection.execute("SELECT FROM quarantine WHERE shard = %s AND log_offset = %s", (shard, offset)).fetchone()
    return row is not None


def list_quarantine(
    connection: Connection, *, reason: str | None = None, shard: str | None = None, limit: int = 50
) -> Listing:
    """The newest rows, of one reason or shard where named, and the counts by reason under the same filter."""
    where = (
        " WHERE (%(reason)s::text IS NULL OR reason = %(reason)s) AND (%(shard)s::text IS NULL OR shard = %(shard)s)"
    )
    values = {"reason": reason, "shard": shard, "limit": limit}
    known = {member.value for member in Reason}
    if reason is not None and reason not in known:
        raise EmberwatchError(f"{reason!r} is no reason; give one of {', '.join(sorted(known))}")
    rows = connection.execute(
        "SELECT shard, log_offset, (extract(epoch FROM received_at) * 1000000)::bigint, topic, payload, headers,"
        f" reason, detail FROM quarantine{where} ORDER BY received_at DESC, log_offset DESC LIMIT %(limit)s".encode(),
        values,
    ).fetchall()
    counts = connection.execute(
        f"SELECT reason, count(*) FROM quarantine{where} GROUP BY 1".encode(), values
    ).fetchall()
    fields = Quarantined.__struct_fields__
    return Listing([Quarantined(**dict(zip(fields, row, strict=True))) for row in rows], dict(counts))
