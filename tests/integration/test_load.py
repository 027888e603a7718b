"""Loads against real brokers, and against some that do what no real one does on request."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from ingest.broker import Broker
from tests.support.broker import wait_until
from tests.support.simulating import listening, running, simulators, whole_tape

pytestmark = pytest.mark.integration


def test_load_sends_what_it_says_and_every_message_arrives(mosquitto: Broker, tmp_path: Path) -> None:
    sent = tmp_path / "sent.tape"
    with listening(mosquitto, "ember/v1/+/+/telemetry") as heard:
        size = ("--rate", "2000", "--seconds", "1.5", "--devices", "90", "--connections", "3")
        done = simulators("load", *size, "--broker", mosquitto.url, "--sent", str(sent))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("load: offered 3000, sent 3000, acknowledged 3000, ")
        wait_until(lambda: len(heard.messages) == 3000)
    taped = whole_tape(sent)
    assert Counter((m.topic, m.payload) for m in taped) == Counter(
        (topic, payload) for topic, payload, _ in heard.messages
    )
    last: dict[str, int] = {}
    for topic, payload, _ in heard.messages:
        seq = json.loads(payload)["seq"]
        assert seq > last.get(topic, 0)
        last[topic] = seq
    assert len(last) == 90


def test_load_says_when_the_broker_does_not_keep_up() -> None:
    """A broker that lets everyone in and acknowledges nothing."""
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_let_in, args=(server, heard), daemon=True).start()
        to = ("--broker", f"mqtt://127.0.0.1:{server.getsockname()[1]}", "--connections", "1")
        with running("load", "--rate", "1000", "--seconds", "0.5", "--window", "100", *to) as process:
            wait_until(lambda: heard.count(b"ember/v1/") == 100)
            process.send_signal(signal.SIGINT)
            out = process.communicate(timeout=20)[0].decode()
    assert heard.count(b"ember/v1/") == 100  # never more than the window
    assert out.startswith("load: offered 500, sent 100, acknowledged 0, ")
    assert process.returncode == 130


def _let_in(server: socket.socket, heard: bytearray) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(100)
        connection.sendall(b"\x20\x02\x00\x00")
        while data := connection.recv(65_536):
            heard += data
