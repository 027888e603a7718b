"""mosquitto's acl_file, made of the inventory: who may publish and read what, without any plugin. Pure.

How mosquitto 2 reads it: `pattern` lines hold for every client, with %u its user name (which may have levels); `topic`
lines for the user named above them; what no line allows is refused. A publish that is refused is answered with reason
code 135 (MQTT 5) and a subscription never: it just brings nothing that the file does not let its owner read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ingest.inventory import Device, DeviceClass
from ingest.permissions import Action, Permission, our_permission, own_filters, permission, unfit_name, user_name
from ingest.topics import EMBER_ROOT

HEAD = """\
# Made by `emberwatch inventory acl`: make it anew when gateways, or devices with filters of their own, are added.

# Every device, by its user name SITE/DEVICE, for good: its own native topics
pattern write ember/v1/%u/telemetry
pattern write ember/v1/%u/alarm
pattern write ember/v1/%u/status
pattern write ember/v1/%u/command/ack
pattern read ember/v1/%u/command
"""


def acl_lines(devices: Sequence[Device], source_filters: Iterable[str], *, user: str) -> Iterator[str]:
    """The lines of the file. `user`: the name under which our own roles connect."""
    yield from HEAD.splitlines()
    yield from ("", "# Emberwatch's own roles", *_block(user, our_permission(source_filters)))
    yield "topic read $SYS/broker/#"
    yield from ("", "# Gateways speak for those behind them, foreign formats have topics of their own")
    sites: dict[str, list[Device]] = defaultdict(list)
    for device in devices:
        if unfit_name(device) is None:
            sites[device.site].append(device)
    for site in sites.values():
        yield from _site_lines(site)


def _site_lines(devices: list[Device]) -> Iterator[str]:
    children: dict[str, list[Device]] = defaultdict(list)
    for device in devices:
        children[device.gateway].append(device)
    for device in devices:
        if device.device_class is not DeviceClass.GATEWAY and not device.attributes:
            continue  # nearly all of a district
        own = permission(msgspec.structs.replace(device, device_class=DeviceClass.SMOKE_HEAD, attributes={}))
        all_behind = len(children[device.id]) + 1 == len(devices)
        if device.device_class is DeviceClass.GATEWAY and own.publish and all_behind:
            more = _for_its_site(device)
        else:
            more = permission(device, children[device.id])
        more = Permission(
            publish=_without(more.publish, own.publish), subscribe=_without(more.subscribe, own.subscribe)
        )
        if more.publish or more.subscribe:
            yield from _block(user_name(device), more)


def _for_its_site(gateway: Device) -> Permission:
    """Of a gateway that all other devices of the site are behind: + for their names.

    A line for each of their topics would be hundreds, and mosquitto looks through all users before at each line.
    """
    plain = permission(msgspec.structs.replace(gateway, attributes={}))
    own, all_ = f"{EMBER_ROOT}{user_name(gateway)}/", f"{EMBER_ROOT}{gateway.site}/+/"
    foreign = [own_filters(gateway, action) for action in (Action.PUBLISH, Action.SUBSCRIBE)]
    return Permission(
        publish=(*foreign[0], *(topic.replace(own, all_, 1) for topic in plain.publish)),
        subscribe=(*foreign[1], *(topic.replace(own, all_, 1) for topic in plain.subscribe)),
    )


def _without(filters: tuple[str, ...], allowed_already: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter_ for filter_ in filters if filter_ not in allowed_already)


def _block(user: str, permission: Permission) -> Iterator[str]:
    yield f"user {user}"
    yield from (f"topic write {filter_}" for filter_ in permission.publish)
    yield from (f"topic read {filter_}" for filter_ in permission.subscribe)
