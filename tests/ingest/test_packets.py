"""PUBLISH packets, read as paho reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.mqtt import PacketSocket
from ingest.packets import is_plain_publish, read_publish

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TOPIC = TEXT.filter(bool)


def packet_body(topic: str, payload: bytes, *, packet_id: int | None, properties: bytes = b"") -> bytes:
    name = topic.encode()
    number = b"" if packet_id is None else packet_id.to_bytes(2, "big")
    return len(name).to_bytes(2, "big") + name + number + properties + payload


@given(TOPIC, st.binary(max_size=50), st.one_of(st.none(), st.integers(1, 65_535)))
def test_a_publish_of_mqtt_3_is_read_back(topic: str, payload: bytes, packet_id: int | None) -> None:
    first = 0x30 if packet_id is None else 0x32
    body = packet_body(topic, payload, packet_id=packet_id)
    found = read_publish(first, b"xx" + body + b"yy", 2, 2 + len(body), v5=False)
    assert (found.topic, found.payload) == (topic, payload)
    assert int.from_bytes(found.packet_id, "big") == (packet_id or 0)


@given(
    TOPIC,
    st.binary(max_size=20),
    st.lists(st.tuples(TEXT, TEXT), max_size=4),
    st.one_of(st.none(), TEXT),
    st.booleans(),
)
def test_properties_are_read_as_paho_packs_them(
    topic: str, payload: bytes, user: list[tuple[str, str]], content_type: str | None, others: bool
) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for pair in user:
        properties.UserProperty = pair
    if content_type is not None:
        properties.ContentType = content_type
    if others:
        properties.PayloadFormatIndicator = 1
        properties.MessageExpiryInterval = 70_000
        properties.ResponseTopic = "r"
        properties.CorrelationData = b"\x00\xff"
        properties.SubscriptionIdentifier = 300
        properties.TopicAlias = 7
    packed = properties.pack()  # type: ignore[no-untyped-call]
    body = packet_body(topic, payload, packet_id=9, properties=packed)
    found = read_publish(0x32, body, 0, len(body), v5=True)
    assert (found.topic, found.payload, found.packet_id) == (topic, payload, b"\x00\x09")
    assert found.properties == dict(user)
    assert found.content_type == (content_type or "")


@given(st.binary(max_size=40), st.booleans(), st.booleans())
def test_any_bytes_are_a_publish_or_a_refusal(body: bytes, v5: bool, qos: bool) -> None:
    try:
        found = read_publish(0x32 if qos else 0x30, body, 0, len(body), v5=v5)
    except (IndexError, ValueError):
        return
    assert found.topic and body.endswith(found.payload)


def test_a_topic_that_is_not_utf8_is_kept() -> None:
    body = b"\x00\x03a\xff/payload"
    assert read_publish(0x30, body, 0, len(body), v5=False).topic == "a\ufffd/"


@pytest.mark.parametrize(
    ("first", "plain"), [(0x30, True), (0x3B, True), (0x32, True), (0x34, False), (0x36, False), (0x40, False)]
)
def test_only_qos_0_and_1_are_plain(first: int, plain: bool) -> None:
    assert is_plain_publish(first) is plain


class Wire:
    """The other end of a PacketSocket: hands out pieces, keeps what is sent."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.sent = b""
        self.accepts = 1_000_000

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        return self.pieces.pop(0)

    def send(self, data: bytes | bytearray) -> int:
        if not self.accepts:
            raise BlockingIOError
        taken = bytes(data[: self.accepts])
        self.sent += taken
        return len(taken)

    def close(self) -> None: ...

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None: ...


def _packets(sock: PacketSocket) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while True:
        packet = sock.next_packet()
        if packet is None:
            if not sock.fill():
                return found
            continue
        first, start, end = packet
        found.append((first, sock.buffer[start:end]))
        sock.at = end


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 400))
def test_packets_come_whole_however_the_network_cuts_them(bodies: list[bytes], cut: int) -> None:
    stream = b""
    for body in bodies:
        length = len(body)
        stream += b"\x30" + (bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])) + body
    pieces = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    assert _packets(PacketSocket(Wire(pieces))) == [(0x30, body) for body in bodies]


def test_paho_sees_only_what_is_exposed_to_it() -> None:
    sock = PacketSocket(Wire([b"\xd0\x00\x30\x01x"]))
    sock.fill()
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    packet = sock.next_packet()
    assert packet
    sock.expose(packet[2])
    assert sock.recv(1) + sock.recv(10) == b"\xd0\x00"
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_a_closed_connection_is_told_to_paho_behind_the_last_packet() -> None:
    sock = PacketSocket(Wire([b"\xd0\x00", b""]))
    assert sock.fill()
    assert not sock.fill()
    assert sock.closed
    sock.expose(2)
    assert sock.recv(9) == b"\xd0\x00"
    assert sock.recv(1) == b""


def test_what_the_network_does_not_take_yet_is_kept_in_order() -> None:
    wire = Wire([])
    sock = PacketSocket(wire)
    wire.accepts = 0
    sock.send(b"abc")
    sock.send(b"def")
    assert not sock.flush()
    assert sock.wants_write
    wire.accepts = 4
    assert sock.flush()
    assert wire.sent == b"abcdef"
