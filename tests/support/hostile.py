"""What a payload may cost that was made to be dear: a few times the largest that a device may send in earnest."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import msgspec

from ingest.codecs import CODECS
from ingest.codecs.contract import ITEM_LIMIT, PAYLOAD_LIMIT
from ingest.message import Message
from ingest.sources import Source

#: Far below anything quadratic, which takes hundreds of times as long.
TIMES = 5


def affordable(work: Callable[[], object]) -> bool:
    """Whether this takes at most TIMES as long as an array of readings as large as PAYLOAD_LIMIT lets through.

    A ratio of two measured one after the other, because a share of a busy core is all that a test may have; the best
    of some, for the same reason.
    """
    message, payload, source = _in_earnest()
    usual = CODECS["ember-json"]
    return any(_seconds(work) <= TIMES * _seconds(lambda: usual(message, payload, source, {})) for _ in range(5))


@lru_cache(maxsize=1)
def _in_earnest() -> tuple[Message, bytes, Source]:
    reading = {"ts": 1_777_593_600_000, "temperature": 20.5}
    payload = msgspec.json.encode([reading] * min(ITEM_LIMIT, PAYLOAD_LIMIT // (len(msgspec.json.encode(reading)) + 1)))
    message = Message(topic="ember/v1/s/d/telemetry", source="#", received_at=0)
    return message, payload, Source(filter="#", codec="ember-json")


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
