"""Shelly devices: RPC notifications over MQTT, and the plain sensor topics of the first generation. Pure.

The device: `src` of the frames, in lower case, which the user cannot change. Status and online topics have only the
topic prefix, which the user can: the frames teach which `src` speaks under a prefix, and until then the prefix
itself is the device (which it is by default). Battery devices sleep between reports, so their `online` false is
normal and not reported. A chip's temperature (inside switches, covers, lights, and of energy meters) is never
`temperature`. Ids 0 and 100 of a component (an add-on counts from 100) are the first probe, 1 and 101 the second; a
source's `fields` name others, {temperature: "temperature:102.tC"}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest.codecs.contract import ITEM_LIMIT, CodecMemory, Decoded
from ingest.codecs.free_keys import says_fire
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import placed
from ingest.codecs.times import from_number
from ingest.codecs.values import celsius, mapped_quantity, mapped_state, name, quantity, state
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
#: Prefixes remembered; the oldest is forgotten for a new one.
PREFIX_LIMIT = 5_000
#: Clocks start at 0 with the device; nothing before this (2001) is a date.
_FIRST_DATE = 1_000_000_000
_ID = re.compile(r"shelly[a-z0-9]{1,30}-[0-9a-f]{6,16}", re.ASCII | re.IGNORECASE)
#: Models that run on batteries and sleep; others are learned from the wake-up period in their status.
_SLEEPERS = ("shellyplussmoke", "shellysmoke", "shellyplusht", "shellyht", "shellyflood", "shellydw", "shellybutton")
_FRAMES = frozenset({"NotifyStatus", "NotifyFullStatus"})
#: What each event of a smoke component says; the end of an alarm is the end of a test, too.
_SMOKE_EVENTS: dict[str, dict[str, bool]] = {
    "alarm": {"smoke_alarm": True},
    "alarm_off": {"smoke_alarm": False, "test": False},
    "alarm_test": {"test": True},
    "mute": {"muted": True},
    "unmute": {"muted": False},
}
_FIRST, _SECOND = frozenset({"", "0", "100"}), frozenset({"1", "101"})
#: In one message: some times what the largest device says of itself.
_KEYS = 2_000
#: Sensors of the first generation.
_SENSORS = {"smoke": "smoke_alarm", "temperature": "temperature", "humidity": "humidity", "battery": "battery"}
_SILENT = ("/rpc", "/command", "/announce", "/debug/log", "/info")

_Values = dict[str, float]
_States = dict[str, bool]


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Notification frames, status topics and the retained online topic; commands and answers carry none."""
    topic = message.topic
    if topic.endswith("/online"):
        return _online(payload, topic, source, memory)
    prefix, _, component = topic.rpartition("/status/")
    if prefix and "/" not in component:
        return _status(payload, prefix, component, message, source, memory)
    prefix, _, sensor = topic.rpartition("/sensor/")
    if prefix and "/" not in sensor:
        return _first_generation(payload, prefix, sensor, message, source, memory)
    if topic.endswith("/events/rpc"):
        return _frame(parse(payload, _KEYS), topic.removesuffix("/events/rpc"), message, source, memory)
    if topic.endswith(_SILENT) or "/command/" in topic:
        return _NOTHING
    tree = parse(payload, _KEYS)
    if type(tree) is dict and "method" in tree:
        return _frame(tree, "", message, source, memory)
    raise Undecodable(f"topic {shown(topic)} is none of a Shelly; it ends in /events/rpc, /status/… or /online")


def _frame(tree: object, prefix: str, message: Message, source: Source, memory: CodecMemory) -> Decoded:
    if type(tree) is not dict:
        raise Undecodable(f"$: {shown(tree)} is no notification; an object with src, method and params would be")
    method, params = tree.get("method"), tree.get("params")
    if type(method) is not str or (method not in _FRAMES and method != "NotifyEvent"):
        return _NOTHING  # a request, or an answer to one
    device = _lower(name(prefix if tree.get("src") is None else tree["src"], "$.src"))
    if type(params) is not dict:
        raise Undecodable(f"$.params: {shown(params)} is no status; an object of components would be")
    if prefix:
        _learn(prefix, device, params, memory)
    site, device = placed(source, message.topic, tree, device)
    if method == "NotifyEvent":
        return Decoded(observations=tuple(_events(params.get("events"), site, device)))
    values, states = _read(params, device, source)
    if not values and not states:
        return _NOTHING
    at = _time(params.get("ts"), tree.get("ts"), _inside(params.get("sys"), "unixtime"))
    return Decoded(observations=(Observation(device=device, site=site, observed_at=at, values=values, states=states),))


