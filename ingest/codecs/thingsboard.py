"""ThingsBoard's MQTT API for devices and gateways. Pure.

The device: of the gateway API the device names the payload is keyed by; of the device API the id is the MQTT user
name and stands nowhere in the message, so the source's `device` says where the broker puts it (a mount point before
the topic: `topic:1`), or the topic has it in the place of `me` (a broker that rewrites topics). The site comes from
the source. Keys are free; see usual_names. Attributes are read as telemetry is: many devices send
their battery as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
_NOBODY = "-"  # the device of a payload that is tried alone, without a sources.yaml
_DEVICE, _GATEWAY, _CONNECT, _DISCONNECT, _PROTOBUF, _SILENT, _ANY = range(7)
#: In one message. ThingsBoard itself takes 64 KiB, which has no room for more.
_KEYS = 5_000
_KINDS = {
    "v1/gateway/telemetry": _GATEWAY,
    "v1/gateway/attributes": _GATEWAY,
    "v1/gateway/connect": _CONNECT,
    "v1/gateway/disconnect": _DISCONNECT,
    **dict.fromkeys(("v1/devices/me/telemetry", "v1/devices/me/attributes"), _DEVICE),
    **dict.fromkeys(("v2/t", "v2/a", "v2/t/j", "v2/a/j"), _DEVICE),
    **dict.fromkeys(("v2/t/p", "v2/a/p"), _PROTOBUF),
}
#: Levels of topics that carry commands, answers and firmware.
_ASKING = frozenset({"rpc", "r", "request", "response", "claim", "provision", "fw", "sw", "error", "action"})


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Telemetry, attributes, and the gateway's word on who is connected; commands and their answers carry none."""
    kind, named = _kind(message.topic)
    if kind == _SILENT:
        return _NOTHING
    if kind == _PROTOBUF:
        raise Undecodable(f"topic {shown(message.topic)} carries protobuf; set the device to JSON, topic v2/t/j")
    tree = parse(payload, _KEYS)
    if kind in (_CONNECT, _DISCONNECT):
        return _connection(tree, message.topic, source, kind == _CONNECT)
    if kind == _GATEWAY or (kind == _ANY and _is_of_gateway(tree)):
        return _gateway(tree, message.topic, source)
    site, device = placed(source, message.topic, tree, named)
    if device == _NOBODY and source.shard:
        help_ = "set device: in the source, such as topic:1 where the broker mounts the MQTT user name"
        raise Undecodable(f"topic {shown(message.topic)} names no device; {help_}")
    return told(*_items(tree, _Place(site, device, source.zone), Reader(source), "$"))


class _Place(NamedTuple):
    site: str | None
    device: str
    zone: str


def _kind(topic: str) -> tuple[int, str]:
    """What a topic carries, whatever the broker mounted before it, and the device where it names one."""
    at = max(topic.rfind("v1/"), topic.rfind("v2/"))
    if at < 0 or (at and topic[at - 1] != "/"):
        return _ANY, _NOBODY
    kind = _KINDS.get(topic[at:])
    if kind is not None:
        return kind, _NOBODY
    levels = topic[at:].split("/")
    if not _ASKING.isdisjoint(levels):
        return _SILENT, _NOBODY
    if len(levels) == 4 and levels[1] == "devices" and levels[2] and levels[3] in ("telemetry", "attributes"):
        return _DEVICE, levels[2]
    return _ANY, _NOBODY


def _is_of_gateway(tree: object) -> bool:
    return (
        type(tree) is dict
        and bool(tree)
        and all(type(items) is list and all(type(item) is dict for item in items) for items in tree.values())
    )


def _connection(tree: object, topic: str, source: Source, online: bool) -> Decoded:
    if type(tree) is not dict:
        raise Undecodable(f'$: {shown(tree)} names no device; send {{"device": "its name"}}')
    device = name(tree.get("device"), "$.device")
    site, _ = placed(source, topic, tree, device)
    return Decoded(observations=(Observation(device=device, site=site, states={"online": online}),))


def _gateway(tree: object, topic: str, source: Source) -> Decoded:
    if type(tree) is not dict:
        raise Undecodable(f"$: {shown(tree)} is no gateway message; send an object keyed by device names")
    if type(tree.get("device")) is str and "data" in tree:
        return _NOTHING  # the platform's own update of a shared attribute, on the same topic
    site, _ = placed(source, topic, tree, _NOBODY)
    _check_size(len(tree))
    reader = Reader(source)
    found: list[Observation] = []
    wrong: Undecodable | None = None
    for key, body in tree.items():
        device = name(key, "$: a device's name")  # printable, so it can stand in a path
        more, error = _items(body, _Place(site, device, source.zone), reader, f'$["{device}"]')
        found += more
        wrong = wrong or error
        _check_size(len(found))
    return told(found, wrong)


def _items(tree: object, place: _Place, reader: Reader, path: str) -> tuple[list[Observation], Undecodable | None]:
    """The readings of one device, and the first thing that is wrong in them."""
    items = [(tree, path)] if type(tree) is not list else [(body, f"{path}[{at}]") for at, body in enumerate(tree)]
    _check_size(len(items))
    found: list[Observation] = []
    wrong: Undecodable | None = None
    for body, where in items:
        try:
            observation = _observation(body, place, reader, where)
        except Undecodable as error:
            wrong = wrong or error
            continue
        if observation.values or observation.states:
            found.append(observation)
    return found, wrong


def _check_size(number: int) -> None:
    if number > ITEM_LIMIT:
        raise Undecodable(f"$: {number} readings; send at most {ITEM_LIMIT} at once")


def _observation(body: object, place: _Place, reader: Reader, path: str) -> Observation:
    """Only beside `values` is `ts` a time; else it is a key like any other."""
    if type(body) is not dict:
        raise Undecodable(f"{path}: {shown(body)} is no telemetry; send an object of keys and values")
    inner = body.get("values")
    if type(inner) is not dict:
        values, states = reader.read(body, path)
        return Observation(device=place.device, site=place.site, values=values, states=states)
    values, states = reader.read(inner, f"{path}.values")
    at = time_of(body.get("ts"), place.zone, f"{path}.ts", states)
    return Observation(device=place.device, site=place.site, observed_at=at, values=values, states=states)
