"""Human acts as rows, the way the API writes them."""

from __future__ import annotations

from typing import Any

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from ingest.message import Act
from ingest.readings import to_datetime


def insert_act(connection: Connection[Any], *, shard: str, act: Act) -> None:
    """Write the row of an act and wake the relay."""
    row = msgspec.structs.asdict(act) | {
        "shard": shard,
        "kind": act.kind.name.lower(),
        "at": to_datetime(act.at),
        "incident": act.incident or None,
        "alert": act.alert or None,
        "body": Jsonb(act.body),
        "seen": Jsonb(act.seen),
    }
    connection.execute(
        "INSERT INTO acts (id, shard, kind, author, at, incident, alert, comment, body, seen) VALUES"
        " (%(id)s, %(shard)s, %(kind)s, %(author)s, %(at)s, %(incident)s, %(alert)s, %(comment)s, %(body)s, %(seen)s)",
        row,
    )
    connection.execute("NOTIFY emberwatch_acts")
