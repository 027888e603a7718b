"""Commands that need a database, called as an operator calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, Message, Tick, encode
from tests.support.database import fresh_database
from tests.support.program import as_url
from tests.support.rows import OPENED, Rows

pytestmark = pytest.mark.integration

INVENTORY = """kind,id,parent,name,class,lat,lon,expected_interval_s,credential,attributes
area,town,,雨花街道,,,,,,
centre,c1,town,中心,,,,,,
site,s1,town,3号车棚,,31.9,118.7,,,
device,d1,s1,,smoke_heat_head,,,60,,"{""floor"": 1}"
"""


class Emberwatch:
    """Commands over one database, in a folder of their own."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("EMBERWATCH_")}
        self.environment |= {
            "EMBERWATCH_DATABASE_URL": as_url(database),
            "EMBERWATCH_DATA_DIR": str(folder / "data"),
            "EMBERWATCH_MQTT_URL": "mqtt://127.0.0.1:9",
        }

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        called = subprocess.run(
            [sys.executable, "-m", "api.cli", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert called.returncode == code, called
        return called


@pytest.fixture
def emberwatch(tmp_path: Path, database: str) -> Emberwatch:
    return Emberwatch(tmp_path, database)


def test_the_inventory_becomes_mosquitto_s_access_rules(emberwatch: Emberwatch) -> None:
    bridge = 'device,z2m,s1,,gateway,,,60,,"{""publish"": [""zigbee2mqtt/#""]}"\ndevice,a+b,s1,,smoke_head,,,60,,\n'
    (emberwatch.folder / "town.csv").write_text(INVENTORY + bridge, encoding="utf-8")
    emberwatch("inventory", "import", "town.csv")
    done = emberwatch("inventory", "acl", "--out", "acl", "--user", "ours")
    assert "'a+b' of site 's1' cannot connect by its name: it has +" in done.stderr and done.stderr.count("\n") == 1
    lines = (emberwatch.folder / "acl").read_text(encoding="utf-8").splitlines()
    assert "pattern write ember/v1/%u/alarm" in lines
    assert lines.index("user ours") < lines.index("topic read ember/v1/+/+/alarm")
    assert lines[-3:] == ["user s1/z2m", "topic write zigbee2mqtt/#", "topic write ember/v1/s1/telemetry"]
    assert emberwatch("inventory", "acl").stdout.splitlines()[:2] == lines[:2]
    refused = emberwatch("inventory", "acl", "--user", "a/b", code=1).stderr
    assert refused == "--user 'a/b': / is for names of devices; give a name such as emberwatch\n"


def test_migrate_applies_the_schema_once_and_other_commands_ask_for_it(tmp_path: Path, postgres: str) -> None:
    with fresh_database(postgres, template="template0") as empty:
        emberwatch = Emberwatch(tmp_path, empty)
        for words in (["ledger"], ["inventory", "export"], ["alerts", "export"], ["quarantine", "list"]):
            said = emberwatch(*words, code=1).stderr
            assert said.count("\n") == 1 and "emberwatch migrate" in said
        assert "alerts/0001_alerts" in emberwatch("migrate").stdout
        assert emberwatch("migrate").stdout == "the schema is up to date; 0 files applied\n"
        assert emberwatch("ledger").stdout


def test_an_inventory_comes_back_as_it_went_in(emberwatch: Emberwatch, database: str) -> None:
    file = emberwatch.folder / "town.csv"
    file.write_text(INVENTORY, encoding="utf-8")
    assert "1 devices, 1 new or changed" in emberwatch("inventory", "import", "town.csv").stdout
    assert "1 devices, 0 new or changed" in emberwatch("inventory", "import", "town.csv").stdout
    exported = emberwatch("inventory", "export").stdout
    assert exported.splitlines()[0] == INVENTORY.splitlines()[0] and "3号车棚" in exported
    emberwatch("inventory", "export", "out.csv")
    assert (emberwatch.folder / "out.csv").read_text(encoding="utf-8") == exported
    assert "0 new or changed" in emberwatch("inventory", "import", "out.csv").stdout
    with closing(Rows(database)) as rows:
        assert rows.execute("SELECT count(*) > 0 FROM inventory_changes WHERE relayed_at IS NULL") == [(True,)]
    assert "folder" in emberwatch("inventory", "export", "no/folder.csv", code=1).stderr


def test_a_wrong_inventory_is_a_line_a_problem_and_nothing_is_taken_over(emberwatch: Emberwatch) -> None:
    wrong = INVENTORY + "device,d2,nowhere,,smoke_heat_head,,,60,,\ndevice,d3,s1,,toaster,,,60,,\n"
    (emberwatch.folder / "town.csv").write_text(wrong, encoding="utf-8")
    said = emberwatch("inventory", "import", "town.csv", code=1).stderr.splitlines()
    assert [line.split(":")[1] for line in said] == ["6", "7"]
    assert emberwatch("inventory", "export").stdout.count("\n") == 1


def test_the_ledger_balances_and_says_when_it_does_not(emberwatch: Emberwatch) -> None:
    assert json.loads(emberwatch("ledger", "--json").stdout)["balanced"] is True
    with closing(SqliteJournal(emberwatch.folder / "data" / "journal", "main")) as journal:
        message = Message(topic="ember/v1/s1/d1/telemetry", source="#", received_at=1)
        journal.messages.append([Entry(Kind.MESSAGE, encode(message), b"{}")] * 3, now=1)
    books = json.loads(emberwatch("ledger", "--json").stdout)
    assert books["messages"]["received"] == books["messages"]["waiting"] == 3
    with closing(Rows(emberwatch.environment["EMBERWATCH_DATABASE_URL"])) as rows:
        rows.insert("cursors", reader="writer", shard="main", log_offset=2, counts={"stored": 1})
    assert "NOT BALANCED" in emberwatch("ledger", code=1).stdout


def test_a_log_is_exported_and_judged_again(emberwatch: Emberwatch) -> None:
    with closing(SqliteJournal(emberwatch.folder / "data" / "journal", "main")) as journal:
        body = Tick(listened=1_000_000)
        journal.messages.append([Entry(Kind.TICK, b"", encode(body))], now=2_000_001)
    assert "1 records of messages" in emberwatch("journal", "export", "main.log").stdout
    assert emberwatch("rules", "backtest", "--journal", "main.log").stdout == ""
    said = emberwatch("journal", "export", "x.log", "--shard", "other", code=1).stderr
    assert "other" in said and "main" in said and said.count("\n") == 1
    assert not (emberwatch.folder / "x.log").exists()


def test_alerts_and_quarantine_are_listed(emberwatch: Emberwatch, database: str) -> None:
    assert emberwatch("alerts", "export").stdout == ""
    emberwatch("alerts", "export", "--out", "all.jsonl")
    assert (emberwatch.folder / "all.jsonl").read_text() == ""
    assert emberwatch("quarantine", "list").stdout == "0 in quarantine\n"
    with closing(Rows(database)) as rows:
        rows.insert(
            "quarantine",
            shard="main",
            log_offset=7,
            received_at=OPENED,
            topic="ember/v1/s/d/telemetry",
            payload=b'\xff{"a"\n',
            reason="undecodable",
            detail="no JSON\nat byte 0",
            batch=1,
        )
    listed = emberwatch("quarantine", "list").stdout.splitlines()
    assert len(listed) == 2 and "main:7 undecodable: no JSON at byte 0 [ember/v1/s/d/telemetry]" in listed[0]
    assert listed[1] == "1 in quarantine: undecodable 1"
    assert "no reason" in emberwatch("quarantine", "list", "--reason", "boredom", code=1).stderr


def test_check_finds_the_database_good_and_asks_for_an_inventory(emberwatch: Emberwatch) -> None:
    said = emberwatch("check", code=1).stdout
    assert "ok       database: schema up to date" in said
    assert "PROBLEM  database: inventory: 0 sites, 0 devices; load it" in said
