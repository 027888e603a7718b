"""The command line: every mistake is one line and the right exit code, and nothing is started for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import cli
from ingest.errors import ConfigError


class Called:
    """`emberwatch` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("EMBERWATCH_")} | {
            "EMBERWATCH_DATA_DIR": str(folder / "data")
        }

    def __call__(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | {f"EMBERWATCH_{name.upper()}": value for name, value in settings.items()}
        return subprocess.run(
            [sys.executable, "-m", "api.cli", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def emberwatch(tmp_path: Path) -> Called:
    return Called(tmp_path)


def complaint(called: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr of a call that ended with this code."""
    assert called.returncode == code, called
    assert called.stderr.count("\n") == 1 and called.stderr.endswith("\n"), called.stderr
    assert "Traceback" not in called.stderr
    return called.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["demo", "--seconds", "soon"],
        ["demo", "--seconds", "0"],
        ["demo", "--port", "99999"],
        ["demo", "--sites", "-1"],
        ["run", "fast"],
        ["decode", "x.json"],
        ["decode", "--codec", "ember-json"],
        ["decode", "--codec", "nonsense", "x.json"],
        ["decode", "--codec", "ember-json", "--property", "k", "x.json"],
        ["ledger", "--jsno"],
        ["inventory"],
        ["inventory", "import"],
        ["rules", "check"],
        ["rules", "backtest"],
        ["rules", "backtest", "--readings", "a", "--journal", "b"],
        ["journal", "export"],
        ["alerts"],
        ["quarantine", "list", "--limit", "many"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(emberwatch: Called, words: list[str]) -> None:
    complaint(emberwatch(*words), 2)


@pytest.mark.parametrize(
    "words",
    [
        ["decode", "--codec", "ember-json", "missing.json"],
        ["rules", "check", "missing.yaml"],
        ["rules", "backtest", "--readings", "missing.csv"],
        ["rules", "backtest", "--journal", "missing.log"],
        ["inventory", "import", "missing.csv"],
        ["journal", "export", "out.log"],
        ["journal", "export", "out.log", "--shard", "nowhere"],
    ],
)
def test_a_missing_file_is_one_line_that_names_it(emberwatch: Called, words: list[str]) -> None:
    called = emberwatch(*words)
    line = complaint(called, 1)
    assert "missing" in line or "shard" in line
    assert not (emberwatch.folder / "data" / "postgres").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["migrate"],
        ["inventory", "export"],
        ["ledger"],
        ["ledger", "--json"],
        ["alerts", "export"],
        ["quarantine", "list"],
    ],
)
def test_a_database_that_is_away_is_one_line_that_says_where(emberwatch: Called, words: list[str]) -> None:
    called = emberwatch(*words, database_url="postgresql://someone:secret@127.0.0.1:9/nothing")
    line = complaint(called, 1)
    assert "127.0.0.1:9" in line and "secret" not in line


@pytest.mark.parametrize("command", ["run", "demo", "migrate", "ledger"])
def test_wrong_settings_are_a_line_each(emberwatch: Called, command: str) -> None:
    called = emberwatch(command, mqtt_url="http://x", http_bind="here", databse_url="x")
    assert called.returncode == 1
    lines = called.stderr.splitlines()
    assert len(lines) == 3 and all(line.startswith("EMBERWATCH_") for line in lines)
    assert not (emberwatch.folder / "data").exists()


@pytest.mark.parametrize("command", ["run", "demo"])
def test_wrong_files_are_all_named_before_anything_starts(emberwatch: Called, command: str) -> None:
    (emberwatch.folder / "rules.yaml").write_text("rules: 3\n")
    called = emberwatch(command, rules="rules.yaml", teams="no-teams.yaml", sources="no-sources.yaml")
    assert called.returncode == 1
    named = {line.split(":")[0] for line in called.stderr.splitlines()}
    assert named == {"rules.yaml", "no-teams.yaml", "no-sources.yaml"}
    assert not (emberwatch.folder / "data").exists()


@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_port_in_use_is_one_line_before_anything_starts(emberwatch: Called, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert bind in complaint(emberwatch(command, http_bind=bind), 1)
    assert not (emberwatch.folder / "data").exists()


def test_demo_does_not_touch_a_folder_that_is_not_its_own(emberwatch: Called) -> None:
    data = emberwatch.folder / "data"
    data.mkdir()
    (data / "journal").mkdir()
    (data / "journal" / "precious").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    assert "journal" in complaint(emberwatch("demo", http_bind=bind), 1)
    assert (data / "journal" / "precious").exists()


def test_check_tells_all_problems_at_once_and_what_is_good(emberwatch: Called) -> None:
    called = emberwatch(
        "check",
        database_url="postgresql://x@127.0.0.1:9/x",
        mqtt_url="mqtt://127.0.0.1:9",
        rules="no-rules.yaml",
        teams="no-teams.yaml",
    )
    assert called.returncode == 1 and called.stderr == ""
    for subject in ("rules", "teams", "database", "broker"):
        assert f"PROBLEM  {subject}: " in called.stdout
    for subject in ("settings", "sources", "disk"):
        assert f"ok       {subject}: " in called.stdout
    assert called.stdout.splitlines()[-1] == "4 problems"


def test_rules_check_reads_every_file(emberwatch: Called) -> None:
    good = "rules:\n  - {id: hot, kind: level, quantity: temperature, above: 57, class: fire, severity: critical}\n"
    (emberwatch.folder / "good.yaml").write_text(good)
    (emberwatch.folder / "bad.yaml").write_text("rules:\n  - {id: hot, kind: levle}\n")
    called = emberwatch("rules", "check", "good.yaml", "bad.yaml", "worse.yaml")
    assert called.returncode == 1 and "good.yaml: 1 rules" in called.stdout
    assert "bad.yaml:2" in called.stderr and "worse.yaml" in called.stderr
    assert emberwatch("rules", "check", "good.yaml").returncode == 0


def test_backtest_writes_transitions_and_needs_nothing_but_the_files(emberwatch: Called) -> None:
    rows = [f"2026-03-01T08:{minute:02}:00Z,s1,d1,{20 + 8 * minute}" for minute in range(8)]
    (emberwatch.folder / "day.csv").write_text("\n".join(["time,site,device,temperature", *rows]) + "\n")
    called = emberwatch("rules", "backtest", "--readings", "day.csv", "--out", "out.jsonl")
    assert called.returncode == 0, called.stderr
    assert '"class":"fire"' in (emberwatch.folder / "out.jsonl").read_text()
    assert not (emberwatch.folder / "data").exists()


@pytest.mark.parametrize(
    "words", [[], ["demo"], ["run"], ["check"], ["decode"], ["rules", "backtest"], ["inventory", "import"], ["ledger"]]
)
def test_help_teaches(emberwatch: Called, words: list[str]) -> None:
    called = emberwatch(*words, "--help")
    assert called.returncode == 0 and called.stderr == ""
    assert called.stdout.startswith("usage: emberwatch") and len(called.stdout) > 200


def test_a_reader_that_has_seen_enough_ends_a_command_quietly(emberwatch: Called) -> None:
    (emberwatch.folder / "many.json").write_text('[{"temperature": 1}]')
    files = ["many.json"] * 5000
    topic = "ember/v1/s1/d1/telemetry"
    with subprocess.Popen(
        [sys.executable, "-m", "api.cli", "decode", "--codec", "ember-json", "--topic", topic, *files],
        cwd=emberwatch.folder,
        env=emberwatch.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        process.wait(30)
    assert said == b"" and process.returncode == 141


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr(cli, "_keep_details", lambda error: "the details are in FILE")
    yield monkeypatch


def test_an_error_nobody_thought_of_is_one_line(
    failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(arguments: object) -> int:
        raise ZeroDivisionError("two\nlines")

    failing.setattr(cli, "_migrate", explode)
    assert cli.main(["migrate"]) == 1
    assert capsys.readouterr().err == "emberwatch: unexpected ZeroDivisionError: two lines; the details are in FILE\n"


def test_the_details_of_such_an_error_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(arguments: object) -> int:
        raise ZeroDivisionError("deep down")

    monkeypatch.setenv("EMBERWATCH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(cli, "_migrate", explode)
    assert cli.main(["migrate"]) == 1
    assert str(tmp_path / "log" / "errors.log") in capsys.readouterr().err
    assert "Traceback" in (tmp_path / "log" / "errors.log").read_text()


def test_several_problems_are_a_line_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(arguments: object) -> int:
        raise ConfigError(["a.yaml:1: wrong", "b.yaml:2: wrong"])

    monkeypatch.setattr(cli, "_migrate", refuse)
    assert cli.main(["migrate"]) == 1
    assert capsys.readouterr().err == "a.yaml:1: wrong\nb.yaml:2: wrong\n"
