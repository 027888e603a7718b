"""All roles as children of one parent that also holds the embedded database: what `run` and `demo` share."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from api.__main__ import bind
from api.app import SCHEMAS
from ingest.database import connect, migrate
from ingest.embedded import EmbeddedServer
from ingest.errors import EmberwatchError, OperatorError, Unavailable
from ingest.processes import Supervisor
from ingest.settings import PREFIX, Settings

#: In the order they are started; they are stopped in the opposite one. Each is a module and its arguments.
ROLES: dict[str, list[str]] = {
    "receiver": ["ingest", "receiver"],
    "evaluator": ["alerts", "evaluator"],
    "dispatcher": ["alerts", "dispatcher"],
    "writer": ["ingest", "writer"],
    "recorder": ["alerts", "recorder"],
    "api": ["api"],
}
_PATROL_SECONDS = 5.0

log = structlog.get_logger()


def argv_of(role: str) -> list[str]:
    """The command that runs a role."""
    return [sys.executable, "-m", *ROLES[role]]


def logged(argv: list[str], file: Path) -> list[str]:
    """The same command, under the same process id, with all it prints added to a file."""
    return ["/bin/sh", "-c", 'exec "$@" >>"$0" 2>&1', str(file), *argv]


def environment(settings: Settings, url: str, **changed: str) -> dict[str, str]:
    """What children must know beyond our own environment; keys of `changed` are names of settings."""
    names = {"database_url": url, "data_dir": str(settings.data)} | changed
    return {PREFIX + name.upper(): value for name, value in names.items()}


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only `run` or `demo` of this data folder; OperatorError when there is another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OperatorError(
            f"{folder}: {(error.strerror or str(error)).lower()};"
            " EMBERWATCH_DATA_DIR must be a folder this user can write"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(
                f"{folder}: another `emberwatch run` or `demo` works here; stop it, or set EMBERWATCH_DATA_DIR"
            ) from None
        yield
    finally:
        os.close(handle)


def check_address(http_bind: str) -> None:
    """OperatorError when the API could not listen there; before anything is started."""
    bind(http_bind).close()


def broker_answers(mqtt_url: str) -> bool:
    """Whether anything listens at the broker's address."""
    parts = urlsplit(mqtt_url)
    try:
        with socket.create_connection((parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883)), 3):
            return True
    except OSError:
        return False


def apply_schema(url: str) -> None:
    """Migrate; Unavailable without a database."""
    with closing(connect(url, name="migrate")) as connection:
        for name in migrate(connection, SCHEMAS):
            log.info("schema applied", migration=name)


class Patrol:
    """Keeps the database ready from a thread of its own: starts the embedded server again should it die, and applies
    the schema as soon as a database that was away at the start is there."""

    def __init__(self, url: str, server: EmbeddedServer | None, *, migrated: bool) -> None:
        self._url, self._server, self._migrated = url, server, migrated
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database patrol", daemon=True)

    def __enter__(self) -> Patrol:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        said = ""
        while not self._stop.wait(_PATROL_SECONDS):
            try:
                self._look()
                said = ""
            except EmberwatchError as error:
                if str(error) != said:
                    log.warning("the database is not ready", error=str(error))
                    said = str(error)

    def _look(self) -> None:
        if self._server is not None and self._server.ensure_running() != self._url:
            log.error("the embedded database came back at another address; restart to use it")
        if not self._migrated:
            apply_schema(self._url)
            self._migrated = True


def prepare_schema(url: str) -> bool:
    """Migrate now, or say that it is done later; whether it is done."""
    try:
        apply_schema(url)
    except Unavailable as error:
        print(f"{error}; alarms are told without it, the rest follows when it is back", file=sys.stderr)
        return False
    return True


def add_roles(supervisor: Supervisor, env: Mapping[str, str], log_dir: Path | None = None) -> None:
    """All roles; with `log_dir` each prints into a file of its own there."""
    for role in ROLES:
        argv = argv_of(role)
        supervisor.add(role, logged(argv, log_dir / f"{role}.log") if log_dir else argv, env)
