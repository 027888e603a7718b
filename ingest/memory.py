"""What admit remembers between messages: inventory, fingerprints, clocks, counts, and what codecs learned. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decode
from ingest.codecs.naming import Naming, parse_naming
from ingest.inventory import Inventory, InventoryDelta
from ingest.rates import NO_LIMIT, Rates, device_limit
from ingest.repeats import SIZE, Prints
from ingest.sources import Clock, Source, Sources, allow_list
from ingest.timing import Clocks, Key, WrongClock


class Route(NamedTuple):
    """How the messages of one source are taken."""

    source: Source
    decode: Decode
    memory: CodecMemory
    observed: bool
    usual: bool  #: whether its messages may go the short way
    counted: bool  #: whether readings count against limits; not in a recording
    limit: int  #: of live readings of a device in its window
    gateway_limit: int
    gateway: Naming | None  #: where the topic names the gateway
    enrols: Callable[[str, str], bool] | None  #: which unknown devices (site, id) register themselves


def _route(source: Source, memory: CodecMemory) -> Route:
    observed = source.clock is Clock.OBSERVED
    return Route(
        source=source,
        decode=CODECS[source.codec],
        memory=memory,
        observed=observed,
        usual=not observed and not source.gateway,
        counted=not observed,
        limit=device_limit(source.rate_per_minute),
        gateway_limit=source.gateway_rate_per_minute or NO_LIMIT,
        gateway=parse_naming(source.gateway) if source.gateway else None,
        enrols=allow_list(source.enrol),
    )


class Memory:
    """What admit remembers between messages; one per reader of a shard. Equal records give equal memories."""

    def __init__(
        self, sources: Sources, inventory: Inventory | None = None, codecs: dict[str, CodecMemory] | None = None
    ) -> None:
        self.inventory = inventory or Inventory()  #: changed by enrolment, in both readers alike
        self.prints = Prints()
        self.clocks = Clocks()
        self.rates = Rates()
        self.redriven: dict[int, None] = {}  #: offsets of messages that left the quarantine, see ingest.redrive
        self._codec_memories = codecs or {}
        self.apply_sources(sources)

    def apply_sources(self, sources: Sources) -> None:
        """Take over the sources of a Kind.SOURCES record; what codecs remember stays."""
        self.sources = sources
        self.routes = {
            source.filter: _route(source, self._codec_memories.setdefault(source.codec, {}))
            for source in sources.sources
            if source.codec in CODECS  # the log may name codecs of a newer release: to this one they are no source
        }

    def apply_inventory(self, delta: InventoryDelta) -> None:
        """Take over a Kind.INVENTORY record; removed devices are forgotten."""
        self.inventory.apply(delta)
        for removed in delta.removed_devices:
            site, _, device = removed.partition("/")
            if (site, device) not in self.inventory.devices:
                self.prints.last.pop((site, device), None)
                self.clocks.wrong.pop((site, device), None)

    def dump(self) -> bytes:
        """Everything, exactly, for a checkpoint."""
        last = self.prints.last
        return _encode_dump(
            _Dump(
                sources=self.sources,
                inventory=msgspec.Raw(self.inventory.encoded()),
                young=b"".join(self.prints.young),
                old=b"".join(self.prints.old),
                last_of=list(last),
                last=b"".join(last.values()),
                wrong_of=list(self.clocks.wrong),
                wrong=list(self.clocks.wrong.values()),
                redriven=list(self.redriven),
                rates=self.rates,
                codecs=self._codec_memories,
            )
        )

    @classmethod
    def load(cls, dumped: bytes) -> Memory:
        """The memory that was dumped; msgspec.DecodeError when these bytes are none."""
        dump = _decode_dump(dumped)
        memory = cls(dump.sources, codecs=dump.codecs)
        memory.inventory.apply(_decode_inventory(dump.inventory))
        memory.inventory.index()  # now, not when a message waits for it
        memory.prints.young = dict.fromkeys(_cut(dump.young))
        memory.prints.old = dict.fromkeys(_cut(dump.old))
        memory.prints.last = dict(zip(dump.last_of, _cut(dump.last), strict=True))
        memory.clocks.wrong = dict(zip(dump.wrong_of, dump.wrong, strict=True))
        memory.redriven = dict.fromkeys(dump.redriven)
        memory.rates = dump.rates
        return memory

    @classmethod
    def glimpse(cls, dumped: bytes) -> Memory:
        """As `load`, without fingerprints, clocks and counts: several times as quick, for a look at a few messages."""
        dump = _decode_glimpse(dumped)
        memory = cls(dump.sources, codecs=dump.codecs)
        memory.inventory.apply(_decode_inventory(dump.inventory))
        return memory


class _Dump(msgspec.Struct, frozen=True, kw_only=True):
    sources: Sources
    inventory: msgspec.Raw  #: InventoryDelta
    young: bytes
    old: bytes
    last_of: list[Key]
    last: bytes
    wrong_of: list[Key]
    wrong: list[WrongClock]
    codecs: dict[str, CodecMemory]
    redriven: list[int] = []
    rates: Rates = msgspec.field(default_factory=Rates)


class _Glimpse(msgspec.Struct, frozen=True, kw_only=True):
    """Of a _Dump, what does not grow with every message."""

    sources: Sources
    inventory: msgspec.Raw
    codecs: dict[str, CodecMemory]


_encode_dump = msgspec.msgpack.Encoder().encode
_decode_dump = msgspec.msgpack.Decoder(_Dump).decode
_decode_glimpse = msgspec.msgpack.Decoder(_Glimpse).decode
_decode_inventory = msgspec.msgpack.Decoder(InventoryDelta).decode


def _cut(joined: bytes) -> list[bytes]:
    return [joined[start : start + SIZE] for start in range(0, len(joined), SIZE)]
