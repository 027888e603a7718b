"""Spoils a stream of messages as chosen, and says what it did to each. Pure.

out = in − dropped − lost in gaps + doubled; what is delayed, corrupted or skewed is still one message.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from ingest.errors import OperatorError
from ingest.readings import SECOND
from ingest.readings_file import FileRow
from simulators.tapes.chosen import Chosen, Gap, Selection
from simulators.tapes.fields import Fields, change, date_of, like, look_up
from simulators.tapes.recording import Recorded
from simulators.tapes.tapefile import Taped
from simulators.wire.messages import Outgoing

T = TypeVar("T")
M = TypeVar("M", Outgoing, Taped)
Whose = Callable[[str], bool]
#: What can be done, as lists and summaries name it.
DROP, GAP, PART, DOUBLE, DELAY, CORRUPT, SKEW = "drop", "gap", "gap in part", "double", "delay", "corrupt", "skew"
DEEDS = (DROP, GAP, PART, DOUBLE, DELAY, CORRUPT, SKEW)


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done to one message. `number` counts from 1 in the recording, `name` is its topic or site/device."""

    number: int
    name: str
    what: str
    seconds: float | None = None  #: how much later, or ahead


class Form(Protocol[T]):
    """How one kind of message is looked at and changed; what is changed is a new one."""

    def at(self, thing: T) -> int:
        """When it comes, µs."""

    def name(self, thing: T) -> str:
        """What people know it by."""

    def names(self, thing: T) -> Iterable[str]:
        """All that a GLOB may match."""

    def later(self, thing: T, by: int) -> T:
        """The same, coming so many µs later."""

    def corrupted(self, thing: T, chance: float) -> T:
        """The same, no longer readable; OperatorError where that cannot be written down."""

    def skewed(self, thing: T, by: int, whose: Whose) -> T:
        """The same with the times of these devices changed; the thing itself when it tells of none of them."""

    def without(self, thing: T, whose: Whose) -> T | None:
        """The same without what these devices say; the thing itself, or None when nothing is left."""


class Spoiler(Generic[T]):
    """One run over a recording; `done` counts by deed what was done so far."""

    def __init__(self, form: Form[T], chosen: Chosen, note: Callable[[Done], None]) -> None:
        self.done = dict.fromkeys(DEEDS, 0)
        self._form, self._chosen, self._note = form, chosen, note
        self._held: list[tuple[int, int, T]] = []
        self._pieces = 0

    def spoil(self, things: Iterable[T]) -> Iterator[T]:
        """What is left of them, in the order in which it comes."""
        first: int | None = None
        for number, thing in enumerate(things, start=1):
            at = self._form.at(thing)
            first = at if first is None else first
            yield from self._due(at)
            kept = self._kept(number, thing, at - first)
            if kept is not None:
                yield from self._sent(number, self._changed(number, kept))
        yield from self._due(None)

    def _due(self, at: int | None) -> Iterator[T]:
        """What was held back until now; all of it when there is no more to come."""
        while self._held and (at is None or self._held[0][0] <= at):
            yield heapq.heappop(self._held)[2]

    def _kept(self, number: int, thing: T, since: int) -> T | None:
        for gap in self._chosen.gap:
            if gap.start <= since < gap.start + gap.length:
                rest = self._with_gap(number, thing, gap)
                if rest is None:
                    return None
                thing = rest
        if self._chooses(DROP, self._chosen.drop, number, thing):
            self._did(DROP, number, thing)
            return None
        return thing

    def _with_gap(self, number: int, thing: T, gap: Gap) -> T | None:
        rest = self._form.without(thing, gap.concerns) if gap.device else None
        if rest is not thing:
            self._did(GAP if rest is None else PART, number, thing)
        return rest

    def _changed(self, number: int, thing: T) -> T:
        for skew in self._chosen.skew:
            before, thing = thing, self._form.skewed(thing, skew.by, skew.concerns)
            if thing is not before:
                self._did(SKEW, number, thing, skew.by)
        if self._chooses(CORRUPT, self._chosen.corrupt, number, thing):
            self._did(CORRUPT, number, thing)
            thing = self._form.corrupted(thing, self._chosen.chance("cut", number))
        return thing

    def _sent(self, number: int, thing: T) -> Iterator[T]:
        copies = [thing]
        if self._chooses(DOUBLE, self._chosen.double, number, thing):
            self._did(DOUBLE, number, thing)
            copies.append(thing)
        for choice, by in self._chosen.delay:
            if self._chooses(DELAY, (choice,), number, thing):
                self._did(DELAY, number, thing, by)
                self._hold(copies, by)
                return
        yield from copies

    def _hold(self, copies: list[T], by: int) -> None:
        for copy in copies:
            self._pieces += 1
            heapq.heappush(self._held, (self._form.at(copy) + by, self._pieces, self._form.later(copy, by)))

    def _chooses(self, what: str, choices: tuple[Selection, ...], number: int, thing: T) -> bool:
        if not choices:
            return False
        chance = self._chosen.chance(what, number)
        return any(choice.chooses(number, chance, lambda: self._form.names(thing)) for choice in choices)

    def _did(self, what: str, number: int, thing: T, by: int | None = None) -> None:
        self.done[what] += 1
        seconds = None if by is None else by / SECOND
        self._note(Done(number=number, name=self._form.name(thing), what=what, seconds=seconds))


