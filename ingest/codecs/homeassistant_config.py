"""Discovery configurations of Home Assistant: which entity says which quantity or state, and where. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ingest.codecs.homeassistant_template import parse_template, rendered
from ingest.codecs.json_text import shown
from ingest.codecs.values import name as valid_name
from ingest.codecs.zigbee2mqtt import USUAL
from ingest.errors import Undecodable
from ingest.readings import STATES

#: [config topic, topic, our name or "" for what we do not read, JSON?, steps, filters, on, off, unit]
Entry = list[Any]

COMPONENT_LIMIT = 256
_TOPIC_LIMIT = 400
_TEXT_LIMIT = 100

_LONG = {
    "~": "~",
    "p": "platform",
    "dev": "device",
    "cmps": "components",
    "ids": "identifiers",
    "cns": "connections",
    "uniq_id": "unique_id",
    "dev_cla": "device_class",
    "unit_of_meas": "unit_of_measurement",
    "ent_cat": "entity_category",
    "stat_t": "state_topic",
    "val_tpl": "value_template",
    "pl_on": "payload_on",
    "pl_off": "payload_off",
    "avty": "availability",
    "avty_t": "availability_topic",
    "avty_tpl": "availability_template",
    "avty_mode": "availability_mode",
    "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available",
    "t": "topic",
    "json_attr_t": "json_attributes_topic",
    "cmd_t": "command_topic",
}
#: What the entities of a device take over from it.
_SHARED = (
    *("state_topic", "command_topic", "availability", "availability_topic", "availability_template"),
    *("payload_available", "payload_not_available"),
)
_BINARY = {
    "smoke": "smoke_alarm",
    "heat": "heat_alarm",
    "tamper": "tamper",
    "problem": "fault",
    "battery": "low_battery",
    "connectivity": "online",
}
_CELSIUS = dict.fromkeys(("", "°C", "℃", "C"), "")
_TEMPERATURE = {**_CELSIUS, "°F": "F", "℉": "F", "F": "F", "K": "K"}
#: Of a sensor's class and unit: our name and how the number is converted.
_SENSOR: dict[str, dict[str, tuple[str, str]]] = {
    "temperature": {unit: ("temperature", code) for unit, code in _TEMPERATURE.items()},
    "humidity": {"%": ("humidity", ""), "": ("humidity", "")},
    "battery": {"%": ("battery", ""), "": ("battery", ""), "V": ("voltage", ""), "mV": ("voltage", "milli")},
    "voltage": {"V": ("voltage", ""), "": ("voltage", ""), "mV": ("voltage", "milli")},
    "current": {"A": ("current", ""), "": ("current", ""), "mA": ("current", "milli")},
    "carbon_monoxide": {"ppm": ("co", ""), "": ("co", ""), "ppb": ("co", "milli")},
    "signal_strength": {"dBm": ("rssi", ""), "": ("rssi", "")},
}
#: Of sensors without a class: units that can be nothing else.
_BY_UNIT = {
    **{unit: ("temperature", code) for unit, code in _TEMPERATURE.items() if len(unit) == 2},
    "dB/m": ("smoke", ""),
    "%/m": ("smoke", "%/m"),
}
_CLASSLESS = frozenset({"smoke_raw", "humidity", "battery"})  #: read by their key alone


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One entity: what kind, the key it goes by, and its configuration with long keys."""

    kind: str
    key: str
    body: dict[str, Any]


def long_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    """With abbreviations written out and `~` in topics replaced."""
    body = {_LONG.get(key, key): value for key, value in tree.items()}
    base = body.get("~")
    if type(base) is str:
        for key, value in body.items():
            if type(value) is str and (key == "topic" or key.endswith(("_topic", "_t"))):
                body[key] = _based(value, base)
        for item in items_of(body.get("availability")):
            item.update({key: _based(value, base) for key, value in item.items() if type(value) is str})
    return body


def _based(text: str, base: str) -> str:
    if text.startswith("~"):
        return base + text[1:]
    return text[:-1] + base if text.endswith("~") else text


def components(kind: str, key: str, body: dict[str, Any]) -> Iterator[Component]:
    """The one entity, or those of a device."""
    parts = body.pop("components", None)
    if kind != "device":
        yield Component(kind=kind, key=key, body=body)
        return
    if type(parts) is not dict or len(parts) > COMPONENT_LIMIT:
        raise Undecodable(f"$.components: {shown(parts)} is no set of entities; give an object of at most 256")
    shared = {name: body[name] for name in _SHARED if name in body}
    for part, value in parts.items():
        own = long_keys({"~": body.get("~"), **value}) if type(value) is dict else {}
        if len(own) > 2:  # a platform alone takes the entity away
            yield Component(kind=str(own.get("platform", "")), key=part[:_TEXT_LIMIT], body={**shared, **own})


