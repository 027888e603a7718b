"""admit: what becomes of one message. One pure function with its own small memory, used by writer and evaluator
alike, so that the two never disagree.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ingest.admission import Admission, Outcome, Reason, Suspicion
from ingest.belonging import Refusal, find, too_fast
from ingest.codecs import payload_limit
from ingest.codecs.contract import PAYLOAD_LIMIT, UndecodableYet
from ingest.errors import Undecodable
from ingest.inventory import Device
from ingest.memory import Memory, Route
from ingest.message import Message, decode_message
from ingest.readings import SECOND, Lateness, Observation, Reading
from ingest.repeats import message_print, reading_print
from ingest.sources import Source
from ingest.suspicion import fire_states, place, sign_in_bytes
from ingest.timing import BOUND, OLDEST, Key, historical, observed, past, plausible


class LogRecord(Protocol):
    """What admit needs of a Kind.MESSAGE record of the log; ingest.journal.Record fits."""

    @property
    def at(self) -> int: ...
    @property
    def meta(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


def admit(record: LogRecord, memory: Memory, *, again: bool = False) -> Admission:
    """What becomes of this Kind.MESSAGE record; changes `memory`. No bytes of a payload make it raise.

    `again`: it comes out of quarantine, and no rate limit counts it.
    """
    message = decode_message(record.meta)
    payload = record.value
    route = memory.routes.get(message.source)
    if route is None:
        detail = f"source {message.source} is not in sources.yaml, or its codec is not built"
        return _set_aside(Reason.NO_SOURCE, detail, message, payload, None)
    if again:
        route = route._replace(counted=False)
    if len(payload) > PAYLOAD_LIMIT and len(payload) > (limit := payload_limit(route.source.codec, message.topic)):
        detail = f"{len(payload)} bytes; at most {limit} are read"
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
    items: tuple[Observation, ...], message: Message, payload: bytes, at: int, route: Route, memory: Memory
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

    __slots__ = ("_repeated", "at", "flood", "gateway", "held", "memory", "message", "payload", "route")

    def __init__(self, message: Message, payload: bytes, at: int, route: Route, memory: Memory) -> None:
        self.message = message
        self.payload = payload
        self.at = at
        self.route = route
        self.memory = memory
        self.held = message.retain or message.backlog  #: by the broker, for an unknown time
        self.gateway = route.gateway.in_topic(message.topic) if route.gateway is not None else ""
        self.flood = ""  #: a flood that is to be told
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

    def stored(self, item: Observation, *, alone: bool) -> bool:
        """Whether this waited somewhere before it came, so that it may come in a heap."""
        if self.held or item.historical or not alone:
            return True
        return item.observed_at is not None and BOUND < self.at - item.observed_at <= OLDEST

    def beyond(self, found: Device, items: list[Observation], *, stored: bool) -> list[Refusal | None]:
        """Which of a device's observations come too fast: their refusals, None for those that go on."""
        key = (found.site, found.id)
        rates, route = self.memory.rates, self.route
        if not route.counted:
            return [None] * len(items)
        limits = (route.limit, route.gateway_limit)
        why = rates.beyond(key, _behind(found, self.gateway), self.at, limits, stored=stored)
        if why is None:
            return [None] * len(items)
        refusals = [None if rates.excepts(key, item) else too_fast(found, item, why) for item in items]
        if any(refusals) and rates.is_news(key, self.at):
            self.flood = f"{found.site}/{found.id} floods: {why}; what is beyond is set aside, fire states go on"
        return refusals

    def count(self, found: Device, number: int, *, stored: bool) -> None:
        """Count a device's readings that went on."""
        if self.route.counted:
            gateway = _behind(found, self.gateway)
            self.memory.rates.count((found.site, found.id), gateway, number, stored=stored)


def _behind(found: Device, named: str) -> Key | None:
    """The gateway that brings a device's readings: the topic's, else the inventory's."""
    if named:
        return ("", named)
    return (found.site, found.gateway) if found.gateway else None


