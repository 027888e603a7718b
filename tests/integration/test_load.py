"""Loads against real brokers, and against some that do what no real one does on request."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from select import select

import numpy as np
import pytest

from ingest.broker import Broker, start_broker
from ingest.errors import Unavailable
from simulators.load.connections import PATIENCE_S, Connections
from simulators.load.fleet import Fleet
from simulators.load.forms import Form
from simulators.options import parse_broker
from simulators.wire.packets import DISCONNECT, packet_ids
from simulators.wire.raw import Rows, Wire
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


# cut and back


class Deaf:
    """A broker that lets everyone in, notes every packet, and acknowledges only as told."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"
        self.connection = socket.socket()
        self._buffer = b""

    def accept(self) -> int:
        """Let the next client in; the flags of its CONNECT."""
        self.connection.close()
        self.connection, _ = self._server.accept()
        self.connection.settimeout(10)
        self._buffer = b""
        first, body = self.packet()
        assert first == 0x10
        self.connection.sendall(b"\x20\x02\x00\x00")
        return body[7]

    def packet(self) -> tuple[int, bytes]:
        """The next packet: its first byte and its body."""
        first, size, shift = self._take(1)[0], 0, 0
        while (digit := self._take(1)[0]) & 128:
            size, shift = size | (digit & 127) << shift, shift + 7
        return first, self._take(size | digit << shift)

    def publishes(self, count: int) -> list[tuple[int, int, bytes]]:
        """So many messages: the first byte, the packet id, topic and payload."""
        found = []
        for _ in range(count):
            first, body = self.packet()
            end = 2 + int.from_bytes(body[:2], "big")
            found.append((first, int.from_bytes(body[end : end + 2], "big"), body[2:end] + body[end + 2 :]))
        return found

    def acknowledge(self, *ids: int) -> None:
        self.connection.sendall(b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in ids))

    def close(self) -> None:
        self.connection.close()
        self._server.close()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.connection.recv(65_536)
            assert data, "the client has left"
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    broker = Deaf()
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def wired(deaf: Deaf, *, window: int) -> Iterator[Wire]:
    """A wire that is let in."""
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(Wire, broker=parse_broker(deaf.url), number=1, window=window, clean=False)
        assert deaf.accept() == 0  # the session is to be kept
        wire = opened.result()
        try:
            yield wire
        finally:
            wire.close()


def rows(wire: Wire, count: int) -> Rows:
    """Messages that differ, with the packet ids that are due."""
    ids = packet_ids(wire.sent + np.arange(count))
    numbers = np.arange(wire.sent, wire.sent + count)
    return Form(Fleet(devices=100_000, sites=5_000), 1).rows(speakers=numbers, turns=numbers, ids=ids, ts=10**12)


def come_back(wire: Wire, deaf: Deaf) -> None:
    wire.cut()
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(wire.open)
        assert deaf.accept() == 0
        wire.resume(opened.result())


def heard(wire: Wire, count: int) -> bool:
    wire.read()
    return wire.acknowledged == count


def test_what_is_not_acknowledged_is_sent_again_first_in_order_and_marked(deaf: Deaf) -> None:
    with wired(deaf, window=100) as wire:
        wire.write(rows(wire, 5))
        wire.write(rows(wire, 4))
        first = deaf.publishes(9)
        assert {flags for flags, _, _ in first} == {0x32}
        deaf.acknowledge(1, 2, 3)
        wait_until(lambda: heard(wire, 3))
        come_back(wire, deaf)
        wire.write(rows(wire, 2))
        again = deaf.publishes(8)
        assert again[:6] == [(0x3A, number, text) for _, number, text in first[3:]]
        assert [(flags, number) for flags, number, _ in again[6:]] == [(0x32, 10), (0x32, 11)]
        assert (wire.sent, wire.sent_again, wire.waiting) == (11, 6, 8)
        deaf.acknowledge(*range(4, 12))
        wait_until(lambda: heard(wire, 11))
        come_back(wire, deaf)
        wire.write(rows(wire, 1))
        assert [(flags, number) for flags, number, _ in deaf.publishes(1)] == [(0x32, 12)]  # nothing else again


