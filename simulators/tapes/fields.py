"""Ids and times inside messages: found and changed, all else left as it is, byte for byte. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from ingest.errors import OperatorError
from ingest.file_rows import parse_time
from ingest.readings import SECOND, to_datetime
from ingest.topics import EmberKind, parse_ember

_encode = msgspec.json.Encoder().encode
#: The kinds of ember-json whose payloads are readings.
_READINGS = (EmberKind.TELEMETRY, EmberKind.ALARM, EmberKind.GATEWAY_TELEMETRY)


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages hold ids and times: in these fields of a JSON object, or of each object of an array.

    `anywhere`: in every JSON payload; else only on the topics of ember-json. A path may have dots (`data.time`).
    """

    id_field: str = "device"
    time_field: str = "ts"
    anywhere: bool = False

    def devices(self, topic: str, payload: bytes) -> set[str]:
        """Which devices a message tells of."""
        _, named = self._open(topic, payload)
        known = parse_ember(topic)
        return {device for device, _ in named} | ({known.device} if known and known.device else set())

    def renamed(self, topic: str, payload: bytes, ids: dict[str, str]) -> tuple[str, bytes]:
        """Topic and payload with new ids for old: levels of the topic, and ids in the payload."""
        tree, named = self._open(topic, payload)
        changed = False
        for _, item in named:
            old = look_up(item, self.id_field)
            if isinstance(old, str) and old in ids:
                change(item, self.id_field, ids[old])
                changed = True
        return "/".join(ids.get(level, level) for level in topic.split("/")), _encode(tree) if changed else payload

    def moved(self, topic: str, payload: bytes, by: int, *, whose: Callable[[str], bool] = lambda _: True) -> bytes:
        """The payload with its times moved by so many µs, those of the devices that are meant."""
        tree, named = self._open(topic, payload)
        changed = False
        for device, item in named:
            stated = look_up(item, self.time_field) if whose(device) else None
            at = time_of(stated)
            if at is not None:
                change(item, self.time_field, like(stated, at + by))
                changed = True
        return _encode(tree) if changed else payload

    def without(self, topic: str, payload: bytes, *, whose: Callable[[str], bool]) -> bytes | None:
        """The payload without what these devices say; None when nothing is left of it."""
        tree, named = self._open(topic, payload)
        if not isinstance(tree, list):
            return None if any(whose(device) for device in self.devices(topic, payload)) else payload
        kept = [item for device, item in named if not whose(device)]
        if len(kept) == len(named):
            return payload
        return _encode(kept) if kept else None

    def _open(self, topic: str, payload: bytes) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """What the payload says, and its objects, each with its device; nothing where there are none for us."""
        known = parse_ember(topic)
        if not self.anywhere and (known is None or known.kind not in _READINGS):
            return None, []
        try:
            tree = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None, []
        return tree, list(self._named(tree, known.device if known else ""))

    def _named(self, tree: Any, default: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for item in tree if isinstance(tree, list) else [tree]:
            if isinstance(item, dict):
                told = look_up(item, self.id_field)
                yield told if isinstance(told, str) else default, item


def look_up(body: dict[str, Any], path: str) -> Any:
    """The field at a dotted path (`data.temp`), None where there is none; a key with dots in it wins."""
    if path in body:
        return body[path]
    head, _, rest = path.partition(".")
    inner = body.get(head)
    return look_up(inner, rest) if rest and isinstance(inner, dict) else None


def change(body: dict[str, Any], path: str, value: Any) -> None:
    """Set the field `look_up` finds."""
    head, _, rest = path.partition(".")
    if path in body or not rest:
        body[path] = value
    else:
        change(body[head], rest, value)


def time_of(stated: Any) -> int | None:
    """The time (µs) that a field holds, text or number; None where it holds none."""
    if isinstance(stated, bool) or not isinstance(stated, str | int | float):
        return None
    try:
        return micros(stated)
    except ValueError:
        return None


def micros(stated: str | int | float) -> int:
    """The time (µs) that this is, as readings files write it, or a number; ValueError says why it is none."""
    return parse_time(stated if isinstance(stated, str) else str(Decimal(repr(stated))))


def like(stated: Any, at: int) -> str | int | float:
    """A new time (µs) written as the one that was stated: text, seconds or milliseconds.

    OperatorError when there are no words for it.
    """
    if isinstance(stated, str):
        return date_of(at).isoformat()
    milliseconds = abs(stated) >= 1e11
    if isinstance(stated, int):
        return at // 1000 if milliseconds else at // SECOND
    return at / 1000 if milliseconds else at / SECOND


def date_of(at: int) -> datetime:
    """A time (µs) that was moved; OperatorError when no date is as late or early."""
    try:
        return to_datetime(at)
    except ValueError as error:
        raise OperatorError(f"a time cannot be moved so far: {error}; move it less") from None
