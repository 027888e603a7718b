"""CloudEvents 1.0 over MQTT: structured JSON, and binary mode by MQTT 5 user properties. Pure.

The device: `subject` where the event states one (what it is about), else `source` (who says it), whole, as neither
has a part that is unique by itself. A source's `site` and `device` may look into the event: `$.source`,
`$.data.id`. Quantities and states are keys of `data`; see usual_names. An array in `data` is one reading an item.
The id is the reading's sequence number where it is a plain whole number.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

import msgspec

from ingest.codecs.contract import ITEM_LIMIT, CodecMemory, Decoded
from ingest.codecs.free_keys import Reader, time_of, told
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import placed
from ingest.codecs.values import name
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
_REQUIRED = ("id", "source", "specversion", "type")
_MEDIA = "application/cloudevents"
_DATA = ("data", "data_base64")
_KEYS = 5_000  #: in one event
_LONGEST_NUMBER = 18  # digits of a whole number that fits a sequence number


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """The observations of one event; data that is absent or not JSON carries none."""
    media = _media(message.content_type)
    if media.startswith(_MEDIA):
        event = _structured(payload, media)
    elif "specversion" in message.properties:
        event = _binary(message, payload, media)
    else:
        event = _structured(payload, f"{_MEDIA}+json")  # MQTT 3.1.1 knows no other
    _check_required(event)
    items = _items(event.get("data"))
    if not items:
        return _NOTHING
    who = "source" if event.get("subject") is None else "subject"
    site, device = placed(source, message.topic, event, name(event[who], f"$.{who}"))
    whose = Observation(device=device, site=site, seq=_whole(event["id"]))
    return _observations(items, event.get("time"), whose, source)


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_json(content_type: object) -> bool:
    """Whether data of this content type is JSON; without one it is."""
    if type(content_type) is not str or not content_type:
        return True
    media = _media(content_type)
    return media.endswith(("/json", "+json"))


def _structured(payload: bytes, media: str) -> dict[str, object]:
    if media not in (_MEDIA, f"{_MEDIA}+json"):
        raise Undecodable(f"content type {shown(media)}: MQTT carries one event each, as {_MEDIA}+json")
    event = parse(payload, _KEYS)
    if type(event) is list:
        raise Undecodable("$: a batch of events; MQTT carries one event each")
    if type(event) is not dict:
        raise Undecodable(f"$: {shown(event)} is no event; send an object with {', '.join(_REQUIRED)}")
    encoded = event.get("data_base64")
    if encoded is None:
        return event
    if event.get("data") is not None:
        raise Undecodable("$: both data and data_base64; send one of them")
    return event | {"data": _inner(_bytes(encoded), event.get("datacontenttype"))}


def _binary(message: Message, payload: bytes, media: str) -> dict[str, object]:
    attributes: dict[str, object] = {key: value for key, value in message.properties.items() if key not in _DATA}
    stated = media or message.properties.get("datacontenttype", "")
    return attributes | {"data": _inner(payload, stated)}


def _bytes(encoded: object) -> bytes:
    try:
        return binascii.a2b_base64(encoded, strict_mode=True) if type(encoded) is str else b""
    except (binascii.Error, ValueError):
        raise Undecodable(f"$.data_base64: {shown(encoded)} is no base64") from None


def _inner(data: bytes, content_type: object) -> object:
    """The value of data that came as bytes; None where it is not JSON and not said to be."""
    if not data.strip() or not _is_json(content_type):
        return None
    if not content_type and data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return parse(data, _KEYS)
    except Undecodable as error:
        raise Undecodable(f"$.data: {error}") from None


def _check_required(event: dict[str, object]) -> None:
    for key in _REQUIRED:
        stated = event.get(key)
        if type(stated) is not str or not stated:
            what = "absent" if stated is None else f"{shown(stated)} is no text"
            raise Undecodable(f"$.{key}: {what}; CloudEvents requires {', '.join(_REQUIRED)} as texts")
    if event["specversion"] != "1.0":
        raise Undecodable(f"$.specversion: {shown(event['specversion'])} is not known; 1.0 is")


def _items(data: object) -> list[tuple[dict[str, object], str]]:
    """The objects in data, each with its path; none where data is a text, a number or absent."""
    if type(data) is dict:
        return [(data, "$.data")]
    if type(data) is not list:
        return []
    if len(data) > ITEM_LIMIT:
        raise Undecodable(f"$.data: an array of {len(data)} readings; send at most {ITEM_LIMIT} at once")
    return [(item, f"$.data[{index}]") for index, item in enumerate(data) if type(item) is dict]


def _whole(id_: object) -> int | None:
    plain = type(id_) is str and id_.isascii() and id_.isdecimal() and len(id_) <= _LONGEST_NUMBER
    return int(id_) if plain else None  # type: ignore[call-overload]


def _observations(
    items: list[tuple[dict[str, object], str]], time: object, whose: Observation, source: Source
) -> Decoded:
    """`ts` in the data, as the native format has it, is more exact than the event's time."""
    reader = Reader(source)
    found: list[Observation] = []
    wrong: Undecodable | None = None
    for data, path in items:
        try:
            values, states = reader.read(data, path)
            own = data.get("ts")
            stated, where = (time, "$.time") if own is None else (own, f"{path}.ts")
            at = time_of(stated, source.zone, where, states)
        except Undecodable as error:
            wrong = wrong or error
            continue
        if values or states:
            found.append(msgspec.structs.replace(whose, observed_at=at, values=values, states=states))
    return told(found, wrong)
