"""Huawei Cloud IoTDA: what the platform pushes or forwards, and what devices send that point at our broker. Pure.

The device is the platform's device_id, which push, forward and the devices' own topics share; node_id, usually the
IMEI, is not in all of them (`device: "$.notify_data.header.node_id"` takes it for pushes). Every service of a report
has a time of its own, so each is an observation. In a service named after smoke or fire, `level` is the severity of
the fire of Huawei's smoke detector model and `alarm` the flag of its SDK's one: above 0 is smoke_alarm. Elsewhere
`level` may be anything and is not read. ABNORMAL is the platform's word for a device silent for a day: offline.
A gateway that goes offline takes the sub-devices with it that reported through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.json_text import parse, shown
from ingest.codecs.platforms import KEYS, SIGNALS, Reader, Special, absent, body_of
from ingest.codecs.values import NAME_LIMIT, mapped_quantity
from ingest.errors import Undecodable
from ingest.message import Message

if TYPE_CHECKING:
    from ingest.sources import Source

#: In a service of smoke or fire these two say how much it burns.
_OF_FIRE: Special = SIGNALS | {"level": None, "alarm": None}
_ONLINE = {"ONLINE": True, "OFFLINE": False, "ABNORMAL": False}
#: Of these a push is expected and none of it is a reading.
_MANAGED = ("device", "product", "batchtask", "device.message.status", "device.command.status", "async.command")
_TOPIC = "$oc/devices/"
#: Of the memory of gateways, and of each one's sub-devices; a shed has one gateway and some dozens of heads.
_GATEWAYS, _BEHIND = 1_000, 100


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Property reports, messages and status updates, pushed (v5 and the older notifyType form) or sent by devices."""
    tree = parse(payload, KEYS)
    reader = Reader(source, message.topic, tree)
    for item in reader.items(tree, "$"):
        try:
            _report(reader, item, message.topic, memory)
        except Undecodable as error:
            reader.wrong(error)
    return reader.decoded()


def _report(reader: Reader, item: object, topic: str, memory: CodecMemory) -> None:
    if type(item) is not dict:
        raise Undecodable(f"$: {shown(item)} is no report of IoTDA; an object would be")
    if "resource" in item or "notify_data" in item:
        _pushed(reader, item, memory)
    elif "notifyType" in item:
        _older(reader, item)
    elif "devices" in item:
        _sub_devices(reader, item)
    elif "services" in item:
        _sent(reader, item, topic)
    else:
        _unspoken(reader, item, topic)


def _pushed(reader: Reader, item: dict[str, object], memory: CodecMemory) -> None:
    resource = item.get("resource")
    if resource in _MANAGED:
        return
    data = _object(item.get("notify_data"), "$.notify_data")
    header = _object(data.get("header", data), "$.notify_data.header")
    body = _object(data.get("body", data), "$.notify_data.body")
    device = reader.device(header.get("device_id"), "$.notify_data.header.device_id")
    times = item.get("event_time_ms"), item.get("event_time")
    gateway = header.get("gateway_id")
    if type(gateway) is str and gateway and gateway != device and not reader.renames:
        _remember(memory, gateway, device)
    if resource == "device.property":
        _services(reader, device, body.get("services"), "$.notify_data.body.services", times, item)
    elif resource == "device.status":
        at = reader.stated(body.get("status_update_time"), *times, body.get("timestamp"))
        _status(reader, device, body.get("status"), at, "$.notify_data.body.status", item)
        if _ONLINE.get(str(body.get("status"))) is False:
            for behind in _sub_devices_of(memory).get(device, ()):
                reader.add(behind, at, {}, {"online": False}, item)
    elif resource == "device.message":
        _message(reader, device, body.get("content"), "$.notify_data.body.content", reader.stated(*times), item)
    else:
        raise Undecodable(f"$.resource: {shown(resource)} is unknown; device.property or device.status would be right")


def _older(reader: Reader, item: dict[str, object]) -> None:
    """The platform before v5, which carriers still run: deviceDataChanged and its like."""
    kind = item.get("notifyType")
    device = reader.device(item.get("deviceId"), "$.deviceId")
    if kind == "deviceInfoChanged":
        info = _object(item.get("deviceInfo"), "$.deviceInfo")
        if info.get("status") is not None:
            _status(reader, device, info["status"], None, "$.deviceInfo.status", item)
    elif kind in ("deviceDataChanged", "deviceDatasChanged"):
        services = item.get("services", item.get("service"))
        _services(reader, device, services, "$.service", (item.get("eventTime"),), item)


def _sub_devices(reader: Reader, item: dict[str, object]) -> None:
    for part in reader.items(item["devices"], "$.devices"):
        part = _object(part, "$.devices")
        device = reader.device(part.get("device_id"), "$.devices.device_id")
        _services(reader, device, part.get("services"), "$.devices.services", (), part)