def identity(body: Mapping[str, Any], topic: str, node: str, object_id: str) -> str:
    """The device's id: its first identifier or connection, else its node in the topic, else the entity's id."""
    device = long_keys(body["device"]) if type(body.get("device")) is dict else {}
    identifier = _first(device.get("identifiers")) or _first(_last(device.get("connections")))
    found = identifier or node or body.get("unique_id") or object_id
    return valid_name(found, "$.device.identifiers").removeprefix("zigbee2mqtt_")


def _first(value: object) -> object:
    return (value[0] if value else None) if type(value) is list else value


def _last(connections: object) -> object:
    """Of [["mac", "02:5b:26:a8:dc:12"]] the address."""
    pair = _first(connections)
    return [part.lower() for part in pair[1:2] if type(part) is str] if type(pair) is list else None


def entries_of(config: str, component: Component) -> Iterator[Entry]:
    """What is read, and the topics of the entity that carry nothing for us. Undecodable for a template beyond us."""
    body = component.body
    yield from _availability(config, body)
    others = {value for key, value in body.items() if key.endswith(("_topic", "_t")) and type(value) is str}
    topic = body.get("state_topic")
    if type(topic) is str and topic:
        others.discard(topic)
        yield _state(config, topic, component)
    others.discard(str(body.get("availability_topic")))
    for other in sorted(others)[:16]:
        yield [config, _topic(other), "", False, [], [], "", "", ""]


def _state(config: str, topic: str, component: Component) -> Entry:
    body = component.body
    template = body.get("value_template")
    problem = ""
    look: Any = (False, [], [])
    try:
        look = parse_template(template) if type(template) is str and template else look
    except ValueError as error:
        problem = f"{shown(component.key)}: value_template {error}; write {{{{ value_json.key }}}}"
    name, unit = _meaning(component, topic, look[1])
    if name and problem:
        raise Undecodable(problem)
    on, off = _text(body, "payload_on", "ON"), _text(body, "payload_off", "OFF")
    return [config, _topic(topic), name, *look, *((on, off) if name in STATES else ("", "")), unit]


def _meaning(component: Component, topic: str, steps: list[str | int]) -> tuple[str, str]:
    """Our name, and how its number is converted; "" for what we do not read."""
    body = component.body
    usual = [USUAL.get(key, "") for key in _keys(component, topic, steps)]
    stated = body.get("device_class")
    if component.kind == "binary_sensor":
        if stated is None:
            return next((name for name in usual if name in STATES), ""), ""
        return _BINARY.get(stated, "") if type(stated) is str else "", ""
    if component.kind != "sensor":
        return "", ""
    unit = body.get("unit_of_measurement") or ""
    units = _SENSOR.get(stated, {}) if type(stated) is str else _BY_UNIT
    name, code = units.get(unit, ("", "")) if type(unit) is str else ("", "")
    if name == "temperature" and ("device_temperature" in usual or body.get("entity_category") == "diagnostic"):
        return "device_temperature", code  # the chip's own, never the room's
    if name == "temperature" and "temperature_2" in usual:
        return "temperature_2", code
    if not name and stated is None and not body.get("options"):
        name = next((known for known in usual if known in _CLASSLESS), "")
    return name, code


def _keys(component: Component, topic: str, steps: list[str | int]) -> tuple[str, ...]:
    """How the entity may be called: by the key of its value, its own key, the last level of its topic."""
    value = str(steps[-1]) if steps else topic.rsplit("/", 1)[-1]
    return value, value.lower(), component.key.lower()


def _availability(config: str, body: Mapping[str, Any]) -> Iterator[Entry]:
    listed = items_of(body.get("availability"))
    single = body.get("availability_topic")
    if type(single) is str and single:
        listed = [*listed, {**body, "topic": single, "value_template": body.get("availability_template")}]
    for item in listed:
        item = {_LONG.get(key, key): value for key, value in item.items()}
        topic, template = item.get("topic"), item.get("value_template")
        if type(topic) is not str or not topic:
            continue
        try:
            look: Any = parse_template(template) if type(template) is str and template else (False, [], [])
        except ValueError as error:
            raise Undecodable(f"availability of {shown(topic)}: {error}; write {{{{ value_json.state }}}}") from None
        up, down = _text(item, "payload_available", "online"), _text(item, "payload_not_available", "offline")
        yield [config, _topic(topic), "online", *look, up, down, "availability"]


def items_of(value: object) -> list[dict[str, Any]]:
    """Of a list of objects, or the one object that stands instead; nobody has more than eight topics for this."""
    return [item for item in (value[:8] if type(value) is list else [value]) if type(item) is dict]


def _topic(topic: str) -> str:
    if len(topic) > _TOPIC_LIMIT:
        raise Undecodable(f"{shown(topic)} is no topic; give at most {_TOPIC_LIMIT} characters")
    return topic


def _text(body: Mapping[str, Any], key: str, default: str) -> str:
    """A payload as the text it is compared as; JSON true is `True`."""
    value = body.get(key)
    text = default if value is None else rendered(value)
    if len(text) > _TEXT_LIMIT:
        raise Undecodable(f"{key}: {shown(text)} is too long; give at most {_TEXT_LIMIT} characters")
    return text
