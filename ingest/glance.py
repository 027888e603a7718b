"""Which payloads cannot say that there is a fire, seen from their bytes alone: what makes a million of them quick to
look through. Pure.

Never says so of a payload in which admit finds a fire state, or a fire sign though it cannot decode it; of others it
may. Only formats in which nothing else hides a state have such a test: in a binary one, or where a device's frame
lies inside, only decoding tells. And whoever remembers names from message to message has to decode each anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ingest.codecs.json_path import parse_path
from ingest.readings import FIRE_STATES
from ingest.sources import Source
from ingest.topics import overlap

#: Whether any payload of these may say that there is a fire. Several may be tested as one, joined by JOINT.
Glance = Callable[[bytes], bool]
#: Neither JSON nor anything the tests look for goes on across it.
JOINT = b"\0"

#: On an alarm topic whatever cannot be decoded is a sign; little comes there.
_ALARMS = "ember/v1/+/+/alarm"
_CALLS = "火警".encode(), "火警".encode("gbk")
_TO_VALUE = rb"""["']?\s{0,8}[:=]\s{0,8}["']?"""
# the beginning of each is plain text, which the regular expressions of Python find many times faster
_ALARM_NOT_FALSE = re.compile(rb"alarm(?!" + _TO_VALUE + rb"(?:false|off|no|0))").search
_SMOKE_TRUE = re.compile(rb"smoke" + _TO_VALUE + rb"(?:t|on|yes|1)").search
assert all(name.endswith("alarm") for name in FIRE_STATES)


def glance(source: Source) -> Glance | None:
    """The test of a source's payloads; None when they have to be decoded."""
    if overlap(source.filter, _ALARMS):
        return None
    if source.codec == "ember-json":
        return _may_say_fire
    return _mapped(source) if source.codec == "json-map" else None


def _may_say_fire(payloads: bytes) -> bool:
    small = payloads.lower()
    if b"\\" in small:  # an escape may stand for any letter
        return True
    if (b"alarm" in small and _ALARM_NOT_FALSE(small)) or (b"smoke" in small and _SMOKE_TRUE(small)):
        return True
    if b"fire" in small and (b'"fire"' in small or b"'fire'" in small):
        return True
    return not small.isascii() and any(call in payloads for call in _CALLS)


def _mapped(source: Source) -> Glance | None:
    """A fire state needs the key that its path ends with, whatever stands behind it."""
    words = []
    for name, path in source.fields.items():
        if name in FIRE_STATES and path is not None:
            steps = parse_path(path).steps
            if not steps or not isinstance(steps[-1], str):
                return None
            words.append(steps[-1].encode().lower())

    def may_say_fire(payloads: bytes) -> bool:
        small = payloads.lower()
        return any(word in small for word in words) or _may_say_fire(payloads)

    return may_say_fire
