"""One engine, three clocks: what was decided live is decided again, exactly, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.broker import Broker
from ingest.inventory import Device, InventoryDelta, Site
from ingest.inventory_file import write_inventory
from ingest.readings_file import read_readings
from tests.support.collector import Collector
from tests.support.data import recorded
from tests.support.program import Program, simulate

pytestmark = pytest.mark.acceptance

SOURCES = """
sources:
  - {filter: "ember/v1/+/+/telemetry", codec: ember-json, clock: observed}
  - {filter: "ember/v1/+/+/alarm", codec: ember-json, clock: observed}
"""


def test_a_readings_file_gives_the_same_transitions_live_and_back_tested_and_so_does_the_exported_log(
    tmp_path: Path, mosquitto: Broker, database: str, collector: Collector
) -> None:
    recorded("nist_smoke_alarms/NIST_Smoke_Alarms_SDC02.csv")
    simulate("convert", "nist_smoke_alarms", str(tmp_path))
    readings = tmp_path / "SDC02.csv"
    inventory = tmp_path / "inventory.csv"
    write_inventory(_everybody(readings), inventory)

    program = Program(tmp_path / "run", mqtt=mosquitto.url, database=database, hook=collector.url, sources=SOURCES)
    program.call("migrate")
    program.call("inventory", "import", str(inventory))
    with program:
        program.until(lambda: program.in_log("recording", "INVENTORY"), what="the inventory in the log")
        simulate("replay", str(readings), "--broker", mosquitto.url, "--speed", "max")
        program.drained(len(list(read_readings(readings))))
        program.until(lambda: program.ledger()["alerts"]["pending"] == 0, what="all told")
        program.call("alerts", "export", "--out", "live.jsonl")
        program.call("journal", "export", "log.ember", "--shard", "recording")
    program.call("rules", "backtest", "--journal", "log.ember", "--out", "again.jsonl")
    program.call(
        "rules", "backtest", "--readings", str(readings), "--inventory", str(inventory), "--out", "offline.jsonl"
    )
    live, again, offline = (
        (program.folder / name).read_text() for name in ("live.jsonl", "again.jsonl", "offline.jsonl")
    )
    assert live.count('"class":"fire"') > 5
    assert again == live
    assert offline == live


def _everybody(readings: Path) -> InventoryDelta:
    """Every device of the file, expected as often as the recording's own step."""
    subjects = sorted({(row.site, row.device) for row in read_readings(readings)})
    return InventoryDelta(
        sites=[Site(id=site) for site in dict(subjects)],
        devices=[Device(id=device, site=site, expected_interval_s=2) for site, device in subjects],
    )
