"""What a codec asks for is published, once it can be, and only while it is news."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from structlog.testing import capture_logs

from ingest.asker import Asker
from ingest.broker import Broker
from ingest.codecs.contract import Request
from ingest.database import open_pool
from ingest.mqtt import parse_mqtt_url
from ingest.readings import SECOND
from ingest.writer import FRESH, Writer
from tests.support.broker import unique, wait_until
from tests.support.data import sample
from tests.support.writing import NOTHING, Log, wall

pytestmark = pytest.mark.integration

SPARKPLUG = "sources:\n  - {filter: spBv1.0/#, codec: sparkplug-b}\n"
UNBORN = "spBv1.0/Sheds/DDATA/gw-01/smoke-03"


@contextmanager
def heard(broker: Broker, topic: str) -> Iterator[queue.SimpleQueue[bytes]]:
    """What is published under a topic."""
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: said.put(bytes(message.payload))
    client.on_subscribe = lambda *_: ready.set()
    address = parse_mqtt_url(broker.url)
    client.connect(address.host, address.port)
    client.loop_start()
    client.subscribe(topic)
    assert ready.wait(10)
    try:
        yield said
    finally:
        client.disconnect()
        client.loop_stop()


def test_what_is_asked_before_and_after_there_is_a_connection_is_published_in_order(mosquitto: Broker) -> None:
    topic = unique("asked")
    asker = Asker(mosquitto.url, client_id=unique("asker"))
    try:
        with heard(mosquitto, topic) as said:
            asker.ask([Request(topic=topic, payload=b"1"), Request(topic=topic, payload=b"2")])
            assert [said.get(timeout=10) for _ in range(2)] == [b"1", b"2"]
            asker.ask([Request(topic=topic, payload=b"3")])
            assert said.get(timeout=10) == b"3"
    finally:
        asker.close()


def test_nothing_connects_before_there_is_something_to_ask_and_a_missing_broker_blocks_nobody() -> None:
    asker = Asker("mqtt://127.0.0.1:1", client_id="nobody")
    assert asker._client is None
    asker.ask([Request(topic="t", payload=b"")])
    assert asker._client is not None and not asker._client.is_connected()
    asker.close()


def test_a_certificate_that_is_missing_is_said_once_and_keeps_nobody_from_work() -> None:
    asker = Asker("mqtts://127.0.0.1:1?cert=/none/cert.pem", client_id="nobody")
    with capture_logs() as logs:
        for _ in range(3):
            asker.ask([Request(topic="t", payload=b"")])
    assert [entry["error"] for entry in logs] == ["MQTT_URL: cert=/none/cert.pem: no such file or directory"]
    asker.close()


@pytest.mark.parametrize("late", [0, FRESH + SECOND])
def test_the_writer_asks_for_a_birth_it_missed_unless_that_is_long_ago(
    database: str, tmp_path: Path, late: int
) -> None:
    log = Log(tmp_path, sources=SPARKPLUG)
    payload = bytes.fromhex(sample("sparkplug_b/shed_3_ddata_alias_only.hex").read_text(encoding="ascii"))
    log.say(payload, topic=UNBORN, source="spBv1.0/#")
    asked: list[Request] = []
    stop = threading.Event()
    with open_pool(database, name="asker test") as pool:
        writer = Writer(log.journal, "main", pool, NOTHING, lambda: wall() + late, asked.extend)
        thread = threading.Thread(target=writer.run, args=[stop])
        thread.start()
        try:
            wait_until(lambda: writer.cursor == log.journal.messages.head())
        finally:
            stop.set()
            thread.join(10)
    log.close()
    assert [request.topic for request in asked] == ([] if late else ["spBv1.0/Sheds/NCMD/gw-01"])
    assert all(b"Node Control/Rebirth" in request.payload for request in asked)
