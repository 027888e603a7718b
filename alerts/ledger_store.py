"""SQL of the books: every figure counted from its own table, all in one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from ingest.journal import BEGINNING
from ingest.quarantine import STILL_ASIDE


class ShardFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of one shard."""

    shard: str
    writer_cursor: int = BEGINNING
    writer: dict[str, int] = {}  #: the writer's own books at its cursor
    batches: dict[str, int] = {}  #: the same, summed over its commits
    batched: int = 0  #: how many commits those are
    quarantine: int = 0  #: rows, what floods only counted, and what retention dropped
    opened: int = 0  #: alerts with a transition to firing
    told: dict[str, int] = {}  #: alerts that have fired, by what was told
    pages: int = 0
    accepted: int = 0  #: receipts that say so: two of one page are two
    failed: int = 0  #: pages with a last receipt and none accepted
    waiting: int = 0  #: pages with neither
    doubled: tuple[str, ...] = ()  #: pages accepted more than once, some of them
    orphans: int = 0  #: receipts of no page
    misstated: int = 0  #: pages whose state is not what their receipts say
    unrecorded: int = 0


_WRITER = "SELECT log_offset, counts FROM cursors WHERE reader = 'writer' AND shard = %(shard)s"
_BATCHES = """
SELECT key, sum(value::bigint)::bigint AS total
FROM batches, jsonb_each_text(counts) WHERE shard = %(shard)s GROUP BY key"""
_TOLD = "SELECT told, count(*) FROM alerts WHERE shard = %(shard)s AND fired_at IS NOT NULL GROUP BY told"
_DOUBLED = """
SELECT page::text FROM receipts WHERE shard = %(shard)s AND outcome = 'accepted'
GROUP BY page HAVING count(*) > 1 ORDER BY page LIMIT 10"""
_FIGURES = f"""
WITH settled AS (
    SELECT page, count(*) FILTER (WHERE outcome = 'accepted') AS accepted, bool_or(final) AS final
    FROM receipts WHERE shard = %(shard)s GROUP BY page),
stated AS (
    SELECT pages.state, settled.page, CASE WHEN settled.accepted > 0 THEN 'accepted'
        WHEN settled.final THEN 'failed' ELSE 'waiting' END AS derived
    FROM pages LEFT JOIN settled ON settled.page = pages.id WHERE shard = %(shard)s)
SELECT (SELECT count(*) FROM batches WHERE shard = %(shard)s) AS batched,
    (SELECT count(*) FROM quarantine WHERE shard = %(shard)s
        AND {STILL_ASIDE})
        + COALESCE((SELECT sum(folded)::bigint FROM quarantine_floods WHERE shard = %(shard)s), 0)
        + COALESCE((SELECT dropped FROM quarantine_dropped WHERE shard = %(shard)s), 0) AS quarantine,
    (SELECT count(DISTINCT alert) FROM transitions WHERE shard = %(shard)s AND after = 'firing') AS opened,
    (SELECT count(*) FROM stated) AS pages,
    (SELECT COALESCE(sum(accepted), 0)::bigint FROM settled) AS accepted,
    (SELECT count(*) FROM settled WHERE accepted = 0 AND final) AS failed,
    (SELECT count(*) FROM stated WHERE derived = 'waiting') AS waiting,
    (SELECT count(*) FROM settled WHERE NOT EXISTS (SELECT FROM pages WHERE id = settled.page)) AS orphans,
    (SELECT count(*) FROM stated WHERE state <> derived) AS misstated,
    (SELECT count(*) FROM unrecorded WHERE shard = %(shard)s) AS unrecorded"""


def shards_with_books(connection: Connection[Any]) -> list[str]:
    """Every shard that a reader of its log has left a cursor for."""
    return [row[0] for row in connection.execute("SELECT DISTINCT shard FROM cursors ORDER BY shard").fetchall()]


def ledger_figures(connection: Connection[Any], shards: Sequence[str]) -> dict[str, ShardFigures]:
    """The figures of these shards at one moment. `connection` must not be in a transaction."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return {shard: _figures(cursor, shard) for shard in shards}


def _figures(cursor: Any, shard: str) -> ShardFigures:
    def rows(sql: str) -> list[DictRow]:
        found: list[DictRow] = cursor.execute(sql, {"shard": shard}).fetchall()
        return found

    writer = rows(_WRITER)
    return ShardFigures(
        shard=shard,
        writer_cursor=writer[0]["log_offset"] if writer else BEGINNING,
        writer=writer[0]["counts"] if writer else {},
        batches={row["key"]: row["total"] for row in rows(_BATCHES)},
        told={row["told"]: row["count"] for row in rows(_TOLD)},
        doubled=tuple(row["page"] for row in rows(_DOUBLED)),
        **rows(_FIGURES)[0],
    )
