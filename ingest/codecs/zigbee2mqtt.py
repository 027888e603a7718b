"""Zigbee2MQTT: flat JSON on `<base>/<friendly name>`, availability, and what the bridge says. Pure.

The device's id is its IEEE address (`0x00158d0001d64498`), because a friendly name changes when somebody renames the
device. It stands in the payload with the option include_device_information, and else is remembered from
bridge/devices, bridge/event and earlier payloads. Until one of them was seen, the friendly name is the id. Who
registers devices by friendly name says so in the source: `device: topic:2`.

A friendly name may contain `/`; the base topic is what stands before the wildcard of the source's filter.
The state is repeated whole with every change, so a smoke that stays true is no new event. linkquality is no rssi.
`smoke_density_dbm` is dB/m, whatever its name says; the other smoke scales are the vendors' own.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory, Decoded
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import Keys, placed
from ingest.codecs.report import Report, state_of, volts
from ingest.codecs.times import micros
from ingest.codecs.usual_names import smoke_per_foot
from ingest.codecs.values import name as valid_name
from ingest.codecs.zigbee2mqtt_names import OF_ONE_BRIDGE, Names, ieee_of
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import STATES, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
#: What a bridge says of itself, kilobytes for each of its devices. Only devices is parsed, and of that what is read.
_LONG = ("bridge/devices", "bridge/definitions", "bridge/groups", "bridge/info")
_LONG_LIMIT = 2 * 1024 * 1024
#: What the keys of converters mean; Home Assistant's entities without a class go by the same names.
USUAL = {name: name for name in STATES if name != "online"} | {
    "smoke": "smoke_alarm",
    "smoke_state": "smoke_alarm",
    "smoke_alarm_1": "smoke_alarm",  # of two alarm bits
    "smoke_alarm_2": "smoke_alarm",
    "fire": "smoke_alarm",
    "heat": "heat_alarm",
    "trouble": "fault",
    "fault_alarm": "fault",
    "fault_state": "fault",
    "device_fault": "fault",
    "sensor_fault": "fault",
    "battery_defect": "fault",
    "malfunction": "fault",
    "ac_status": "mains_lost",  # the IAS bit says that the mains are at fault
    "battery_low": "low_battery",
    "battery_state": "low_battery",
    "battery_level": "low_battery",
    "self_test": "test",
    "self_test_result": "test",
    "checking_result": "test",
    "self_checking": "test",
    "test_in_progress": "test",
    "test_alarm": "test",
    "test_alarm_result": "test",
    "silence": "muted",
    "silence_siren": "muted",
    "mute": "muted",
    "Muted": "muted",
    "hush": "muted",
    "smoke_alarm_silenced": "muted",
    "temporary_mute": "muted",
    "buzzer_manual_mute": "muted",
    "temperature": "temperature",
    "temperature_1": "temperature",
    "temperature_l1": "temperature",
    "temperature_2": "temperature_2",
    "temperature_l2": "temperature_2",
    "temperature_probe": "temperature_2",
    "external_temperature": "temperature_2",
    "device_temperature": "device_temperature",
    "cpu_temperature": "device_temperature",
    "internal_temperature": "device_temperature",
    "humidity": "humidity",
    "smoke_density_dbm": "smoke",
    "smoke_density": "smoke_raw",
    "smoke_concentration": "smoke_raw",
    "smoke_level": "smoke_raw",  # or dB/m, where smoke_unit says so
    "smoke_value": "smoke_raw",
    "co": "co",
    "battery": "battery",
    "voltage": "voltage",
    "battery_voltage": "voltage",
    "current": "current",
}
_KEYS = Keys(USUAL)
_COMMANDS = frozenset({"set", "get"})
_ONLINE = {b"online": True, b"offline": False}
_JOINED = frozenset({"device_joined", "device_announce"})


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One observation of a device's state; of the bridge's death one for every device remembered behind it."""
    topic = message.topic
    base, friendly = _split(topic, source.filter)
    if len(payload) > PAYLOAD_LIMIT and friendly not in _LONG:
        raise Undecodable(f"{len(payload)} bytes; at most {PAYLOAD_LIMIT} are read of a device")
    if friendly.endswith("/availability"):
        return _availability(message, payload, source, Names(memory, base), friendly.removesuffix("/availability"))
    if friendly == "bridge" or friendly.startswith("bridge/"):
        return _bridge(message, payload, source, Names(memory, base), friendly[7:])
    if not payload or _is_command(friendly):  # an empty payload takes a retained state away
        return _NOTHING
    names = Names(memory, base)
    above, _, key = friendly.rpartition("/")
    if not above or payload.lstrip().startswith(b"{"):
        return Decoded(observations=(_state(message, _tree(payload), source, names, friendly),))
    # the last level of the topic is the key, by the option output: attribute
    if key == "last_seen" or key in _KEYS.of(source):
        return Decoded(observations=(_state(message, {key: _scalar(payload)}, source, names, above),))
    if above in names:
        return _NOTHING
    raise Undecodable(f"topic {shown(message.topic)}: a plain value of no known key; send an object")


