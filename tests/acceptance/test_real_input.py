"""Real input: a recording of real sensors through a real broker into a real database, and fires mixed into it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from ingest.broker import Broker
from tests.support.collector import Collector
from tests.support.data import RECORDING, recorded
from tests.support.program import Program, simulate
from tests.support.recorded_run import recording_sources

MESSAGES = 50_270

pytestmark = pytest.mark.acceptance


def replay(broker: Broker, topic: str, *more: str) -> None:
    """The recording at a topic of the test's own, because the broker is shared."""
    words = ["--topic", topic + "/{device_id}", "--fire-topic", topic + "/{site}/{device_id}", "--speed", "max"]
    simulate("replay", str(recorded(RECORDING)), "--broker", broker.url, *words, *more)


def test_every_message_of_the_recording_ends_in_postgresql_exactly_once(
    tmp_path: Path, mosquitto: Broker, database: str, collector: Collector
) -> None:
    recorded(RECORDING)
    sources = recording_sources("quiet", "quiet")
    with Program(tmp_path, mqtt=mosquitto.url, database=database, hook=collector.url, sources=sources) as program:
        replay(mosquitto, "quiet")
        books = program.drained(MESSAGES)
        assert books["messages"] == {
            "received": MESSAGES,
            "stored": MESSAGES - 1,
            "duplicate": 1,
            "quarantined": 0,
            "no_reading": 0,
            "waiting": 0,
        }
        assert books["readings"] == {"stored": MESSAGES - 1}
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT count(*), count(DISTINCT (device, time)) FROM readings").fetchone()
        assert row == (MESSAGES - 1, MESSAGES - 1)
        transitions = program.call("alerts", "export").stdout
    assert '"class":"fire"' not in transitions
    assert collector.arrivals() == []


def test_three_fires_in_the_recording_are_three_incidents_and_three_pages_each_explained(
    tmp_path: Path, mosquitto: Broker, database: str, collector: Collector
) -> None:
    recorded(RECORDING)
    sources = recording_sources("burning", "burning")
    with Program(tmp_path, mqtt=mosquitto.url, database=database, hook=collector.url, sources=sources) as program:
        replay(mosquitto, "burning", "--fires", "3")
        program.drained(MESSAGES)
        program.until(lambda: len(program.get("incidents")["items"]) == 3, what="three incidents")
        program.until(lambda: program.ledger()["deliveries"]["waiting"] == 0, what="delivered")
        books = program.ledger()
        assert books["deliveries"] == {"created": 3, "accepted": 3, "failed": 0, "waiting": 0}
        assert books["alerts"]["pending"] == 0
        incidents = program.get("incidents")["items"]
        assert {each["site"] for each in incidents} == {"fire-site-1", "fire-site-2", "fire-site-3"}
        for each in incidents:
            explained = program.get(f"incidents/{each['id']}")
            assert explained["alerts"] and explained["pages"] and explained["timeline"]
            assert all(alert["reason"] and alert["rule_version"] for alert in explained["alerts"])
    pages = [arrival.body for arrival in collector.arrivals()]
    assert len({page["id"] for page in pages}) == len(pages) == 3
    assert {page["incident"]["site"] for page in pages} == {"fire-site-1", "fire-site-2", "fire-site-3"}
    assert all(page["class"] == "fire" and page["alerts"][0]["reason"] for page in pages)
