"""`python -m alerts` as its users start it: child processes over a real log, told by a real webhook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.inventory import Area, Device, InventoryDelta, Site
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Intake, Kind, Message, Tick, encode
from ingest.sources_file import load_sources
from tests.support.collector import Collector
from tests.support.dispatching import until, wall
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration

TEAMS = """\
teams: [{{id: north, name: 北区, areas: [yuhua], channels: [hook]}}]
default_team: north
channels: {{hook: {{type: webhook, url: "{url}", secret_file: hook.key}}}}
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(secret=b"key") as collector:
        yield collector


@pytest.fixture
def folder(tmp_path: Path, collector: Collector) -> Path:
    (tmp_path / "hook.key").write_text("key", encoding="utf-8")
    (tmp_path / "teams.yaml").write_text(TEAMS.format(url=collector.url), encoding="utf-8")
    return tmp_path


class Roles:
    """Roles started by a test, each ended by its own pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics_port = free_port(6)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("EMBERWATCH_")}
        self.env |= {
            "EMBERWATCH_DATA_DIR": str(folder / "data"),
            "EMBERWATCH_TEAMS": str(folder / "teams.yaml"),
            "EMBERWATCH_METRICS_BIND": f"127.0.0.1:{self.metrics_port}",
            "EMBERWATCH_LOG_FORMAT": "json",
        }
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{'-'.join(argv) or 'all'}.log").open("ab")
        with log:
            child = subprocess.Popen(
                [sys.executable, "-m", "alerts", *argv],
                cwd=self.folder,
                env=self.env | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        self.children.append(child)
        return child

    def said(self, role: str) -> str:
        path = self.folder / f"{role}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def end(self) -> list[int]:
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        return [child.wait(10) for child in self.children]


@pytest.fixture
def roles(folder: Path) -> Iterator[Roles]:
    roles = Roles(folder)
    yield roles
    for child in roles.children:
        if child.poll() is None:
            child.kill()
            child.wait()
    for path in sorted(folder.glob("*.log")):  # shown when the test fails
        print(f"--- {path.name}\n{path.read_text(encoding='utf-8')}")


@pytest.fixture
def journal(folder: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(folder / "data" / "journal", "main")
    yield journal
    journal.close()


def judging(roles: Roles) -> None:
    """The evaluator is at work: before that, a fire is told ahead of it after a moment."""
    until(lambda: '"evaluating"' in roles.said("evaluator"), within=30)


def append(journal: SqliteJournal, kind: Kind, meta: bytes = b"", value: bytes = b"") -> None:
    journal.messages.append([Entry(kind, meta, value)], now=wall())


def alarm(site: str, device: str) -> tuple[bytes, bytes]:
    message = Message(topic=f"ember/v1/{site}/{device}/alarm", source="ember/v1/+/+/alarm", received_at=wall())
    return encode(message), b'{"smoke_alarm": true}'


PLACES = InventoryDelta(
    areas=[Area(id="yuhua")],
    sites=[Site(id="shed-1", name="3号棚", parent="yuhua")],
    devices=[Device(id="d1", site="shed-1")],
)


def test_an_alarm_in_the_log_reaches_the_team_while_no_database_exists(
    roles: Roles, journal: SqliteJournal, collector: Collector
) -> None:
    append(journal, Kind.SOURCES, value=load_sources(None).text.encode())
    append(journal, Kind.INVENTORY, value=encode(PLACES))
    append(journal, Kind.TICK, value=encode(Tick(listened=1)))
    roles.start("evaluator")
    judging(roles)
    roles.start("dispatcher")
    append(journal, Kind.MESSAGE, *alarm("shed-1", "d1"))
    (page,) = collector.wants(1, within=30)
    assert page.signed
    assert (page.body["class"], page.body["reason"], page.body["team"]) == ("fire", "opened", "north")
    assert page.body["incident"]["site_name"] == "3号棚"
    assert page.body["alerts"][0]["device"] == "d1"
    assert roles.end() == [0, 0]
    assert collector.unexpected() == []


def test_a_smoke_alarm_of_an_unregistered_device_is_told(
    roles: Roles, journal: SqliteJournal, collector: Collector
) -> None:
    append(journal, Kind.TICK, value=encode(Tick(listened=1)))
    roles.start("evaluator")
    judging(roles)
    roles.start("dispatcher")
    append(journal, Kind.MESSAGE, *alarm("nowhere", "stranger"))
    (page,) = collector.wants(1, within=30)
    assert (page.body["class"], page.body["reason"]) == ("fire", "unregistered")
    assert roles.end() == [0, 0]


def test_a_gap_told_by_the_dispatcher_is_not_told_again_by_the_engine(
    roles: Roles, journal: SqliteJournal, collector: Collector
) -> None:
    down = wall() - 120_000_000
    journal.messages.append([Entry(Kind.TICK, value=encode(Tick(listened=1)))], now=down)
    roles.start("dispatcher")
    (page,) = collector.wants(1, within=30)
    assert page.body["reason"] == "blind"
    append(journal, Kind.INTAKE, value=encode(Intake(down_at=down, up_at=wall(), reason="test")))
    roles.start("evaluator")
    judging(roles)
    append(journal, Kind.MESSAGE, *alarm("nowhere", "stranger"))  # decided after the gap, so the gap is decided by then
    collector.wants(1, within=30, where=lambda body: body["class"] == "fire")
    assert roles.end() == [0, 0]
    assert collector.unexpected() == []


def test_rulebook_and_teams_stand_in_the_log_once(roles: Roles, journal: SqliteJournal, folder: Path) -> None:
    for turn in range(2):
        roles.start("evaluator")
        roles.start("dispatcher")
        until(lambda so_far=turn: roles.said("evaluator").count('"evaluating"') > so_far, within=30)  # type: ignore[misc]
        until(lambda so_far=turn: roles.said("dispatcher").count('"dispatching"') > so_far, within=30)  # type: ignore[misc]
        until(lambda: journal.messages.last(Kind.TEAMS) is not None, within=30)
        assert roles.end() == [0, 0]
        roles.children.clear()
    kinds = [record.kind for record in journal.messages.read(-1, 1000, control_only=True)]
    assert kinds.count(Kind.TEAMS) == 1 and kinds.count(Kind.RULEBOOK) == 1
    newest = journal.messages.last(Kind.TEAMS)
    assert newest is not None and newest.value.decode() == (folder / "teams.yaml").read_text(encoding="utf-8")


def test_the_dispatcher_answers_prometheus(roles: Roles) -> None:
    roles.start("dispatcher")
    until(lambda: "dispatching" in roles.said("dispatcher"), within=30)
    with urllib.request.urlopen(f"http://127.0.0.1:{roles.metrics_port + 4}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'emberwatch_alerts_pages_created_total{class="fire",shard="main"} 0.0' in text
    assert roles.end() == [0]


def test_what_a_person_must_correct_is_said_in_one_line_each_with_exit_code_2(roles: Roles, folder: Path) -> None:
    (folder / "teams.yaml").write_text("teams: [{id: a, channels: [x]}]\ndefault_team: b\n", encoding="utf-8")
    assert roles.start("dispatcher").wait(20) == 2
    lines = roles.said("dispatcher").splitlines()
    assert len(lines) == 2 and all("teams.yaml:" in line for line in lines)


def test_an_unknown_role_is_named(roles: Roles) -> None:
    assert roles.start("auditor").wait(20) == 2
    (line,) = roles.said("auditor").splitlines()
    assert line == "usage: python -m alerts [evaluator|recorder|dispatcher]; found auditor"


def test_two_dispatchers_of_one_shard_do_not_both_run(roles: Roles) -> None:
    roles.start("dispatcher")
    until(lambda: "dispatching" in roles.said("dispatcher"), within=30)
    roles.env["EMBERWATCH_METRICS_BIND"] = "127.0.0.1:0"
    assert roles.start("dispatcher").wait(20) == 2
    assert "dispatcher of this shard already runs as process" in roles.said("dispatcher")