def _tree(payload: bytes) -> dict[str, object]:
    tree = parse(payload)
    if type(tree) is dict:
        return tree
    raise Undecodable(f"$: {shown(tree)} is no state of a device; send an object")


def _scalar(payload: bytes) -> object:
    try:
        return parse(payload)
    except Undecodable:
        return payload.decode("utf-8", "replace")


def _state(message: Message, tree: dict[str, object], source: Source, names: Names, friendly: str) -> Observation:
    report = Report()
    keys = _KEYS.of(source)
    for key, value in tree.items():
        name = keys.get(key)
        if name is not None:
            if key == "battery_level" and type(value) is not str:  # of others than Tuya a percentage
                name = "battery"
            report.put(name, value, f"$.{key}")
            if name == "test" and type(value) is str and value.lower().endswith("failure"):
                report.put("fault", True, "$")
    values = report.values
    if "smoke_unit" in tree:
        _in_unit(tree["smoke_unit"], values)
    if "voltage" in values:
        values["voltage"] = volts(values["voltage"])
    seen = tree.get("last_seen")
    observed_at = None if seen is None else _time(seen, source.zone, report)
    ieee = _ieee(tree.get("device"))
    # lights and groups of lights are not worth a memory
    worth = ieee or values or report.states
    found = names.id_of(friendly, ieee) if worth else names.known(friendly) or friendly
    site, device = placed(source, message.topic, tree, found)
    return report.observation(_device(device, message.topic), site, observed_at)


def _in_unit(unit: object, values: dict[str, float]) -> None:
    """Heiman's smoke_level is an obscuration once it says in what."""
    level = values.get("smoke_raw")
    if level is None or unit not in ("dB/m", "%ft OBS"):
        return
    with contextlib.suppress(Undecodable):  # no obscuration can be so
        values["smoke"] = level if unit == "dB/m" else smoke_per_foot(level)
        del values["smoke_raw"]


def _time(seen: object, zone: str, report: Report) -> int | None:
    try:
        return micros(seen, zone, "$.last_seen")
    except Undecodable as error:
        report.wrong = report.wrong or error
        return None


def _ieee(block: object) -> str:
    """The address in a device block, "" without one."""
    return ieee_of(block.get("ieeeAddr")) if type(block) is dict else ""


def _device(device: str, topic: str) -> str:
    if not device:
        raise Undecodable(f"topic {shown(topic)} names no device; <base>/<friendly name> would")
    return valid_name(device, "device")


def _availability(message: Message, payload: bytes, source: Source, names: Names, friendly: str) -> Decoded:
    if not payload:  # deleted, as after a rename
        names.forget(friendly)
        return _NOTHING
    online = _online(payload)
    return _NOTHING if online is None else _told(message, source, [names.id_of(friendly, "")], online)


def _online(payload: bytes) -> bool | None:
    """online or offline, plain as version 1 sent it or {"state": …}."""
    text = payload.strip()
    plain = _ONLINE.get(text)
    if plain is not None:
        return plain
    tree = parse(payload) if text.startswith((b"{", b'"')) else None
    stated = tree.get("state") if type(tree) is dict else tree
    if type(stated) is not str:
        raise Undecodable('availability is neither online nor offline; send {"state": "online"}')
    return state_of("online", stated, "$.state")


