"""Tasmota: sensor blocks by the name of their chip, state, LWT, and gateways for Zigbee, LoRaWAN and BLE. Pure.

The device's id is %topic%, whatever the FullTopic: all levels but the prefix (tele, stat) and the last. Of a device
behind a gateway it is the IEEE address or DevEUI as soon as one was seen, else the name the operator gave it (a short
address changes when the device joins again), else the short address or MAC; of LoRaWAN nodes likewise.

The first two probes of a device are temperature and temperature_2, by their place in the message, also when one of
them fails; a further probe is a device of its own, `<topic>:<chip>`. The temperature of a processor or meter chip, and
of an ADC in a device that meters energy, is the chip's own. Tasmota has no smoke detector: a dry contact or a data
point of a Tuya MCU is mapped by the source, {smoke_alarm: Switch2} or {smoke_alarm: DpType1Id1}, and so is a key of
one chip, {temperature: ANALOG.Temperature}; a Zigbee zone says smoke when its zone type is fire, or where the source
maps {smoke_alarm: ZoneStatusChange}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import Keys, placed
from ingest.codecs.report import Report, quantity_of
from ingest.codecs.times import micros
from ingest.codecs.values import celsius
from ingest.codecs.values import name as valid_name
from ingest.codecs.zigbee2mqtt_names import Names, ieee_of
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import DAY, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
_KEYS = Keys(
    {
        "Humidity": "humidity",
        "Voltage": "voltage",
        "BatteryVoltage": "voltage",
        "Current": "current",
        "CarbonMonoxide": "co",
        "Battery": "battery",
        "BatteryPercentage": "battery",
        "RSSI": "rssi",
        "SmokeDensity": "smoke_raw",
        "Smoke": "smoke_alarm",
        "Fire": "smoke_alarm",
        "Tamper": "tamper",
    }
)
_PREFIXES = frozenset({"tele", "stat"})
_SENSOR = frozenset({"SENSOR", "RESULT", "STATUS", "STATUS0", "STATUS8", "STATUS10", "STATUS11", "STATE", "-"})
_LWT = {b"online": True, b"offline": False}
#: Blocks of chips that measure themselves.
_CHIPS = frozenset(
    {"ESP32", "CHIP", "AXP192", "AXP2101", "ADE7953", "ADE7880", "BL0939", "BL0940", "BL0942", "CSE7761"}
)
_FIRE_ZONE = 0x28
_ZONE_KEYS = ("ZoneStatusChange", "ZoneStatus")
#: Bits of an IAS zone's status; bit 0 is the alarm of whatever the zone watches.
_ZONE_BITS = {2: "tamper", 3: "low_battery", 6: "fault", 7: "mains_lost", 8: "test", 9: "fault"}
_FIRE = "\x00fire"
_FIRE_LIMIT = 50_000
_OWN_LIMIT = 256
_VALUES = 3_000  #: keys in one message


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One observation of the device, and one for each device of which it is the gateway."""
    device, kind, prefix = _place(message.topic)
    if prefix == "cmnd" or not payload or message.topic.startswith("tasmota/discovery/"):
        return _NOTHING
    online = _LWT.get(payload.strip().lower()) if kind in ("LWT", "-") else None
    if kind == "LWT" or online is not None:
        return _lwt(message, payload, source, Names(memory, device), device, online)
    keys = _KEYS.of(source)
    if kind in _SENSOR:
        return _Reading(message, source, keys, memory, device).of(parse(payload, _VALUES), kind)
    if kind in source.fields.values():  # a rule of the operator publishes a mapped state of its own
        report = Report()
        report.put(keys[kind], payload.decode("utf-8", "replace"), kind)
        site, device = placed(source, message.topic, {}, device)
        return Decoded(observations=(report.observation(device, site, None),))
    return _NOTHING


def _place(topic: str) -> tuple[str, str, str]:
    """Device, last level and prefix of a topic of any FullTopic."""
    levels = topic.split("/")
    kind = levels.pop() if len(levels) > 1 else "-"
    for at in (0, len(levels) - 1, *range(1, len(levels) - 1)):
        if levels[at] in _PREFIXES or levels[at] == "cmnd":
            return "/".join(levels[:at] + levels[at + 1 :]), kind, levels[at]
    return "/".join(levels), kind, ""


def _lwt(message: Message, payload: bytes, source: Source, names: Names, device: str, online: bool | None) -> Decoded:
    """The device's own word, and its death for the devices behind it."""
    if online is None:
        said = payload[:40].decode("utf-8", "replace")
        raise Undecodable(f"LWT is {shown(said)}; Online or Offline would be")
    observations = []
    for found in [device, *names.bridge_is(online)]:
        site, found = placed(source, message.topic, {}, found)
        observations.append(Observation(device=valid_name(found, "device"), site=site, states={"online": online}))
    return Decoded(observations=tuple(observations))


