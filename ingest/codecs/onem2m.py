"""oneM2M: notifications of a subscription, as an HTTP body or inside a request over MQTT. Pure.

The device is found in the path of the subscription (sur), below the CSE: with one container it is the AE
(Mobius/rpi4/smoke/sub → rpi4), with more than one the first of them (Mobius/app/head-1/data/sub → head-1, for an AE
that speaks for many); without a path it is the creator (cr). Another layout needs the source's `device`.
What the content (con) means is said by its keys; a bare number or word goes by the name of its container.
A key smoke is an alarm where it is 0 or 1, and any other number is smoke_raw. Times (ct) are UTC.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.json_text import parse, shown
from ingest.codecs.platforms import KEYS, SIGNALS, Reader, Special, absent, body_of, of_quantity, of_state, stated
from ingest.errors import Undecodable
from ingest.message import Message

if TYPE_CHECKING:
    from ingest.sources import Source

_BASE64_TEXT = ":1"  # the end of contentInfo (cnf): the content is JSON or text behind base64
#: Data points of module classes, by their short and long names; an alarm of another class is of an unknown kind.
_POINTS: dict[str, Special] = {
    **{kind: {"alarm": of_state("smoke_alarm")} for kind in ("smoSr", "smokeSensor")},
    **{kind: {"curT0": of_quantity("temperature")} for kind in ("tempe", "temperature")},
}
_NOTIFY = 5  # op, the operation of a request
_NO_READING = Decoded()


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Content instances; verification requests, ends of subscriptions and other resources carry no reading."""
    tree = parse(payload, KEYS)
    if type(tree) is dict:
        tree = tree.get("m2m:rqp", tree)
    if type(tree) is dict and ("rsc" in tree or tree.get("op", _NOTIFY) != _NOTIFY):
        return _NO_READING  # answers and requests to the CSE, on the same topics
    reader = Reader(source, message.topic, tree)
    for notification in reader.items(_notifications(tree), "$"):
        try:
            _notified(reader, _object(notification, "$.m2m:sgn"))
        except Undecodable as error:
            reader.wrong(error)
    return reader.decoded()


def _notifications(tree: object) -> object:
    """One notification or several, out of the envelopes of request and aggregation."""
    if type(tree) is dict and "pc" in tree:
        tree = body_of(tree["pc"], "$.pc")
    for keys in (("m2m:agn", "agn"), ("m2m:sgn", "sgn")):
        for key in keys:
            if type(tree) is dict and key in tree:
                tree = tree[key]
    if type(tree) is dict and not {"nev", "m2m:nev", "vrq", "sud", "sur"} & tree.keys():
        raise Undecodable("$: no notification of oneM2M; m2m:sgn, alone or in the pc of a request, would be right")
    return tree


def _notified(reader: Reader, notification: Mapping[str, object]) -> None:
    if notification.get("vrq") is True or notification.get("sud") is True:
        return
    event = _object(notification.get("nev", notification.get("m2m:nev")), "$.m2m:sgn.nev")
    resource = event.get("rep")
    if type(resource) is not dict:
        return  # a deletion
    instance = resource.get("m2m:cin", resource.get("cin", resource))
    if type(instance) is not dict:
        return
    kind, attributes = ("", instance) if "con" in instance else _flexible(resource)
    if not attributes:
        return  # a container or some other resource
    containers = _containers(notification.get("sur"))
    device = _device(containers) or _creator(attributes) or _creator(notification)
    if not device and not reader.renames:
        subscription = shown(notification.get("sur"))
        raise Undecodable(f"$.m2m:sgn.sur: {subscription} names no device; a path such as Mobius/ae/data/sub would")
    if kind:
        _points(reader, device, kind, attributes)
    else:
        _contents(reader, device, instance, containers[-1] if containers else "")


def _flexible(resource: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    """The module class of a flexContainer (TS-0023), such as smoSr, and its attributes; none for another resource."""
    for key, body in resource.items():
        domain, _, kind = key.partition(":")
        if type(body) is dict and kind and (domain != "m2m" or kind == "fcnt"):
            definition = body.get("cnd")
            named = definition.rpartition(".")[2] if type(definition) is str else ""
            return named or kind, body
    return "", {}


def _points(reader: Reader, device: str, kind: str, body: Mapping[str, object]) -> None:
    at = stated(body.get("lt"), body.get("ct"))
    values, states = reader.gather(body, _POINTS.get(kind, SIGNALS), "$.m2m:sgn.nev.rep", kind)
    if values or states:
        reader.add(device, at, values, states)
    else:
        reader.alive(device, at)


def _contents(reader: Reader, device: str, instance: Mapping[str, object], container: str) -> None:
    path = "$.m2m:sgn.nev.rep.m2m:cin.con"
    at = stated(instance.get("ct"), instance.get("lt"))
    told = False
    for content in reader.items(_content(instance, path), path):
        values, states = reader.gather(content if type(content) is dict else {container: content}, SIGNALS, path)
        if values or states:
            told = True
            reader.add(device, at, values, states)
    if not told:
        reader.alive(device, at)


def _content(instance: Mapping[str, object], path: str) -> object:
    content, info = instance["con"], instance.get("cnf")
    if type(content) is str and type(info) is str and info.endswith(_BASE64_TEXT):
        try:
            content = base64.b64decode(content, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Undecodable(f"{path}: {shown(content)} is not base64 of a text, as cnf says") from None
    return body_of(content, path)


def _containers(subscription: object) -> list[str]:
    """AE and containers of a subscription's path; [] where it has none.

    In front of them stand the CSE's name, and in absolute forms its id (/id/…) and domain (//domain/id/…).
    """
    if type(subscription) is not str:
        return []
    text = subscription.strip()
    absolute = 2 if text.startswith("//") else 1 if text.startswith("/") else 0
    levels = [level for level in text.split("/") if level]
    return levels[absolute + 1 : -1]


def _device(containers: list[str]) -> str:
    return containers[1] if len(containers) > 2 else containers[0] if containers else ""


def _creator(resource: Mapping[str, object]) -> str:
    creator = resource.get("cr")
    return "" if type(creator) is not str or absent(creator) else creator.rpartition("/")[2]


def _object(value: object, path: str) -> dict[str, object]:
    if type(value) is not dict:
        raise Undecodable(f"{path}: {'absent' if value is None else shown(value)}; an object would be right")
    return value
