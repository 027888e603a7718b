"""Homie 5: one retained text a property, described by a JSON document a device. Pure.

The device: its Homie id, the topic level after the `5`, whatever the domain. A property is understood by its id and
its node's (usual_names, homie-homecontrol's nodes), by the name its description gives it, and by the source's
`fields` as `node/property`. Of descriptions only what changes that is remembered: units, names, what is not measured.
There are no times.

$state: ready and sleeping are `online`, lost and disconnected are not, init is neither. A root that is lost takes its
tree with it; when it is ready again its children are what they last said themselves. $alert: an id that is known is a
state, and its deletion ends it; one that is not carries no reading, unless its words speak of fire.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.free_keys import note
from ingest.codecs.homie_memory import forget, kept_text, known_of, learn, tree_of
from ingest.codecs.homie_names import meaning_of
from ingest.codecs.json_text import shown
from ingest.codecs.naming import placed
from ingest.codecs.values import name
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
_VERSION = "5"
_STATES = ("init", "ready", "disconnected", "sleeping", "lost")
_ALIVE = frozenset({"ready", "sleeping"})
_GONE = frozenset({"lost", "disconnected"})
#: Alert ids, those of homie-homecontrol without their `hc-`; an alert that stands means this.
_ALERTS: dict[str, tuple[str, bool]] = {
    **dict.fromkeys(("battery", "battery-low", "low-battery", "battery-critical"), ("low_battery", True)),
    **dict.fromkeys(("fault", "sensor-fault", "comm-error", "config-error"), ("fault", True)),
    **dict.fromkeys(("unreachable", "offline"), ("online", False)),
    **dict.fromkeys(("smoke", "smoke-alarm", "smoke-detected", "fire", "fire-alarm"), ("smoke_alarm", True)),
    **dict.fromkeys(("heat", "heat-alarm"), ("heat_alarm", True)),
    **dict.fromkeys(("tamper", "tampered"), ("tamper", True)),
}
_FIRES = frozenset({"smoke_alarm", "heat_alarm"})
_OF_FIRE = re.compile(r"\b(?:smoke|fire|flames?|burning)\b|火警|烟雾|着火|起火|失火", re.IGNORECASE)
_OF_TEST = re.compile(r"\btest(?:ing|ed)?\b|测试", re.IGNORECASE)
_LONGEST_ALERT = 4_096
_LONGEST_PREFIX = 300


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """A property's value, a device's state or alert; a description teaches; commands, targets and logs carry none."""
    prefix, levels = _split(message.topic)
    if len(levels) == 1:
        if levels[0] == "$state":
            return _state(prefix, payload, source, memory)
        if levels[0] == "$description":
            return _description(prefix, payload, source, memory)
    elif len(levels) == 2:
        if levels[0] == "$alert":
            return _alert(prefix, levels[1], payload, message.topic, source)
        if levels[0][:1] != "$" and levels[1][:1] != "$":
            return _property(prefix, levels[0], levels[1], payload, message.topic, source, memory)
    return _NOTHING


def _split(topic: str) -> tuple[str, list[str]]:
    """The topic up to the device, and the levels below it; no levels where Homie itself speaks."""
    levels = topic.split("/", 12)
    try:
        at = levels.index(_VERSION, 1) + 1  # the domain is one level, but some put more before it
        device = levels[at]
    except (ValueError, IndexError):
        raise Undecodable(f"topic {shown(topic)} is not of Homie 5; domain/5/device/… would be") from None
    if device[:1] == "$":
        return "", []
    prefix = "/".join(levels[: at + 1])
    if len(prefix) > _LONGEST_PREFIX:
        raise Undecodable(f"topic of {len(topic)} characters; at most {_LONGEST_PREFIX} up to the device would be")
    name(device, "the topic's device")
    return prefix, levels[at + 1 :]


def _text(payload: bytes, what: str) -> str:
    """The text of a payload; one NUL is how Homie writes the empty one."""
    try:
        return "" if payload == b"\0" else payload.decode()
    except UnicodeDecodeError:
        raise Undecodable(f"{what}: not UTF-8; send UTF-8") from None


def _shown(levels: str) -> str:
    """Levels of a topic on one line."""
    return levels if levels.isprintable() else shown(levels)


def _property(
    prefix: str, node: str, id_: str, payload: bytes, topic: str, source: Source, memory: CodecMemory
) -> Decoded:
    if not payload:
        return _NOTHING
    stored = kept_text(memory, prefix, f"{node}/{id_}")
    what = meaning_of(node, id_, stored, tuple(source.fields.items()))
    if what is None:
        return _NOTHING
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    where = _shown(f"{node}/{id_}")
    text = _text(payload, where)
    if what.either and _is_number(text):  # a boolean is a word on the wire, so this is a scale
        what = what._replace(name="smoke_raw", either=False)
    note(what, text, where, source.fields, values, states)
    if not values and not states:
        return _NOTHING
    site, device = placed(source, topic, None, prefix.rpartition("/")[2])
    return Decoded(observations=(Observation(device=device, site=site, values=values, states=states),))


def _is_number(text: str) -> bool:
    return text.strip()[:1] in tuple("+-.0123456789")


def _state(prefix: str, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    if not payload:
        forget(memory, prefix)
        return _NOTHING
    said = _text(payload, "$state").strip()
    if said not in _STATES:
        raise Undecodable(f"$state is {shown(said)}; {', '.join(_STATES)} would be")
    known = known_of(memory, prefix)
    learn(memory, prefix, known.now(said))
    found = [_online(prefix, said, memory, source)]
    if said == "lost":
        found += [_seen(child, False, source) for child, _ in tree_of(memory, prefix)]
    elif said in _ALIVE and known.lost:
        found += [_online(child, own.state, memory, source) for child, own in tree_of(memory, prefix)]
    return Decoded(observations=tuple(item for item in found if item is not None))


def _online(prefix: str, said: str, memory: CodecMemory, source: Source) -> Observation | None:
    """Whether a device is there, by its own word and its root's."""
    root = known_of(memory, prefix).root
    gone = said in _GONE or (root and known_of(memory, root).state == "lost")
    return _seen(prefix, not gone, source) if gone or said in _ALIVE else None


def _seen(prefix: str, online: bool, source: Source) -> Observation:
    site, device = placed(source, f"{prefix}/$state", None, prefix.rpartition("/")[2])
    return Observation(device=device, site=site, states={"online": online})


def _description(prefix: str, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    known = known_of(memory, prefix)
    before = _online(prefix, known.state, memory, source)
    learn(memory, prefix, known.described(prefix, payload, tuple(source.fields.items())))
    after = _online(prefix, known.state, memory, source)  # its root may be lost
    return _NOTHING if after is None or after == before else Decoded(observations=(after,))


def _alert(prefix: str, id_: str, payload: bytes, topic: str, source: Source) -> Decoded:
    where = _shown(f"$alert/{id_[:40]}")
    text = _text(payload, where)[:_LONGEST_ALERT]
    known = _ALERTS.get(id_.removeprefix("hc-"))
    if known is None:
        if _OF_FIRE.search(f"{id_[:200]} {text}"):
            raise Undecodable(f"{where}: speaks of fire under an unknown id; smoke or fire would be one")
        return _NOTHING
    state, value = known
    if state in _FIRES and _OF_TEST.search(text):
        state = "test"
    site, device = placed(source, topic, None, prefix.rpartition("/")[2])
    return Decoded(observations=(Observation(device=device, site=site, states={state: value == bool(payload)}),))
