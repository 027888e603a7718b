"""What the devices said: every reading of the tapes of what was sent, in columns, so that a million fit."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from ingest.codecs import CODECS
from ingest.codecs.contract import PAYLOAD_LIMIT
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import FIRE_STATES, Observation
from ingest.sources import Source
from ingest.topics import EMBER_ROOT, EmberKind, parse_ember
from simulators.tapes.tapefile import read_batches

#: A reading that states no time of its own.
NO_TIME = -(2**63)
#: Whoever takes readings in remembers at least this many of the latest, and each device's last one: a repeat within
#: is surely known as one, a later one may be news.
REMEMBERED = 131_072

Key = tuple[str, str]  #: site, device
Column = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_SOURCE = Source(filter="ember/v1/#", codec="ember-json")
_decode = CODECS["ember-json"]
_pack = msgspec.msgpack.Encoder(order="deterministic").encode


class FireWord(NamedTuple):
    """The first time a device said a fire state; times in µs, `ts` None where it stated none."""

    at: int
    ts: int | None
    topic: str
    states: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the messages, as far as they tell. `most_duplicates`: repeats that may be news or not, too.
    `cut`: more may have been sent than the tapes have.
    """

    sent: int
    cut: bool
    qos_0: int
    other: int  #: in formats that are not read here
    quarantined: int
    no_reading: int
    least_duplicates: int
    most_duplicates: int


class Said:
    """The tapes in columns, one row a reading: `device` (index into `devices`), `ts`, `at` (µs), `digest` of what it
    says, `message` (its number over all tapes), `alone` in its message, `repeat` and `maybe_repeat` of an earlier row.
    """

    def __init__(self) -> None:
        self.devices: dict[Key, int] = {}
        self.fires: dict[Key, FireWord] = {}
        self.cuts: list[str] = []  #: a line for each tape that has no end
        self.sent = self.qos_0 = self.other = self.undecodable = self.no_reading = 0
        self.first_at, self.last_at = 2**63 - 1, NO_TIME
        self._device, self._ts, self._at, self._message = array("q"), array("q"), array("q"), array("q")
        self._digest, self._mark = array("Q"), array("Q")
        self._alone, self._fire = array("b"), array("b")

    def add(self, index: int, at: int, topic: str, payload: bytes, qos: int) -> None:
        """Take in one message of a tape."""
        if not is_news(topic):
            return
        self.sent += 1
        self.qos_0 += qos == 0
        self.first_at, self.last_at = min(self.first_at, at), max(self.last_at, at)
        if not topic.startswith(EMBER_ROOT):
            self.other += 1
            return
        try:
            items = observations(topic, payload, at)
        except Undecodable:
            self.undecodable += 1
            return
        self.no_reading += not items
        for item in items:
            self._row(index, at, topic, item, alone=len(items) == 1)

    def _row(self, index: int, at: int, topic: str, item: Observation, *, alone: bool) -> None:
        key = (item.site or "", item.device)
        said = (item.values, item.states)
        self._device.append(self.devices.setdefault(key, len(self.devices)))
        self._ts.append(NO_TIME if item.observed_at is None else item.observed_at)
        self._at.append(at)
        self._message.append(index)
        self._digest.append(digest(item.values, item.states))
        self._mark.append(_number((key, item.observed_at, item.seq, said)))
        self._alone.append(alone)
        burning = [name for name, value in item.states.items() if value and name in FIRE_STATES]
        burning = [] if item.states.get("test") else burning  # a head under test says no fire
        self._fire.append(bool(burning))
        if burning and key not in self.fires:
            self.fires[key] = FireWord(at, item.observed_at, topic, ", ".join(burning))

    def close(self) -> None:
        """All is taken in: the columns are there."""
        self.names: list[Key] = list(self.devices)
        self.device = np.array(self._device, np.int64)
        self.ts = np.array(self._ts, np.int64)
        self.at = np.array(self._at, np.int64)
        self.message = np.array(self._message, np.int64)
        self.digest = np.array(self._digest, np.uint64)
        self.alone = np.array(self._alone, np.bool_)
        mark, fire = np.array(self._mark, np.uint64), np.array(self._fire, np.bool_)
        self.repeat, self.maybe_repeat = _repeats(self.device, self.ts, mark, fire & self.alone)

    def span(self) -> tuple[int, int]:
        """Its first and last moment, by its own times and by when it was sent, µs."""
        timed = self.ts[self.ts != NO_TIME]
        own = [int(timed.min()), int(timed.max())] if len(timed) else []
        return min([self.first_at, *own]), max([self.last_at, *own])

    def begins(self) -> dict[Key, int]:
        """When each device begins, by its own times or by when it was sent, µs; "" is the first device of a site.

        Each its own: one clock that is years off must not make old alerts of all others look new.
        """
        first = np.full(len(self.names), self.first_at)
        timed = self.ts != NO_TIME
        np.minimum.at(first, self.device[timed], self.ts[timed])
        begins = dict(zip(self.names, first.tolist(), strict=True))
        for (site, _), at in list(begins.items()):
            begins[site, ""] = min(at, begins.get((site, ""), at))
        return begins

    def fire_sites(self, sites: Container[str]) -> dict[str, int]:
        """Those among the sites whose devices said a fire state, and when the first was sent (µs)."""
        words = sorted(self.fires.items(), key=lambda item: item[1].at, reverse=True)
        return {site: word.at for (site, _), word in words if site in sites}

    def expected(self) -> Expected:
        """What the books should say of these messages."""
        return Expected(
            sent=self.sent,
            cut=bool(self.cuts),
            qos_0=self.qos_0,
            other=self.other,
            quarantined=self.undecodable,
            no_reading=self.no_reading,
            least_duplicates=_wholly(self.message, self.repeat),
            most_duplicates=_wholly(self.message, self.repeat | self.maybe_repeat),
        )


