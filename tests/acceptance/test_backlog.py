"""The evaluator stands still while messages pile up: the fires among them are told, and once only."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from ingest.broker import start_broker
from ingest.inventory import Device, InventoryDelta, Site
from ingest.inventory_file import write_inventory
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, Message, encode
from tests.support.broker import missing_mosquitto
from tests.support.collector import Collector
from tests.support.dispatching import wall
from tests.support.program import Program
from tests.support.skip import skip_or_fail

pytestmark = pytest.mark.acceptance

SITES = 50
WAITING = 40_000
TELEMETRY, ALARM = "ember/v1/+/+/telemetry", "ember/v1/+/+/alarm"
BURNING = (7, 21, 33)


def message(site: int, kind: str, payload: bytes) -> Entry:
    source = ALARM if kind == "alarm" else TELEMETRY
    meta = Message(topic=f"ember/v1/shed-{site}/head-{site}/{kind}", source=source, received_at=wall())
    return Entry(Kind.MESSAGE, encode(meta), payload)


def pile_up(journal: SqliteJournal) -> int:
    """What forty thousand messages look like in the log, three fires among them; how many."""
    quiet = [message(n % SITES, "telemetry", b'{"temperature":%d.5}' % (20 + n % 7)) for n in range(WAITING)]
    for place, site in zip((9_000, 20_000, 39_999), BURNING, strict=True):
        quiet[place] = message(site, "telemetry", b'{"temperature":24.5,"smoke_alarm":true}')
    quiet[30_000] = message(BURNING[0], "alarm", b'{"heat_alarm":true}')  # of a site that burns already
    for first in range(0, WAITING, 500):
        journal.messages.append(quiet[first : first + 500], now=wall())
    return WAITING


def test_fires_in_a_backlog_are_told_while_the_evaluator_stands_still_and_never_twice(
    tmp_path: Path, database: str, collector: Collector
) -> None:
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker:
        program = Program(tmp_path / "program", mqtt=broker.url, database=database, hook=collector.url)
        sheds = [Site(id=f"shed-{n}") for n in range(SITES)]
        heads = [Device(id=f"head-{n}", site=f"shed-{n}", expected_interval_s=3_600) for n in range(SITES)]
        write_inventory(InventoryDelta(sites=sheds, devices=heads), program.folder / "inventory.csv")
        program.call("migrate")
        program.call("inventory", "import", str(program.folder / "inventory.csv"))
        with program, closing(SqliteJournal(program.data / "journal", "main")) as journal:
            program.until(lambda: program.in_log("main", "INVENTORY"))
            stopped = program.pid("evaluator")
            os.kill(stopped, signal.SIGSTOP)  # it lives and judges nothing, so that nobody starts it again
            try:
                received = pile_up(journal)
                began = time.monotonic()
                collector.wants(3, within=15)
                assert time.monotonic() - began < 5
            finally:
                os.kill(stopped, signal.SIGCONT)
            told = {page.body["incident"]["site"]: page.body for page in collector.pages()}
            assert set(told) == {f"shed-{n}" for n in BURNING}
            assert {body["reason"] for body in told.values()} == {"suspected"}
            program.drained(received)
            program.until(lambda: len(program.get("incidents")["items"]) == 3, what="three incidents")
            program.until(lambda: program.ledger()["alerts"]["opened"] == 4, what="four alerts")
            program.until(lambda: program.ledger()["alerts"]["pending"] == 0, what="four alerts told or suppressed")
            books = program.ledger()
            alerts = program.get("alerts")["items"]
            incident = program.get("incidents/" + program.get("incidents")["items"][0]["id"])
    assert books["alerts"] == {"opened": 4, "notified": 0, "suppressed": 4, "pending": 0}
    assert books["deliveries"] == {"created": 3, "accepted": 3, "failed": 0, "waiting": 0}
    assert {alert["told_reason"] for alert in alerts} == {"already_told"}
    pages = {page.key for page in collector.pages()}
    assert any(key in line["text"] for line in incident["timeline"] for key in pages)
    assert collector.unexpected() == []
