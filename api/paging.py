"""Cursor pages: stable under inserts, because `after` names the last row seen, not a number of rows."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.problems import Problem


class Key(NamedTuple):
    """One column of an order. `read` makes a cursor's text a value of the column's type."""

    column: str
    read: Callable[[str], object] = str
    descending: bool = False


class Page(NamedTuple):
    """Rows of one page, and the cursor behind its last row (None: there is no more)."""

    rows: list[DictRow]
    next: str | None


def at(text: str) -> datetime:
    """A time in a cursor: it must carry its zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment


def encode_cursor(row: Mapping[str, Any], order: Sequence[Key]) -> str:
    """The cursor behind this row."""
    values = [row[key.column] for key in order]
    texts = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(texts, ensure_ascii=False).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: Sequence[Key]) -> list[object]:
    """The column values a cursor names; Problem 422 when it is none of this order."""
    try:
        texts = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        if not isinstance(texts, list) or not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise ValueError("no list of texts")
        return [key.read(text) for key, text in zip(order, texts, strict=True)]
    except (ValueError, binascii.Error, OverflowError):
        raise Problem(422, "query parameter after: is no cursor of this list; give `next` of the page before") from None


def behind(cursor: str, order: Sequence[Key], values: dict[str, object]) -> str:
    """SQL condition "after the cursor's row"; adds its values under names of their own."""
    names = []
    for index, value in enumerate(decode_cursor(cursor, order)):
        names.append(f"after_{index}")
        values[names[-1]] = value
    condition = ""
    for key, name in reversed(list(zip(order, names, strict=True))):
        beyond = f"{key.column} {'<' if key.descending else '>'} %({name})s"
        condition = f"({beyond} OR ({key.column} = %({name})s AND {condition}))" if condition else beyond
    first, name = order[0], names[0]  # a plain bound that an index can use
    return f"{first.column} {'<=' if first.descending else '>='} %({name})s AND {condition}"


async def read_page(
    connection: AsyncConnection[DictRow],
    select: str,
    *,
    conditions: Sequence[str] = (),
    values: Mapping[str, object],
    order: Sequence[Key],
    limit: int,
    after: str | None,
) -> Page:
    """One page of `select`, whose columns include those of `order`; conditions speak of its columns too."""
    bound = dict(values)
    wanted = [*conditions, *([behind(after, order, bound)] if after else [])]
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    ordered = ", ".join(f"{key.column} {'DESC' if key.descending else 'ASC'}" for key in order)
    # a word of SQL is never taken from a request: select, conditions and order are literals of the routes
    query = cast(Any, f"{select}{where} ORDER BY {ordered} LIMIT {limit + 1}")
    rows = await (await connection.execute(query, bound)).fetchall()
    following = encode_cursor(rows[limit - 1], order) if len(rows) > limit else None
    return Page(rows[:limit], following)


BY_ID = (Key("id"),)
NEWEST_OPENED = (Key("opened_at", at, True), Key("id", UUID))