def _status(
    payload: bytes, prefix: str, component: str, message: Message, source: Source, memory: CodecMemory
) -> Decoded:
    if not payload:
        return _NOTHING
    device, _ = _known(prefix, memory)
    body = parse(payload, _KEYS)
    site, device = placed(source, message.topic, body, device)
    values, states = _read({component: body}, device, source)
    if not values and not states:
        return _NOTHING
    return Decoded(observations=(Observation(device=device, site=site, values=values, states=states),))


def _online(payload: bytes, topic: str, source: Source, memory: CodecMemory) -> Decoded:
    word = payload.strip()
    if word not in (b"true", b"false"):
        if not word:
            return _NOTHING
        raise Undecodable(f"online is {shown(payload[:40].decode('utf-8', 'replace'))}; true or false would be")
    device, sleeps = _known(topic.removesuffix("/online"), memory)
    if word == b"false" and sleeps:
        return _NOTHING
    site, device = placed(source, topic, None, device)
    return Decoded(observations=(Observation(device=device, site=site, states={"online": word == b"true"}),))


def _first_generation(
    payload: bytes, prefix: str, sensor: str, message: Message, source: Source, memory: CodecMemory
) -> Decoded:
    """`shellies/<device>/sensor/smoke` and its like: a plain text each, temperatures in °C unless set otherwise."""
    ours = _SENSORS.get(sensor)
    if ours is None or (ours in source.fields and source.fields[ours] is None) or not payload:
        return _NOTHING
    site, device = placed(source, message.topic, None, _known(prefix, memory)[0])
    text = payload[:40].decode("utf-8", "replace")
    if ours in QUANTITIES:
        values = {ours: mapped_quantity(text, sensor)}
        return Decoded(observations=(Observation(device=device, site=site, values=values),))
    states = {ours: mapped_state(text, sensor)}
    return Decoded(observations=(Observation(device=device, site=site, states=states),))


def _lower(device: str) -> str:
    return device.lower() if _ID.fullmatch(device) else device


def _learn(prefix: str, device: str, params: dict[str, object], memory: CodecMemory) -> None:
    """Remember who speaks under this prefix, and whether it sleeps, which only a full status says."""
    known = memory.get(prefix)
    period = _inside(params.get("sys"), "wakeup_period")
    sleeps = period > 0 if type(period) is int else bool(isinstance(known, list) and known[0] == device and known[1])
    entry = [device, sleeps or device.startswith(_SLEEPERS)]
    if known == entry or len(prefix) > 200:
        return
    if known is None and len(memory) >= PREFIX_LIMIT:
        del memory[next(iter(memory))]
    memory[prefix] = entry


def _known(prefix: str, memory: CodecMemory) -> tuple[str, bool]:
    """The device under a prefix, and whether its absence is normal: also where nobody knows what it is."""
    entry = memory.get(prefix)
    if isinstance(entry, list):
        return entry[0], entry[1]
    last = prefix.rpartition("/")[2]
    if _ID.fullmatch(last):
        return last.lower(), last.lower().startswith(_SLEEPERS)
    return name(prefix, "topic prefix"), True


def _inside(body: object, key: str) -> object:
    return body.get(key) if type(body) is dict else None


def _time(*stated: object) -> int | None:
    """The first of these that is a date: a device that just woke counts from its start."""
    for number in stated:
        if (type(number) is int or type(number) is float) and number >= _FIRST_DATE:
            return from_number(number)
    return None


def _events(events: object, site: str | None, device: str) -> list[Observation]:
    if type(events) is not list or len(events) > ITEM_LIMIT:
        raise Undecodable(f"$.params.events: {shown(events)} is no list of at most {ITEM_LIMIT} events")
    found: list[Observation] = []
    for event in events:
        component, said = _inside(event, "component"), _inside(event, "event")
        if type(component) is not str or type(said) is not str or not component.startswith("smoke"):
            continue
        states = _SMOKE_EVENTS.get(said.removeprefix("smoke."))
        if states is not None:
            at = _time(_inside(event, "ts"))
            found.append(Observation(device=device, site=site, observed_at=at, states=dict(states)))
    return found


