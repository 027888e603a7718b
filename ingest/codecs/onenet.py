"""OneNET (中国移动): the classic push {msg, msg_signature, nonce}, Studio's push, and devices that point here. Pure.

In the classic push the device is its IMEI; where a message has none (devices that are not NB-IoT, some online
reports), the one that came with this dev_id before, else the dev_id. In Studio it is the deviceName, which every
message has and the operator chose. Classic data streams of LwM2M devices are called object_instance_resource:
3303_0_5700 is a temperature, 3_0_9 the battery; a generic sensor (3300_…) is anything, so only the source's fields
can say what. Opaque and encrypted values say only that the device is there. In Studio every property has a time of
its own; those of one time are one observation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.json_text import parse, shown
from ingest.codecs.platforms import (
    KEYS,
    SIGNALS,
    Reader,
    Special,
    absent,
    body_of,
    known_by_imei,
    millivolts,
    of_quantity,
)
from ingest.codecs.values import name
from ingest.errors import Undecodable
from ingest.message import Message

if TYPE_CHECKING:
    from ingest.sources import Source

_SPECIAL: Special = SIGNALS | {
    "3303_0_5700": of_quantity("temperature"),
    "3303_1_5700": of_quantity("temperature_2"),
    "3304_0_5700": of_quantity("humidity"),
    "3_0_9": of_quantity("battery"),
    "3_0_7": of_quantity("voltage", millivolts),
    "4_0_2": of_quantity("rssi"),
}
#: LwM2M /3/0/20, state of the battery; 1 and 2 are charging, 5 none, 6 unknown.
_BATTERY_STATE = "3_0_20"
_BATTERY_STATES: dict[object, dict[str, bool]] = {
    0: {"low_battery": False},
    3: {"fault": True},  # damaged
    4: {"low_battery": True},
}
_DATA, _ONLINE, _COMMAND = 1, 2, 7  # type of a classic message
_TOPIC = "$sys/"


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Data points, properties, events and online reports; results of commands carry no reading."""
    tree = parse(payload, KEYS)
    reader = Reader(source, message.topic, tree)
    for item, pushed_at in _messages(reader, tree):
        try:
            _report(reader, item, pushed_at, message.topic, memory)
        except Undecodable as error:
            reader.wrong(error)
    return reader.decoded()


def _report(reader: Reader, item: object, pushed_at: object, topic: str, memory: CodecMemory) -> None:
    if type(item) is not dict:
        raise Undecodable(f"$.msg: {shown(item)} is no message; an object would be (encrypted pushes are not read)")
    if "messageType" in item:
        _studio(reader, item, pushed_at)
    elif "params" in item:
        _sent(reader, item, topic)
    elif type(item.get("dp")) is dict:
        _points(reader, item["dp"], topic)
    elif "type" in item:
        _classic(reader, item, memory)
    else:
        raise Undecodable("$.msg: no message of OneNET; type (classic) or messageType (Studio) would be right")


def _messages(reader: Reader, tree: object) -> Iterator[tuple[object, object]]:
    """The messages inside the signed envelope, or bare, each with the stated time of the push."""
    at = None
    if type(tree) is dict and "messageType" not in tree:
        if "enc_msg" in tree:
            raise Undecodable("$.enc_msg: an encrypted push; choose plain text in the platform's console")
        at = tree.get("time")
        tree = tree.get("msg", tree)
    for item in reader.items(body_of(tree, "$.msg"), "$.msg"):
        yield item, at


def _classic(reader: Reader, item: dict[str, object], memory: CodecMemory) -> None:
    kind = item["type"]
    if kind == _COMMAND:
        return
    own = item.get("dev_id")
    dev_id = "" if absent(own) else name(own, "$.msg.dev_id")
    device = known_by_imei(memory, dev_id, (item.get("imei"),)) or dev_id or reader.device(None, "$.msg.dev_id")
    at = reader.stated(item.get("at"))
    if kind == _DATA:
        stream = item.get("ds_id")
        values, states = _values(reader, stream if type(stream) is str else "", item.get("value"), "$.msg")
        _tell(reader, device, at, values, states)
    elif kind == _ONLINE:
        status = item.get("status")
        if status not in (0, 1, "0", "1"):
            raise Undecodable(f"$.msg.status: {shown(status)} is neither 1, online, nor 0, offline")
        reader.add(device, at, {}, {"online": status in (1, "1")})
    else:
        raise Undecodable(f"$.msg.type: {shown(kind)} is unknown; 1, 2 or 7 would be right")