def test_a_packet_id_is_free_only_when_all_before_it_are(deaf: Deaf) -> None:
    with wired(deaf, window=4) as wire:
        wire.write(rows(wire, 4))
        deaf.acknowledge(3, 2)
        wait_until(lambda: heard(wire, 2))
        assert (wire.room, wire.waiting) == (0, 2)
        deaf.acknowledge(1)
        wait_until(lambda: heard(wire, 3))
        assert (wire.room, wire.waiting) == (3, 1)


def test_packet_ids_begin_again_after_the_last(deaf: Deaf) -> None:
    with wired(deaf, window=65_535) as wire:
        for count in (65_000, 1_000):
            before = wire.sent
            wire.write(rows(wire, count))
            seen: list[int] = []
            while len(seen) < count:
                wire.flush()
                seen += [number for _, number, _ in deaf.publishes(200)]
            assert seen == packet_ids(np.arange(before, before + count)).tolist()
            deaf.acknowledge(*seen)
            wait_until(lambda: heard(wire, wire.sent))
        assert wire.room == 65_535


@pytest.mark.parametrize(("ids", "said"), [([6], "packet id 6, which is not"), ([1, 1], "packet id 1, which is not")])
def test_an_acknowledgement_of_what_is_not_on_its_way_breaks_the_connection(
    ids: list[int], said: str, deaf: Deaf
) -> None:
    with wired(deaf, window=100) as wire:
        wire.write(rows(wire, 5))
        deaf.acknowledge(*ids)
        with pytest.raises(Unavailable, match=said):
            wait_until(lambda: heard(wire, 100))


def test_connections_that_are_cut_come_back_and_nothing_is_lost(mosquitto: Broker, tmp_path: Path) -> None:
    sent = tmp_path / "sent.tape"
    with listening(mosquitto, "ember/v1/+/+/telemetry") as heard:
        size = ("--rate", "4000", "--seconds", "2", "--devices", "300", "--connections", "30")
        cuts = ("--reconnect", "20:0.5", "--reconnect", "30:1.2", "--json")
        done = simulators("load", *size, *cuts, "--broker", mosquitto.url, "--sent", str(sent))
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        assert (told["offered"], told["sent"], told["acknowledged"]) == (8_000, 8_000, 8_000)
        assert [back["connections"] for back in told["reconnects"]] == [20, 30]
        assert all(back["back_s"] is not None for back in told["reconnects"])
        meant = Counter((m.topic, m.payload) for m in whole_tape(sent))
        wait_until(lambda: {message[:2] for message in heard.messages} == meant.keys(), what="every message")
    assert meant.total() == len(meant) == 8_000
    twice = Counter(message[:2] for message in heard.messages) - meant
    assert twice.total() <= told["sent_again"]
    assert in_order(list(dict.fromkeys(message[:2] for message in heard.messages)))


def in_order(messages: list[tuple[str, bytes]]) -> bool:
    """Whether each device's seq counts up."""
    last: dict[str, int] = {}
    for topic, payload in messages:
        seq = json.loads(payload)["seq"]
        if seq <= last.get(topic, 0):
            return False
        last[topic] = seq
    return True