def read_said(paths: Iterable[str | Path], progress: Callable[[int], object]) -> Said:
    """Read tapes; OperatorError for what is none. `progress` gets the number of messages read since it last did."""
    said, index = Said(), 0
    for path in paths:
        for batch in read_batches(path, tell=said.cuts.append):
            columns = [batch.column(name).to_pylist() for name in ("at", "topic", "payload", "qos")]
            for at, topic, payload, qos in zip(*columns, strict=True):
                said.add(index, at, topic, payload, qos)
                index += 1
            progress(batch.num_rows)
    said.close()
    return said


def messages_again(paths: Iterable[str | Path], wanted: Column) -> Iterator[tuple[int, str, list[Observation]]]:
    """The messages of these numbers, which are in order, once more: number, topic, what they say."""
    start = 0
    for path in paths:
        for batch in read_batches(path, tell=lambda _: None):
            first, last = np.searchsorted(wanted, (start, start + batch.num_rows))
            for index in wanted[first:last].tolist():
                at, topic, payload = (batch.column(name)[index - start].as_py() for name in ("at", "topic", "payload"))
                yield index, topic, observations(topic, payload, at)
            start += batch.num_rows


def is_news(topic: str) -> bool:
    """Whether a message is one that is taken in; orders to devices and their answers are not."""
    if topic.startswith(("$", "emberwatch/")):
        return False
    ember = parse_ember(topic) if topic.startswith(EMBER_ROOT) else None
    return ember is None or ember.kind not in (EmberKind.COMMAND, EmberKind.COMMAND_ACK)


def observations(topic: str, payload: bytes, at: int) -> list[Observation]:
    """What a native message says; Undecodable when nobody can read it."""
    if len(payload) > PAYLOAD_LIMIT:
        raise Undecodable(f"{len(payload)} bytes")
    message = Message(topic=topic, source=_SOURCE.filter, received_at=at)
    found = _decode(message, payload, _SOURCE, {}).observations
    return [item for item in found if item.values or item.states]


def digest(values: dict[str, float], states: dict[str, bool]) -> int:
    """A number that stands for exactly these values and states."""
    return _number((values, states))


def _number(said: object) -> int:
    return int.from_bytes(blake2b(_pack(said), digest_size=8).digest())


def _repeats(device: Column, ts: Column, mark: npt.NDArray[np.uint64], burning: Flags) -> tuple[Flags, Flags]:
    """Which rows surely, and which perhaps, are taken for repeats of an earlier row.

    A reading without a time is none. A fire state that was said between others is news: alarm, normal, alarm again.
    """
    rows = np.arange(len(mark))
    before = _earlier(mark, rows)
    latest = np.zeros(len(mark), np.bool_)  #: the device's last word was the same
    timed = np.flatnonzero(ts != NO_TIME)
    order = timed[np.lexsort((timed, device[timed]))]
    same = (device[order][1:] == device[order][:-1]) & (mark[order][1:] == mark[order][:-1])
    latest[order[1:][same]] = True
    known = (before >= 0) & (ts != NO_TIME) & (latest | ~burning)
    surely = known & (latest | (rows - before < REMEMBERED))
    return surely, known & ~surely


def _earlier(mark: npt.NDArray[np.uint64], rows: Column) -> Column:
    """The nearest earlier row with the same mark, -1 where there is none."""
    order = np.lexsort((rows, mark))
    before = np.full(len(mark), -1)
    same = mark[order][1:] == mark[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    return before


def _wholly(message: Column, flags: Flags) -> int:
    """How many messages have no reading without the flag."""
    starts = np.flatnonzero(np.diff(message, prepend=-1)) if len(message) else message
    return int(np.logical_and.reduceat(flags, starts).sum()) if len(starts) else 0