def _read(params: dict[str, object], device: str, source: Source) -> tuple[_Values, _States]:
    """Quantities and states of all components; a wrong value beside a fire does not keep it from us."""
    values: _Values = {}
    states: _States = {}
    wrong: Undecodable | None = None
    is_meter = "em" in device.partition("-")[0].removeprefix("shelly")
    for key, body in params.items():
        kind, _, number = key.partition(":")
        read = _chip_alone if is_meter and kind == "temperature" else _COMPONENTS.get(kind)
        if read is None or type(body) is not dict:
            continue
        try:
            read(body, number, f"$.params.{kind}", values, states)
        except Undecodable as error:
            wrong = wrong or error
    if source.fields:
        _mapped(params, source, values, states)
    if wrong is not None and not says_fire(states):
        raise wrong
    return values, states


def _smoke(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    for key, ours in (("alarm", "smoke_alarm"), ("mute", "muted")):
        said = body.get(key)
        if said is not None:
            states[ours] = states.get(ours, False) or state(said, f"{path}.{key}")


def _temperature(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    found = _degrees(body, path)
    if found is not None and (number in _FIRST or number in _SECOND):
        values.setdefault("temperature" if number in _FIRST else "temperature_2", found)


def _humidity(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    if number in _FIRST and body.get("rh") is not None:
        values.setdefault("humidity", quantity(body["rh"], f"{path}.rh"))


def _power(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    """The battery; with a cable in, what the empty battery bay measures is none."""
    battery = body.get("battery")
    if type(battery) is not dict or _inside(body.get("external"), "present") is True:
        return
    for key, ours in (("percent", "battery"), ("V", "voltage")):
        found = battery.get(key)
        if found is not None and (level := quantity(found, f"{path}.battery.{key}")) >= 0:
            values[ours] = level


def _wifi(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    rssi = body.get("rssi")
    if rssi is not None and (strength := quantity(rssi, f"{path}.rssi")) < 0:
        values["rssi"] = strength


def _channel(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    """A switch, cover, light or meter channel: the chip in it, and what flows through the first."""
    _chip(body.get("temperature"), path, values)
    if number != "0":
        return
    for key in ("voltage", "current"):
        if body.get(key) is not None:
            values[key] = quantity(body[key], f"{path}.{key}")


def _chip(body: object, path: str, values: _Values) -> None:
    """The hottest of the chips a device reports."""
    found = _degrees(body, path) if type(body) is dict else None
    if found is not None:
        values["device_temperature"] = max(found, values.get("device_temperature", found))


def _chip_alone(body: dict[str, object], number: str, path: str, values: _Values, states: _States) -> None:
    _chip(body, path, values)


def _degrees(body: dict[str, object], path: str) -> float | None:
    if body.get("tC") is not None:
        return quantity(body["tC"], f"{path}.tC")
    return None if body.get("tF") is None else celsius(quantity(body["tF"], f"{path}.tF"))


_COMPONENTS: dict[str, Callable[[dict[str, object], str, str, _Values, _States], None]] = {
    "smoke": _smoke,
    "temperature": _temperature,
    "humidity": _humidity,
    "devicepower": _power,
    "wifi": _wifi,
    **dict.fromkeys(("switch", "cover", "light", "rgb", "rgbw", "cct", "pm1", "em1"), _channel),
}


def _mapped(params: dict[str, object], source: Source, values: _Values, states: _States) -> None:
    """What the source's fields name by component and attribute stands instead of what is usual."""
    for ours, path in source.fields.items():
        values.pop(ours, None)
        states.pop(ours, None)
        found: object = params if path else None
        for step in path.split(".") if path else ():
            found = _inside(found, step)
        if found is None:
            continue
        if ours in QUANTITIES:
            values[ours] = mapped_quantity(found, f"$.params.{path}")
        else:
            states[ours] = mapped_state(found, f"$.params.{path}")
