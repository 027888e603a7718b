"""MQTT topics and filters, and the native topic scheme `ember/v1/…`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from itertools import zip_longest

import msgspec

MAX_BYTES = 65_535  #: of a topic or filter, as UTF-8


def valid_topic(topic: str) -> str | None:
    """What is wrong with a topic to publish to; None when nothing is."""
    if "+" in topic or "#" in topic:
        return f"topic {topic!r} has a wildcard; + and # belong into filters only"
    return _wrong_text("topic", topic)


def valid_filter(filter_: str) -> str | None:
    """What is wrong with a topic filter; None when nothing is.

    Shared subscriptions are refused: they hand a device's messages to several receivers out of order.
    """
    wrong = _wrong_text("filter", filter_)
    if wrong:
        return wrong
    levels = filter_.split("/")
    if levels[0] == "$share":
        return f"filter {filter_!r} is a shared subscription, which reorders messages; name the plain filter"
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index < len(levels) - 1):
            return f"filter {filter_!r}: # must stand alone as the last level, such as a/b/#"
        if "+" in level and level != "+":
            return f"filter {filter_!r}: + must be a whole level, such as a/+/b"
    return None


def _wrong_text(what: str, text: str) -> str | None:
    if not text:
        return f"{what} is empty; name at least one level"
    if "\0" in text:
        return f"{what} {text!r} has a NUL character"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return f"{what} {text!r} is not valid Unicode text"
    return f"{what} has {size} bytes; MQTT allows {MAX_BYTES}" if size > MAX_BYTES else None


def matches(filter_: str, topic: str) -> bool:
    """Whether a valid filter matches a valid topic, by MQTT's rules.

    `+` stands for one level, also an empty one; a last `#` for any number of levels, also none; neither stands
    for a first level that begins with `$`.
    """
    if topic[:1] == "$" and filter_[:1] in ("+", "#"):
        return False
    for pattern, level in zip_longest(filter_.split("/"), topic.split("/")):
        if pattern == "#":
            return True
        if pattern is None or level is None or pattern not in ("+", level):
            return False
    return True


def overlap(a: str, b: str) -> bool:
    """Whether some topic matches both of two valid filters."""
    if (a[:1] == "$" and b[:1] in ("+", "#")) or (b[:1] == "$" and a[:1] in ("+", "#")):
        return False
    for one, other in zip_longest(a.split("/"), b.split("/")):
        if one == "#" or other == "#":
            return True
        if one is None or other is None or (one != other and "+" not in (one, other)):
            return False
    return True


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that matches `narrow` matches `wide` too; both are valid filters."""
    if narrow[:1] == "$" and wide[:1] in ("+", "#"):
        return False
    for pattern, level in zip_longest(wide.split("/"), narrow.split("/")):
        if pattern == "#":
            return True
        if pattern is None or level is None or level == "#" or pattern not in ("+", level):
            return False
    return True


class Matcher:
    """Which of many filters a topic belongs to: the most specific one that matches.

    Compared level by level from the left, a name beats `+`, and `+` beats `#`; so the order of the filters does
    not matter, and exactly one filter wins. Answers are cached for at most `cache` topics.
    """

    def __init__(self, filters: Iterable[str], *, cache: int = 100_000) -> None:
        self._filters = sorted(set(filters), key=_specificity)
        alternatives = "|".join(f"({_pattern(filter_)})" for filter_ in self._filters)
        self._match = re.compile(alternatives or r"(?!)", re.DOTALL).fullmatch
        self._cache: dict[str, str | None] = {}
        self._limit = cache

    def match(self, topic: str) -> str | None:
        """The filter this topic belongs to, None when no filter matches."""
        try:
            return self._cache[topic]
        except KeyError:
            return self._look_up(topic)

    def _look_up(self, topic: str) -> str | None:
        found = self._match(topic)
        filter_ = self._filters[found.lastindex - 1] if found and found.lastindex else None
        if len(self._cache) >= self._limit:
            self._cache.clear()  # cheaper than keeping an order: a look-up is one regular expression
        self._cache[topic] = filter_
        return filter_


def _specificity(filter_: str) -> list[tuple[int, str]]:
    ranks = {"+": 1, "#": 2}
    return [(ranks.get(level, 0), level) for level in filter_.split("/")]


def _pattern(filter_: str) -> str:
    levels = filter_.split("/")
    rest = levels[-1] == "#"
    parts = ["[^/]*" if level == "+" else re.escape(level) for level in (levels[:-1] if rest else levels)]
    pattern = "/".join(parts)
    if rest:
        pattern = pattern + "(?:/.*)?" if parts else ".*"
    return r"(?!\$)" + pattern if levels[0] in ("+", "#") else pattern


class EmberKind(StrEnum):
    """What a topic of the native scheme carries."""

    TELEMETRY = "telemetry"  #: readings of one device
    ALARM = "alarm"  #: states of fire class of one device, an urgent source
    GATEWAY_TELEMETRY = "gateway_telemetry"  #: readings of many devices, each naming itself
    STATUS = "status"  #: online or offline, retained, the last will
    COMMAND = "command"  #: an order to a device
    COMMAND_ACK = "command_ack"  #: the device's answer to an order


class EmberTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of the native scheme; `device` is "" for gateway telemetry."""

    kind: EmberKind
    site: str
    device: str = ""

    def __str__(self) -> str:
        return ember_topic(kind=self.kind, site=self.site, device=self.device)


EMBER_ROOT = "ember/v1/"
_TAILS = {
    EmberKind.TELEMETRY: "telemetry",
    EmberKind.ALARM: "alarm",
    EmberKind.GATEWAY_TELEMETRY: "telemetry",
    EmberKind.STATUS: "status",
    EmberKind.COMMAND: "command",
    EmberKind.COMMAND_ACK: "command/ack",
}
_DEVICE_KINDS = {tail: kind for kind, tail in _TAILS.items() if kind is not EmberKind.GATEWAY_TELEMETRY}


def ember_topic(*, kind: EmberKind, site: str, device: str = "") -> str:
    """The topic for one kind of message; ValueError when site or device cannot be a topic level."""
    names = {"site": site} if kind is EmberKind.GATEWAY_TELEMETRY else {"site": site, "device": device}
    for what, name in names.items():
        if not name or "/" in name or valid_topic(name):
            raise ValueError(f"{what} {name!r} cannot be a topic level: no /, + or #, and not empty")
    return EMBER_ROOT + "/".join([*names.values(), _TAILS[kind]])


def parse_ember(topic: str) -> EmberTopic | None:
    """What a topic of the native scheme names; None for every other topic."""
    levels = topic.split("/", 4)
    if len(levels) < 4 or levels[0] != "ember" or levels[1] != "v1" or not levels[2]:
        return None
    site, device = levels[2], levels[3]
    if len(levels) == 4:
        return EmberTopic(kind=EmberKind.GATEWAY_TELEMETRY, site=site) if device == "telemetry" else None
    kind = _DEVICE_KINDS.get(levels[4])
    return EmberTopic(kind=kind, site=site, device=device) if kind and device else None
