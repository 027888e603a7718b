"""The native format: JSON objects on the topics `ember/v1/…`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.codecs.contract import ITEM_LIMIT, CodecMemory, Decoded
from ingest.codecs.json_text import parse, shown
from ingest.codecs.times import from_number, micros
from ingest.codecs.values import NAME_LIMIT, name, quantity, state
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, STATES, Observation
from ingest.topics import EmberKind, parse_ember

if TYPE_CHECKING:
    from ingest.sources import Source

_NOTHING = Decoded()
_TELEMETRY = EmberKind.TELEMETRY  # asked for each message; a look-up in an enumeration takes as long as the rest
_QUANTITY, _STATE, _TIME, _SEQ = range(4)
_KEYS: dict[str, int] = {
    **dict.fromkeys(QUANTITIES, _QUANTITY),
    **dict.fromkeys(STATES, _STATE),
    "ts": _TIME,
    "seq": _SEQ,
}
_LAST_SEQ = 2**63 - 1


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Telemetry and alarms (object or array), gateway telemetry, status; commands and their answers carry none."""
    topic = parse_ember(message.topic)
    if topic is None:
        raise Undecodable(f"topic {shown(message.topic)} is not of the native scheme; see ember/v1/… in the manual")
    if not message.topic.isprintable() or len(message.topic) > 2 * NAME_LIMIT:
        raise Undecodable(f"topic {shown(message.topic)}: give ids of a few characters, no control characters")
    if topic.kind is _TELEMETRY:
        return _objects(payload, topic.site, topic.device, source.zone)
    if topic.kind is EmberKind.ALARM:
        return _alarm(_objects(payload, topic.site, topic.device, source.zone))
    if topic.kind is EmberKind.GATEWAY_TELEMETRY:
        return _objects(payload, topic.site, None, source.zone)
    if topic.kind is EmberKind.STATUS:
        return _status(payload, topic.site, topic.device)
    return _NOTHING


def _objects(payload: bytes, site: str, device: str | None, zone: str) -> Decoded:
    tree = parse(payload)
    if type(tree) is dict:
        return Decoded(observations=(_observation(tree, site, device, zone, "$"),))
    if type(tree) is not list:
        raise Undecodable(f"$: {shown(tree)} is no reading; send an object or an array of objects")
    if len(tree) > ITEM_LIMIT:
        raise Undecodable(f"$: an array of {len(tree)} readings; send at most {ITEM_LIMIT} at once")
    return Decoded(
        observations=tuple(_observation(item, site, device, zone, f"$[{index}]") for index, item in enumerate(tree))
    )


def _observation(body: object, site: str, device: str | None, zone: str, path: str) -> Observation:
    if type(body) is not dict:
        raise Undecodable(f"{path}: {shown(body)} is no reading; send an object")
    if device is None:
        device = name(body.get("device"), f"{path}.device")
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    observed_at = seq = None
    for key, value in body.items():
        what = _KEYS.get(key)
        if what is None or value is None:  # unknown keys are not judged; null is not reported
            continue
        if what == _QUANTITY:
            values[key] = value if type(value) is float else quantity(value, f"{path}.{key}")
        elif what == _STATE:
            states[key] = value if type(value) is bool else state(value, f"{path}.{key}")
        elif what == _TIME:
            observed_at = from_number(value) if type(value) is int else micros(value, zone, f"{path}.ts")
        elif type(value) is int and 0 <= value <= _LAST_SEQ:
            seq = value
        else:
            said = f"{path}.seq: {shown(value)} is no sequence number"
            raise Undecodable(f"{said}; give a whole number from 0 up")
    return Observation(device=device, site=site, observed_at=observed_at, seq=seq, values=values, states=states)


def _alarm(decoded: Decoded) -> Decoded:
    """An alarm that names nothing we know must not pass as an empty message."""
    if not any(observation.states or observation.values for observation in decoded.observations):
        raise Undecodable("$: an alarm without a known state; give smoke_alarm, heat_alarm or manual_alarm")
    return decoded


def _status(payload: bytes, site: str, device: str) -> Decoded:
    online = {b"online": True, b"offline": False}.get(payload.strip())
    if online is None:
        text = payload[:40].decode("utf-8", "replace")
        raise Undecodable(f"status is {shown(text) if payload else 'empty'}; send online or offline")
    return Decoded(observations=(Observation(device=device, site=site, states={"online": online}),))
