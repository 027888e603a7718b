"""Plumbing to PostgreSQL: connections, pools, migrations, the embedded server. For composition roots alone."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from ingest.embedded import EmbeddedServer, embedded_server
from ingest.errors import OperatorError, Unavailable

__all__ = [
    "AsyncPool",
    "EmbeddedServer",
    "Pool",
    "connect",
    "database_url",
    "embedded_server",
    "migrate",
    "open_async_pool",
    "open_pool",
    "pending",
    "unavailable",
]

CONNECT_SECONDS = 5
#: What psycopg raises when the server is away, restarts, or asks for a later try (locks, time-outs, disk full).
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, TooManyRequests)

Connection = psycopg.Connection[TupleRow]
AsyncConnection = psycopg.AsyncConnection[DictRow]


@contextlib.contextmanager
def database_url(url: str, data_dir: Path) -> Iterator[str]:
    """`url` itself, or for "" that of the embedded server of `data_dir`, used while the context lasts."""
    if url:
        yield url
        return
    with embedded_server(data_dir) as server:
        yield server.url


def unavailable(error: Exception, url: str) -> Unavailable:
    """One line that says which server, what is wrong and what to do; it never has the password."""
    parts = conninfo.conninfo_to_dict(url)
    where = f"{parts.get('host') or '127.0.0.1'}:{parts.get('port') or 5432}"
    state = getattr(error, "sqlstate", None)
    if isinstance(error, PoolTimeout | TooManyRequests):
        why = "no connection in time"
    else:
        why = " ".join(str(error).split()) or type(error).__name__
    if password := parts.get("password"):
        why = why.replace(str(password), "…")
    advice = "" if state else "; is it running, and is EMBERWATCH_DATABASE_URL right?"
    return Unavailable(f"PostgreSQL at {where}: {why}{f' (SQLSTATE {state})' if state else ''}{advice}")


def _options(name: str) -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": f"emberwatch {name}",
        # a server that vanished without a word is noticed within half a minute
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }


def connect(url: str, *, name: str = "command", autocommit: bool = False) -> Connection:
    """A connection of one's own; Unavailable when there is none to be had, OperatorError for a URL nobody can use."""
    try:
        return psycopg.connect(url, autocommit=autocommit, **_options(name))
    except psycopg.OperationalError as error:
        raise unavailable(error, url) from None
    except psycopg.ProgrammingError as error:
        raise OperatorError(f"EMBERWATCH_DATABASE_URL: {' '.join(str(error).split())}") from None


class Pool(ConnectionPool[Connection]):
    """psycopg's pool; `connection()` raises Unavailable where PostgreSQL is away or asks for a later try."""

    @contextlib.contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Connection]:
        try:
            with super().connection(timeout) as connection:
                yield connection
        except AWAY as error:
            raise unavailable(error, str(self.conninfo)) from None


class AsyncPool(AsyncConnectionPool[AsyncConnection]):
    """The same for asyncio; rows are dictionaries."""

    @contextlib.asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection]:  # noqa: ASYNC109 the pool's own signature
        try:
            async with super().connection(timeout) as connection:
                yield connection
        except AWAY as error:
            raise unavailable(error, str(self.conninfo)) from None


#: Few connections, made when wanted, checked before use; a failed attempt ends soon and the next use tries anew.
_POOL: dict[str, Any] = {"min_size": 0, "timeout": CONNECT_SECONDS, "reconnect_timeout": 2.0, "open": False}


def open_pool(url: str, *, name: str, size: int = 4) -> Pool:
    """A pool for the threads of one role. It opens without a server; each use says Unavailable until there is one."""
    _quiet()
    pool = Pool(url, kwargs=_options(name), max_size=size, name=name, check=Pool.check_connection, **_POOL)
    pool.open()
    return pool


async def open_async_pool(url: str, *, name: str, size: int = 8) -> AsyncPool:
    """The same for asyncio, with rows as dictionaries."""
    _quiet()
    options = _options(name) | {"row_factory": dict_row}
    pool = AsyncPool(url, kwargs=options, max_size=size, name=name, check=AsyncPool.check_connection, **_POOL)
    await pool.open()
    return pool


def _quiet() -> None:
    """The pool logs every failed attempt; its users say the same once, in a line of ours."""
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


# migrations

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+?)(?:\.(timescale|plain))?\.sql")
_LOCK = 0x656D6265  #: advisory lock of migrations: "embe"

