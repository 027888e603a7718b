"""The GB/T 26875.3 server over real sockets on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest.admission import Outcome
from ingest.admit import admit
from ingest.codecs.gb26875_frame import (
    CONFIRM,
    CONTROL,
    DENY,
    FRAME_LIMIT,
    REQUEST,
    RESPONSE,
    time_label,
)
from ingest.errors import LogFull, OperatorError
from ingest.gb26875_server import Gb26875Server, Limits
from ingest.inventory import Device, Inventory, InventoryDelta
from ingest.journal import BEGINNING
from ingest.journal_sqlite import SqliteJournal
from ingest.memory import Memory
from ingest.message import Message
from ingest.sources import Source, Sources
from tests.support.broker import wait_until
from tests.support.memory_log import MemoryStream
from tests.support.transmitter import CENTRE, SENT, UTD, Transmitter, frame

pytestmark = pytest.mark.integration

NOW = 1_785_114_545_000_000  # 2026-07-27 09:09:05 in Beijing


class Clock:
    """A monotonic clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Served:
    """A server in a thread, its log in memory, and whoever connects to it."""

    def __init__(self, server: Gb26875Server, stream: MemoryStream, clock: Clock) -> None:
        self.server = server
        self.stream = stream
        self.clock = clock
        self.connected: list[Transmitter] = []

    def connect(self, *, udp: bool = False) -> Transmitter:
        self.connected.append(Transmitter(self.server.port, udp=udp))
        return self.connected[-1]

    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.stream.received()]

    def message(self) -> Message:
        return self.stream.received()[-1][0]


@contextmanager
def serving(limits: Limits | None = None) -> Iterator[Served]:
    stream, clock, stop = MemoryStream(), Clock(), threading.Event()
    server = Gb26875Server(
        host="127.0.0.1",
        port=0,
        append=stream.append,
        shard="main",
        now=lambda: NOW,
        limits=limits,
        monotonic=clock,
    )
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    served = Served(server, stream, clock)
    try:
        yield served
    finally:
        stop.set()
        thread.join(10)
        for transmitter in served.connected:
            transmitter.sock.close()
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"emberwatch_ingest_gb26875_{name}_total", labels) or 0.0


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_an_upload_is_in_the_log_before_it_is_confirmed(served: Served, udp: bool) -> None:
    transmitter = served.connect(udp=udp)
    transmitter.send(frame(serial=0x1234))
    confirmed = transmitter.next()
    assert served.payloads() == [frame(serial=0x1234)]
    assert (confirmed.command, confirmed.serial, confirmed.unit) == (CONFIRM, 0x1234, b"")
    assert (confirmed.source, confirmed.destination) == (CENTRE, UTD)
    assert confirmed.sum_ok and confirmed.sent == SENT
    message = served.message()
    assert (message.topic, message.source, message.packet_id) == ("gb26875/790300000000", "gb26875/+", 0x1234)
    assert message.properties["transport"] == ("udp" if udp else "tcp")
    assert message.received_at == NOW


def test_what_the_log_does_not_take_is_not_confirmed_until_it_does(served: Served) -> None:
    transmitter = served.connect()
    before = counted("frames", outcome="refused")
    served.stream.refusal = LogFull("no space left")
    transmitter.send(frame())
    assert transmitter.hears_nothing()
    assert counted("frames", outcome="refused") == before + 1
    served.stream.refusal = None
    transmitter.send(frame())  # a transmitter repeats what is not confirmed
    assert transmitter.answer().command == CONFIRM
    assert served.payloads() == [frame()]


def test_frames_may_use_the_reserve_of_urgent_sources(served: Served) -> None:
    served.stream.refusal, served.stream.spares_urgent = LogFull("nearly full"), True
    transmitter = served.connect()
    transmitter.send(frame())
    assert transmitter.answer().command == CONFIRM


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_an_upload_with_a_wrong_sum_is_denied_by_its_serial(served: Served, udp: bool) -> None:
    transmitter = served.connect(udp=udp)
    transmitter.send(frame(serial=300, bad=True))
    denied = transmitter.answer()
    assert (denied.command, denied.serial) == (DENY, 300)


def test_a_denied_frame_is_kept_for_the_quarantine(served: Served) -> None:
    transmitter = served.connect()
    transmitter.send(frame(bad=True))
    transmitter.answer()
    assert served.payloads() == [frame(bad=True)]


