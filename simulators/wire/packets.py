"""The few MQTT 3.1.1 packets that those who only publish need, as bytes. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DISCONNECT = b"\xe0\x00"
PINGREQ = b"\xc0\x00"
MAX_PACKET_ID = 65_535
#: In the first byte of a PUBLISH: it may have been sent before.
DUP = 0x08
_CLEAN_SESSION, _USER, _PASSWORD = 0x02, 0x80, 0x40
_WILL = 0x04 | 0x08 | 0x20  # a will, with QoS 1, retained
_PUBACK, _PINGRESP = (0x40, 2), (0xD0, 0)


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


def connect(
    *,
    client_id: str,
    keepalive_s: int,
    user: str = "",
    password: str = "",
    clean: bool = True,
    will: tuple[str, bytes] | None = None,
) -> bytes:
    """CONNECT; `clean`: the broker is to forget what it kept of this client, and to keep nothing. `will`: topic and
    payload of what it publishes, retained, when the connection breaks; a keepalive of 0 s is none."""
    flags = (_CLEAN_SESSION if clean else 0) | (_USER if user else 0) | (_PASSWORD if user and password else 0)
    flags |= _WILL if will else 0
    body = _text("MQTT") + bytes([4, flags]) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    if will:
        topic, payload = will
        body += _text(topic) + len(payload).to_bytes(2, "big") + payload
    if user:
        body += _text(user)
        body += _text(password) if password else b""
    return b"\x10" + _length(len(body)) + body


def publish_head(*, topic: str, payload_size: int) -> bytes:
    """PUBLISH with QoS 1 up to its packet id; packet id (2 bytes) and payload follow."""
    name = _text(topic)
    return b"\x32" + _length(len(name) + 2 + payload_size) + name


def packet_ids(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The packet ids of the messages of a connection, counted from 0: 1 to 65,535 and again from 1."""
    return positions % MAX_PACKET_ID + 1


def read_acknowledgements(buffer: bytes) -> tuple[npt.NDArray[np.int64], bytes]:
    """The packet ids that a stream of answers acknowledges, and what is left of an unfinished packet.

    ValueError for a packet a broker does not send to a client that only publishes.
    """
    whole = len(buffer) // 4 * 4
    plain = buffer[0:whole:4] == b"\x40" * (whole // 4) and buffer[1:whole:4] == b"\x02" * (whole // 4)
    at = whole if plain else 0  # nearly always PUBACKs alone: taken at once
    at_once = np.frombuffer(buffer, ">u2", at // 2)[1::2].astype(np.int64)
    ids: list[int] = []
    while len(buffer) - at >= 2:
        kind = buffer[at], buffer[at + 1]
        if kind not in (_PUBACK, _PINGRESP):
            raise ValueError(f"unexpected packet {buffer[at : at + 4].hex(' ')}")
        end = at + 2 + kind[1]
        if len(buffer) < end:
            break
        if kind == _PUBACK:
            ids.append(int.from_bytes(buffer[at + 2 : end], "big"))
        at = end
    return np.append(at_once, ids).astype(np.int64) if ids else at_once, buffer[at:]