def _studio(reader: Reader, item: dict[str, object], pushed_at: object) -> None:
    data = item.get("data")
    data = data if type(data) is dict else {}
    kind = item["messageType"]
    if kind == "lifeCycle":
        online = {"online": True, "offline": False}.get(str(data.get("status")).lower())
        if online is not None:  # a device added, changed or removed is the platform's book-keeping
            when = reader.stated(data.get("time"), data.get("timestamp"), item.get("time"), pushed_at)
            reader.add(reader.device(item.get("deviceName"), "$.deviceName"), when, {}, {"online": online})
    elif kind == "notify":
        if item.get("notifyType") in ("property", "event"):
            device = reader.device(item.get("deviceName"), "$.deviceName")
            _params(reader, device, data.get("params"), "$.data.params", pushed_at)
    elif kind != "sceneLog":
        raise Undecodable(f"$.messageType: {shown(kind)} is unknown; notify or lifeCycle would be right")


def _sent(reader: Reader, item: dict[str, object], topic: str) -> None:
    """By a device itself, or by a gateway for those behind it, on $sys/<product>/<device>/thing/…"""
    params = item["params"]
    if type(params) is not list:
        _params(reader, _in_topic(topic), params, "$.params", None)
        return
    for part in reader.items(params, "$.params"):
        body = part if type(part) is dict else {}
        identity = body.get("identity")
        own = identity.get("deviceName") if type(identity) is dict else None
        device = reader.device(own, "$.params.identity.deviceName")
        told = [body[key] for key in ("properties", "events") if body.get(key)]
        for inner in told or [{}]:
            _params(reader, device, inner, "$.params", None)


def _points(reader: Reader, streams: dict[str, object], topic: str) -> None:
    """Data points of the older protocol, {stream: [{v, t}]}, on $sys/<product>/<device>/dp/post/json."""
    for key, points in streams.items():
        for point in reader.items(points, f"$.dp.{key}" if key.isprintable() else "$.dp"):
            body = point if type(point) is dict else {}
            values, states = _values(reader, key, body.get("v"), "$.dp")
            _tell(reader, _in_topic(topic), reader.stated(body.get("t")), values, states)


def _in_topic(topic: str) -> str:
    levels = topic.split("/")
    return levels[2] if topic.startswith(_TOPIC) and len(levels) > 3 else ""


def _params(reader: Reader, device: str, params: object, path: str, pushed_at: object) -> None:
    if type(params) is not dict:
        raise Undecodable(f"{path}: {'absent' if params is None else shown(params)}; an object would be right")
    reader.items(list(params), path)
    by_time: dict[int | None, tuple[dict[str, float], dict[str, bool]]] = {}
    for key, entry in params.items():
        value, at = (entry["value"], entry.get("time")) if type(entry) is dict and "value" in entry else (entry, None)
        values, states = _values(reader, key, value, path)
        moment = by_time.setdefault(reader.stated(at, pushed_at), ({}, {}))
        moment[0].update(values)
        moment[1].update(states)
    told = {at: said for at, said in by_time.items() if said[0] or said[1]}
    for at, (values, states) in told.items():
        reader.add(device, at, values, states)
    if not told:
        reader.alive(device, max((at for at in by_time if at is not None), default=reader.stated(pushed_at)))


def _values(reader: Reader, key: str, value: object, path: str) -> tuple[dict[str, float], dict[str, bool]]:
    """What one stream, property or event says; of an object its own keys are read.

    An event has no value but such an object, so a state it is named after is true.
    """
    what = reader.meaning(key, _SPECIAL)
    if key == _BATTERY_STATE and what is None:
        return {}, dict(_BATTERY_STATES.get(value, {})) if type(value) is int else {}
    if type(value) is not dict:
        return reader.gather({key: value}, _SPECIAL, path)
    values, states = reader.gather(value, _SPECIAL, f"{path}.{key}")
    return values, {what.name: True} | states if what is not None and what.state else states


def _tell(reader: Reader, device: str, at: int | None, values: dict[str, float], states: dict[str, bool]) -> None:
    if values or states:
        reader.add(device, at, values, states)
    else:
        reader.alive(device, at)
