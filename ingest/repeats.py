"""Have we had this reading before? Bounded, exact to replay. Pure."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from ingest.message import Message
from ingest.readings import Observation
from ingest.timing import Key

#: Entries of one of the two generations: at 10,000 messages a second twelve seconds each, which is longer than a
#: broker's window of unacknowledged messages lasts. A slower device's repeat is known by its own last print.
GENERATION = 131_072
#: A fingerprint's bytes: among 262,144 kept the chance of a wrong match is below 1 in 10^13.
SIZE = 8

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def reading_print(site: str, device: str, observation: Observation) -> bytes:
    """Fingerprint of what a device said: who, when by its own clock, seq, content."""
    said = (site, device, observation.observed_at, observation.seq, observation.values, observation.states)
    return blake2b(_encode(said), digest_size=SIZE).digest()


def message_print(message: Message, payload: bytes) -> bytes:
    """Fingerprint of a delivery. A broker repeats one under its own packet id; a device's next equal message has
    another, which matters where the first of the two never reached us."""
    return blake2b(_encode((message.topic, message.packet_id, payload)), digest_size=SIZE).digest()


class Prints:
    """Recent fingerprints in two generations, and each device's last one."""

    def __init__(self) -> None:
        self.young: dict[bytes, None] = {}
        self.old: dict[bytes, None] = {}
        self.last: dict[Key, bytes] = {}

    def known(self, mark: bytes) -> bool:
        """Whether this fingerprint is among the recent ones."""
        return mark in self.young or mark in self.old

    def keep(self, mark: bytes) -> None:
        """Remember a fingerprint; the older generation is dropped when the younger is full."""
        if len(self.young) >= GENERATION:
            self.old, self.young = self.young, {}
        self.young[mark] = None