def _sent(reader: Reader, item: dict[str, object], topic: str) -> None:
    """By a device itself; a gateway tells on the same topics which of its sub-devices are there."""
    reports: list[object] = []
    for service in reader.items(item["services"], "$.services"):
        service = _object(service, "$.services")
        if "event_type" not in service:
            reports.append(service)
        elif service["event_type"] == "sub_device_update_status":
            _sub_device_statuses(reader, service)
    if reports:
        _services(reader, _in_topic(topic), reports, "$.services", (), item)


def _sub_device_statuses(reader: Reader, event: Mapping[str, object]) -> None:
    path = "$.services.paras.device_statuses"
    at = reader.stated(event.get("event_time"))
    for part in reader.items(_object(event.get("paras"), "$.services.paras").get("device_statuses"), path):
        part = _object(part, path)
        _status(reader, reader.device(part.get("device_id"), f"{path}.device_id"), part.get("status"), at, path, part)


def _unspoken(reader: Reader, item: dict[str, object], topic: str) -> None:
    """Messages in a form of the device's own, and answers to what the platform asked."""
    own = _in_topic(topic)
    if not own:
        raise Undecodable("$: no report of IoTDA; resource and notify_data, or services, would be right")
    if topic.partition("?")[0].endswith("/sys/messages/up"):
        behind = item.get("object_device_id")
        device = own if absent(behind) else reader.device(behind, "$.object_device_id")
        _message(reader, device, item.get("content", item), "$.content", None, item)


def _message(reader: Reader, device: str, content: object, path: str, at: int | None, tree: object) -> None:
    """In a form of the device's own: keys that mean something by themselves are read, else it is a heartbeat."""
    try:
        body = body_of(content, path)
    except Undecodable:  # a text that only begins like one
        body = None
    values, states = reader.gather(body, SIGNALS, path) if type(body) is dict else ({}, {})
    if values or states:
        reader.add(device, at, values, states, tree)
    else:
        reader.alive(device, at, tree)


def _services(
    reader: Reader,
    device: str,
    services: object,
    path: str,
    times: tuple[object, ...],
    tree: object,
) -> None:
    told, own = False, reader.stated(*times)
    for service in reader.items(services, path):
        service = _object(service, path)
        properties = body_of(service.get("properties", service.get("data")), f"{path}.properties")
        if type(properties) is not dict:
            continue
        own = reader.stated(service.get("event_time"), service.get("eventTime"), *times)
        service_id = service.get("service_id", service.get("serviceId"))
        about = service_id if type(service_id) is str else ""
        burns = "smoke" in about.lower() or "fire" in about.lower()
        special = _OF_FIRE if burns else SIGNALS
        values, states = reader.gather(properties, special, f"{path}.properties", about or "service")
        if burns:
            _fire(reader, properties, states, f"{path}.properties")
        if values or states:
            told = True
            reader.add(device, own, values, states, tree)
    if not told:
        reader.alive(device, own, tree)


def _fire(reader: Reader, properties: Mapping[str, object], states: dict[str, bool], path: str) -> None:
    for key in ("level", "alarm"):
        value = properties.get(key)
        if absent(value) or reader.meaning(key, _OF_FIRE) is not None:
            continue
        try:
            number = int(value) if type(value) is bool else mapped_quantity(value, f"{path}.{key}")
        except Undecodable as error:
            reader.wrong(error)
            continue
        if number >= 0:
            states["smoke_alarm"] = number > 0 or states.get("smoke_alarm", False)


def _status(reader: Reader, device: str, status: object, at: int | None, path: str, tree: object) -> None:
    if type(status) is not str:
        raise Undecodable(f"{path}: {shown(status)} is no status; ONLINE, OFFLINE or ABNORMAL would be")
    online = _ONLINE.get(status)
    if online is not None:  # INACTIVE, FROZEN and what may come say nothing about a device in use
        reader.add(device, at, {}, {"online": online}, tree)


def _sub_devices_of(memory: CodecMemory) -> dict[str, list[str]]:
    return memory.setdefault("behind", {})  # type: ignore[return-value]  # ours


def _remember(memory: CodecMemory, gateway: str, device: str) -> None:
    gateways = _sub_devices_of(memory)
    known = gateways.get(gateway)
    if known is None and len(gateway) <= NAME_LIMIT:
        if len(gateways) >= _GATEWAYS:
            del gateways[next(iter(gateways))]
        known = gateways[gateway] = []
    if known is not None and len(known) < _BEHIND and device not in known:
        known.append(device)


def _object(value: object, path: str) -> dict[str, object]:
    if type(value) is not dict:
        raise Undecodable(f"{path}: {'absent' if value is None else shown(value)}; an object would be right")
    return value


def _in_topic(topic: str) -> str:
    return topic[len(_TOPIC) :].partition("/")[0] if topic.startswith(_TOPIC) else ""
