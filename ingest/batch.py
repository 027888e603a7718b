"""One pass of the writer over the log: what its records come to, and how that gets into the database at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import psycopg
import structlog
from psycopg.rows import TupleRow

from ingest import duty_store, quarantine, store
from ingest.admission import Admission, Outcome, Reason
from ingest.admit import admit
from ingest.codecs.contract import Request
from ingest.errors import ConfigError
from ingest.inventory import InventoryDelta
from ingest.inventory_store import upsert_inventory
from ingest.journal import Record
from ingest.memory import Memory
from ingest.message import MESSAGE, DutyOutcome, EngineError, Kind, decode_probe
from ingest.quarantine import Aside
from ingest.readings import Reading
from ingest.redrive import Again, judge_again
from ingest.skews import SkewNews
from ingest.sources_file import parse_sources
from ingest.store import Change, DeviceKey

Connection = psycopg.Connection[TupleRow]
log = structlog.get_logger()

#: The books, by name: one line for every message, then its readings, then what the database itself refused
#: (those are among the quarantined too).
BOOKS = (*(outcome.value for outcome in Outcome), "readings", "refused")

#: SQLSTATE classes that speak of the data and not of the server: feature not supported, data exceptions,
#: constraints, external routines, check options, program limits (a key too long for an index), raised by a trigger.
_OF_THE_DATA = {"0A", "21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0"}

_STORED = Outcome.STORED

_delta = msgspec.msgpack.Decoder(InventoryDelta).decode
_duty_outcome = msgspec.msgpack.Decoder(DutyOutcome).decode
_engine_error = msgspec.msgpack.Decoder(EngineError).decode


class Item(msgspec.Struct, frozen=True, gc=False):
    """A message that ends as stored."""

    record: Record
    readings: tuple[Reading, ...]
    changes: Sequence[Change] = ()


class _Known(msgspec.Struct, gc=False):
    at: int
    states: dict[str, bool]


class States:
    """The last known state of every device, in order of time: what is older than that changes nothing."""

    def __init__(self, known: dict[DeviceKey, _Known] | None = None) -> None:
        self._known = known if known is not None else {}

    def changes(self, readings: Iterable[Reading]) -> list[Change]:
        """The changes these readings bring; remembers them."""
        changes: list[Change] = []
        for reading in readings:
            if not reading.states:
                continue
            key = (reading.site, reading.device)
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = _Known(reading.at, {})
            if reading.at < known.at:
                continue
            known.at = reading.at
            for state, value in reading.states.items():
                if known.states.get(state) is not value:
                    known.states[state] = value
                    changes.append(Change(*key, reading.at, state, value))
        return changes

    def dump(self) -> bytes:
        return msgspec.msgpack.encode([(*key, known.at, known.states) for key, known in self._known.items()])

    @classmethod
    def load(cls, dumped: bytes) -> States:
        rows = msgspec.msgpack.decode(dumped, type=list[tuple[str, str, int, dict[str, bool]]])
        return cls({(site, device): _Known(at, states) for site, device, at, states in rows})


class Batch:
    """What the records of one pass come to. Filled once; written as often as it takes."""

    def __init__(self) -> None:
        self.first = self.last = -1  # offsets
        self.last_at = 0
        self.items: list[Item] = []
        self.asides: list[Aside] = []
        self.counts: Counter[str] = Counter()
        self.deltas: list[InventoryDelta] = []
        self.errors: list[EngineError] = []
        self.redriven: list[Again] = []
        self.duties: list[DutyOutcome] = []
        self.probe = 0  # when the newest of our own probes was sent, µs
        self.skews: SkewNews | None = None  # which device clocks went wrong or right
        self.limited = 0  # readings that came too fast
        self.floods: list[str] = []  # what is to be told of them
        self.requests: list[tuple[int, Request]] = []  # what codecs want published, and when they wanted it

    def take(self, records: Sequence[Record], memory: Memory, states: States) -> None:
        """Admit these records in order; changes `memory` and `states`. The writer's hot loop."""
        stored = len(self.items)
        for record in records:
            if record.kind != MESSAGE:
                self._control(record, memory, states)
                continue
            try:
                admission = admit(record, memory)
            except Exception as error:  # a bug in a codec must not stop a shard; the evaluator does the same
                log.exception("record set aside", offset=record.offset)
                self.counts[Outcome.QUARANTINED] += 1
                self.asides.append(Aside(record, Reason.ENGINE_ERROR, f"{type(error).__name__}: {error}"))
                continue
            if admission.limited:
                self.limited += admission.limited
                self.floods += [admission.flood] if admission.flood else []
            if admission.requests:
                self.requests += [(record.at, request) for request in admission.requests]
            if admission.outcome is not _STORED:
                self._not_stored(record, admission)
                continue
            readings = admission.readings
            for reading in readings:
                if reading.states:
                    self.items.append(Item(record, readings, states.changes(readings)))
                    break
            else:
                self.items.append(Item(record, readings))
        if records:
            self._count(self.items[stored:])
            self.first = records[0].offset if self.first < 0 else self.first
            self.last, self.last_at = records[-1].offset, records[-1].at

    def _count(self, items: Sequence[Item]) -> None:
        if items:
            self.counts[Outcome.STORED.value] += len(items)
            self.counts["readings"] += sum(len(item.readings) for item in items)

    def _not_stored(self, record: Record, admission: Admission) -> None:
        if admission.outcome is Outcome.QUARANTINED:
            self.counts[Outcome.QUARANTINED] += 1
            self.asides.append(Aside.of(record, admission))
        else:
            self.counts[admission.outcome.value] += 1

    def _redrive(self, record: Record, memory: Memory, states: States) -> None:
        try:
            again = judge_again(record, memory)
        except Exception:  # as in the evaluator, a bug in a codec stops no shard; the message stays where it is
            log.exception("not driven again", offset=record.offset)
            return
        if again is None:
            return
        self.redriven.append(again)
        outcome, readings = again.admission.outcome, again.admission.readings
        if outcome is _STORED:  # counted with the other items
            self.items.append(Item(again.record, readings, states.changes(readings)))
        elif outcome is not Outcome.QUARANTINED:
            self.counts[outcome.value] += 1
        self.counts[Outcome.QUARANTINED] -= outcome is not Outcome.QUARANTINED

    def _control(self, record: Record, memory: Memory, states: States) -> None:
        """Control records change what later messages come to; a broken one changes nothing, as in the evaluator."""
        try:
            if record.kind == Kind.INVENTORY:
                delta = _delta(record.value)
                memory.apply_inventory(delta)
                self.deltas.append(delta)
            elif record.kind == Kind.SOURCES:
                memory.apply_sources(parse_sources(record.value.decode(), "sources in the log"))
            elif record.kind == Kind.ENGINE_ERROR:
                self.errors.append(_engine_error(record.value))
            elif record.kind == Kind.DUTY_OUTCOME:
                self.duties.append(_duty_outcome(record.value))
            elif record.kind == Kind.PROBE:
                self.probe = decode_probe(record.value).sent_at
            elif record.kind == Kind.REDRIVE:
                self._redrive(record, memory, states)
        except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
            log.error("control record not taken over", offset=record.offset, kind=record.kind, error=str(error))


