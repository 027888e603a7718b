"""How a source says where the site and the device of a message are found. Pure.

`topic:2` is the second level of the topic, `$.a.b` a place in the payload, `inventory` (sites only) the site at
which the device is registered; anything else is the name itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from ingest.codecs.json_path import JsonPath, parse_path
from ingest.codecs.json_text import shown
from ingest.codecs.values import NAME_LIMIT, name
from ingest.errors import Undecodable

if TYPE_CHECKING:
    from ingest.sources import Source

INVENTORY = "inventory"
_AN_ID = f"give at most {NAME_LIMIT} characters, no control characters"
_LEVEL = re.compile(r"topic:([1-9]\d{0,2})", re.ASCII)


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of these; all unset = found in the inventory."""

    literal: str = ""
    level: int = 0  #: counted from 1
    path: JsonPath | None = None

    def of(self, topic: str, tree: object) -> str | None:
        """The name; None where only the inventory knows it. Undecodable where it is missing."""
        if self.path is not None:
            return name(self.path.find(tree), self.path.text)
        if self.level:
            found = self.in_topic(topic)
            if not found:
                raise Undecodable(f"topic {shown(topic)} has no level {self.level}; check the source's filter")
            return found
        return self.literal or None

    def in_topic(self, topic: str) -> str:
        """The name as far as the topic or the source alone tells it; "" when they do not."""
        if not self.level:
            return self.literal
        levels = topic.split("/")
        return levels[self.level - 1] if self.level <= len(levels) else ""


def parse_naming(text: str) -> Naming:
    """A naming from its text; ValueError that says what is wrong and what would be right."""
    if text in ("", INVENTORY):
        return Naming()
    if text.startswith("$"):
        return Naming(path=parse_path(text))
    if text.startswith("topic:"):
        level = _LEVEL.fullmatch(text)
        if level is None:
            raise ValueError(f"{text!r} is no topic level; count levels from 1, such as topic:2")
        return Naming(level=int(level[1]))
    if "/" in text or not text.isprintable() or len(text) > NAME_LIMIT:
        raise ValueError(f"{text!r} is no name; write one without /, topic:2, $.path or inventory")
    return Naming(literal=text)


def placed(source: Source, topic: str, tree: object, device: str) -> tuple[str | None, str]:
    """Site and device of a message whose format names the device `device`, unless the source says otherwise."""
    if source.device:
        device = _parsed(source.device).of(topic, tree) or device
    return registrable(_parsed(source.site).of(topic, tree), device, topic)


def registrable(site: str | None, device: str, topic: str) -> tuple[str | None, str]:
    """The two as they are; Undecodable where nobody can register them, because the topic has control characters."""
    if len(device) > NAME_LIMIT or not device.isprintable():
        raise Undecodable(f"topic {shown(topic)}: {shown(device)} is no id of a device; {_AN_ID}")
    if site is not None and (len(site) > NAME_LIMIT or not site.isprintable()):
        raise Undecodable(f"topic {shown(topic)}: {shown(site)} is no id of a site; {_AN_ID}")
    return site, device


_parsed = lru_cache(maxsize=256)(parse_naming)


class Keys:
    """Which key of a format is which quantity or state.

    `usual` are the keys everybody knows; a source's `fields` name more, {our name: key of the format}. A key of the
    source comes before a usual one of the same name; null takes a quantity or state out.
    """

    def __init__(self, usual: Mapping[str, str]) -> None:
        self._usual = usual
        self._of: dict[tuple[tuple[str, str | None], ...], dict[str, str]] = {}

    def of(self, source: Source) -> Mapping[str, str]:
        """Key of the format → our name, for this source."""
        if not source.fields:
            return self._usual
        stated = tuple(source.fields.items())
        found = self._of.get(stated)
        if found is None:
            kept = {key: name for key, name in self._usual.items() if name not in source.fields}
            found = self._of[stated] = kept | {key: name for name, key in stated if key is not None}
        return found
