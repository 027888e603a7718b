"""mosquitto's acl_file, made of the inventory, read here as mosquitto reads it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.aclfile import acl_lines
from ingest.inventory import Device, DeviceClass
from ingest.permissions import Action, allowed, permission, unfit_name, user_name
from ingest.topics import matches

SOURCES = ("ember/v1/+/+/alarm", "zigbee2mqtt/#")


class Acl:
    """The rules of mosquitto 2 for a file: its user's topic lines, then every pattern line."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._of: dict[str, list[tuple[str, str]]] = {}
        self._patterns: list[tuple[str, str]] = []
        user = ""
        for line in lines:
            words = line.split(" ", 2)
            if words[0] == "user":
                user = line.removeprefix("user ")
            elif words[0] == "topic":
                self._of.setdefault(user, []).append((words[1], words[2]))
            elif words[0] == "pattern":
                self._patterns.append((words[1], words[2]))
            else:
                assert not line or line.startswith("#"), line

    def allows(self, user: str, way: str, topic: str) -> bool:
        patterns = [(kind, filter_.replace("%u", user)) for kind, filter_ in self._patterns]
        return any(kind == way and matches(filter_, topic) for kind, filter_ in self._of.get(user, []) + patterns)


def acl(*devices: Device, user: str = "emberwatch") -> Acl:
    return Acl(list(acl_lines(devices, SOURCES, user=user)))


def test_a_head_needs_no_line_of_its_own() -> None:
    head = Device(id="head-1", site="s1")
    assert list(acl_lines([head], SOURCES, user="emberwatch")) == list(acl_lines([], SOURCES, user="emberwatch"))
    assert acl(head).allows("s1/head-1", "write", "ember/v1/s1/head-1/alarm")
    assert acl(head).allows("s1/head-1", "read", "ember/v1/s1/head-1/command")
    assert not acl(head).allows("s1/head-1", "write", "ember/v1/s1/head-2/alarm")


def test_our_own_roles_read_every_source_and_write_orders_and_probes() -> None:
    rules = acl(user="ours")
    for topic in ("ember/v1/s1/d/alarm", "zigbee2mqtt/a/b", "emberwatch/probe/x", "$SYS/broker/version"):
        assert rules.allows("ours", "read", topic)
    for topic in ("emberwatch/probe/x", "ember/v1/s1/d/command", "spBv1.0/g/NCMD/e"):
        assert rules.allows("ours", "write", topic)
    assert not rules.allows("ours", "write", "ember/v1/s1/d/alarm")
    assert not rules.allows("s1/d", "read", "ember/v1/s1/d/alarm")


def test_a_name_that_would_write_lines_of_its_own_gets_none() -> None:
    bad = Device(id="x\nuser a\ntopic write #", site="s1", attributes={"publish": ["a/b"]})
    gateway = Device(id="gw\ntopic write #", site="s2", device_class=DeviceClass.GATEWAY)
    assert list(acl_lines([bad, gateway], SOURCES, user="u")) == list(acl_lines([], SOURCES, user="u"))


def test_the_gateway_of_a_large_site_takes_a_few_lines() -> None:
    gateway = Device(id="gw", site="s1", device_class=DeviceClass.GATEWAY)
    heads = [Device(id=f"h{number}", site="s1", gateway="gw") for number in range(100)]
    lines = list(acl_lines([gateway, *heads], SOURCES, user="u"))
    block = lines[lines.index("user s1/gw") :]
    assert len(block) == 7 and "topic write ember/v1/s1/+/alarm" in block


NAMES = st.sampled_from(["a", "b", "c", "gw", "g2", "x/y", "+"])
FILTERS = st.lists(st.sampled_from(["z2m/#", "tasmota/+/x", "ember/v1/s1/b/alarm", "#"]), max_size=2)
DEVICES = st.lists(
    st.builds(
        lambda id_, site, gateway, gateways, attributes: Device(
            id=id_,
            site=site,
            gateway="" if gateway == id_ else gateway,
            device_class=DeviceClass.GATEWAY if gateways else DeviceClass.SMOKE_HEAD,
            attributes=attributes,
        ),
        id_=NAMES,
        site=st.sampled_from(["s1", "s2"]),
        gateway=st.sampled_from(["", "gw", "gw", "g2"]),
        gateways=st.booleans(),
        attributes=st.fixed_dictionaries({}, optional={"publish": FILTERS, "subscribe": FILTERS}),
    ),
    max_size=7,
    unique_by=lambda device: (device.site, device.id),
)
TOPICS = [
    f"ember/v1/{site}/{tail}"
    for site in ("s1", "s2")
    for tail in ("telemetry", "a/alarm", "b/alarm", "b/command", "gw/status", "g2/command/ack", "x/y/alarm")
] + ["z2m/q", "tasmota/a/x", "other", "emberwatch/probe/x"]


@given(devices=DEVICES)
def test_the_file_allows_what_the_permissions_allow(devices: list[Device]) -> None:
    rules = acl(*devices)
    for device in devices:
        if unfit_name(device) or "/" in device.id:  # of the latter the patterns allow topics that nobody reads
            continue
        children = [child for child in devices if child.gateway == device.id and child.site == device.site]
        may = permission(device, children)
        for topic in TOPICS:
            named = topic.split("/")[3:4]
            if named and not any(named == [other.id] for other in devices if other.site == device.site):
                continue  # a + stands for those registered; the others are quarantined
            assert rules.allows(user_name(device), "write", topic) == allowed(may, Action.PUBLISH, topic)
            assert rules.allows(user_name(device), "read", topic) == allowed(may, Action.SUBSCRIBE, topic)


@pytest.mark.parametrize("user", ["emberwatch", "s1/gw"])
def test_each_user_has_one_block(user: str) -> None:
    gateway = Device(id="gw", site="s1", device_class=DeviceClass.GATEWAY, attributes={"publish": ["z2m/#"]})
    lines = list(acl_lines([gateway, Device(id="h", site="s1", gateway="gw")], SOURCES, user="emberwatch"))
    assert lines.count(f"user {user}") == 1
    assert not any(a.startswith("user") and b.startswith("user") for a, b in pairwise(lines))