class MessageForm(Generic[M]):
    """Messages with topic and payload: of a tape, or about to be published."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def at(self, thing: M) -> int:
        return thing.at

    def name(self, thing: M) -> str:
        return thing.topic

    def names(self, thing: M) -> Iterable[str]:
        return [thing.topic, *thing.topic.split("/"), *self._fields.devices(thing.topic, thing.payload)]

    def later(self, thing: M, by: int) -> M:
        return msgspec.structs.replace(thing, at=thing.at + by)

    def corrupted(self, thing: M, chance: float) -> M:
        payload = thing.payload[: int(chance * len(thing.payload))] + b"\xff"
        return msgspec.structs.replace(thing, payload=payload if payload != thing.payload else payload + b"\xff")

    def skewed(self, thing: M, by: int, whose: Whose) -> M:
        if any(whose(level) for level in thing.topic.split("/")):
            payload = self._fields.moved(thing.topic, thing.payload, by)
        else:
            payload = self._fields.moved(thing.topic, thing.payload, by, whose=whose)
        return self._with(thing, payload)

    def without(self, thing: M, whose: Whose) -> M | None:
        payload = self._fields.without(thing.topic, thing.payload, whose=whose)
        if payload is None or any(whose(level) for level in thing.topic.split("/")):
            return None
        return self._with(thing, payload)

    def _with(self, thing: M, payload: bytes) -> M:
        return thing if payload is thing.payload else msgspec.structs.replace(thing, payload=payload)


def _unwritable(kind: str) -> OperatorError:
    return OperatorError(f"--corrupt: a {kind} cannot hold what is unreadable; give --corrupt to replay instead")


class RowForm:
    """Rows of a readings file; they come in the order of the file, whatever their times say."""

    def at(self, thing: FileRow) -> int:
        return thing.at

    def name(self, thing: FileRow) -> str:
        return f"{thing.site}/{thing.device}"

    def names(self, thing: FileRow) -> Iterable[str]:
        return [thing.site, thing.device, self.name(thing)]

    def later(self, thing: FileRow, by: int) -> FileRow:
        return thing

    def corrupted(self, thing: FileRow, chance: float) -> FileRow:
        raise _unwritable("readings file")

    def skewed(self, thing: FileRow, by: int, whose: Whose) -> FileRow:
        if not whose(thing.device):
            return thing
        date_of(thing.at + by)  # as the file has to write it
        return msgspec.structs.replace(thing, at=thing.at + by)

    def without(self, thing: FileRow, whose: Whose) -> FileRow | None:
        return None if whose(thing.device) else thing


class RawForm:
    """Messages of a raw-json recording; they come in the order of the file."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def at(self, thing: Recorded) -> int:
        return thing.at

    def name(self, thing: Recorded) -> str:
        return str(look_up(thing.body, self._fields.id_field) or "")

    def names(self, thing: Recorded) -> Iterable[str]:
        return [self.name(thing)]

    def later(self, thing: Recorded, by: int) -> Recorded:
        return thing

    def corrupted(self, thing: Recorded, chance: float) -> Recorded:
        raise _unwritable("raw-json file")

    def skewed(self, thing: Recorded, by: int, whose: Whose) -> Recorded:
        if not whose(self.name(thing)):
            return thing
        field, body = self._fields.time_field, msgspec.json.decode(thing.raw)
        change(body, field, like(look_up(body, field), thing.at + by))
        return Recorded(at=thing.at, raw=msgspec.json.encode(body), body=body)

    def without(self, thing: Recorded, whose: Whose) -> Recorded | None:
        return None if whose(self.name(thing)) else thing
