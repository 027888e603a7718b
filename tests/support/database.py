"""A real PostgreSQL for tests: one embedded server a session, one fresh database a test.

Free of pytest; the fixtures `postgres` and `database` in tests/conftest.py stand on it.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from ingest.database import connect, embedded_server, migrate

SCHEMAS = ("ingest", "alerts", "api")
_TEMPLATE = "emberwatch_template"


@contextmanager
def running_server() -> Iterator[str]:
    """URL of an embedded server in a folder of its own, with a migrated template database in it."""
    folder = Path(tempfile.mkdtemp(prefix="emberwatch-test-"))
    folder.chmod(0o755)  # as root the server runs as nobody
    try:
        with embedded_server(folder) as server:
            make_template(server.url)
            yield server.url
    finally:
        shutil.rmtree(folder)


def make_template(url: str) -> None:
    """(Re)make the migrated database that `fresh_database` clones."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_TEMPLATE)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    with connect(in_database(url, _TEMPLATE)) as connection:
        migrate(connection, SCHEMAS)


def in_database(url: str, name: str) -> str:
    """The same server, another database."""
    return conninfo.make_conninfo(url, dbname=name)


@contextmanager
def fresh_database(url: str, *, template: str = _TEMPLATE) -> Iterator[str]:
    """URL of a new database on this server, cloned from the migrated template (`template0`: an empty one)."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        words = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(words.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield in_database(url, name)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
