"""The few MQTT 3.1.1 packets a load generator needs, as bytes. Pure."""

from __future__ import annotations

DISCONNECT = b"\xe0\x00"
PINGREQ = b"\xc0\x00"
MAX_PACKET_ID = 65_535


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def _length(size: int) -> bytes:
    """MQTT's variable byte integer."""
    out = bytearray()
    while True:
        size, digit = divmod(size, 128)
        out.append(digit | (128 if size else 0))
        if not size:
            return bytes(out)


def connect(*, client_id: str, keepalive_s: int, user: str = "", password: str = "") -> bytes:
    """CONNECT with a clean session."""
    flags = 0x02 | (0x80 if user else 0) | (0x40 if user and password else 0)
    body = _text("MQTT") + bytes([4, flags]) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    if user:
        body += _text(user)
        body += _text(password) if password else b""
    return b"\x10" + _length(len(body)) + body


def publish_head(*, topic: str, payload_size: int) -> bytes:
    """PUBLISH with QoS 1 up to its packet id; packet id (2 bytes) and payload follow."""
    name = _text(topic)
    return b"\x32" + _length(len(name) + 2 + payload_size) + name


#: Every packet id as its two bytes; ids start at 1.
PACKET_IDS = tuple(number.to_bytes(2, "big") for number in range(MAX_PACKET_ID + 1))


def count_pubacks(buffer: bytes) -> tuple[int, bytes]:
    """How many PUBACKs a stream of answers holds, and what is left of an unfinished packet.

    ValueError for a packet a broker does not send to a client that only publishes.
    """
    whole = len(buffer) // 4 * 4
    plain = buffer[0:whole:4] == b"\x40" * (whole // 4) and buffer[1:whole:4] == b"\x02" * (whole // 4)
    count, at = (whole // 4, whole) if plain else (0, 0)  # nearly always PUBACKs alone: counted at once
    while len(buffer) - at >= 2:
        kind, size = buffer[at], buffer[at + 1]
        if (kind, size) not in ((0x40, 2), (0xD0, 0)):
            raise ValueError(f"unexpected packet {buffer[at : at + 4].hex(' ')}")
        if len(buffer) - at < 2 + size:
            break
        count += kind == 0x40
        at += 2 + size
    return count, buffer[at:]