_BOOK = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    room text NOT NULL, number integer NOT NULL, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
    checksum text NOT NULL, PRIMARY KEY (room, number)
)"""


class Migration(NamedTuple):
    """One numbered file of a room's schema folder; `variant` is timescale, plain or "" for both."""

    room: str
    number: int
    name: str
    variant: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(connection: Connection, schemas: Sequence[str]) -> list[str]:
    """Bring the database up to this program; the names of the files applied, none when it was up to date.

    `schemas` names the rooms in order, such as ["ingest", "alerts", "api"]; a room without a schema is fine. Each
    file is one transaction. OperatorError when an applied file was changed since, or the database is newer.
    """
    connection.rollback()
    connection.autocommit = True
    try:
        connection.execute("SELECT set_config('lock_timeout', '60s', false)")
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            return _migrate_alone(connection, schemas)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    except psycopg.errors.InsufficientPrivilege as error:
        raise _not_owner("migrations", error) from None
    except AWAY as error:
        raise unavailable(error, connection.info.dsn) from None
    finally:
        if not connection.closed:
            connection.autocommit = False


def pending(connection: Connection, schemas: Sequence[str]) -> list[str]:
    """The files that `migrate` would apply; OperatorError as there. Changes nothing."""
    exists = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    applied = _applied(connection) if exists and exists[0] else {}
    flavour = _flavour(applied) or ("timescale" if _offers_timescale(connection) else "plain")
    return [_title(file) for file in _outstanding(schemas, flavour, applied)]


def _migrate_alone(connection: Connection, schemas: Sequence[str]) -> list[str]:
    connection.execute(_BOOK)
    applied = _applied(connection)
    flavour = _flavour(applied) or ("timescale" if _has_timescale(connection) else "plain")
    done = []
    for file in _outstanding(schemas, flavour, applied):
        try:
            with connection.transaction():
                connection.execute(file.text.encode(), prepare=False)
                connection.execute(
                    "INSERT INTO schema_migrations (room, number, name, checksum) VALUES (%s, %s, %s, %s)",
                    (file.room, file.number, _title(file), file.checksum),
                )
        except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
            raise _not_owner(f"migration {_title(file)}", error) from None
        done.append(_title(file))
    return done


def _not_owner(what: str, error: psycopg.Error) -> OperatorError:
    return OperatorError(
        f"{what}: {error.diag.message_primary or error} (SQLSTATE {error.sqlstate}); "
        "the database role must own its database, and the database must be Emberwatch's alone"
    )


def _outstanding(
    schemas: Sequence[str], flavour: str, applied: dict[tuple[str, int], tuple[str, str]]
) -> list[Migration]:
    """Files not yet applied, in order, after checking those that are."""
    outstanding = []
    for room in schemas:
        files = {file.number: file for file in _files(room) if file.variant in ("", flavour)}
        for number, (name, checksum) in sorted((key[1], row) for key, row in applied.items() if key[0] == room):
            if number not in files:
                raise OperatorError(f"the database has {name}, which this release does not know; use a newer release")
            if files[number].checksum != checksum:
                raise OperatorError(f"{name} was changed after it was applied; restore it and add a new file instead")
        outstanding += [file for number, file in sorted(files.items()) if (room, number) not in applied]
    return outstanding


def _applied(connection: Connection) -> dict[tuple[str, int], tuple[str, str]]:
    rows = connection.execute("SELECT room, number, name, checksum FROM schema_migrations").fetchall()
    return {(room, number): (name, checksum) for room, number, name, checksum in rows}


def _flavour(applied: dict[tuple[str, int], tuple[str, str]]) -> str | None:
    """What this database was once begun with; a later installed extension does not change its tables."""
    names = [name for name, _ in applied.values()]
    return next((kind for kind in ("timescale", "plain") if any(name.endswith(f".{kind}") for name in names)), None)


def _files(room: str) -> list[Migration]:
    folder = resources.files(room) / "schema"
    if not folder.is_dir():
        return []
    found = []
    for item in folder.iterdir():
        if match := _NAME.fullmatch(item.name):
            text = item.read_text(encoding="utf-8").replace("\r\n", "\n")
            found.append(Migration(room, int(match[1]), match[2], match[3] or "", text))
        elif item.name.endswith(".sql"):
            raise OperatorError(f"{room}/schema/{item.name}: a migration is named NNNN_name.sql")
    return found


def _title(file: Migration) -> str:
    return f"{file.room}/{file.number:04}_{file.name}" + (f".{file.variant}" if file.variant else "")


def _offers_timescale(connection: Connection) -> bool:
    """Is TimescaleDB loaded in the server and installable here? This setting exists only where it is."""
    row = connection.execute(
        "SELECT current_setting('timescaledb.max_background_workers', true) IS NOT NULL"
        " AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
    ).fetchone()
    return bool(row and row[0])


def _has_timescale(connection: Connection) -> bool:
    """TimescaleDB in this database, created when the server offers it and our role may."""
    installed = "SELECT FROM pg_extension WHERE extname = 'timescaledb'"
    if connection.execute(installed).fetchone() is None and _offers_timescale(connection):
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS timescaledb"))
    return connection.execute(installed).fetchone() is not None
