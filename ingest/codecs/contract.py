"""What every codec promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Observation

if TYPE_CHECKING:
    from ingest.sources import Source

#: What one codec remembers from message to message (births, aliases, discovery): plain values that msgpack can
#: carry, because it is checkpointed with the rest of admit's memory.
CodecMemory = dict[str, object]

#: No payload of a sensor comes near this; larger ones are set aside unread, so that parsing stays bounded.
PAYLOAD_LIMIT = 256 * 1024
#: Of one array: two days of a reading a minute, buffered through an outage; more would take a core over 50 ms.
ITEM_LIMIT = 3_000


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something to publish on the message's broker, such as Sparkplug's wish for a rebirth. Only ingest sends it."""

    topic: str
    payload: bytes


class Decoded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a codec understood. Empty: the message is understood and carries no reading."""

    observations: tuple[Observation, ...] = ()
    requests: tuple[Request, ...] = ()


class UndecodableYet(Undecodable):
    """Cannot be understood now; what is asked for in `requests` would make it, and its like, understood later."""

    def __init__(self, reason: str, requests: tuple[Request, ...]) -> None:
        super().__init__(reason)
        self.requests = requests


class Decode(Protocol):
    """Turns one message of a source into observations.

    Pure but for `memory`, which it may change. Raises Undecodable with one line that says where in the payload,
    what is there and what would be right; never anything else, whatever the bytes (at most PAYLOAD_LIMIT).
    """

    def __call__(self, message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded: ...
