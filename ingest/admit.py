"""admit: what becomes of one message. One pure function with its own small memory, used by writer and evaluator
alike, so that the two never disagree.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from ingest.admission import Admission, Outcome, Reason, Suspicion
from ingest.codecs import CODECS
from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory, Decode, UndecodableYet
from ingest.errors import Undecodable
from ingest.inventory import Device, Inventory, InventoryDelta
from ingest.message import Message, decode_message
from ingest.readings import SECOND, Lateness, Observation, Reading
from ingest.repeats import SIZE, Prints, message_print, reading_print
from ingest.sources import Clock, Source, Sources
from ingest.suspicion import fire_states, place, sign_in_bytes
from ingest.timing import BOUND, Clocks, Key, WrongClock, historical, observed, past, plausible


class LogRecord(Protocol):
    """What admit needs of a Kind.MESSAGE record of the log; ingest.journal.Record fits."""

    @property
    def at(self) -> int: ...
    @property
    def meta(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


class _Route(NamedTuple):
    source: Source
    decode: Decode
    memory: CodecMemory
    observed: bool


class Memory:
    """What admit remembers between messages; one per reader of a shard. Equal records give equal memories."""

    def __init__(self, sources: Sources, inventory: Inventory | None = None) -> None:
        self.inventory = inventory or Inventory()  #: changed by enrolment, in both readers alike
        self.prints = Prints()
        self.clocks = Clocks()
        self.redriven: dict[int, None] = {}  #: offsets of messages that left the quarantine, see ingest.redrive
        self._codec_memories: dict[str, CodecMemory] = {}
        self.apply_sources(sources)

    def apply_sources(self, sources: Sources) -> None:
        """Take over the sources of a Kind.SOURCES record; what codecs remember stays."""
        self.sources = sources
        self.routes = {
            source.filter: _Route(
                source,
                CODECS[source.codec],
                self._codec_memories.setdefault(source.codec, {}),
                source.clock is Clock.OBSERVED,
            )
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
                codecs=self._codec_memories,
            )
        )

    @classmethod
    def load(cls, dumped: bytes) -> Memory:
        """The memory that was dumped; msgspec.DecodeError when these bytes are none."""
        dump = _decode_dump(dumped)
        memory = cls(dump.sources)
        memory.inventory.apply(_decode_inventory(dump.inventory))
        memory.prints.young = dict.fromkeys(_cut(dump.young))
        memory.prints.old = dict.fromkeys(_cut(dump.old))
        memory.prints.last = dict(zip(dump.last_of, _cut(dump.last), strict=True))
        memory.clocks.wrong = dict(zip(dump.wrong_of, dump.wrong, strict=True))
        memory.redriven = dict.fromkeys(dump.redriven)
        memory._codec_memories = dump.codecs
        memory.apply_sources(dump.sources)
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


_encode_dump = msgspec.msgpack.Encoder().encode
_decode_dump = msgspec.msgpack.Decoder(_Dump).decode
_decode_inventory = msgspec.msgpack.Decoder(InventoryDelta).decode


def _cut(joined: bytes) -> list[bytes]:
    return [joined[start : start + SIZE] for start in range(0, len(joined), SIZE)]


def admit(record: LogRecord, memory: Memory) -> Admission:
    """What becomes of this Kind.MESSAGE record; changes `memory`. No bytes of a payload make it raise."""
    message = decode_message(record.meta)
    payload = record.value
    route = memory.routes.get(message.source)
    if route is None:
        detail = f"source {message.source} is not in sources.yaml, or its codec is not built"
        return _set_aside(Reason.NO_SOURCE, detail, message, payload, None)
    if len(payload) > PAYLOAD_LIMIT:
        detail = f"{len(payload)} bytes; at most {PAYLOAD_LIMIT} are read"
        return _set_aside(Reason.OVERSIZE, detail, message, payload, route.source)
    try:
        decoded = route.decode(message, payload, route.source, route.memory)
    except Undecodable as error:
        aside = _set_aside(Reason.UNDECODABLE, str(error), message, payload, route.source)
        return msgspec.structs.replace(aside, requests=error.requests) if isinstance(error, UndecodableYet) else aside
    if decoded.requests:
        admission = _admitted(decoded.observations, message, payload, record.at, route, memory)
        return msgspec.structs.replace(admission, requests=decoded.requests)
    return _admitted(decoded.observations, message, payload, record.at, route, memory)


def _admitted(
    items: tuple[Observation, ...], message: Message, payload: bytes, at: int, route: _Route, memory: Memory
) -> Admission:
    if len(items) == 1 and (usual := _usual(items[0], message, at, route, memory)) is not None:
        return usual
    if len(items) != 1 or not (items[0].values or items[0].states):
        items = tuple(item for item in items if item.values or item.states)
    if not items:
        return _NO_READING
    arrival = _Arrival(message, payload, at, route, memory)
    return _judge_one(items[0], arrival) if len(items) == 1 else _judge(items, arrival)


_STORED = Outcome.STORED  # for each message; a look-up in an enumeration takes as long as the rest of its line
_NO_READING = Admission(outcome=Outcome.NO_READING)
_ONE_DUPLICATE = Admission(outcome=Outcome.DUPLICATE, duplicates=1)


def _set_aside(reason: Reason, detail: str, message: Message, payload: bytes, source: Source | None) -> Admission:
    site, device = place(message, source)
    sign = sign_in_bytes(message, payload, source)
    suspicion = Suspicion(site=site, device=device, why=f"{reason}: {sign}") if sign is not None else None
    return Admission(
        outcome=Outcome.QUARANTINED, reason=reason, detail=detail, site=site, device=device, suspicion=suspicion
    )


class _Arrival:
    """One message on its way in, and what is asked about it more than once."""

    __slots__ = ("_repeated", "at", "held", "memory", "message", "payload", "route")

    def __init__(self, message: Message, payload: bytes, at: int, route: _Route, memory: Memory) -> None:
        self.message = message
        self.payload = payload
        self.at = at
        self.route = route
        self.memory = memory
        self.held = message.retain or message.backlog  #: by the broker, for an unknown time
        self._repeated: bool | None = None

    def repeated(self) -> bool:
        """Whether the broker delivered these very bytes before and says so; for readings without a time."""
        if self._repeated is None:
            prints = self.memory.prints
            mark = message_print(self.message, self.payload)
            self._repeated = self.message.dup and prints.known(mark)
            if not self._repeated and self.message.qos:
                prints.keep(mark)
        return self._repeated


class _Refusal(NamedTuple):
    """A device's observation that is not admitted."""

    reason: Reason
    detail: str
    item: Observation


