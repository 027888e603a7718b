"""ChirpStack, version 4 and 3: the JSON events of its MQTT integration. Pure.

The device is its EUI in lower case, the time the server's (version 3: the first gateway's that knows it), `seq` the
uplink's frame counter, `rssi` that of the gateway that heard it best. An uplink without anything we know, a join and
a device status without a battery say that the device is alive. Acknowledgements, locations, integrations' own events
and logs say nothing of a site: a log's error may be anybody's with a radio.
Version 4 leaves out what is zero or false. Version 3 has three ways of writing; in the one its protobuf has as JSON
bytes are base64, the EUI too, and the decoded object is a text.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from ingest.codecs import lorawan
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.frames.contract import eui_in, eui_of
from ingest.codecs.json_text import parse, shown
from ingest.codecs.lorawan import NOTHING, Uplink, alive, best_rssi, first_time, percent
from ingest.codecs.naming import placed
from ingest.codecs.times import micros
from ingest.codecs.values import name
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Micros, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_Tree = dict[str, object]
#: What tells an event by its payload, where the topic was renamed; the first that is there.
_MARKS: tuple[tuple[str, str], ...] = (
    ("acknowledged", "ack"),
    ("integrationName", "integration"),
    ("margin", "status"),
    ("batteryLevel", "status"),
    ("batteryLevelUnavailable", "status"),
    ("externalPowerSource", "status"),
    ("error", "error"),
    ("level", "log"),
    ("rxInfo", "up"),
    ("object", "up"),
    ("data", "up"),
    ("fPort", "up"),
    ("location", "location"),
    ("gatewayId", "txack"),
    ("gatewayID", "txack"),
    ("queueItemId", "txack"),
    ("devAddr", "join"),
)
_IGNORED = frozenset({"ack", "txack", "log", "error", "location", "integration"})
_EVENTS = _IGNORED | {"up", "status", "join"}
_EUI_KEYS = ("devEui", "devEUI")


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One event; Undecodable where it is none or names no device."""
    tree = parse(payload)
    if type(tree) is not dict:
        raise Undecodable(f"$: {shown(tree)} is no event; ChirpStack sends an object")
    event = _event(message.topic, tree)
    if event in _IGNORED:
        return NOTHING
    info = tree.get("deviceInfo")
    if type(info) is not dict:
        info = tree
    device = _device(info, message.topic)
    time = _time(tree, source.zone)
    if event == "up":
        return lorawan.decoded(_uplink(tree, info, device, time), source, message.topic, tree)
    battery = _battery(tree) if event == "status" else None
    if battery is None:
        return alive(source, message.topic, tree, device, time)
    site, device = placed(source, message.topic, tree, device)
    return Decoded(observations=(Observation(device=device, site=site, observed_at=time, values={"battery": battery}),))


def _event(topic: str, tree: _Tree) -> str:
    """By the topic's last level, else by the keys that only one event has."""
    last = topic.rpartition("/")[2]
    if last in _EVENTS:
        return last
    found = next((event for key, event in _MARKS if key in tree), None)
    if found is None:
        raise Undecodable(f"topic {shown(topic)} and payload name no event; the topic ends in up, status, join …")
    return found


def _device(info: _Tree, topic: str) -> str:
    stated = next((info[key] for key in _EUI_KEYS if info.get(key)), None)
    if stated is None:
        stated = eui_in(topic) or None
    text = name(stated, "devEui")
    return eui_of(text) or _eui_of_base64(text) or text


def _eui_of_base64(text: str) -> str | None:
    """Version 3's protobuf JSON: eight bytes as base64."""
    try:
        found = binascii.a2b_base64(text, strict_mode=True) if len(text) == 12 else b""
    except ValueError:
        return None
    return found.hex() if len(found) == 8 else None


def _time(tree: _Tree, zone: str) -> Micros | None:
    stated = tree.get("time") or first_time(tree.get("rxInfo")) or tree.get("publishedAt")
    return micros(stated, zone, "time")


def _uplink(tree: _Tree, info: _Tree, device: str, time: Micros | None) -> Uplink:
    decoded = tree.get("object")
    text = tree.get("objectJSON")
    if decoded is None and type(text) is str and text:
        decoded = parse(text.encode())
    return Uplink(
        device=device,
        names=(info.get("deviceProfileName"), info.get("deviceName")),
        time=time,
        seq=tree.get("fCnt", 0),
        port=tree.get("fPort"),
        data=tree.get("data"),
        data_path="data",
        tree=decoded,
        tree_path="object",
        rssi=best_rssi(tree.get("rxInfo")),
    )


def _battery(tree: _Tree) -> float | None:
    """% of a device status; None on external power or where the device cannot tell."""
    if tree.get("externalPowerSource") is True or tree.get("batteryLevelUnavailable") is True:
        return None
    return percent(tree.get("batteryLevel"))
