"""Reading MQTT PUBLISH packets, the one packet that comes ten thousand times a second. Pure.

paho builds several dictionaries for every PUBLISH of MQTT 5; all other packets are left to it.
"""

from __future__ import annotations

from typing import NamedTuple

QOS_1 = 0x02
QOS_2 = 0x04
RETAIN = 0x01
DUP = 0x08

_CONTENT_TYPE = 3
_USER_PROPERTY = 38
_FIXED = {1: 1, 2: 4, 35: 2}  #: payload format, expiry, topic alias: bytes each
_LENGTH_PREFIXED = frozenset({_CONTENT_TYPE, 8, 9})  #: response topic, correlation data
_SUBSCRIPTION_IDENTIFIER = 11


class Publish(NamedTuple):
    """A PUBLISH of QoS 0 or 1. `packet_id` is as on the wire, two bytes, empty for QoS 0."""

    topic: str
    payload: bytes
    packet_id: bytes
    properties: dict[str, str]
    content_type: str


NO_PROPERTIES: dict[str, str] = {}


def is_plain_publish(first: int) -> bool:
    """Whether the first byte says PUBLISH with QoS 0 or 1."""
    return first & 0xF4 == 0x30


def read_publish(first: int, buffer: bytes, start: int, end: int, *, v5: bool) -> Publish:
    """The PUBLISH whose body is buffer[start:end]; IndexError or ValueError when it is malformed.

    A topic that is not UTF-8 gets replacement characters: it is kept, and no source will claim it.
    """
    at = start + 2 + (buffer[start] << 8 | buffer[start + 1])
    topic = buffer[start + 2 : at]
    packet_id = b""
    if first & QOS_1:
        packet_id = buffer[at : at + 2]
        at += 2
    properties, content_type = NO_PROPERTIES, ""
    if v5:
        if at >= end or buffer[at]:
            properties, content_type, at = _read_properties(buffer, at, end)
        else:
            at += 1
    if at > end or not topic:
        raise ValueError("PUBLISH is shorter than it says, or has no topic")
    return Publish(topic.decode("utf-8", "replace"), buffer[at:end], packet_id, properties, content_type)


def _read_properties(buffer: bytes, at: int, end: int) -> tuple[dict[str, str], str, int]:
    length, at = _variable(buffer, at)
    stop = at + length
    if stop > end:
        raise ValueError("properties are longer than their packet")
    user: dict[str, str] = {}
    content_type = ""
    while at < stop:
        kind = buffer[at]
        at += 1
        if kind == _USER_PROPERTY:
            name, at = _text(buffer, at)
            user[name], at = _text(buffer, at)
        elif kind in _LENGTH_PREFIXED:
            text, at = _text(buffer, at)
            content_type = text if kind == _CONTENT_TYPE else content_type
        elif kind == _SUBSCRIPTION_IDENTIFIER:
            _, at = _variable(buffer, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError(f"a PUBLISH has no property {kind}")
    if at != stop:
        raise ValueError("properties do not end where they say")
    return user, content_type, stop


def _text(buffer: bytes, at: int) -> tuple[str, int]:
    stop = at + 2 + (buffer[at] << 8 | buffer[at + 1])
    return buffer[at + 2 : stop].decode("utf-8", "replace"), stop


def _variable(buffer: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14, 21):
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a length has more than four bytes")
