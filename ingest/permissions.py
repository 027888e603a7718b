"""Who may publish and read what at the broker. Pure.

One set of rules for every broker: those with an HTTP hook ask each time, mosquitto is given a file made of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from ingest.inventory import Device, DeviceClass
from ingest.topics import EMBER_ROOT, EmberKind, covers, ember_topic, matches, valid_filter

#: What our own roles publish: probes, orders to devices, and what codecs ask for (Sparkplug's rebirth).
OUR_PUBLISH = ("emberwatch/probe/#", EMBER_ROOT + "+/+/command", "spBv1.0/+/NCMD/+")
OUR_PROBES = "emberwatch/probe/#"  #: what they read beside the filters of their sources

_SENT = (EmberKind.TELEMETRY, EmberKind.ALARM, EmberKind.STATUS, EmberKind.COMMAND_ACK)


class Action(StrEnum):
    """What a client asks the broker for."""

    PUBLISH = "publish"  #: also a will, which the broker publishes in its name
    SUBSCRIBE = "subscribe"  #: also to be sent what a wider subscription matches


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """The filters a client may publish within, and subscribe within."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


def user_name(device: Device) -> str:
    """The device's name at the broker, and the CN of its client certificate: SITE/DEVICE, unique in the inventory."""
    return f"{device.site}/{device.id}"


def unfit_name(device: Device) -> str | None:
    """Why a device cannot connect under its name; None when it can."""
    return wrong_user(user_name(device))


def wrong_user(name: str) -> str | None:
    """Why nobody may connect under this name; None when somebody may.

    Brokers put names into topic patterns and files of lines, so one with wildcards would be a key to many doors, and
    one with a line break would write lines of its own (names of devices that enrol themselves come from the wire).
    """
    if wild := [sign for sign in "+#" if sign in name]:
        return f"it has {wild[0]}, a wildcard of MQTT"
    if name != name.strip() or not name.isprintable():
        return "it has blanks at its ends or control characters"
    return None if name else "it is empty"


def permission(device: Device, children: Iterable[Device] = ()) -> Permission:
    """What this device may do. `children`: those whose `gateway` it is, counted for class gateway only."""
    if unfit_name(device):
        return Permission()
    speakers, publish = [device], list(own_filters(device, Action.PUBLISH))
    if device.device_class is DeviceClass.GATEWAY:
        publish.append(ember_topic(kind=EmberKind.GATEWAY_TELEMETRY, site=device.site))
        speakers += [child for child in children if (child.site, child.gateway) == (device.site, device.id)]
    native = [speaker for speaker in speakers if _is_level(speaker.id)]
    publish += [_native(speaker, kind) for speaker in native for kind in _SENT]
    orders = [_native(speaker, EmberKind.COMMAND) for speaker in native]
    return Permission(publish=tuple(publish), subscribe=(*own_filters(device, Action.SUBSCRIBE), *orders))


def our_permission(source_filters: Iterable[str]) -> Permission:
    """What the roles of Emberwatch may do: read every source, publish probes, orders and requests."""
    return Permission(publish=OUR_PUBLISH, subscribe=(*source_filters, OUR_PROBES))


def allowed(permission: Permission, action: Action, topic: str) -> bool:
    """Whether it may publish to this topic, or subscribe to this filter (one that reaches further is refused)."""
    if action is Action.SUBSCRIBE:
        return any(covers(filter_, topic) for filter_ in permission.subscribe)
    if "+" in topic or "#" in topic:
        return False
    # a gateway has hundreds of plain topics: a comparison in C first
    return topic in permission.publish or any(matches(filter_, topic) for filter_ in permission.publish)


def own_filters(device: Device, action: Action) -> tuple[str, ...]:
    """The filters of foreign formats in the device's attributes; one that is not allowed there grants nothing."""
    listed = device.attributes.get(action.value)
    if not isinstance(listed, list):
        return ()
    return tuple(filter_ for filter_ in listed if _wrong_filter(device, filter_) is None)


def attribute_problems(device: Device) -> list[str]:
    """What is wrong with the attributes `publish` and `subscribe`, for the import of the inventory."""
    problems = []
    for action in Action:
        listed = device.attributes.get(action.value, [])
        if not isinstance(listed, list):
            problems.append(f'attribute {action} must be a list of topic filters, such as ["zigbee2mqtt/#"]')
            continue
        wrongs = [_wrong_filter(device, filter_) for filter_ in listed]
        problems += [f"attribute {action}: {wrong}" for wrong in wrongs if wrong]
    return problems


def _wrong_filter(device: Device, filter_: object) -> str | None:
    if not isinstance(filter_, str):
        return f"{filter_!r} is no text; give topic filters, such as zigbee2mqtt/#"
    if wrong := valid_filter(filter_):
        return wrong
    if filter_ != filter_.strip() or not filter_.isprintable():
        return f"filter {filter_!r} has blanks at its ends or control characters"
    first = filter_.split("/", 1)[0]
    if first in ("#", "+"):
        return f"filter {filter_!r} reaches every device's topics; begin with a name, such as zigbee2mqtt/#"
    if first.startswith("$"):
        return f"filter {filter_!r} is the broker's own; begin with a name without $"
    if first == "emberwatch":
        return f"filter {filter_!r} is for Emberwatch's own probes; begin with another name"
    own = f"{EMBER_ROOT}{user_name(device)}/#"
    if first == "ember" and not (_is_level(device.id) and covers(own, filter_)):
        return f"filter {filter_!r} reaches native topics of others; a device may use its own without this"
    return None


def _is_level(name: str) -> bool:
    return bool(name) and not any(sign in name for sign in "/+#\0")


def _native(device: Device, kind: EmberKind) -> str:
    return ember_topic(kind=kind, site=device.site, device=device.id)