@pytest.mark.parametrize("command", [CONFIRM, RESPONSE, DENY])
def test_a_wrong_sum_on_an_answer_is_counted_without_reply(served: Served, command: int) -> None:
    outcome = "kept_bad_sum" if command == RESPONSE else "settled_bad_sum"
    before = counted("frames", outcome=outcome)
    transmitter = served.connect()
    transmitter.send(frame(command=command, bad=True))
    assert transmitter.hears_nothing()
    assert counted("frames", outcome=outcome) == before + 1
    assert len(served.payloads()) == (command == RESPONSE)


@pytest.mark.parametrize("command", [0, CONTROL, REQUEST, 7, 200])
def test_a_command_that_no_transmitter_may_send_is_denied(served: Served, command: int) -> None:
    transmitter = served.connect()
    transmitter.send(frame(command=command, serial=9))
    denied = transmitter.answer()
    assert (denied.command, denied.serial) == (DENY, 9)


def test_the_clock_is_set_after_the_first_frame_and_a_day_later(served: Served) -> None:
    transmitter = served.connect()
    transmitter.send(frame(b"\x16"))
    sync = transmitter.command()
    assert sync.unit == bytes((90, 1)) + time_label(NOW, "Asia/Shanghai")
    assert (sync.serial, sync.source, sync.destination, sync.sum_ok) == (0, CENTRE, UTD, True)
    transmitter.send(frame(b"", command=CONFIRM, serial=0))
    wait_until(lambda: counted("commands", command="clock_sync", outcome="confirmed"))
    for _ in range(100):
        served.clock.ahead += 860.0
        transmitter.send(frame(b"\x16"))
        assert transmitter.next().command == CONFIRM
    served.clock.ahead += 400.0
    assert transmitter.command().unit[0] == 90


def test_a_command_is_sent_four_times_at_most(served: Served) -> None:
    before = counted("commands", command="clock_sync", outcome="unanswered")
    transmitter = served.connect()
    transmitter.send(frame(b""))
    serials = {transmitter.command().serial}
    transmitter.send(frame(b"", command=DENY, serial=0))
    serials.add(transmitter.command().serial)  # a denied one is sent again at once
    for _ in range(2):
        served.clock.ahead += 11
        serials.add(transmitter.command().serial)
    served.clock.ahead += 11
    wait_until(lambda: counted("commands", command="clock_sync", outcome="unanswered") == before + 1)
    assert serials == {0}


def test_a_duty_check_goes_to_the_transmitter_of_that_address(served: Served) -> None:
    transmitter, other = served.connect(), served.connect()
    transmitter.send(frame())
    other.send(frame(source=b"\1" * 6))
    assert transmitter.command().unit[0] == 90 == other.command().unit[0]
    assert served.server.duty_check("790300000000", minutes=10)
    check = transmitter.command()
    assert (check.unit, check.serial) == (bytes((91, 1, 10)), 1)
    assert not served.server.duty_check("000000000009")
    with pytest.raises(ValueError, match="1 to 255"):
        served.server.duty_check("790300000000", minutes=0)


def test_glued_and_split_frames_are_each_confirmed_in_order(served: Served) -> None:
    transmitter = served.connect()
    data = b"".join(frame(serial=serial) for serial in range(20))
    for at in range(0, len(data), 131):
        transmitter.send(data[at : at + 131])
    assert [transmitter.answer().serial for _ in range(20)] == list(range(20))
    assert b"".join(served.payloads()) == data


def test_a_frame_behind_a_false_beginning_is_confirmed_within_the_transmitters_patience(served: Served) -> None:
    transmitter = served.connect()
    transmitter.send(b"@@" + bytes(22) + b"\0\4" + frame(serial=5))
    started = time.monotonic()
    assert transmitter.answer().serial == 5
    assert time.monotonic() - started < 5


def test_a_longer_unit_than_allowed_is_refused_and_the_link_goes_on(served: Served) -> None:
    before = counted("garbage_bytes")
    transmitter = served.connect()
    transmitter.send(frame(bytes(1025)) + frame(serial=2))
    assert transmitter.answer().serial == 2
    assert served.payloads() == [frame(serial=2)]
    assert counted("garbage_bytes") == before + FRAME_LIMIT + 1


def test_a_link_of_noise_is_closed_and_others_are_not(served: Served) -> None:
    noisy, quiet = served.connect(), served.connect()
    quiet.send(frame())
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(1000):
            noisy.send(b"GET / HTTP/1.1\r\n" * 100)
            time.sleep(0.001)
    assert quiet.answer().command == CONFIRM
    quiet.send(frame(serial=8))
    assert quiet.answer().serial == 8