class Writing:
    """How writing a batch went: its counts as they are in the books, the device keys it met, what was refused."""

    def __init__(self, counts: Counter[str] | None = None) -> None:
        self.counts: Counter[str] = Counter(counts)
        self.keys: dict[DeviceKey, int] = {}
        self.refused: list[Aside] = []


def is_refusal(error: Exception) -> bool:
    """Does the database refuse the data itself, so that trying again would end the same?"""
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return state[:2] in _OF_THE_DATA
    # without a SQLSTATE psycopg refused before the server saw it: a number too large, a NUL in a text
    return isinstance(error, psycopg.DataError | ValueError | OverflowError)


def write_batch(
    connection: Connection,
    batch: Batch,
    *,
    shard: str,
    known: Mapping[DeviceKey, int],
    reported: Mapping[int, Record],
    careful: bool,
) -> Writing:
    """Everything of a batch but the cursor. `reported` are the messages that `batch.errors` name, by offset.

    The first attempt goes at full speed and raises what the database refuses; the careful one then bisects down to
    the records that are refused and puts those aside with the SQLSTATE.
    """
    for delta in batch.deltas:
        upsert_inventory(connection, delta)
    duty_store.note_outcomes(connection, batch.duties)
    number = store.next_batch(connection) if batch.counts or batch.errors else 0
    writing = Writing(batch.counts)
    if batch.items and careful:
        _copy_carefully(connection, batch.items, known, number, writing)
    elif batch.items:
        writing.keys.update(_copy(connection, batch.items, known, number))
    quarantine.put_aside(connection, shard=shard, batch=number, asides=[*batch.asides, *writing.refused])
    quarantine.settle(connection, shard=shard, redriven=batch.redriven, refused=writing.refused)
    if batch.skews is not None:
        store.save_skews(connection, shard=shard, at=batch.last_at, news=batch.skews)
    for error in batch.errors:
        _set_aside_later(connection, shard, number, error, reported, writing.counts)
    if number:
        store.add_batch(
            connection,
            batch=number,
            shard=shard,
            offsets=(batch.first, batch.last),
            counts=writing.counts,
            readings=_kept(batch, writing.refused),
        )
    return writing


