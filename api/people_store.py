"""SQL of users and tokens. Every function works on the connection it is handed, inside its caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, TupleRow, dict_row

from api.people import Role, User
from api.tokens import Issued, Token, digest
from ingest.readings import from_datetime, to_datetime

Connection = psycopg.Connection[TupleRow]

_USERS = "SELECT name, role, centres, created_at, disabled_at FROM users"
_TOKENS = """SELECT tokens.id, tokens.name, digest, scopes, tokens.created_at, expires_at, revoked_at, last_used_at,
    users.name AS user, role, centres, users.created_at AS user_created_at, disabled_at
    FROM tokens LEFT JOIN users ON users.name = tokens.user_name"""
#: Every centre responsible for a site: those of its area and of all areas above. The bound ends a loop of parents.
_CENTRES_OF = """WITH RECURSIVE up (area, depth) AS (
        SELECT parent, 1 FROM sites WHERE id = %s
        UNION ALL SELECT areas.parent, depth + 1 FROM up JOIN areas ON areas.id = up.area WHERE depth < 32)
    SELECT DISTINCT centres.id FROM up JOIN centres ON centres.parent = up.area WHERE up.area <> '' ORDER BY 1"""


def users(connection: Connection) -> list[User]:
    """Everybody, by name."""
    rows = connection.cursor(row_factory=dict_row).execute(f"{_USERS} ORDER BY name".encode())
    return [_user(row) for row in rows.fetchall()]


def find_user(connection: Connection, name: str) -> User | None:
    rows = connection.cursor(row_factory=dict_row).execute(f"{_USERS} WHERE lower(name) = lower(%s)".encode(), (name,))
    row = rows.fetchone()
    return None if row is None else _user(row)


def add_user(connection: Connection, user: User, password: str) -> bool:
    """Keep a new person with the hash of a password; False when the name is taken, in capitals or not."""
    added = connection.execute(
        "INSERT INTO users (name, role, centres, password) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (user.name, user.role, sorted(user.centres), password),
    )
    return added.rowcount == 1


def disable_user(connection: Connection, name: str, *, disabled: bool = True) -> bool:
    """Let nobody in by this person's tokens, or again; False when it was so already."""
    changed = connection.execute(
        "UPDATE users SET disabled_at = CASE WHEN %(disabled)s THEN now() END"
        " WHERE name = %(name)s AND (disabled_at IS NOT NULL) <> %(disabled)s",
        {"name": name, "disabled": disabled},
    )
    return changed.rowcount == 1


def unknown_centres(connection: Connection, centres: Iterable[str]) -> list[str]:
    """Those that the inventory does not have."""
    wanted = sorted(set(centres))
    rows = connection.execute("SELECT id FROM centres WHERE id = ANY(%s)", (wanted,)).fetchall()
    return [centre for centre in wanted if (centre,) not in rows]


def tokens(connection: Connection) -> list[Token]:
    """All there ever were, oldest first."""
    rows = connection.cursor(row_factory=dict_row).execute(f"{_TOKENS} ORDER BY tokens.created_at, id".encode())
    return [_token(row) for row in rows.fetchall()]


def add_token(connection: Connection, issued: Issued, token: Token) -> bool:
    """Keep a new token; False when one that is not revoked has its name."""
    expires = None if token.expires_at is None else to_datetime(token.expires_at)
    user = None if token.user is None else token.user.name
    added = connection.execute(
        "INSERT INTO tokens (id, name, user_name, digest, scopes, expires_at) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (lower(name)) WHERE revoked_at IS NULL DO NOTHING",
        (issued.id, token.name, user, digest(issued.text), list(token.scopes), expires),
    )
    return added.rowcount == 1


def revoke_token(connection: Connection, token: str) -> str | None:
    """End the token of this name or id, now and for good; its id, None when there is none."""
    row = connection.execute(
        "UPDATE tokens SET revoked_at = now() WHERE revoked_at IS NULL AND (lower(name) = lower(%(token)s)"
        " OR id = %(token)s) RETURNING id",
        {"token": token},
    ).fetchone()
    return None if row is None else str(row[0])


async def live_tokens(connection: AsyncConnection[DictRow]) -> dict[str, Token]:
    """Every token that is not revoked, with its person, by id."""
    rows = await connection.execute(f"{_TOKENS} WHERE revoked_at IS NULL".encode())
    return {row["id"]: _token(row) for row in await rows.fetchall()}


async def note_use(connection: AsyncConnection[DictRow], used: Mapping[str, int]) -> None:
    """Keep when tokens were last used (µs by id)."""
    await connection.execute(
        "UPDATE tokens SET last_used_at = greatest(last_used_at, used.at)"
        " FROM unnest(%s::text[], %s::timestamptz[]) AS used (id, at) WHERE tokens.id = used.id",
        (list(used), [to_datetime(at) for at in used.values()]),
    )


async def centres_of(connection: AsyncConnection[DictRow], site: str) -> list[str]:
    """Every centre responsible for a site, from its area upwards."""
    return [row["id"] for row in await (await connection.execute(_CENTRES_OF, (site,))).fetchall()]


def _user(row: DictRow) -> User:
    return User(
        name=row["name"],
        role=Role(row["role"]),
        centres=frozenset(row["centres"]),
        created_at=from_datetime(row["created_at"]),
        disabled_at=_micros(row["disabled_at"]),
    )


def _token(row: DictRow) -> Token:
    person: dict[str, Any] = {**row, "name": row["user"], "created_at": row["user_created_at"]}
    return Token(
        id=row["id"],
        name=row["name"],
        digest=bytes(row["digest"]),
        scopes=tuple(row["scopes"]),
        user=None if row["user"] is None else _user(person),
        created_at=from_datetime(row["created_at"]),
        expires_at=_micros(row["expires_at"]),
        revoked_at=_micros(row["revoked_at"]),
        last_used_at=_micros(row["last_used_at"]),
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else from_datetime(moment)
