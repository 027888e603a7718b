"""Any JSON, by the mapping its source gives: where site, device, time and each quantity or state stand. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from ingest.codecs.contract import ITEM_LIMIT, CodecMemory, Decoded
from ingest.codecs.json_path import JsonPath, parse_path
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import Naming, parse_naming, registrable
from ingest.codecs.times import micros
from ingest.codecs.values import mapped_quantity, mapped_state
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, Observation

if TYPE_CHECKING:
    from ingest.sources import Source


class _Mapping(msgspec.Struct, frozen=True, kw_only=True):
    site: Naming
    device: Naming
    time: JsonPath | None
    zone: str
    quantities: tuple[tuple[str, JsonPath], ...]
    states: tuple[tuple[str, JsonPath], ...]
    whole: bool  #: a path looks into an array at the root, so an array is one reading


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One observation of an object; of an array one for each item, unless a path says `$[0]`."""
    mapping = _mapping(source.site, source.device, source.time, source.zone, tuple(source.fields.items()))
    tree = parse(payload)
    if type(tree) is not list or mapping.whole:
        return Decoded(observations=(_observation(tree, message.topic, mapping),))
    if len(tree) > ITEM_LIMIT:
        raise Undecodable(f"$: an array of {len(tree)} readings; send at most {ITEM_LIMIT} at once")
    return Decoded(observations=tuple(_item(item, index, message.topic, mapping) for index, item in enumerate(tree)))


def _item(item: object, index: int, topic: str, mapping: _Mapping) -> Observation:
    try:
        return _observation(item, topic, mapping)
    except Undecodable as error:
        raise Undecodable(f"item {index}: {error}") from None


def _observation(tree: object, topic: str, mapping: _Mapping) -> Observation:
    if tree is None:
        raise Undecodable(f"$: {shown(tree)} is no reading; send an object")
    time = mapping.time
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    for key, path in mapping.quantities:
        found = path.find(tree)
        if found is not None:
            values[key] = found if type(found) is float else mapped_quantity(found, path.text)
    for key, path in mapping.states:
        found = path.find(tree)
        if found is not None:
            states[key] = found if type(found) is bool else mapped_state(found, path.text)
    site, device = registrable(mapping.site.of(topic, tree), mapping.device.of(topic, tree) or "", topic)
    return Observation(
        device=device,
        site=site,
        observed_at=None if time is None else micros(time.find(tree), mapping.zone, time.text),
        values=values,
        states=states,
    )


@lru_cache(maxsize=256)
def _mapping(site: str, device: str, time: str, zone: str, fields: tuple[tuple[str, str | None], ...]) -> _Mapping:
    paths = tuple((key, parse_path(text)) for key, text in fields if text is not None)
    namings = (parse_naming(site), parse_naming(device))
    when = parse_path(time) if time else None
    every = [path for _, path in paths] + [naming.path for naming in namings if naming.path] + ([when] if when else [])
    return _Mapping(
        site=namings[0],
        device=namings[1],
        time=when,
        zone=zone,
        quantities=tuple(pair for pair in paths if pair[0] in QUANTITIES),
        states=tuple(pair for pair in paths if pair[0] not in QUANTITIES),
        whole=any(path.steps and isinstance(path.steps[0], int) for path in every),
    )
