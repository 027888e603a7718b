"""Real brokers for tests: mosquitto (MQTT 5) and amqtt (3.1.1), and a small client to publish with.

The fixtures `mosquitto` and `amqtt_broker` in tests/conftest.py stand on it.
"""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ingest.broker import INSTALL_LINE, find_mosquitto
from ingest.mqtt import parse_mqtt_url, tls_context
from tests.support.skip import require_tool


def missing_mosquitto() -> str:
    """ "" when mosquitto is installed, else the line that says how to install it."""
    return "" if find_mosquitto() else f"mosquitto is not installed: {INSTALL_LINE}"


def make_certificates(folder: Path) -> None:
    """cert.pem and key.pem for 127.0.0.1, its own authority."""
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    program = require_tool("openssl", "apt-get install openssl")
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def unique(prefix: str = "t") -> str:
    """A topic level or client id that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def wait_until(condition: Callable[[], object], *, seconds: float = 15.0, what: str = "") -> None:
    """Poll until the condition holds; AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.01)


class Publisher:
    """A connected client that publishes and waits until the broker has it."""

    def __init__(self, url: str, *, client_id: str = "") -> None:
        address = parse_mqtt_url(url)
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or unique("pub"), protocol=MQTTProtocolVersion.MQTTv311
        )
        if address.user:
            self._client.username_pw_set(address.user, address.password)
        if address.tls:
            self._client.tls_set_context(tls_context(address))
        self._client.max_inflight_messages_set(1000)
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(address.host, address.port)
        self._client.loop_start()
        if not connected.wait(10):
            raise AssertionError(f"no CONNACK from {address}")

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish one message; returns when the broker has acknowledged it."""
        self.publish_all([(topic, payload)], qos=qos, retain=retain)

    def publish_all(self, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, retain: bool = False) -> None:
        """Publish in order; returns when the broker has acknowledged the last."""
        infos = [self._client.publish(topic, payload, qos, retain) for topic, payload in messages]
        deadline = time.monotonic() + 60
        for info in infos:
            info.wait_for_publish(max(0.1, deadline - time.monotonic()))
            if not info.is_published():
                raise AssertionError("the broker did not acknowledge a published message")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def publisher(url: str) -> Iterator[Publisher]:
    """A Publisher that is closed afterwards."""
    client = Publisher(url)
    try:
        yield client
    finally:
        client.close()
