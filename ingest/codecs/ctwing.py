"""CTWing (天翼物联 AEP): what China Telecom's platform pushes about NB-IoT devices. Pure.

The device is its IMEI. Online reports have the platform's deviceId alone: they are told under the IMEI that came
with this deviceId before, else under the deviceId. A source with `device: "$.deviceId"` uses that throughout.
Times are the platform's. Heads of LiAn (力安) tell their state as Alarm_Status, one of fourteen numbers. Frames of
transparent products (APPdata) are the vendor's own: without a codec they say only that the device is there.
Events are told by the keys of their content; what a product calls by serviceId alone can be named by the source's
fields, such as {smoke_alarm: "serviceId:1001"}.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    of_quantity,
    of_state,
)
from ingest.codecs.values import mapped_quantity, name
from ingest.errors import Undecodable
from ingest.message import Message

if TYPE_CHECKING:
    from ingest.sources import Source

_SPECIAL: Special = SIGNALS | {
    "TData": of_quantity("temperature"),
    "battery_value": of_quantity("battery"),
    "battery_state": of_state("low_battery"),
    "battery_voltage": None,  # volts, millivolts or a number of the product's own
}
#: A key of product models; `alarm` alone is anything there, not smoke.
_MODEL = "model"
#: Normal ends what the other numbers begin; a removed head says refitted when it is back.
_NORMAL = {"smoke_alarm": False, "muted": False, "fault": False, "low_battery": False, "test": False}
_ALARM_STATUS: dict[int, dict[str, bool]] = {
    1: {"smoke_alarm": True},
    2: {"muted": True},
    3: {},  # reserved
    4: {"low_battery": True},
    5: {"fault": True},
    6: {"fault": True},  # its data cannot be right
    7: _NORMAL,
    8: {},  # told to be silent once
    9: {},  # told to stay silent
    10: {"tamper": True},
    11: {"tamper": False},
    12: {"online": True},
    13: {"fault": True},
    14: {"test": True},  # a simulated alarm
}
_WARNING, _FAULT = 2, 3  # eventType


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Data, events and online reports; answers to commands carry no reading."""
    tree = parse(payload, KEYS)
    reader = Reader(source, message.topic, tree)
    for item in reader.items(tree, "$"):
        try:
            _report(reader, item, memory)
        except Undecodable as error:
            reader.wrong(error)
    return reader.decoded()


def _report(reader: Reader, item: object, memory: CodecMemory) -> None:
    if type(item) is not dict:
        raise Undecodable(f"$: {shown(item)} is no push of CTWing; send an object with messageType")
    kind = item.get("messageType")
    if kind in ("dataReport", "dataReportTupUnion"):
        _data(reader, item, memory)
    elif kind == "eventReport":
        _event(reader, item, memory)
    elif kind == "deviceOnlineOfflineReport":
        _online(reader, item, memory)
    elif kind != "commandResponse":
        raise Undecodable(f"$.messageType: {shown(kind)} is unknown; dataReport or eventReport would be right")


def _data(reader: Reader, item: dict[str, object], memory: CodecMemory) -> None:
    at = reader.stated(item.get("timestamp"))
    bodies = reader.items(body_of(item.get("payload"), "$.payload"), "$.payload")
    told = False
    for body in bodies:
        if type(body) is not dict:
            raise Undecodable(f"$.payload: {shown(body)} is no data; an object would be")
        wrapped = body_of(body.get("serviceData"), "$.payload.serviceData")
        data, path = (wrapped, "$.payload.serviceData") if type(wrapped) is dict else (body, "$.payload")
        values, states = reader.gather(data, _SPECIAL, path, _MODEL)
        states.update(_alarm_status(reader, data, f"{path}.Alarm_Status"))
        if values or states:
            told = True
            reader.add(_device(reader, item, memory, data.get("IMEI")), at, values, states, item)
    if not told:
        reader.alive(_device(reader, item, memory), at, item)


def _alarm_status(reader: Reader, data: Mapping[str, object], path: str) -> Mapping[str, bool]:
    value = data.get("Alarm_Status")
    if absent(value) or value == -1:
        return {}
    try:
        number = mapped_quantity(value, path)
        if number not in _ALARM_STATUS:
            raise Undecodable(f"{path}: {shown(value)} is no known status; 1 to 14 would be")
        return _ALARM_STATUS[int(number)]
    except Undecodable as error:
        reader.wrong(error)
        return {}


def _event(reader: Reader, item: dict[str, object], memory: CodecMemory) -> None:
    content = body_of(item.get("eventContent"), "$.eventContent")
    values, states = reader.gather(content if type(content) is dict else {}, _SPECIAL, "$.eventContent", _MODEL)
    service_id, kind = item.get("serviceId"), item.get("eventType")
    named = reader.meaning(f"serviceId:{service_id}", _SPECIAL) if type(service_id) in (int, str) else None
    if named is not None and named.state:
        states[named.name] = True
    if not states and kind in (_FAULT, str(_FAULT)):
        states["fault"] = True
    device, at = _device(reader, item, memory), reader.stated(item.get("timestamp"))
    if not states and kind in (_WARNING, str(_WARNING)):
        said = f"$.eventContent: the warning of service {shown(service_id)} says nothing known"
        raise Undecodable(f"{said}; name its keys in the source's fields")
    if values or states:
        reader.add(device, at, values, states, item)
    else:
        reader.alive(device, at, item)


def _online(reader: Reader, item: dict[str, object], memory: CodecMemory) -> None:
    kind = item.get("eventType")
    if kind not in (0, 1, "0", "1"):
        raise Undecodable(f"$.eventType: {shown(kind)} is neither 1, online, nor 0, offline")
    at = reader.stated(item.get("timestamp"))
    reader.add(_device(reader, item, memory), at, {}, {"online": kind in (1, "1")}, item)


def _device(reader: Reader, item: Mapping[str, object], memory: CodecMemory, inner_imei: object = None) -> str:
    own = item.get("deviceId")
    platform_id = "" if absent(own) else name(own, "$.deviceId")
    imei = known_by_imei(memory, platform_id, (item.get("IMEI"), item.get("imei"), inner_imei))
    return imei or platform_id or reader.device(None, "$.deviceId")
