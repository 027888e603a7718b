"""The whole program as child processes, for acceptance tests: `with Program(folder, …) as program:`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
from psycopg.conninfo import conninfo_to_dict

from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("receiver", "writer", "evaluator", "recorder", "dispatcher", "api")


class Program:
    """`emberwatch run` with files and a data folder of its own. Everything it starts is ended by `stop`."""

    def __init__(
        self,
        folder: Path,
        *,
        mqtt: str,
        hook: str = "",
        sources: str = "",
        database: str = "",
        teams: str = "",
        more: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EMBERWATCH_")},
            "EMBERWATCH_DATA_DIR": str(self.data),
            "EMBERWATCH_MQTT_URL": mqtt,
            "EMBERWATCH_HTTP_BIND": f"127.0.0.1:{self.port}",
            "EMBERWATCH_METRICS_BIND": "127.0.0.1:0",
            "EMBERWATCH_LOG_FORMAT": "json",
            **(more or {}),
        }
        if database:
            self.environment["EMBERWATCH_DATABASE_URL"] = as_url(database)
        if hook:
            teams = teams or _one_team(hook)
        for name, text in (("teams", teams), ("sources", sources)):
            if text:
                path = folder / f"{name}.yaml"
                path.write_text(text, encoding="utf-8")
                self.environment[f"EMBERWATCH_{name.upper()}"] = str(path)

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("emberwatch")), *words]

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one `emberwatch` command to its end."""
        done = subprocess.run(
            self.command(*words), env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=180
        )
        if check and done.returncode:
            raise AssertionError(f"emberwatch {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done

    def start(self) -> None:
        log = (self.folder / "run.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.command("run"), env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.until(self.is_ready, seconds=90, what="ready")

    def stop(self) -> None:
        """Ctrl-C; everything it started must end with it."""
        if self.process is None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        _, left = psutil.wait_procs(family, timeout=10)
        self.process = None
        if code or left:
            raise AssertionError(f"run ended with {code}, left behind: {left}; its log: {self.log()[-3000:]}")

    def log(self) -> str:
        return (self.folder / "run.log").read_text(encoding="utf-8", errors="replace")

    def pid(self, role: str) -> int:
        return int((self.data / "run" / f"{role}.pid").read_text().split()[0])

    def kill(self, role: str) -> None:
        """`kill -9` of one role; the supervisor starts it again."""
        os.kill(self.pid(role), signal.SIGKILL)

    def get(self, path: str, **parameters: str | int) -> Any:
        """JSON of an API route."""
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Do something through the API."""
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        token = (self.data / "api.token").read_text().strip()
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{self.port}/api/v1/{path}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            **more,
        )
        answer.raise_for_status()
        return answer.json()

    def ledger(self) -> dict[str, Any]:
        """The books; AssertionError unless they balance."""
        books: dict[str, Any] = json.loads(self.call("ledger", "--json").stdout)
        assert books["balanced"] is True
        return books

    def drained(self, received: int) -> dict[str, Any]:
        """The books once so many messages came in and none waits."""

        def done() -> bool:
            books = json.loads(self.call("ledger", "--json", check=False).stdout or "{}")
            messages: dict[str, int] = books.get("messages", {})
            return messages.get("received", 0) >= received and messages.get("waiting") == 0

        self.until(done, seconds=120, what=f"{received} messages written")
        return self.ledger()

    def in_log(self, shard: str, kind: str) -> bool:
        """Whether the `messages` stream has a record of this kind."""
        with closing(SqliteJournal(self.data / "journal", shard)) as journal:
            return journal.messages.last(Kind[kind]) is not None

    def is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"run ended with {self.process.returncode}: {self.log()[-3000:]}")
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
            return bool(answer.status_code == httpx.codes.OK)
        except httpx.HTTPError:
            return False

    def until(self, condition: Callable[[], object], *, seconds: float = 30, what: str = "it") -> None:
        """Poll until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} within {seconds:g} s; log of the run: {self.log()[-3000:]}")
            time.sleep(0.2)


def simulate(*words: str, timeout: float = 240) -> str:
    """Run a simulator to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "simulators", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        raise AssertionError(f"simulators {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr


def _one_team(hook: str) -> str:
    return f"""
teams:
  - {{id: north, name: 北区快速处置队, areas: [], kind: full_time, channels: [hook]}}
default_team: north
centres:
  - {{id: centre, name: 智慧消防服务中心, areas: [], channels: [hook]}}
channels:
  hook: {{type: webhook, url: "{hook}"}}
"""


def as_url(conninfo: str) -> str:
    """A libpq connection string as a postgresql:// URL."""
    if "://" in conninfo:
        return conninfo
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(conninfo).items()}
    user, password = parts.pop("user", ""), parts.pop("password", "")
    host, port, name = parts.pop("host", "127.0.0.1"), parts.pop("port", "5432"), parts.pop("dbname", "postgres")
    rest = "&".join(f"{key}={value}" for key, value in parts.items())
    return f"postgresql://{user}:{password}@{host}:{port}/{name}" + (f"?{rest}" if rest else "")