def test_a_connection_that_is_left_in_the_middle_of_a_packet_gets_nothing_behind_it(deaf: Deaf) -> None:
    with wired(deaf, window=65_535) as wire:
        while not wire.stuck:
            wire.write(rows(wire, 1_000))
        while not select([], [wire], [], 0)[1]:  # until it could take a DISCONNECT
            deaf.connection.recv(1 << 20)
    heard = b""
    while data := deaf.connection.recv(1 << 20):
        heard = (heard + data)[-2:]
    assert heard != DISCONNECT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x20\x02\x00\x04", "did not let us in: user or password is wrong"),
        (b"\x20\x02\x00\x05", "did not let us in: not authorised; name a user who is"),
        (b"HTTP/1.1", "did not let us in: it answered 48 54 54 50; is it an MQTT broker?"),
    ],
)
def test_why_a_broker_lets_nobody_in_is_said_in_words(answer: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        opened = pool.submit(Wire, broker=parse_broker(url), number=1, window=1)
        connection, _ = server.accept()
        with connection:
            connection.sendall(answer)
            with pytest.raises(Unavailable, match=re.escape(said)):
                opened.result()


def test_connections_that_cannot_come_back_are_not_waited_for_when_all_is_over(
    mosquitto: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, to, stop = threading.Event(), parse_broker(mosquitto.url), threading.Event()

    def refused(_: Wire) -> socket.socket:
        tried.set()
        raise Unavailable("refused")

    with Connections(broker=to, count=3, window=1, clean=False, now=lambda: 0, stop=stop) as connections:
        monkeypatch.setattr(Wire, "open", refused)
        connections.cut(2)
        assert tried.wait(10)
        began = time.monotonic()
    assert time.monotonic() - began < PATIENCE_S / 2


# loops, bursts, storms


def test_a_closed_loop_sends_as_fast_as_it_is_answered_and_counts_right(own_broker: Broker) -> None:
    with listening(own_broker, "ember/v1/#") as heard:
        size = ("--closed", "5", "--seconds", "1", "--connections", "3", "--json")
        done = simulators("load", *size, "--broker", own_broker.url)
        told = json.loads(done.stdout)
        assert (done.returncode, told["offered"]) == (0, None)
        assert told["sent"] == told["acknowledged"] > 100
        wait_until(lambda: len(heard.messages) == told["sent"], seconds=30)


def test_in_a_closed_loop_never_more_is_on_its_way(deaf: Deaf) -> None:
    to = ("--broker", deaf.url, "--connections", "1")
    with running("load", "--closed", "7", "--seconds", "600", "--json", *to) as process:
        deaf.accept()
        for number in (7, 14):
            ids = [seen for _, seen, _ in deaf.publishes(7)]
            assert ids == list(range(number - 6, number + 1))
            deaf.connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                deaf.packet()
            deaf.connection.settimeout(10)
            deaf.acknowledge(*ids)
        assert len(deaf.publishes(7)) == 7
        process.send_signal(signal.SIGINT)
        told = json.loads(process.communicate(timeout=20)[0])
    assert (told["sent"], told["stopped"]) == (21, True)
    assert told["seconds"] < 60  # those it took, not those it was to take


def test_in_a_storm_every_device_speaks_once(own_broker: Broker) -> None:
    with listening(own_broker, "ember/v1/#") as heard:
        size = ("--storm", "0.7:0.1", "--devices", "1234", "--connections", "7", "--json")
        done = simulators("load", *size, "--broker", own_broker.url)
        told = json.loads(done.stdout)
        assert (done.returncode, told["offered"], told["acknowledged"]) == (0, 1234, 1234)
        wait_until(lambda: len(heard.messages) == 1234)
    assert {count for count in Counter(topic for topic, _, _ in heard.messages).values()} == {1}


def test_bursts_gateways_and_fires_come_beside_the_rate(own_broker: Broker, tmp_path: Path) -> None:
    sent = tmp_path / "sent.tape"
    with listening(own_broker, "ember/v1/#") as heard:
        size = ("--rate", "100", "--seconds", "1.5", "--devices", "60", "--gateway", "5")
        more = ("--burst", "40:1", "--fire-every", "0.5", "--json", "--sent", str(sent))
        done = simulators("load", *size, *more, "--broker", own_broker.url)
        told = json.loads(done.stdout)
        counts = {name: told[name] for name in ("offered", "acknowledged", "fires", "readings")}
        assert counts == {"offered": 232, "acknowledged": 232, "fires": 2, "readings": 230 * 5 + 2}
        wait_until(lambda: len(heard.messages) == 232)
    assert Counter((m.topic, m.payload) for m in whole_tape(sent)) == Counter(m[:2] for m in heard.messages)
    assert len(heard.of("ember/v1/+/telemetry")) == 230
    assert len(heard.of("ember/v1/load-s00001/load-d0000001/alarm")) == 1


def test_a_broker_that_dies_ends_the_load_with_what_was_done_until_then(tmp_path: Path) -> None:
    sent = tmp_path / "sent.tape"
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker:
        to = ("--broker", broker.url, "--connections", "5", "--json", "--sent", str(sent))
        with listening(broker, "ember/v1/#") as heard, running("load", "--rate", "500", "--seconds", "60", *to) as load:
            wait_until(lambda: len(heard.messages) > 300)
            broker.kill()
            out, err = load.communicate(timeout=20)
    assert load.returncode == 1
    assert err.count(b"\n") == 1
    assert b"connection lost: " in err
    told = json.loads(out)
    assert told["offered"] == 30_000
    assert told["sent"] == len(whole_tape(sent)) >= told["acknowledged"] > 300
    assert told["held"] is False
    assert told["per_second"] is None or told["per_second"]["seconds"] < 20  # until the broker died