def test_bytes_that_drip_keep_no_link_open(served: Served) -> None:
    transmitter = served.connect()
    for byte in frame()[:40]:
        transmitter.send(bytes((byte,)))
    wait_until(lambda: REGISTRY.get_sample_value("emberwatch_ingest_gb26875_links", {"transport": "tcp"}) == 1)
    served.clock.ahead += 121
    assert transmitter.is_closed()


def test_an_idle_link_is_closed_and_one_that_speaks_is_not(served: Served) -> None:
    idle, speaking = served.connect(), served.connect()
    for transmitter in (idle, speaking):
        transmitter.send(frame(b""))
        transmitter.answer()
    served.clock.ahead += 800
    speaking.send(frame(b""))
    speaking.answer()
    served.clock.ahead += 200
    assert idle.is_closed()
    speaking.send(frame(b"", serial=99))
    assert speaking.answer().serial == 99


def test_links_that_never_spoke_make_way_for_new_ones() -> None:
    with serving(Limits(links=3)) as served:
        known = served.connect()
        known.send(frame())
        known.answer()
        silent = [served.connect() for _ in range(2)]
        wait_until(lambda: len(served.server._tcp) == 3)
        newest = served.connect()
        newest.send(frame(serial=4))
        assert newest.answer().serial == 4
        assert silent[0].is_closed()
        known.send(frame(serial=6))
        assert known.answer().serial == 6


def test_a_host_has_only_so_many_links() -> None:
    with serving(Limits(links_a_host=2)) as served:
        first = [served.connect() for _ in range(2)]
        wait_until(lambda: len(served.server._tcp) == 2)
        assert served.connect().is_closed()
        first[0].sock.close()
        wait_until(lambda: len(served.server._tcp) == 1)
        again = served.connect()
        again.send(frame())
        assert again.answer().command == CONFIRM


def test_datagrams_of_many_peers_are_remembered_only_so_far() -> None:
    with serving(Limits(links=5)) as served:
        for serial in range(12):
            transmitter = served.connect(udp=True)
            transmitter.send(frame(serial=serial))
            assert transmitter.answer().serial == serial
        assert len(served.server._udp) <= 5
        assert len(served.server._by_address) <= 1


def test_a_reader_that_reads_nothing_is_closed_and_holds_nobody_up(served: Served) -> None:
    before = counted("closed", why="slow")
    deaf, other = served.connect(), served.connect()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(3000):
            deaf.send(frame(b"") * 100)
    other.send(frame(serial=3))
    assert other.answer().serial == 3
    wait_until(lambda: counted("closed", why="slow") == before + 1)


def test_a_transmitter_without_an_address_is_named_by_its_host(served: Served) -> None:
    transmitter = served.connect()
    transmitter.send(frame(b"\x16", source=bytes(6)))
    transmitter.answer()
    assert served.message().topic == "gb26875/ip-127.0.0.1"


def test_every_frame_is_counted_once(served: Served) -> None:
    def total() -> float:
        names = ("confirmed", "kept", "kept_bad_sum", "settled", "settled_bad_sum")
        return sum(counted("frames", outcome=name) for name in (*names, "denied_sum", "denied_command", "refused"))

    before, transmitter = total(), served.connect()
    for command in range(8):
        transmitter.send(frame(command=command) + frame(command=command, bad=True))
    wait_until(lambda: total() == before + 16)


def test_a_taken_port_is_said_so() -> None:
    with serving() as served, pytest.raises(OperatorError, match="cannot bind"):
        Gb26875Server(
            host="127.0.0.1", port=served.server.port, append=MemoryStream().append, shard="main", now=lambda: NOW
        )


def test_a_fire_goes_from_the_socket_through_the_log_to_a_reading(tmp_path: Path) -> None:
    journal, stop = SqliteJournal(tmp_path, shard="main"), threading.Event()
    server = Gb26875Server(host="127.0.0.1", port=0, append=journal.messages.append, shard="main", now=lambda: NOW)
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    transmitter = Transmitter(server.port)
    try:
        transmitter.send(frame())
        assert transmitter.answer().command == CONFIRM
        record = journal.messages.read(BEGINNING, 10)[0]
    finally:
        stop.set()
        thread.join(10)
        transmitter.sock.close()
        journal.close()
    inventory = Inventory()
    inventory.apply(InventoryDelta(devices=[Device(id="790300000000-1.1-1.1", site="shed-1")]))
    source = Source(filter="gb26875/+", codec="gb26875", shard="main", urgent=True)
    admission = admit(record, Memory(Sources(sources=(source,), text=""), inventory))
    assert admission.outcome is Outcome.STORED
    assert admission.readings[0].states["smoke_alarm"]
    assert (admission.readings[0].site, admission.readings[0].at) == ("shed-1", NOW)