class _Reading:
    """What one message says, of the device and of those behind it."""

    __slots__ = ("_device", "_fahrenheit", "_keys", "_memory", "_message", "_own", "_probes", "_report", "_source")

    def __init__(
        self, message: Message, source: Source, keys: Mapping[str, str], memory: CodecMemory, device: str
    ) -> None:
        self._message = message
        self._source = source
        self._keys = keys
        self._memory = memory
        self._device = device
        self._report = Report()
        self._own: dict[str, Report] = {}  #: reports of other devices, by their id
        self._probes = 0
        self._fahrenheit = False

    def of(self, tree: object, kind: str) -> Decoded:
        if type(tree) is not dict:
            raise Undecodable(f"$: {shown(tree)} is no message of Tasmota; send an object")
        parts = [part for key in ("StatusSNS", "StatusSTS") if type(part := tree.get(key)) is dict]
        observed_at = None
        for part in parts or [tree]:
            observed_at = self._time(part) or observed_at
            self._take(part)
            if kind == "STATE" or "UptimeSec" in part:
                self._report.states["online"] = True
        return Decoded(observations=tuple(self._observations(tree, observed_at)))

    def _observations(self, tree: object, observed_at: int | None) -> list[Observation]:
        reports = list(self._own.items())
        own = self._report
        if own.values or own.states or own.wrong or not reports:
            reports.insert(0, (self._device, own))
        found = []
        for device, report in reports:
            site, device = placed(self._source, self._message.topic, tree, device)
            found.append(report.observation(valid_name(device, "device"), site, observed_at))
        return found

    def _time(self, part: dict[str, Any]) -> int | None:
        stated = part.get("Epoch") or part.get("Time")
        try:
            at = micros(stated, self._source.zone, "$.Time")
        except Undecodable as error:
            self._report.wrong = error
            return None
        return None if at is None or at < 365 * DAY else at  # 1970: no time server answered yet

    def _take(self, part: dict[str, Any]) -> None:
        self._fahrenheit = part.get("TempUnit") == "F"
        if "Device" in part and "LinkQuality" in part:  # SetOption119: the device's own topic
            self._behind("-", part, "")
            return
        for key, value in part.items():
            if type(value) is dict:
                self._block(key, value, "ENERGY" in part)
            elif key == "Vcc":
                self._report.put("voltage", value, "$.Vcc")
            elif key in self._keys:
                self._put(self._report, key, value, "$")

    def _block(self, key: str, block: dict[str, Any], metered: bool) -> None:
        if key in ("ZbReceived", "LwReceived"):
            for short, inner in block.items():
                if type(inner) is dict:
                    self._behind(short, inner, key)
        elif key in ("ZbInfo", "ZbState"):
            for inner in block.values() if key == "ZbInfo" else [{"Device": block.get("ShortAddr"), **block}]:
                if type(inner) is dict:
                    self._who("", inner)
        elif "Device" in block and "LinkQuality" in block:  # SetOption118
            self._behind(key, block, "ZbReceived")
        elif key == "TuyaReceived":
            self._tuya(block)
        elif key == "Wifi":
            self._report.put("rssi", block.get("Signal"), "$.Wifi.Signal")
        elif key in self._keys:  # {"Switch2": {"Action": "ON"}}
            self._put(self._report, key, block.get("Action"), f"$.{key}")
        else:
            self._chip(key, block, metered)

    def _chip(self, chip: str, block: dict[str, Any], metered: bool) -> None:
        mac = block.get("mac") or block.get("MAC")
        if type(mac) is str and mac:  # a BLE sensor that the ESP32 overheard
            report = self._other(mac.lower())
            for key, value in block.items():
                self._put(report, key, value, "$")
            return
        for key, value in block.items():
            if key.startswith("Temperature") and type(value) is not dict:
                self._temperature(chip, key, value, chip in _CHIPS or (chip == "ANALOG" and metered))
            elif type(value) is not list:  # three phases
                self._put(self._report, key, value, f"$.{_plain(chip)}", chip)

    def _temperature(self, chip: str, key: str, value: object, own: bool) -> None:
        mapped = self._keys.get(f"{chip}.{key}") or self._keys.get(key)
        if own or mapped:
            self._degrees(self._report, mapped or "device_temperature", value, f"$.{_plain(chip)}.Temperature")
            return
        self._probes += 1
        name = "temperature_2" if self._probes == 2 else "temperature"
        report = self._report if self._probes <= 2 else self._other(f"{self._device}:{chip}")
        self._degrees(report, name, value, f"$.{_plain(chip)}.Temperature")

    def _put(self, report: Report, key: str, value: object, path: str, chip: str = "") -> None:
        """A key by the usual names and those of the source, which may say CHIP.Key."""
        if key == "Temperature":
            self._degrees(report, "temperature", value, f"{path}.{key}")
            return
        name = self._keys.get(f"{chip}.{key}") if chip and self._source.fields else None
        name = name or self._keys.get(key)
        if name is not None and type(value) not in (dict, list):
            report.put(name, value, f"{path}.{key}")

    def _degrees(self, report: Report, name: str, value: object, path: str) -> None:
        if self._source.fields.get(name, name) is None:
            return
        if not self._fahrenheit:
            report.put(name, value, path)
            return
        try:
            number = quantity_of(name, value, path)
            if number is not None:
                report.put(name, celsius(number), path)
        except Undecodable as error:
            report.wrong = report.wrong or error

    def _other(self, device: str) -> Report:
        if device not in self._own and len(self._own) >= _OWN_LIMIT:
            raise Undecodable(f"$: more than {_OWN_LIMIT} devices in one message; send them one by one")
        return self._own.setdefault(device, Report())

    def _behind(self, short: str, block: dict[str, Any], family: str) -> None:
        """A device behind this gateway."""
        device, fire = self._who(short, block)
        report = self._other(device)
        path = f"$.{family}" if family else "$"
        for key, value in block.items():
            if family == "LwReceived" and key == "Battery":  # in volts here
                report.put("voltage", value, f"{path}.Battery")
            elif key not in _ZONE_KEYS:
                self._put(report, key, value, path)
        status = _zone_status(block)
        if status is None:
            return
        for bit, name in _ZONE_BITS.items():
            report.put(name, bool(status >> bit & 1), path)
        mapped = self._source.fields.get("smoke_alarm") in _ZONE_KEYS
        if fire or mapped:
            report.states["smoke_alarm"] = bool(status & 1)

    def _who(self, short: str, block: dict[str, Any]) -> tuple[str, bool]:
        """The stable id of a device behind this gateway, and whether its zone type is fire."""
        stated = block.get("Device")
        short = stated if type(stated) is str and stated else short
        label = block.get("Name")
        names = Names(self._memory, self._gateway(short))
        known = names.known(short)
        ieee = ieee_of(block.get("IEEEAddr")) or _dev_eui(block)
        if not ieee and len(known) not in (16, 18) and type(label) is str:
            ieee = label
        device = names.id_of(short, ieee)
        zones = cast("dict[str, bool]", self._memory.setdefault(_FIRE, {}))
        zone = block.get("ZoneType")
        if type(zone) is int and len(zones) < _FIRE_LIMIT and len(device) <= 100:
            zones[device] = zone == _FIRE_ZONE
        return device, zones.get(device, False)

    def _gateway(self, short: str) -> str:
        """With SetOption89 the short address stands behind the gateway's topic."""
        above, _, last = self._device.rpartition("/")
        return above if above and last.lower() == short.removeprefix("0x").lower() else self._device

    def _tuya(self, block: dict[str, Any]) -> None:
        """Data points, by the names newer versions give them: DpType1Id1."""
        for inner in (block, *block.values()):
            if type(inner) is not dict:
                continue
            key = f"DpType{inner.get('DpIdType')}Id{inner.get('DpId')}"
            data = inner.get("DpIdData")
            if key in self._keys and key not in block and type(data) is str:
                self._put(self._report, key, _hex(data), "$.TuyaReceived")
        for key, value in block.items():
            if key in self._keys:
                self._put(self._report, key, value, "$.TuyaReceived")


def _dev_eui(block: dict[str, Any]) -> str:
    high, low = block.get("DevEUIh"), block.get("DevEUIl")
    whole = high + low if type(high) is str and type(low) is str else ""
    return whole.lower() if _is_eui(whole) else ""


def _is_eui(text: str) -> bool:
    return len(text) == 16 and _hex(text) is not None


def _plain(chip: str) -> str:
    """A chip's name as it may stand in a reason: what else comes there is not ours to repeat."""
    return chip if len(chip) <= 20 and chip.replace("-", "").isalnum() and chip.isascii() else "…"


def _zone_status(block: dict[str, Any]) -> int | None:
    """An IAS zone's status, as a number or in the raw command that older versions show alone."""
    for key in _ZONE_KEYS:
        if type(status := block.get(key)) is int:
            return status & 0xFFFF
    raw = block.get("0500!00")
    number = _hex(raw[2:4] + raw[:2]) if type(raw) is str and len(raw) >= 4 else None
    return number


def _hex(text: str) -> int | None:
    try:
        return int(text, 16) if 0 < len(text) <= 16 and text.isalnum() else None
    except ValueError:
        return None