def _usual(item: Observation, message: Message, at: int, route: Route, memory: Memory) -> Admission | None:
    """Nearly every message: live news of a registered device whose clock is right. None: look closely.

    `_judge_one` says the same of it, in several times as long; only what ends here is remembered here.
    """
    stated, site = item.observed_at, item.site
    if stated is None or site is None or not -BOUND <= at - stated <= BOUND or not (item.values or item.states):
        return None
    if not route.usual or message.retain or message.backlog or item.historical:
        return None
    key = (site, item.device)
    found = memory.inventory.devices.get(key)
    if found is None or key in memory.clocks.wrong:
        return None
    site, device = key = (found.site, found.id)  # one text for all readings of a device
    prints = memory.prints
    mark = reading_print(site, device, item)
    if prints.last.get(key) == mark or mark in prints.young or mark in prints.old:
        return None
    rates = memory.rates
    if at >= rates.ends:
        rates.begin(at)
    live = rates.live
    said = live.get(key, 0)
    gateway = found.gateway
    if said >= route.limit or (gateway and not rates.take_gateway((site, gateway), at, route.gateway_limit)):
        return None
    live[key] = said + 1
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
    found = find(item, arrival.memory.inventory, arrival.route.enrols, arrival.gateway)
    if isinstance(found, Refusal):
        return _verdict([], 0, [found])
    key = (found.site, found.id)
    stored = arrival.stored(item, alone=True)
    (refusal,) = arrival.beyond(found, [item], stored=stored)
    if refusal is not None:
        return _verdict([], 0, [refusal], arrival.flood)
    if _seen(item, key, arrival, alone=True):
        return _ONE_DUPLICATE
    arrival.count(found, 1, stored=stored)
    at, late = _time_alone(item, key, arrival)
    return Admission(outcome=Outcome.STORED, readings=(_reading(item, key, at, late, arrival.at),))


def _judge(items: tuple[Observation, ...], arrival: _Arrival) -> Admission:
    refusals: list[Refusal] = []
    groups: dict[Key, tuple[Device, list[int]]] = {}
    for index, item in enumerate(items):
        found = find(item, arrival.memory.inventory, arrival.route.enrols, arrival.gateway)
        if isinstance(found, Refusal):
            refusals.append(found)
        else:
            groups.setdefault((found.site, found.id), (found, []))[1].append(index)
    readings: dict[int, Reading] = {}
    for found, indexes in groups.values():
        group = [items[index] for index in indexes]
        taken = _take_group(found, group, arrival, refusals)
        readings.update((indexes[place], reading) for place, reading in taken.items())
    admitted = len(items) - len(refusals)
    return _verdict([readings[index] for index in sorted(readings)], admitted - len(readings), refusals, arrival.flood)


def _take_group(
    found: Device, group: list[Observation], arrival: _Arrival, refusals: list[Refusal]
) -> dict[int, Reading]:
    """The new readings of one device's observations in a message, by their place; adds to `refusals`."""
    key, alone = (found.site, found.id), len(group) == 1
    stored = arrival.stored(group[0], alone=alone)
    beyond = arrival.beyond(found, group, stored=stored)
    refusals += [refusal for refusal in beyond if refusal is not None]
    new = [
        place
        for place, item in enumerate(group)
        if beyond[place] is None and not _seen(item, key, arrival, alone=alone)
    ]
    if not new:
        return {}
    arrival.count(found, len(new), stored=stored)
    whens = [_time_alone(group[0], key, arrival)] if alone else _times(group, key, arrival)
    return {place: _reading(group[place], key, *whens[place], arrival.at) for place in new}


def _verdict(readings: list[Reading], duplicates: int, refusals: list[Refusal], flood: str = "") -> Admission:
    refused_whole = bool(refusals) and not readings and not duplicates
    detail = refusals[0].detail if refusals else ""
    if len(refusals) > 1:
        detail += f"; and {len(refusals) - 1} more readings of this message"
    admitted = Outcome.STORED if readings else Outcome.DUPLICATE
    return Admission(
        outcome=Outcome.QUARANTINED if refused_whole else admitted,
        readings=tuple(readings),
        duplicates=duplicates,
        limited=sum(refusal.reason is Reason.RATE for refusal in refusals),
        flood=flood,
        reason=refusals[0].reason if refused_whole else None,
        detail=detail,
        site=(refusals[0].item.site or "") if refused_whole else "",
        device=refusals[0].item.device if refused_whole else "",
        suspicion=_suspicion(refusals),
    )


def _suspicion(refusals: list[Refusal]) -> Suspicion | None:
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
    known = at if at is not None and usable else message.held_until or received
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