def _usual(item: Observation, message: Message, at: int, route: _Route, memory: Memory) -> Admission | None:
    """Nearly every message: live news of a registered device whose clock is right. None: look closely.

    `_judge_one` says the same of it, in several times as long; only what ends here is remembered here.
    """
    stated, site = item.observed_at, item.site
    if stated is None or site is None or not -BOUND <= at - stated <= BOUND or not (item.values or item.states):
        return None
    if route.observed or message.retain or message.backlog or item.historical:
        return None
    key = (site, item.device)
    found = memory.inventory.devices.get(key)
    if found is None or key in memory.clocks.wrong:
        return None
    site, device = key = (found.site, found.id)  # one text for all readings of a device
    prints = memory.prints
    mark = reading_print(site, device, item)
    if prints.last.get(key) == mark or prints.known(mark):
        return None
    prints.keep(mark)
    prints.last[key] = mark
    reading = Reading(
        site=site,
        device=device,
        at=stated,
        received_at=at,
        device_at=stated,
        seq=item.seq,
        values=item.values,
        states=item.states,
    )
    return Admission(outcome=_STORED, readings=(reading,))


def _judge_one(item: Observation, arrival: _Arrival) -> Admission:
    """One reading, without the book-keeping of an array; `_judge` gives the same."""
    found = _find(item, arrival)
    if isinstance(found, _Refusal):
        return _verdict([], 0, [found])
    key = (found.site, found.id)
    if _seen(item, key, arrival, alone=True):
        return _ONE_DUPLICATE
    at, late = _time_alone(item, key, arrival)
    return Admission(outcome=Outcome.STORED, readings=(_reading(item, key, at, late, arrival.at),))


def _judge(items: tuple[Observation, ...], arrival: _Arrival) -> Admission:
    refusals: list[_Refusal] = []
    groups: dict[Key, list[int]] = {}
    for index, item in enumerate(items):
        found = _find(item, arrival)
        if isinstance(found, _Refusal):
            refusals.append(found)
        else:
            groups.setdefault((found.site, found.id), []).append(index)
    readings: dict[int, Reading] = {}
    for key, indexes in groups.items():
        group = [items[index] for index in indexes]
        new = [not _seen(item, key, arrival, alone=len(group) == 1) for item in group]
        if any(new):
            whens = [_time_alone(group[0], key, arrival)] if len(group) == 1 else _times(group, key, arrival)
            for index, item, is_new, (at, late) in zip(indexes, group, new, whens, strict=True):
                if is_new:
                    readings[index] = _reading(item, key, at, late, arrival.at)
    admitted = len(items) - len(refusals)
    return _verdict([readings[index] for index in sorted(readings)], admitted - len(readings), refusals)


def _verdict(readings: list[Reading], duplicates: int, refusals: list[_Refusal]) -> Admission:
    refused_whole = bool(refusals) and not readings and not duplicates
    detail = refusals[0].detail if refusals else ""
    if len(refusals) > 1:
        detail += f"; and {len(refusals) - 1} more readings of this message"
    admitted = Outcome.STORED if readings else Outcome.DUPLICATE
    return Admission(
        outcome=Outcome.QUARANTINED if refused_whole else admitted,
        readings=tuple(readings),
        duplicates=duplicates,
        reason=refusals[0].reason if refused_whole else None,
        detail=detail,
        site=(refusals[0].item.site or "") if refused_whole else "",
        device=refusals[0].item.device if refused_whole else "",
        suspicion=_suspicion(refusals),
    )


