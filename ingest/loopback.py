"""Our own probes on their way through the broker and back to the receiver: which ones are out, and what they are.

Each probe is a secret of its own and counts once: who sees one cannot make the next, nor send the same again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable

from ingest.journal import Stream
from ingest.message import Kind, decode_probe
from ingest.sources import Clock, Source, Sources

#: First levels of the topics of probes, `emberwatch check` included. No message of anybody's is taken in from there.
PROBES = "emberwatch/probe/"
#: What the broker must let our user do, for log lines and documentation.
PERMISSION = "let our user read and write emberwatch/probe/#"
MOST_OUT = 20


class Loopback:
    """The probes of one shard that have not come back. Its two sides may be called from different threads."""

    def __init__(self, shard: str) -> None:
        self.shard = shard
        self.topic = PROBES + shard
        self._out: dict[bytes, int] = {}  #: payload → when it was sent, in the order of sending
        self._turn = threading.Lock()

    def send(self, now: int) -> bytes:
        """The payload of a probe that is published at `now` (µs)."""
        payload = secrets.token_hex(16).encode()
        with self._turn:
            self._out[payload] = now
            if len(self._out) > MOST_OUT:  # the oldest would say nothing new any more
                del self._out[next(iter(self._out))]
        return payload

    def waiting_since(self) -> int | None:
        """When the oldest probe that is still out was sent (µs): none has come back since. None when all are back."""
        with self._turn:
            return next(iter(self._out.values()), None)

    def take(self, topic: str, payload: bytes) -> int | None:
        """When this probe was sent (µs); None for what is none of ours, or is older than one that was here."""
        with self._turn:
            sent_at = self._out.get(payload) if topic == self.topic else None
            if sent_at is not None:
                out = list(self._out)
                for done in out[: out.index(payload) + 1]:
                    del self._out[done]
        return sent_at


def probed_shards(sources: Sources) -> list[str]:
    """The shards that probes go through: on the clock of receipt, with something to hear from a broker."""
    return [
        shard for shard, clock in sources.shards().items() if clock is Clock.RECEIVED and _by_broker(sources.of(shard))
    ]


def newest_probe(messages: Stream) -> int | None:
    """When the newest probe of a log was sent (µs), None when it has none."""
    record = messages.last(Kind.PROBE)
    return decode_probe(record.value).sent_at if record else None


def _by_broker(sources: Iterable[Source]) -> bool:
    return any(source.by_broker for source in sources)
