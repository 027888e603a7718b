"""Simulators as people start them, and who hears what they publish."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ingest.broker import Broker
from ingest.topics import matches
from simulators.tapes.tapefile import Taped, read_tape
from tests.support.broker import unique
from tests.support.data import ROOT


class Listener:
    """Keeps every message of its filters, in order of arrival."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.ready = threading.Event()

    def on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload), message.retain))

    def of(self, filter_: str) -> list[bytes]:
        """The payloads of topics this filter matches."""
        return [payload for topic, payload, _ in self.messages if matches(filter_, topic)]


@contextmanager
def listening(broker: Broker, filter_: str) -> Iterator[Listener]:
    """Subscribed when it begins."""
    listener = Listener()
    client = Client(CallbackAPIVersion.VERSION2, client_id=unique("ear"), protocol=MQTTProtocolVersion.MQTTv311)
    client.on_message = listener.on_message

    def on_connect(*_: object) -> None:
        client.subscribe(filter_, qos=1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: listener.ready.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert listener.ready.wait(10)
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()


def simulators(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    command = [sys.executable, "-m", "simulators", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def running(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A simulator beside the test; ended at the latest with it."""
    command = [sys.executable, "-m", "simulators", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def whole_tape(path: Path) -> list[Taped]:
    """Its messages; nothing may be said of it, such as that it was cut."""
    said: list[str] = []
    messages = list(read_tape(path, tell=said.append))
    assert said == []
    return messages
