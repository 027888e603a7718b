"""`python -m ingest` as its users start it: broker in, database out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.broker import Broker
from ingest.inventory import Device, InventoryDelta, Site
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, encode
from tests.support.broker import Publisher, unique, wait_until
from tests.support.ports import free_port
from tests.support.writing import books, wall

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration


class Roles:
    """Roles started by a test, ended by their own pids."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port(2)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("EMBERWATCH_")}
        self.env |= {"EMBERWATCH_DATA_DIR": str(folder / "data"), "EMBERWATCH_LOG_FORMAT": "json"}
        self.env |= {"EMBERWATCH_METRICS_BIND": f"127.0.0.1:{self.port}", "PYTHONPATH": str(ROOT)}
        self.env |= {f"EMBERWATCH_{key.upper()}": value for key, value in settings.items()}
        self.children: list[subprocess.Popen[str]] = []

    def start(self, *argv: str) -> subprocess.Popen[str]:
        with (self.folder / "stderr").open("a") as stderr:
            command = [sys.executable, "-m", "ingest", *argv]
            child = subprocess.Popen(command, cwd=self.folder, env=self.env, stderr=stderr, text=True)
        self.children.append(child)
        return child

    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def end(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()


@pytest.fixture
def roles(tmp_path: Path, mosquitto: Broker, database: str) -> Iterator[Roles]:
    url = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(
        **dict(part.split("=", 1) for part in database.split() if "=" in part)
    )
    roles = Roles(tmp_path, mqtt_url=mosquitto.url, mqtt_client_id=unique("ingest"), database_url=url)
    yield roles
    roles.end()


def stop(child: subprocess.Popen[str]) -> float:
    """Seconds it took to stop on SIGTERM, with exit code 0."""
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(15) == 0
    return time.monotonic() - began


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_both_roles_carry_a_message_from_broker_to_database(
    roles: Roles, mosquitto: Broker, database: str, tmp_path: Path
) -> None:
    site = unique("shed")
    journal = SqliteJournal(tmp_path / "data" / "journal", "main")
    delta = InventoryDelta(sites=[Site(id=site)], devices=[Device(id="d1", site=site)])
    journal.messages.append([Entry(Kind.INVENTORY, value=encode(delta))], now=wall())
    child = roles.start()
    wait_until(lambda: listening(roles.port), what="the receiver listens")
    Publisher(mosquitto.url).publish(f"ember/v1/{site}/d1/telemetry", b'{"temperature": 21.5}')
    wait_until(lambda: books(database).get("stored") == 1, what="the reading is in the database")
    assert journal.messages.last(Kind.SOURCES) is not None
    assert 'emberwatch_ingest_written_total{outcome="stored",shard="main"} 1.0' in metrics(roles.port + 1)
    assert (tmp_path / "data" / "run" / "writer.pid").exists()
    assert stop(child) < 5
    assert not (tmp_path / "data" / "run" / "writer.pid").exists()
    journal.close()


def listening(port: int) -> bool:
    try:
        return 'emberwatch_ingest_listening{shard="main"} 1.0' in metrics(port)
    except OSError:
        return False


def test_the_sources_stand_in_the_log_once_until_they_change(roles: Roles, tmp_path: Path) -> None:
    def announced() -> int:
        if not (tmp_path / "data" / "journal" / "main").exists():
            return 0
        journal = SqliteJournal(tmp_path / "data" / "journal", "main")
        count = sum(record.kind == Kind.SOURCES for record in journal.messages.read(-1, 1000, control_only=True))
        journal.close()
        return count

    for changed in (False, False, True):
        if changed:
            (tmp_path / "other.yaml").write_text("sources:\n  - {filter: other/+/+/telemetry, codec: ember-json}\n")
            roles.env["EMBERWATCH_SOURCES"] = str(tmp_path / "other.yaml")
        child = roles.start("receiver")
        wait_until(lambda: listening(roles.port), what="the receiver listens")
        assert announced() == (2 if changed else 1)
        assert stop(child) < 2


def test_the_writer_waits_for_a_database_and_stops_promptly_without_one(roles: Roles) -> None:
    roles.env["EMBERWATCH_DATABASE_URL"] = "postgresql://me:secret@127.0.0.1:1/x"
    child = roles.start("writer")
    wait_until(lambda: "cannot write" in roles.said())
    assert child.poll() is None
    assert stop(child) < 2
    assert "secret" not in roles.said()
    assert "Traceback" not in roles.said()


@pytest.mark.parametrize(
    ("argv", "settings", "line"),
    [
        (("reader",), {}, "usage: python -m ingest [receiver|writer]; found reader"),
        (("writer",), {"SOURCES": "none.yaml"}, "none.yaml: no such file or directory; name an existing file"),
        (("writer",), {"METRICS_BIND": "192.0.2.1:9"}, "EMBERWATCH_METRICS_BIND: cannot listen at 192.0.2.1:10"),
        (("writer",), {"TYPO": "1"}, "EMBERWATCH_TYPO: unknown setting"),
    ],
)
def test_what_a_person_must_change_is_one_line_and_exit_code_2(
    roles: Roles, argv: tuple[str, ...], settings: dict[str, str], line: str
) -> None:
    roles.env |= {f"EMBERWATCH_{key}": value for key, value in settings.items()}
    assert roles.start(*argv).wait(30) == 2
    said = roles.said().strip()
    assert said.startswith(line) and "\n" not in said


def test_a_second_writer_is_refused_with_the_pid_of_the_first(roles: Roles) -> None:
    first = roles.start("writer")
    wait_until(lambda: '"writing"' in roles.said())
    roles.env["EMBERWATCH_METRICS_BIND"] = "127.0.0.1:0"
    assert roles.start("writer").wait(30) == 2
    assert f"runs as process {first.pid}" in roles.said()
    assert stop(first) < 2
