"""Quarantine: what could not be admitted, kept whole with its reason, to look at and to drive again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import psycopg
from psycopg.rows import TupleRow

from ingest.admission import Admission, Reason
from ingest.errors import EmberwatchError
from ingest.journal import Entry, Record
from ingest.message import Message, decode_message
from ingest.readings import HOUR, to_datetime
from ingest.redrive import REASONS, Again, entry

Connection = psycopg.Connection[TupleRow]
_DETAIL = 2_000  #: characters kept of a detail
#: Of one device's messages that came too fast in one hour, so many are kept whole; the others are only counted.
KEPT_OF_A_FLOOD = 10


#: The rows that still are in quarantine; the others left it and are kept for a while, to look at.
STILL_ASIDE = "(redrive IS NULL OR redrive IN ('waiting', 'carried'))"


class Aside(NamedTuple):
    """A message on its way into quarantine."""

    record: Record
    reason: Reason
    detail: str
    site: str = ""  #: as far as they are known
    device: str = ""

    @classmethod
    def of(cls, record: Record, admission: Admission) -> Aside:
        """What admit set aside."""
        reason = admission.reason or Reason.UNDECODABLE
        return cls(record, reason, admission.detail, admission.site, admission.device)


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
    site: str
    device: str


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of one device set aside for one reason; times in µs."""

    reason: str
    site: str
    device: str
    count: int
    folded: int  #: those among them that were only counted, being part of a flood
    first_seen: int
    last_seen: int
    detail: str  #: of the newest


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are meant; None = any."""

    reason: str | None = None
    shard: str | None = None
    site: str | None = None
    device: str | None = None
    offset: int | None = None


ANY = Wanted()


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
    """Add rows, and count what is too much of a flood; a row that is there already stays as it is."""
    if not asides:
        return
    floods = [aside for aside in asides if aside.reason is Reason.RATE]
    whole = [aside for aside in asides if aside.reason is not Reason.RATE]
    whole += _fold(connection, shard, floods) if floods else []
    rows = [_row(shard, batch, aside) for aside in whole]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO quarantine"
            " (shard, log_offset, received_at, topic, payload, headers, reason, detail, site, device, batch)"
            " VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            rows,
        )


def _fold(connection: Connection, shard: str, asides: Sequence[Aside]) -> list[Aside]:
    """Count these by device and hour; those that are to be kept whole."""
    floods: dict[tuple[str, str, int], list[Aside]] = {}
    for aside in asides:
        hour = aside.record.at // HOUR * HOUR
        floods.setdefault((readable(aside.site), readable(aside.device), hour), []).append(aside)
    whole: list[Aside] = []
    for (site, device, hour), flood in floods.items():
        key = (shard, site, device, to_datetime(hour))
        room = max(0, KEPT_OF_A_FLOOD - _seen_of_flood(connection, key))
        whole += flood[:room]
        seen = to_datetime(flood[0].record.at), to_datetime(flood[-1].record.at)
        connection.execute(
            "INSERT INTO quarantine_floods AS known"
            " (shard, site, device, hour, messages, folded, first_seen, last_seen, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (shard, site, device, hour) DO UPDATE SET"
            " messages = known.messages + excluded.messages, folded = known.folded + excluded.folded,"
            " last_seen = excluded.last_seen, detail = excluded.detail",
            (*key, len(flood), len(flood[room:]), *seen, readable(flood[-1].detail[:_DETAIL])),
        )
    return whole


def _seen_of_flood(connection: Connection, key: tuple[object, ...]) -> int:
    row = connection.execute(
        "SELECT messages FROM quarantine_floods WHERE (shard, site, device, hour) = (%s, %s, %s, %s)", key
    ).fetchone()
    return row[0] if row else 0


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
        readable(aside.site),
        readable(aside.device),
        batch,
    )


def settle(connection: Connection, *, shard: str, redriven: Sequence[Again], refused: Sequence[Aside]) -> None:
    """What became of messages that were driven again; those that stay rest under their reason of today."""
    if not redriven:
        return
    again = {one.record.offset: one for one in redriven}
    stay = {at: Aside.of(one.record, one.admission) for at, one in again.items() if one.admission.reason is not None}
    stay |= {aside.record.offset: aside for aside in refused if aside.record.offset in again}
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE quarantine SET redrive = NULL, reason = %s, detail = %s WHERE shard = %s AND log_offset = %s",
            [(aside.reason, readable(aside.detail[:_DETAIL]), shard, at) for at, aside in stay.items()],
        )
        cursor.executemany(
            "UPDATE quarantine SET redrive = %s WHERE shard = %s AND log_offset = %s",
            [(one.admission.outcome, shard, at) for at, one in again.items() if at not in stay],
        )


def is_aside(connection: Connection, *, shard: str, offset: int) -> bool:
    """Is the message at this offset in quarantine?"""
    row = connection.execute("SELECT FROM quarantine WHERE shard = %s AND log_offset = %s", (shard, offset)).fetchone()
    return row is not None


_COLUMNS = {"reason": "reason", "shard": "shard", "site": "site", "device": "device", "offset": "log_offset"}


def _where(wanted: Wanted) -> str:
    known = {member.value for member in Reason}
    if wanted.reason is not None and wanted.reason not in known:
        raise EmberwatchError(f"{wanted.reason!r} is no reason; give one of {', '.join(sorted(known))}")
    stated = [name for name, value in msgspec.structs.asdict(wanted).items() if value is not None]
    return " AND ".join([STILL_ASIDE, *(f"{_COLUMNS[name]} = %({name})s" for name in stated)])


def _of_floods(wanted: Wanted) -> str:
    """The floods that are meant; a message that was only counted has no offset."""
    if wanted.offset is not None or wanted.reason not in (None, Reason.RATE):
        return "false"
    stated = [name for name in ("shard", "site", "device") if getattr(wanted, name) is not None]
    return " AND ".join(["folded > 0", *(f"{name} = %({name})s" for name in stated)])


def only_counted(connection: Connection, wanted: Wanted) -> int:
    """How many of these were part of a flood and not kept."""
    row = connection.execute(
        f"SELECT COALESCE(sum(folded), 0)::bigint FROM quarantine_floods WHERE {_of_floods(wanted)}".encode(),
        msgspec.structs.asdict(wanted),
    ).fetchone()
    return int(row[0]) if row else 0


def list_quarantine(connection: Connection, wanted: Wanted = ANY, *, limit: int = 50) -> Listing:
    """The newest rows that are meant, and the counts by reason of all of them."""
    where = f" WHERE {_where(wanted)}"
    values = {**msgspec.structs.asdict(wanted), "limit": limit}
    rows = connection.execute(
        "SELECT shard, log_offset, (extract(epoch FROM received_at) * 1000000)::bigint, topic, payload, headers,"
        f" reason, detail, site, device FROM quarantine{where}"
        " ORDER BY received_at DESC, log_offset DESC LIMIT %(limit)s".encode(),
        values,
    ).fetchall()
    counts = connection.execute(
        f"SELECT reason, count(*) FROM quarantine{where} GROUP BY 1".encode(), values
    ).fetchall()
    of_reason: dict[str, int] = dict(counts)
    if folded := only_counted(connection, wanted):
        of_reason[Reason.RATE] = of_reason.get(Reason.RATE, 0) + folded
    fields = Quarantined.__struct_fields__
    return Listing([Quarantined(**dict(zip(fields, row, strict=True))) for row in rows], of_reason)


def grouped(wanted: Wanted) -> str:
    """SELECT of these rows and floods, one line a device and reason; its values are the words of `wanted`."""
    return (
        "SELECT reason, site, device, sum(number)::bigint AS count, sum(folded)::bigint AS folded,"
        " min(first_seen) AS first_seen, max(last_seen) AS last_seen,"
        " (array_agg(detail ORDER BY last_seen DESC))[1] AS detail FROM ("
        "SELECT reason, site, device, 1 AS number, 0 AS folded, received_at AS first_seen, received_at AS last_seen,"
        f" detail FROM quarantine WHERE {_where(wanted)} UNION ALL"
        f" SELECT '{Reason.RATE}', site, device, folded, folded, first_seen, last_seen, detail"
        f" FROM quarantine_floods WHERE {_of_floods(wanted)}) AS aside GROUP BY 1, 2, 3"
    )


def group_quarantine(connection: Connection, wanted: Wanted = ANY, *, limit: int = 50) -> list[Group]:
    """The same rows, one line a device and reason, the most recent first."""
    rows = connection.execute(
        "SELECT reason, site, device, count, folded, (extract(epoch FROM first_seen) * 1000000)::bigint,"
        " (extract(epoch FROM last_seen) * 1000000)::bigint, detail"
        f" FROM ({grouped(wanted)}) AS groups ORDER BY last_seen DESC LIMIT %(limit)s".encode(),
        {**msgspec.structs.asdict(wanted), "limit": limit},
    ).fetchall()
    return [Group(**dict(zip(Group.__struct_fields__, row, strict=True))) for row in rows]


def request_redrive(connection: Connection, wanted: Wanted, *, limit: int) -> int:
    """Ask for the oldest of these messages to be judged once more; how many. The relay carries them into the log."""
    values = {**msgspec.structs.asdict(wanted), "limit": limit, "reasons": list(REASONS)}
    done = connection.execute(
        "UPDATE quarantine SET redrive = 'waiting' WHERE (shard, log_offset) IN (SELECT shard, log_offset"
        f" FROM quarantine WHERE {_where(wanted)} AND redrive IS NULL AND reason = ANY(%(reasons)s)"
        " ORDER BY received_at, log_offset LIMIT %(limit)s)".encode(),
        values,
    )
    return done.rowcount


def request_for_devices(connection: Connection, devices: Sequence[str]) -> int:
    """Ask for what was set aside because these devices were not registered, or at another place; how many."""
    done = connection.execute(
        "UPDATE quarantine SET redrive = 'waiting' WHERE redrive IS NULL AND device = ANY(%s) AND reason = ANY(%s)",
        (list(devices), [Reason.UNKNOWN_DEVICE, Reason.WRONG_SITE, Reason.WRONG_GATEWAY]),
    )
    return done.rowcount


def waiting_redrives(connection: Connection, shard: str, limit: int) -> list[tuple[int, Entry]]:
    """What is to be driven again, oldest first, locked: (offset, record for the log).

    Nothing while an inventory change is on its way: a message must not overtake the registration of its device.
    """
    rows = connection.execute(
        "SELECT log_offset, (extract(epoch FROM received_at) * 1000000)::bigint, topic, payload, headers"
        " FROM quarantine WHERE shard = %s AND redrive = 'waiting'"
        " AND NOT EXISTS (SELECT FROM inventory_changes WHERE relayed_at IS NULL)"
        " ORDER BY log_offset LIMIT %s FOR UPDATE SKIP LOCKED",
        (shard, limit),
    ).fetchall()
    return [
        (offset, entry(Message(topic=topic, **headers), bytes(payload), offset=offset, at=at))
        for offset, at, topic, payload, headers in rows
    ]


def mark_carried(connection: Connection, shard: str, offsets: Sequence[int]) -> None:
    """These are in the log; the writer says what became of them."""
    connection.execute(
        "UPDATE quarantine SET redrive = 'carried' WHERE shard = %s AND log_offset = ANY(%s) AND redrive = 'waiting'",
        (shard, list(offsets)),
    )


def drop_old(connection: Connection, *, before: datetime, settled_before: datetime, limit: int = 10_000) -> int:
    """Forget rows received before these times, those that left the quarantine sooner; how many. The books know them."""
    return _dropped(
        connection,
        "DELETE FROM quarantine WHERE (shard, log_offset) IN (SELECT shard, log_offset FROM quarantine"
        f" WHERE received_at < %(before)s OR (received_at < %(settled)s AND NOT {STILL_ASIDE}) LIMIT %(limit)s)"
        f" RETURNING shard, {STILL_ASIDE}::int AS number",
        {"before": before, "settled": settled_before, "limit": limit},
    ) + _dropped(
        connection,
        "DELETE FROM quarantine_floods WHERE last_seen < %(before)s RETURNING shard, folded AS number",
        {"before": before},
    )


def _dropped(connection: Connection, delete: str, values: dict[str, object]) -> int:
    """Delete, and keep by shard how many messages that are in the books are gone."""
    done = connection.execute(
        f"WITH old AS ({delete}), dropped AS (INSERT INTO quarantine_dropped"
        " SELECT shard, sum(number) FROM old WHERE number > 0 GROUP BY shard"
        " ON CONFLICT (shard) DO UPDATE SET dropped = quarantine_dropped.dropped + excluded.dropped)"
        " SELECT count(*) FROM old".encode(),
        values,
    ).fetchone()
    return int(done[0]) if done else 0
