"""Stories: what happens in the field, and who is told. Anything unexpected at the team's webhook fails a story."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ingest.broker import Broker
from ingest.inventory import Device, InventoryDelta, Site
from ingest.inventory_file import write_inventory
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.readings import HOUR
from tests.support.broker import Publisher
from tests.support.collector import Collector
from tests.support.data import published_frames
from tests.support.ports import free_port
from tests.support.program import Program

pytestmark = pytest.mark.acceptance

NINE_YEARS_S = 9 * 365 * 86_400


@pytest.fixture
def program(tmp_path: Path, own_broker: Broker, database: str, collector: Collector) -> Iterator[Program]:
    """Running, with one shed and its two heads registered."""
    program = Program(tmp_path / "program", mqtt=own_broker.url, database=database, hook=collector.url)
    register(program, devices=2)
    with program:
        yield program


def register(program: Program, *, devices: int, interval: float | None = 3_600, id: str = "head-{}") -> None:
    """Import one shed with so many heads; the relay carries them into the log when the program runs."""
    heads = [Device(id=id.format(each), site="shed-1", expected_interval_s=interval) for each in range(1, devices + 1)]
    delta = InventoryDelta(sites=[Site(id="shed-1", name="一号车棚")], devices=heads)
    path = program.folder / "inventory.csv"
    write_inventory(delta, path)
    program.call("migrate")
    program.call("inventory", "import", str(path))


def say(broker: Broker, topic: str, **fields: object) -> None:
    publisher = Publisher(broker.url)
    try:
        publisher.publish(f"ember/v1/{topic}", json.dumps(fields).encode())
    finally:
        publisher.close()


def test_a_plain_fire_is_told_once_acknowledged_and_explained(
    program: Program, own_broker: Broker, collector: Collector
) -> None:
    program.until(lambda: program.in_log("main", "INVENTORY"))
    say(own_broker, "shed-1/head-1/alarm", ts=round(time.time() * 1000), smoke_alarm=True)
    collector.wants(1, within=10)
    say(own_broker, "shed-1/head-2/alarm", ts=round(time.time() * 1000), smoke_alarm=True)
    page = collector.arrivals()[0].body
    assert (page["reason"], page["class"], page["team"]) == ("opened", "fire", "north")
    assert page["incident"]["site_name"] == "一号车棚"
    incident = page["incident"]["id"]
    program.until(lambda: len(program.get(f"incidents/{incident}")["alerts"]) == 2, what="both alerts recorded")
    program.post(f"incidents/{incident}/acknowledge", {"comment": "on our way"})
    program.until(lambda: program.get(f"incidents/{incident}")["state"] == "acknowledged", what="acknowledged")
    books = program.ledger()
    assert books["alerts"] == {"opened": 2, "notified": 1, "suppressed": 1, "pending": 0}
    assert books["deliveries"] == {"created": 1, "accepted": 1, "failed": 0, "waiting": 0}
    assert len(collector.arrivals()) == 1


def test_a_smoke_alarm_of_an_unregistered_device_pages_the_centre(
    program: Program, own_broker: Broker, collector: Collector
) -> None:
    say(own_broker, "shed-9/nobody/alarm", smoke_alarm=True)
    collector.wants(1, within=10)
    page = collector.arrivals()[0].body
    assert (page["reason"], page["class"], page["team"]) == ("unregistered", "fire", "centre")
    assert "nobody" in page["alerts"][0]["device"]
    program.drained(1)
    assert program.ledger()["messages"]["quarantined"] == 1


def test_a_head_whose_clock_is_nine_years_off_pages_at_once(
    program: Program, own_broker: Broker, collector: Collector
) -> None:
    program.until(lambda: program.in_log("main", "INVENTORY"))
    now = time.time()
    say(own_broker, "shed-1/head-1/alarm", ts=round((now - NINE_YEARS_S) * 1000), smoke_alarm=True)
    collector.wants(1, within=10)
    page = collector.arrivals()[0].body
    assert page["reason"] == "opened" and page["incident"]["site"] == "shed-1"
    say(own_broker, "shed-1/head-2/alarm", ts=round((now + NINE_YEARS_S) * 1000), smoke_alarm=True)
    program.drained(2)
    program.until(lambda: program.ledger()["alerts"]["opened"] == 2, what="the second head's alert")
    assert len(collector.arrivals()) == 1


def test_a_receiver_that_hears_nothing_is_told_as_blind_within_45_seconds(
    program: Program, own_broker: Broker, collector: Collector
) -> None:
    program.until(lambda: program.in_log("main", "INVENTORY"))
    stopped = program.pid("receiver")
    os.kill(stopped, signal.SIGSTOP)  # it lives and hears nothing, so that nobody starts it again
    try:
        collector.wants(1, within=45)
        page = collector.arrivals()[0].body
        assert (page["reason"], page["team"]) == ("blind", "centre")
    finally:
        os.kill(stopped, signal.SIGCONT)
    opened = program.get("incidents")["items"]
    program.until(lambda: len(program.get("incidents")["items"]) == 1, what=f"the blind incident, now {opened}")
    assert program.get("incidents")["items"][0]["id"] == page["incident"]["id"]
    say(own_broker, "shed-1/head-1/alarm", smoke_alarm=True)
    collector.wants(2, within=10)
    assert [arrival.body["reason"] for arrival in collector.arrivals()] == ["blind", "opened"]


def test_a_killed_receiver_is_started_again_and_loses_nothing(
    program: Program, own_broker: Broker, collector: Collector
) -> None:
    program.until(lambda: program.in_log("main", "INVENTORY"))
    first = program.pid("receiver")
    program.kill("receiver")
    say(own_broker, "shed-1/head-1/alarm", smoke_alarm=True)
    collector.wants(1, within=20)
    program.until(lambda: program.pid("receiver") != first, what="started again")
    program.drained(1)


def test_two_hours_of_downtime_are_one_blind_alert_and_no_device_is_called_silent(
    tmp_path: Path, own_broker: Broker, database: str, collector: Collector
) -> None:
    program = Program(tmp_path / "program", mqtt=own_broker.url, database=database, hook=collector.url)
    register(program, devices=50, interval=60)
    with program:
        program.until(lambda: program.in_log("main", "INVENTORY"))
    # the log's last sign of listening, as a receiver that died two hours ago left it
    _age_log(program, by=2 * HOUR)
    with program:
        collector.wants(1, within=45)
        program.until(lambda: len(program.get("alerts")["items"]) == 1, what="the blind alert recorded")
        program.until(lambda: program.get("alerts")["items"][0]["state"] == "cleared", what="cleared")
        (alert,) = program.get("alerts")["items"]
        assert alert["rule"] == "intake-blind"
        page = collector.arrivals()[0].body
        assert page["reason"] == "blind" and page["alerts"][0]["value"] >= 7_100
        books = program.ledger()
        assert books["alerts"]["opened"] == 1
    assert len(collector.arrivals()) == 1


def _age_log(program: Program, *, by: int) -> None:
    """Write the log anew with all its times so much earlier."""
    folder = program.data / "journal"
    before = folder.rename(folder.with_name("journal-before"))
    with closing(SqliteJournal(before, "main")) as old, closing(SqliteJournal(folder, "main")) as new:
        for source, target in ((old.messages, new.messages), (old.decisions, new.decisions)):
            for record in source.read(-1, 100_000):
                target.append([Entry(Kind(record.kind), record.meta, record.value)], now=record.at - by)
            assert target.head() == source.head()


def test_poison_is_set_aside_with_its_reason_and_the_fire_among_it_pages(
    program: Program, own_broker: Broker, collector: Collector, database: str
) -> None:
    program.until(lambda: program.in_log("main", "INVENTORY"))
    head = "ember/v1/shed-1/head-1/telemetry"
    poison = {
        "nan": b'{"temperature":NaN}',
        "overflow": b'{"temperature":1e999}',
        "text": b'{"temperature":"hot"}',
        "bytes": b"\xff\xfe\x00\x01",
        "cut": b'{"temperature":21.5',
        "nested": b'{"temperature":' + b"[" * 10_000,
    }
    strange = {
        "year 2012": b'{"ts":"2012-06-01T03:17:37Z","temperature":21}',
        "year 2099": b'{"ts":"2099-06-01T03:17:37Z","temperature":22}',
        "year 1": b'{"ts":"0001-01-01T00:00:00Z","temperature":23}',
        "nul": b'{"temperature":24,"note":"a\\u0000b"}',
        "huge": b'{"temperature":25,"seq":99999999999999999999999}',
    }
    publisher = Publisher(own_broker.url)
    with closing(publisher), psycopg.connect(database) as person:
        person.execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")  # somebody forgot a transaction
        publisher.publish_all([(head, payload) for payload in (*poison.values(), *strange.values())])
        publisher.publish("ember/v1/shed-1/head-1/alarm", b'{"smoke_alarm":true}')
        collector.wants(1, within=10)
        assert program.call("ledger", "--json", check=False).returncode == 0
        person.rollback()
    program.drained(len(poison) + len(strange) + 1)
    messages = program.ledger()["messages"]
    assert messages["stored"] + messages["quarantined"] == len(poison) + len(strange) + 1
    items = program.get("quarantine")["items"]
    assert len(items) >= len(poison) and {item["reason"] for item in items} == {"undecodable"}
    assert all(item["detail"] for item in items)
    assert len(collector.arrivals()) == 1


def test_a_panel_s_fire_is_confirmed_and_told_and_no_broker_can_play_the_panel(
    tmp_path: Path, own_broker: Broker, database: str, collector: Collector
) -> None:
    fire, port = published_frames()["doc smoke fire"], free_port()
    bind = {"EMBERWATCH_GB26875_BIND": f"127.0.0.1:{port}"}
    program = Program(tmp_path / "program", mqtt=own_broker.url, database=database, hook=collector.url, more=bind)
    register(program, devices=1, id="790300000000-1.1-10.2")
    with program:
        program.until(lambda: program.in_log("main", "INVENTORY"))
        publisher = Publisher(own_broker.url)
        publisher.publish("gb26875/790300000000", fire)
        publisher.close()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as panel:
            panel.sendall(fire)
            confirmation = panel.recv(1_024)
        assert (confirmation[:4], confirmation[26]) == (fire[:4], 3)
        (page,) = collector.wants(1, within=10)
        assert (page.body["incident"]["site"], page.body["alerts"][0]["rule"]) == ("shed-1", "smoke-alarm")
        program.until(lambda: program.ledger()["messages"]["waiting"] == 0, what="all in the books")
        assert program.ledger()["messages"]["received"] == 1
