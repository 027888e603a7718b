"""What admit remembers, borrowed from the evaluator's newest checkpoint: enough for one look at records it has not
reached. Without fingerprints and clocks, so a repeat is not recognised here.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from alerts.checkpoints import FORMAT, first_part
from alerts.judge import suspicion_of
from ingest.admission import Admission, Outcome
from ingest.admit import admit
from ingest.errors import BelowFloor, ConfigError
from ingest.glance import Glance, glance
from ingest.inventory import InventoryDelta
from ingest.journal import Record, Stream
from ingest.memory import Memory
from ingest.message import MESSAGE, Kind, decode_message
from ingest.sources import Sources
from ingest.sources_file import parse_sources

_BATCH = 1_000
#: Control records that change what admit knows.
CHANGES = frozenset({Kind.SOURCES, Kind.INVENTORY})
#: Codecs that understand a message by what earlier ones said.
LEARNING = frozenset(
    {"ctwing", "homeassistant", "homie", "huawei-iotda", "onenet", "shelly", "sparkplug-b", "tasmota", "zigbee2mqtt"}
)

log = structlog.get_logger()

_delta = msgspec.msgpack.Decoder(InventoryDelta).decode


class _Header(msgspec.Struct, frozen=True):
    """Of a checkpoint's header, what is borrowed."""

    format: int
    shard: str
    offset: int
    memory: bytes


class Borrowed:
    """admit's memory at one offset of a log. `folder` is where the shard's checkpoints lie."""

    def __init__(self, shard: str, messages: Stream, folder: Path, *, until: int) -> None:
        header = _newest(folder, shard)
        self.memory = Memory.glimpse(header.memory) if header else Memory(Sources(sources=(), text=""))
        self._shard = shard
        self._messages = messages
        self._catch_up(header.offset if header else messages.floor(), until, whole=header is not None)

    def take(self, record: Record) -> Admission | None:
        """The next record in order: what becomes of a message, None for what only changes the memory."""
        if record.kind == MESSAGE:
            return admit(record, self.memory)
        if record.kind == Kind.INVENTORY:
            self.memory.apply_inventory(_delta(record.value))
        elif record.kind == Kind.SOURCES:
            sources = sources_in(record)
            if sources is not None:
                self.memory.apply_sources(sources)
        return None

    def _catch_up(self, after: int, until: int, *, whole: bool) -> None:
        """From the checkpoint on, with the messages that teach codecs something: half a minute of them at most."""
        while after < until:
            teachers = self._teachers() if whole else frozenset()
            records = self._read(after, control_only=not teachers)
            for record in records:
                if record.offset <= until and _teaches(record, teachers):
                    self._learn(record)
            after = records[-1].offset if records else until

    def _teachers(self) -> frozenset[str]:
        return frozenset(source.filter for source in self.memory.sources.sources if source.codec in LEARNING)

    def _learn(self, record: Record) -> None:
        try:
            self.take(record)
        except Exception as error:  # as the evaluator does: one record that breaks a decoder stops nothing
            log.error("a record is passed over", shard=self._shard, offset=record.offset, error=type(error).__name__)

    def _read(self, after: int, *, control_only: bool) -> list[Record]:
        try:
            return self._messages.read(after, _BATCH, control_only=control_only)
        except BelowFloor:
            return self._messages.read(self._messages.floor(), _BATCH, control_only=control_only)


def glances_of(sources: Sources) -> dict[str, Glance | None]:
    """The byte test of each source by its filter; None where only decoding tells."""
    return {source.filter: glance(source) for source in sources.sources}


def sources_in(record: Record) -> Sources | None:
    """The sources a record carries; None for ones with mistakes, which nobody takes over."""
    try:
        return parse_sources(record.value.decode(), "sources in the log")
    except (ConfigError, UnicodeDecodeError):
        return None


def by_bytes_alone(record: Record) -> Admission:
    """What is said of a message that must not be decoded: it broke the evaluator, or it would break us."""
    return Admission(outcome=Outcome.QUARANTINED, suspicion=suspicion_of(record))


def _teaches(record: Record, teachers: frozenset[str]) -> bool:
    if record.kind == MESSAGE:
        return decode_message(record.meta).source in teachers
    return record.kind in CHANGES


def _newest(folder: Path, shard: str) -> _Header | None:
    for path in sorted(folder.glob("*.checkpoint"), reverse=True):
        try:
            header = first_part(path, _Header)
        except (msgspec.MsgspecError, ValueError, OSError, StopIteration) as error:
            log.warning("checkpoint unreadable, trying the one before", file=str(path), error=str(error))
            continue
        if header.format == FORMAT and header.shard == shard:
            return header
    return None