def _suspicion(refusals: list[_Refusal]) -> Suspicion | None:
    burning = [(refusal, fire_states(refusal.item)) for refusal in refusals]
    told = [(refusal, states) for refusal, states in burning if states]
    if not told:
        return None
    refusal, states = told[0]
    more = f"; and {len(told) - 1} more of this message" if len(told) > 1 else ""
    return Suspicion(
        site=refusal.item.site or "",
        device=refusal.item.device,
        why=f"{refusal.reason}: {', '.join(states)} ({refusal.detail}){more}",
    )


def _find(item: Observation, arrival: _Arrival) -> Device | _Refusal:
    inventory = arrival.memory.inventory
    found = inventory.find(item.site, item.device)
    if found is not None:
        return found
    if arrival.route.source.enrol and _can_enrol(item):
        return inventory.enrol(item.site or "", item.device)
    sites = inventory.sites_of(item.device)
    if item.site is None:
        where = f"registered at {len(sites)} sites, and nothing says which" if sites else "not registered"
        return _Refusal(Reason.UNKNOWN_DEVICE, f"device {item.device} is {where}", item)
    if sites:
        detail = f"device {item.device} speaks for site {item.site} and is registered at {', '.join(sites[:3])}"
        return _Refusal(Reason.WRONG_SITE, detail, item)
    return _Refusal(Reason.UNKNOWN_DEVICE, f"device {item.device} is not registered at site {item.site}", item)


def _can_enrol(item: Observation) -> bool:
    """Names of the wire become inventory rows only when they can be keys there."""
    site, device = item.site or "", item.device
    return bool(site and device) and "/" not in site and site.isprintable() and device.isprintable()


#: A live repeat of a device with a wrong clock is believed to be one only this soon after: the clock may stand
#: still, and then equal readings under an equal time are news.
_REPEAT = 5 * SECOND


def _seen(item: Observation, key: Key, arrival: _Arrival, *, alone: bool) -> bool:
    """Whether this reading was there before; remembers it when not."""
    if item.observed_at is None:
        return arrival.repeated()
    prints = arrival.memory.prints
    mark = reading_print(key[0], key[1], item)
    is_last = prints.last.get(key) == mark
    if (is_last or prints.known(mark)) and _is_repeat(item, key, arrival, is_last=is_last, alone=alone):
        return True
    prints.keep(mark)
    prints.last[key] = mark
    return False


def _is_repeat(item: Observation, key: Key, arrival: _Arrival, *, is_last: bool, alone: bool) -> bool:
    """Whether a reading with a known fingerprint is the same one again, not a second one under a stuck clock."""
    if arrival.message.dup or arrival.held or not alone:
        return True
    wrong = arrival.memory.clocks.wrong.get(key)
    if wrong is not None and arrival.at - wrong.heard > _REPEAT:
        return False
    return is_last or not fire_states(item)  # alarm, normal, alarm again: a second fire is never a duplicate


def _time_alone(item: Observation, key: Key, arrival: _Arrival) -> tuple[int, Lateness | None]:
    """Corrected time and lateness of a device's only observation in this message."""
    if arrival.route.observed or arrival.held or item.historical:
        return _times([item], key, arrival)[0]
    stated, received = item.observed_at, arrival.at
    return (received if stated is None else arrival.memory.clocks.live(key, stated, received)), None


def _times(group: list[Observation], key: Key, arrival: _Arrival) -> list[tuple[int, Lateness | None]]:
    """Corrected time and lateness of each of a device's observations, which it or the broker stored."""
    received = arrival.at
    if arrival.route.observed:
        return [(observed(item.observed_at, received), None) for item in group]
    stamps = [item.observed_at for item in group if item.observed_at is not None and not item.historical]
    clocks = arrival.memory.clocks
    shift = clocks.stored(key, stamps, received, held=arrival.held) if stamps else None
    return [_stored_time(item, shift, arrival) for item in group]


def _stored_time(item: Observation, shift: int | None, arrival: _Arrival) -> tuple[int, Lateness | None]:
    received, message = arrival.at, arrival.message
    if item.historical:
        return historical(item.observed_at, received), Lateness.HISTORICAL
    at = None if item.observed_at is None or shift is None else item.observed_at + shift
    usable = at is not None and plausible(at, received)
    known = at if at is not None and usable else received
    if message.retain:
        return known, Lateness.RETAINED
    if message.backlog:
        return known, past(known, received, Lateness.BACKLOG) if usable else Lateness.BACKLOG
    if item.observed_at is None:
        return received, None
    return known, past(known, received, Lateness.BACK_FILL) if usable else Lateness.BACK_FILL


def _reading(item: Observation, key: Key, at: int, late: Lateness | None, received: int) -> Reading:
    return Reading(
        site=key[0],
        device=key[1],
        at=at,
        received_at=received,
        device_at=item.observed_at,
        seq=item.seq,
        values=item.values,
        states=item.states,
        late=late,
    )
