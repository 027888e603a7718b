"""The Things Stack, version 3: the JSON of its MQTT server and webhooks. Pure.

The device is its EUI in lower case, where it has none its device id. The time is the network server's of the uplink.
`seq` is the frame counter (what is 0 is left out), `rssi` that of the gateway that heard it best. A simulated uplink
is `test` and nothing else. An uplink without anything we know, and a join, say that the device is alive; downlinks,
service data, locations, and the normalized copy that is sent beside an uplink say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.codecs import lorawan
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.frames.contract import eui_of
from ingest.codecs.json_text import parse, shown
from ingest.codecs.lorawan import NOTHING, Uplink, alive, best_rssi, first_time, percent
from ingest.codecs.times import micros
from ingest.codecs.values import name
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Micros

if TYPE_CHECKING:
    from ingest.sources import Source

_Tree = dict[str, object]
_SIMULATION = "SimulateUplink"


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One message; Undecodable where it is none of The Things Stack's or names no device."""
    tree = _message(parse(payload))
    uplink, join = tree.get("uplink_message"), tree.get("join_accept")
    if type(uplink) is not dict and type(join) is not dict:
        return NOTHING
    ids = tree["end_device_ids"]
    device = _device(ids if type(ids) is dict else {})
    if type(uplink) is dict:
        return lorawan.decoded(_uplink(tree, uplink, device, source), source, message.topic, tree)
    received = (join if type(join) is dict else tree).get("received_at") or tree.get("received_at")
    return alive(source, message.topic, tree, device, micros(received, source.zone, "received_at"))


def _message(tree: object) -> _Tree:
    """The message itself; the console's events and the storage integration wrap it once."""
    if type(tree) is dict:
        for inner in (tree, tree.get("data"), tree.get("result")):
            if type(inner) is dict and "end_device_ids" in inner:
                return inner
    raise Undecodable(f"$: {shown(tree)} without end_device_ids is no message of The Things Stack")


def _device(ids: _Tree) -> str:
    eui = ids.get("dev_eui")
    text = name(eui or ids.get("device_id"), "end_device_ids.dev_eui")
    return eui_of(text) or text if eui else text


def _uplink(tree: _Tree, uplink: _Tree, device: str, source: Source) -> Uplink:
    return Uplink(
        device=device,
        names=_names(tree, uplink),
        time=_time(tree, uplink, source.zone),
        seq=uplink.get("f_cnt", 0),
        port=uplink.get("f_port"),
        data=uplink.get("frm_payload"),
        data_path="frm_payload",
        tree=uplink.get("decoded_payload"),
        tree_path="decoded_payload",
        spare=_normalized(uplink.get("normalized_payload")),
        rssi=best_rssi(uplink.get("rx_metadata")),
        battery=_battery(uplink.get("last_battery_percentage")),
        simulated=_simulated(tree),
    )


def _names(tree: _Tree, uplink: _Tree) -> tuple[object, ...]:
    versions, ids = uplink.get("version_ids"), tree.get("end_device_ids")
    model = versions.get("model_id") if type(versions) is dict else None
    return model, ids.get("device_id") if type(ids) is dict else None


def _time(tree: _Tree, uplink: _Tree, zone: str) -> Micros | None:
    stated = uplink.get("received_at") or tree.get("received_at") or first_time(uplink.get("rx_metadata"))
    return micros(stated, zone, "received_at")


def _normalized(items: object) -> _Tree | None:
    """The Things Stack's own common form: the air, and the battery in volts."""
    first = items[0] if type(items) is list and items else items
    air = first.get("air") if type(first) is dict else None
    if type(first) is not dict or type(air) is not dict:
        return None
    return {
        "temperature": air.get("temperature"),
        "humidity": air.get("relativeHumidity"),
        "BatV": first.get("battery"),
    }


def _battery(stated: object) -> float | None:
    """What the device told the network last, in %."""
    return percent(stated.get("value")) if type(stated) is dict else None


def _simulated(tree: _Tree) -> bool:
    if tree.get("simulated") is True:
        return True
    ids = tree.get("correlation_ids")
    return type(ids) is list and any(type(item) is str and _SIMULATION in item for item in ids)
