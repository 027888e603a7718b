"""SQL of duty checks: from whoever asks to the relay, and back from the writer. Inside their callers' transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.rows import TupleRow, dict_row

from ingest.journal import Entry
from ingest.message import DutyCheck, DutyOutcome, Kind, encode
from ingest.readings import from_datetime, to_datetime

Connection = psycopg.Connection[TupleRow]

CHANNEL = "emberwatch_acts"  #: notified by whoever asks: the relay listens
COLUMNS = "id, site, device, address, minutes, author, at, state, changed_at"
#: A repeat under the same key changes nothing and returns no row.
ASK = f"""INSERT INTO duty_checks (id, shard, site, device, address, minutes, author, idempotency_key)
    VALUES (%(id)s, %(shard)s, %(site)s, %(device)s, %(address)s, %(minutes)s, %(author)s, %(key)s)
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING {COLUMNS}"""


def asked(
    *, shard: str, site: str, device: str, address: str, minutes: int, author: str, key: str | None = None
) -> dict[str, Any]:
    """The values of ASK for a new check."""
    return {
        "id": uuid4(),
        "shard": shard,
        "site": site,
        "device": device,
        "address": address,
        "minutes": minutes,
        "author": author,
        "key": key,
    }


def waiting_checks(connection: Connection, shard: str, limit: int) -> list[tuple[str, Entry]]:
    """Checks that the log does not have yet, locked: ids and records."""
    rows = connection.cursor(row_factory=dict_row).execute(
        "SELECT id::text, address, minutes, author, at FROM duty_checks WHERE shard = %s AND state = 'pending'"
        " ORDER BY at, id LIMIT %s FOR UPDATE SKIP LOCKED",
        (shard, limit),
    )
    return [(row["id"], Entry(Kind.DUTY_CHECK, value=encode(_check(row)))) for row in rows.fetchall()]


def _check(row: dict[str, Any]) -> DutyCheck:
    return DutyCheck(
        id=row["id"], address=row["address"], minutes=row["minutes"], by=row["author"], at=from_datetime(row["at"])
    )


def mark_checks(connection: Connection, ids: Sequence[str]) -> None:
    """These are in the log."""
    connection.execute(
        "UPDATE duty_checks SET state = 'relayed', changed_at = now() WHERE id = ANY(%s::uuid[]) AND state = 'pending'",
        (list(ids),),
    )


def note_outcomes(connection: Connection, outcomes: Sequence[DutyOutcome]) -> None:
    """What came of some checks, in order."""
    for outcome in outcomes:
        connection.execute(
            "UPDATE duty_checks SET state = %s, changed_at = %s WHERE id::text = %s",
            (outcome.state.value, to_datetime(outcome.at), outcome.id),
        )
