"""Fire-class signs in what could not be admitted: no broken decoder may keep a fire from being told. Pure.

A test on bytes, cheap and bounded: it looks for what formats in use write, not for meaning. Better one page too
many to the centre than a fire in a quarantine nobody reads; but a state that says false is no sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ingest.codecs.naming import parse_naming
from ingest.message import Message
from ingest.readings import FIRE_STATES, Observation
from ingest.sources import Source
from ingest.topics import EmberKind, parse_ember

#: Nobody writes the alarm behind this much of something else.
LOOK_AT = 64 * 1024
_CALLS = "火警".encode(), "火警".encode("gbk"), rb"\\u706b\\u8b66"
_SMOKE = rb"(?<![a-z_])smoke"  #: as Zigbee and others write the state; no_smoke and dense_smoke are something else
_FIRE_WORD = rb"""["']fire["'](?!\s{0,8}[:=]\s{0,8}["']?(?:false|off|no|null|0))"""


def fire_states(observation: Observation) -> list[str]:
    """The fire states an observation says are true; a device under test says none."""
    if observation.states.get("test"):
        return []
    return [name for name, value in observation.states.items() if value and name in FIRE_STATES]


def sign_in_bytes(message: Message, payload: bytes, source: Source | None) -> str | None:
    """Why a payload that nobody could decode looks like a fire; None when it does not."""
    head = payload[:LOOK_AT]
    says_true, says_false = _patterns(_written_names(source))
    found = says_true.search(head)
    if found:
        return f"its bytes read like {_text(found[0])}"
    ember = parse_ember(message.topic)
    if ember is not None and ember.kind is EmberKind.ALARM and not says_false.search(head):
        return "it came on an alarm topic"
    return None


def place(message: Message, source: Source | None) -> tuple[str, str]:
    """Site and device as far as the topic or the source tell them; "" for what they do not."""
    ember = parse_ember(message.topic)
    if ember is not None:
        return ember.site, ember.device
    if source is None:
        return "", ""
    return parse_naming(source.site).in_topic(message.topic), parse_naming(source.device).in_topic(message.topic)


def _written_names(source: Source | None) -> tuple[str, ...]:
    """How fire states are written in this source's payloads: by our names, and by the last part of a mapped path."""
    mapped = {} if source is None else source.fields
    paths: Iterable[str] = (path for name, path in mapped.items() if path and name in FIRE_STATES)
    parts = {re.split(r"[.\[\]'\"]+", path.rstrip("]'\""))[-1] for path in paths}
    return tuple(sorted(FIRE_STATES | {part for part in parts if len(part) > 1 and not part.isdecimal()}))


@lru_cache(maxsize=64)
def _patterns(names: tuple[str, ...]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    name = b"(?:" + b"|".join(re.escape(written.encode()) for written in names) + b")"
    to_value = rb"""["']?\s{0,8}[:=]\s{0,8}["']?"""
    true = rb"(?:true|on\b|yes\b|1(?![\d.])|t[rue]{0,3}\Z)"
    signs = [name + to_value + true, _SMOKE + to_value + true, _FIRE_WORD, *_CALLS]
    false = name + to_value + rb"(?:false|off|no\b|0)"
    return re.compile(b"|".join(signs), re.IGNORECASE), re.compile(false, re.IGNORECASE)


def _text(found: bytes) -> str:
    for charset in ("utf-8", "gbk"):
        try:
            return " ".join(found.decode(charset).split())
        except UnicodeDecodeError:
            continue
    return "火警"