def _told(message: Message, source: Source, devices: list[str], online: bool) -> Decoded:
    said = []
    for found in devices:
        site, device = placed(source, message.topic, {}, found)
        said.append(Observation(device=_device(device, message.topic), site=site, states={"online": online}))
    return Decoded(observations=tuple(said))


def _bridge(message: Message, payload: bytes, source: Source, names: Names, what: str) -> Decoded:
    """state and event say who is reachable, devices and a rename say who is who; the rest carries nothing."""
    if what == "state":
        online = _online(payload) if payload else None
        devices = [] if online is None else names.bridge_is(online)
        return _told(message, source, devices, online is True)
    if what == "event":
        return _event(message, _object(parse(payload)), source, names)
    if what == "devices" and payload:
        _learn(payload, names)
    elif what == "response/device/rename":
        data = _object(_object(parse(payload)).get("data"))
        old, new = data.get("from"), data.get("to")
        if type(old) is str and type(new) is str:
            names.rename(old, new)
    return _NOTHING


def _object(tree: object) -> dict[str, object]:
    return tree if type(tree) is dict else {}


def _event(message: Message, event: dict[str, object], source: Source, names: Names) -> Decoded:
    data = _object(event.get("data"))
    friendly, ieee = data.get("friendly_name"), ieee_of(data.get("ieee_address"))
    kind = event.get("type")
    if type(friendly) is not str or not friendly:
        return _NOTHING
    device = names.id_of(friendly, ieee)
    if kind == "device_leave":
        names.forget(friendly)
        return _told(message, source, [device], False)
    return _told(message, source, [device], True) if type(kind) is str and kind in _JOINED else _NOTHING


class _Listed(msgspec.Struct, frozen=True, gc=False):
    """A device as bridge/devices lists it: of the kilobytes that it says of each what is read, and checked, here."""

    friendly_name: str
    ieee_address: str | None = None
    type: str | None = None


_listed = msgspec.json.Decoder(list[_Listed]).decode


def _learn(payload: bytes, names: Names) -> None:
    """bridge/devices: every device of the network, as it is now."""
    try:
        devices = _listed(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"no list of devices: {str(error).partition(' - at ')[0].lower()}") from None
    if len(devices) > 2 * OF_ONE_BRIDGE:
        raise Undecodable(f"a list of {len(devices)} devices; no network carries more than {OF_ONE_BRIDGE}")
    listed = (device for device in devices if device.friendly_name and device.type != "Coordinator")
    names.replace({device.friendly_name: ieee_of(device.ieee_address) for device in listed})


def payload_limit(topic: str) -> int:
    """The largest payload that is read."""
    return _LONG_LIMIT if topic.endswith(_LONG) else PAYLOAD_LIMIT


def _is_command(friendly: str) -> bool:
    """`…/set` and `…/get`, also with a key behind."""
    levels = friendly.rsplit("/", 2)
    return len(levels) > 1 and (levels[-1] in _COMMANDS or (len(levels) == 3 and levels[1] in _COMMANDS))


def _split(topic: str, filter_: str) -> tuple[str, str]:
    """Base topic and what stands below it."""
    levels = topic.split("/")
    count = _base_levels(filter_) or _guessed(levels)
    return "/".join(levels[:count]), "/".join(levels[count:])


@lru_cache(maxsize=256)
def _base_levels(filter_: str) -> int:
    """How many levels of a topic are its base, as far as the filter tells; 0 = it does not."""
    levels = filter_.split("/")
    if "bridge" in levels:
        return levels.index("bridge")
    if levels[-1] == "availability":
        levels.pop()
    end = len(levels)
    while end and levels[end - 1] in ("+", "#"):
        end -= 1
    return 0 if end == len(levels) else end


def _guessed(levels: list[str]) -> int:
    if "zigbee2mqtt" in levels:
        return levels.index("zigbee2mqtt") + 1
    if "bridge" in levels:
        return levels.index("bridge")
    return 1 if len(levels) > 1 else 0
