"""Home Assistant discovery: retained configurations say what the state topics of devices mean. Pure.

The device's id is the first of `device.identifiers` (without the `zigbee2mqtt_` its bridge puts before the address),
else its first connection, else the node of the config topic, else the entity's unique or object id. Templates are
plain look-ups only; an entity that needs more is refused by name, and the others of the message are kept. A sensor of
the category `diagnostic` that measures a temperature is the chip's own. expire_after is not ours to judge: the
inventory knows how often a device reports.

A state on a topic that no configuration names is set aside, to be driven again when its configuration is there; a
topic that a configuration names and we do not read carries no reading. `fields` of the source reads more keys of a
state: {humidity: humidity}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.homeassistant_config import Entry, components, entries_of, identity, long_keys
from ingest.codecs.homeassistant_memory import Book
from ingest.codecs.homeassistant_template import filtered, found, rendered
from ingest.codecs.json_text import parse, shown
from ingest.codecs.naming import placed
from ingest.codecs.report import Report, quantity_of
from ingest.codecs.values import celsius, db_per_metre
from ingest.codecs.values import name as valid_name
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import STATES

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
_KINDS = frozenset(
    (
        *("alarm_control_panel", "binary_sensor", "button", "camera", "climate", "cover", "device", "event", "fan"),
        *("device_automation", "device_tracker", "humidifier", "image", "lawn_mower", "light", "lock", "notify"),
        *("number", "scene", "select", "sensor", "siren", "switch", "tag", "text", "update", "vacuum", "valve"),
        "water_heater",
    )
)
STATE_LIMIT = 1_000  #: of one state as text; Home Assistant itself takes 255 characters
_SILENT = frozenset({"", "none", "unknown", "unavailable"})
_CONVERTED: dict[str, Callable[[float, str], float]] = {
    "F": lambda number, path: celsius(number),
    "K": lambda number, path: number - 273.15,
    "milli": lambda number, path: number / 1000,
    "%/m": db_per_metre,
}


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """A configuration is remembered; a state is read by what its configurations say."""
    topic = message.topic
    book = Book(memory)
    config = _config_of(topic, payload) if topic.endswith("/config") or topic == "-" else None
    if config is not None:
        tree = parse(payload) if payload else None  # what cannot be read changes nothing
        book.remove(topic)
        if payload:
            _remember(topic, config, tree, book)
        return _NOTHING
    if payload and book.knows(topic):
        return _states(message, payload, source, book)
    if not payload or (topic.count("/") == 1 and topic.endswith("/status")):  # Home Assistant's own birth and will
        return _NOTHING
    if any(source.fields.values()):
        return _states(message, payload, source, book)
    raise Undecodable(f"no configuration names the topic {shown(topic)}; publish it retained, or name fields")


def _config_of(topic: str, payload: bytes) -> tuple[str, str, str] | None:
    """Component, node and object of `<prefix>/<component>/[<node>/]<object>/config`; None for another topic."""
    levels = topic.split("/")
    if levels[-1] == "config" and len(levels) >= 4:
        if len(levels) >= 5 and levels[-4] in _KINDS:
            return levels[-4], levels[-3], levels[-2]
        if levels[-3] in _KINDS:
            return levels[-3], "", levels[-2]
    if topic == "-" and any(sign in payload for sign in (b'"cmps"', b'"components"')):
        return "device", "", "-"  # a file that is tried without its topic
    return None


def _remember(topic: str, config: tuple[str, str, str], tree: object, book: Book) -> None:
    """Keep what can be read of it; Undecodable after that, naming the first entity that cannot."""
    if type(tree) is not dict:
        raise Undecodable(f"$: {shown(tree)} is no configuration; send an object")
    kind, node, object_id = config
    body = long_keys(tree)
    device = identity(body, topic, node, object_id)
    mode = body.get("availability_mode")
    wrong: Undecodable | None = None
    for component in components(kind, object_id, body):
        try:
            for entry in entries_of(topic, component):
                book.add(device, component.key, entry, mode if mode in ("all", "any") else "")
        except Undecodable as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong


class _Payload:
    """A state, parsed when the first template looks into it."""

    __slots__ = ("_raw", "_tree", "parsed")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._tree: object = None
        self.parsed = False

    def tree(self) -> object:
        if not self.parsed:
            self._tree = parse(self._raw)
            self.parsed = True
        return self._tree

    def text(self) -> str:
        if len(self._raw) > STATE_LIMIT:
            raise Undecodable(f"a plain state of {len(self._raw)} bytes; send at most {STATE_LIMIT}")
        try:
            return self._raw.decode()
        except UnicodeDecodeError:
            raise Undecodable("the state is no text; send UTF-8") from None

    def at(self, entry: Entry) -> object:
        """The value of an entry, after its filters."""
        _, topic, name, in_json, steps, filters, _, _, _ = entry
        value = found(self.tree(), steps) if in_json else self.text()
        return filtered(value, filters, name or topic) if filters else value


def _states(message: Message, payload: bytes, source: Source, book: Book) -> Decoded:
    state = _Payload(payload)
    devices = book.on(message.topic) or [("", [])]
    observations = []
    for index, (device, entries) in enumerate(devices):
        report = Report()
        for entry in entries:
            name = entry[2]
            if name and not (name in source.fields and source.fields[name] is None):
                _read(report, entry, state, device, book)
        if index == 0:
            _read_fields(report, source, state)
        tree = state.tree() if state.parsed else {}
        if report.values or report.states or report.wrong:
            site, device = placed(source, message.topic, tree, device)
            observations.append(report.observation(_device(device), site, None))
    return Decoded(observations=tuple(observations)) if observations else _NOTHING


def _device(device: str) -> str:
    if not device:
        raise Undecodable("no configuration names the device; name it in the source, such as device: topic:2")
    return valid_name(device, "device")


def _read(report: Report, entry: Entry, state: _Payload, device: str, book: Book) -> None:
    name, unit = entry[2], entry[8]
    value = state.at(entry)
    try:
        if name in STATES:
            said = _said(value, entry)
            if said is not None:
                report.put(name, book.online(device, entry[1], said) if unit == "availability" else said, name)
            return
        number = quantity_of(name, value, name)
        if number is not None:
            report.put(name, _CONVERTED[unit](number, name) if unit else number, name)
    except Undecodable as error:
        report.wrong = report.wrong or error


def _said(value: object, entry: Entry) -> bool | None:
    """on or off, as texts in any case; None when nothing is said."""
    if value is None:
        return None
    text = rendered(value)
    if len(text) > STATE_LIMIT:
        raise Undecodable(f"{entry[2]}: a state of {len(text)} characters; send at most {STATE_LIMIT}")
    on, off = entry[6], entry[7]
    if text in (on, off):
        return bool(text == on)
    text, on_word = text.strip().lower(), on.strip().lower()
    if text in (on_word, off.strip().lower()):
        return bool(text == on_word)
    if text in _SILENT:
        return None
    raise Undecodable(f"{entry[2]}: {shown(value)} is neither {shown(on)} nor {shown(off)}")


def _read_fields(report: Report, source: Source, state: _Payload) -> None:
    for name, key in source.fields.items():
        if key is not None:
            tree = state.tree()
            if type(tree) is dict and key in tree:
                report.put(name, tree[key], f"$.{key}")
