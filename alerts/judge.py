"""Records of the log in, decisions out: admit and the engine, as the evaluator and the back-test both run them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
import structlog

from alerts.alert import derived_id
from alerts.decisions import Decision
from alerts.engine import Engine
from alerts.incident import Notice
from alerts.memory import ClockMemory, SiteMemory
from alerts.rulebook import Rulebook, parse_rulebook
from ingest.admission import Admission, Outcome, Suspicion
from ingest.admit import admit
from ingest.errors import ConfigError
from ingest.inventory import InventoryDelta
from ingest.journal import Record
from ingest.memory import Memory
from ingest.message import MESSAGE, Act, EngineError, Intake, Kind, Tick, decode_message, decode_probe
from ingest.redrive import judge_again
from ingest.sources import Clock, Sources
from ingest.sources_file import parse_sources
from ingest.suspicion import place, sign_in_bytes

log = structlog.get_logger()

_delta = msgspec.msgpack.Decoder(InventoryDelta).decode
_tick = msgspec.msgpack.Decoder(Tick).decode
_intake = msgspec.msgpack.Decoder(Intake).decode
decode_engine_error = msgspec.msgpack.Decoder(EngineError).decode
_act = msgspec.msgpack.Decoder(Act).decode


class Judge:
    """Everything that decides for one shard: admit's memory, the engine, and the books of messages by Outcome."""

    def __init__(self, *, shard: str, clock: Clock, rulebook: Rulebook) -> None:
        self.shard = shard
        self.engine = Engine(shard=shard, clock=clock, rulebook=rulebook)
        self.memory = Memory(Sources(sources=(), text=""))
        self.counts: Counter[str] = Counter()
        self.deadly: set[int] = set()  #: offsets of records that are set aside without being judged
        self.probe = 0  #: when the newest probe that came this far was sent, µs; decides nothing
        self._notices: list[Decision] = []
        self._controls: dict[int, Callable[[Record], None]] = {
            Kind.TICK: lambda r: self.engine.tick(_tick(r.value), offset=r.offset, at=r.at),
            Kind.INTAKE: lambda r: self.engine.intake(_intake(r.value), offset=r.offset, at=r.at),
            Kind.ACT: lambda r: self.engine.act(_act(r.value), offset=r.offset, at=r.at),
            Kind.INVENTORY: self._inventory,
            Kind.SOURCES: self._sources,
            Kind.RULEBOOK: self._rulebook,
            Kind.REDRIVE: self._redrive,
            Kind.PROBE: self._passed_probe,
        }

    def step(self, record: Record) -> EngineError | None:
        """Take one record of the `messages` stream, in order.

        A bug in admit or the engine must not stop a shard: such a record is set aside, and what is returned says so.
        """
        if record.offset in self.deadly:
            return self._set_aside(record, "it ended the evaluator several times in a row", deadly=True)
        try:
            if record.kind == MESSAGE:
                self._message(record)
            elif record.kind in self._controls:
                self._controls[record.kind](record)
        except Exception as error:
            log.exception("record set aside", shard=self.shard, offset=record.offset)
            return self._set_aside(record, f"{type(error).__name__}: {error}"[:500])
        return None

    def _message(self, record: Record) -> None:
        admission = admit(record, self.memory)
        self.engine.admitted(admission, offset=record.offset, at=record.at)
        self.counts[admission.outcome] += 1
        if admission.flood:
            new_id = derived_id("notice", self.shard, "flood", record.offset)
            self._notices.append(Notice(id=new_id, at=record.at, text=admission.flood))

    def _set_aside(self, record: Record, error: str, *, deadly: bool = False) -> EngineError:
        if record.kind == MESSAGE:
            self.counts[Outcome.QUARANTINED] += 1
            suspicion = suspicion_of(record)
            if suspicion is not None:
                aside = Admission(outcome=Outcome.QUARANTINED, suspicion=suspicion)
                self.engine.admitted(aside, offset=record.offset, at=record.at)
        return EngineError(offset=record.offset, error=error, deadly=deadly)

    def take(self) -> list[Decision]:
        """The decisions since the last call."""
        decisions = self.engine.take()
        if self._notices:
            decisions += self._notices
            self._notices = []
        return decisions

    def restore(
        self, *, memory: Memory, clock: ClockMemory, sites: dict[str, SiteMemory], counts: dict[str, int]
    ) -> None:
        """Go on from a checkpoint."""
        self.memory = memory
        self.counts = Counter(counts)
        self.engine.recall(clock, sites)

    def _inventory(self, record: Record) -> None:
        delta = _delta(record.value)
        self.memory.apply_inventory(delta)
        self.engine.inventory(delta, offset=record.offset, at=record.at)

    def _passed_probe(self, record: Record) -> None:
        self.probe = decode_probe(record.value).sent_at

    def _redrive(self, record: Record) -> None:
        again = judge_again(record, self.memory)
        if again is not None and again.admission.outcome is not Outcome.QUARANTINED:
            self.counts[again.admission.outcome] += 1  # first: as the writer does, whatever the engine makes of it
            self.counts[Outcome.QUARANTINED] -= 1
            self.engine.admitted(again.admission, offset=record.offset, at=record.at)

    def _sources(self, record: Record) -> None:
        try:
            self.memory.apply_sources(parse_sources(record.value.decode(), "sources in the log"))
        except (ConfigError, UnicodeDecodeError) as error:
            self._refused("sources", record, error)

    def _rulebook(self, record: Record) -> None:
        try:
            rulebook = parse_rulebook(record.value.decode(), "rulebook in the log")
        except (ConfigError, UnicodeDecodeError) as error:
            self._refused("rulebook", record, error)
        else:
            self.engine.rules(rulebook, offset=record.offset, at=record.at)

    def _refused(self, what: str, record: Record, error: Exception) -> None:
        text = f"a {what} with mistakes was not taken over, the one before stays: {error}"
        self._notices.append(Notice(id=derived_id("notice", self.shard, record.offset), at=record.at, text=text))


def deadly_offsets(records: Iterable[Record]) -> set[int]:
    """Offsets that Kind.ENGINE_ERROR records name as not to be judged."""
    aside = (decode_engine_error(record.value) for record in records if record.kind == Kind.ENGINE_ERROR)
    return {each.offset for each in aside if each.deadly}


def suspicion_of(record: Record) -> Suspicion | None:
    """A fire sign in a message that could not be judged; its bytes are all there is to go by."""
    message = decode_message(record.meta)
    why = sign_in_bytes(message, record.value, None)
    if why is None:
        return None
    site, device = place(message, None)
    return Suspicion(site=site, device=device, why=why)