def _kept(batch: Batch, refused: Sequence[Aside]) -> Iterator[Reading]:
    if not refused:
        return (reading for item in batch.items for reading in item.readings)
    offsets = {aside.record.offset for aside in refused}
    return (reading for item in batch.items if item.record.offset not in offsets for reading in item.readings)


def _copy(
    connection: Connection, items: Sequence[Item], known: Mapping[DeviceKey, int], number: int
) -> dict[DeviceKey, int]:
    """Readings and changes of these; the keys that were not known."""
    met = ((reading.site, reading.device) for item in items for reading in item.readings)
    strangers = {device for device in met if device not in known}
    new = store.device_keys(connection, strangers)
    keys = _with(known, new, items) if new else known
    store.copy_readings(connection, (reading for item in items for reading in item.readings), keys, number)
    store.copy_changes(connection, [change for item in items for change in item.changes], keys, number)
    return new


def _with(known: Mapping[DeviceKey, int], new: Mapping[DeviceKey, int], items: Sequence[Item]) -> dict[DeviceKey, int]:
    """The keys of the devices of these items; `known` may have a district's."""
    met = {(reading.site, reading.device) for item in items for reading in item.readings}
    return {device: new[device] if device in new else known[device] for device in met}


def _copy_carefully(
    connection: Connection,
    items: Sequence[Item],
    known: Mapping[DeviceKey, int],
    number: int,
    writing: Writing,
) -> None:
    """Halve on refusal until the refused record stands alone."""
    try:
        with connection.transaction():
            new = _copy(connection, items, known, number)
    except (psycopg.Error, ValueError, OverflowError) as error:
        if not is_refusal(error):
            raise
        if len(items) > 1:
            half = len(items) // 2
            for part in (items[:half], items[half:]):
                _copy_carefully(connection, part, known, number, writing)
            return
        writing.refused.append(Aside(items[0].record, Reason.DATABASE, _why(error)))
        writing.counts[Outcome.STORED] -= 1
        writing.counts["readings"] -= len(items[0].readings)
        writing.counts[Outcome.QUARANTINED] += 1
        writing.counts["refused"] += 1
    else:
        writing.keys.update(new)


def _why(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or "before sending"
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"SQLSTATE {state}: {primary or ' '.join(str(error).split())}"


def _set_aside_later(
    connection: Connection,
    shard: str,
    number: int,
    error: EngineError,
    reported: Mapping[int, Record],
    counts: Counter[str],
) -> None:
    """The engine raised on a message that admit had let through: it moves in the books, its readings stay."""
    record = reported.get(error.offset)
    if record is None or quarantine.is_aside(connection, shard=shard, offset=error.offset):
        return
    aside = Aside(record, Reason.ENGINE_ERROR, error.error)
    quarantine.put_aside(connection, shard=shard, batch=number, asides=[aside])
    counts[Outcome.STORED] -= 1
    counts[Outcome.QUARANTINED] += 1
