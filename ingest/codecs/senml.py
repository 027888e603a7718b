"""SenML (RFC 8428) in JSON and in CBOR. Pure.

A record's name says device and quantity: `urn:dev:mac:0024befffe804ff1:temperature`, `2001:db8::2/humidity`. Device
ids: the URN (`urn:dev:…` with its four parts, `urn:imei:…`) where the name begins with one, else all before the last
`/` or `:`; a name that is only a device takes its quantity from the unit. LwM2M's paths (`3303/0/5700`) are known.
Quantities by usual names (usual_names.py) and the source's `fields`, {our name: last part of the name, or all of it}.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ingest.codecs import cbor, json_text
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.gathered import Gathered, Key
from ingest.codecs.json_text import shown
from ingest.codecs.naming import placed
from ingest.codecs.senml_pack import RELATIVE, Entry, resolve
from ingest.codecs.times import from_number
from ingest.codecs.usual_names import Fields, Meaning, meaning, named_by
from ingest.codecs.values import NAME_LIMIT
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Observation

if TYPE_CHECKING:
    from ingest.sources import Source

#: RFC 9039: `urn:dev:mac:0024befffe804ff1`, then `:name`, `/name` or `_component`. Other URNs have one part less.
_URN = re.compile(r"(urn:(?:dev:)?[a-z0-9-]{1,32}:[^:/_]{1,128})(?:[:/_](.*))?", re.ASCII | re.IGNORECASE)
_HARDWARE = ("urn:dev:mac:", "urn:dev:ow:", "urn:dev:eui")  #: hexadecimal, written in either case
_LWM2M = re.compile(r"(?:(.*)[/:])?(\d{1,5}/\d{1,5}/\d{1,5})", re.ASCII)


def decode_json(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One observation for each device and time of the pack."""
    return _decoded(resolve(json_text.parse(payload)), message, source)


def decode_cbor(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """As `decode_json`."""
    return _decoded(resolve(cbor.parse(payload), cbor=True), message, source)


def _decoded(entries: list[Entry], message: Message, source: Source) -> Decoded:
    fields: Fields = tuple(source.fields.items()) if source.fields else ()
    gathered = Gathered()
    sites: dict[str, tuple[str | None, str]] = {}
    for entry in entries:
        device, what, path = _named(entry, fields)
        place = sites.get(device)
        if place is None:
            place = sites[device] = placed(source, message.topic, None, device)
        if what is not None and entry.value is not None:
            key = Key(device, _at(entry.time, message.received_at))
            gathered.note(key, what, entry.value, path, source.fields)
    observations = tuple(gathered.sorted(sites))
    if not observations:  # nothing of ours in it: whose it was is all there is to say
        observations = tuple(Observation(device=device, site=site) for site, device in list(sites.values())[:1])
    return Decoded(observations=observations)


def _at(time: float, received_at: int) -> int | None:
    """Stated time in µs; None for now, and for any time relative to now when nobody knows when that was."""
    if time >= RELATIVE:
        return from_number(time)
    if time == 0 or not received_at:
        return None
    before = from_number(time)
    return None if before is None else max(received_at + before, 0)


class _Named(NamedTuple):
    device: str
    what: Meaning | None
    path: str


def _named(entry: Entry, fields: Fields) -> _Named:
    name, unit = entry.name, entry.unit
    if len(name) > 2 * NAME_LIMIT or len(unit) > NAME_LIMIT:
        raise Undecodable(f"record {shown(name)}: name or unit too long; at most {NAME_LIMIT} characters a part")
    return _described(name, unit, fields)


@lru_cache(maxsize=4096)
def _described(name: str, unit: str, fields: Fields) -> _Named:
    return _Named(*_split(name, unit, fields), path=f"record {shown(name)}")


def _split(name: str, unit: str, fields: Fields) -> tuple[str, Meaning | None]:
    urn = _URN.fullmatch(name)
    if urn:
        rest = (urn[2] or "").replace(":", "/")
        device = urn[1].lower() if urn[1].lower().startswith(_HARDWARE) else urn[1]
        return (device, meaning(rest, unit, fields) if rest else _by_unit(unit, fields))
    path = _LWM2M.fullmatch(name)
    if path:
        return (path[1] or "", meaning(path[2], unit, fields))
    cut = max(name.rfind("/"), name.rfind(":"))
    parts = name.replace(":", "/").split("/")
    # of `shed/3/cpu/temperature` cpu matters; of `cpu/temperature` it is the device
    what = meaning("/".join(parts[-2:] if len(parts) > 2 else parts[-1:]), unit, fields) or _mapped(name, unit, fields)
    if what is not None:
        return (name[: max(cut, 0)], what)
    by_unit = _by_unit(unit, fields)
    return (name if by_unit else name[: max(cut, 0)], by_unit)


def _mapped(name: str, unit: str, fields: Fields) -> Meaning | None:
    """The meaning of a name that an operator mapped as a whole."""
    return meaning(name, unit, fields) if any(key == name for _, key in fields) else None


def _by_unit(unit: str, fields: Fields) -> Meaning | None:
    quantity = named_by(unit)
    return meaning(quantity, unit, fields) if quantity else None
