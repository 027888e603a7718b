"""Who may publish and read what at the broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ConfigError
from ingest.inventory import Device, DeviceClass
from ingest.inventory_file import COLUMNS, parse_inventory
from ingest.permissions import Action, Permission, allowed, our_permission, permission, unfit_name, user_name
from ingest.topics import covers, matches

HEAD = Device(id="head-1", site="s1", gateway="gw")
OTHER = Device(id="head-2", site="s1")
GATEWAY = Device(id="gw", site="s1", device_class=DeviceClass.GATEWAY)


def may(device: Device, topic: str, *children: Device) -> bool:
    return allowed(permission(device, children), Action.PUBLISH, topic)


def may_read(device: Device, filter_: str, *children: Device) -> bool:
    return allowed(permission(device, children), Action.SUBSCRIBE, filter_)


@pytest.mark.parametrize("tail", ["telemetry", "alarm", "status", "command/ack"])
def test_a_device_publishes_in_its_own_name_and_in_no_other(tail: str) -> None:
    assert may(HEAD, f"ember/v1/s1/head-1/{tail}")
    for other in ("s1/head-2", "s2/head-1", "s1/gw", "s1/+"):
        assert not may(HEAD, f"ember/v1/{other}/{tail}")


def test_a_device_gives_no_orders_and_speaks_for_no_site() -> None:
    for topic in ("ember/v1/s1/head-1/command", "ember/v1/s1/telemetry", "emberwatch/probe/x", "zigbee2mqtt/a"):
        assert not may(HEAD, topic)


def test_a_device_reads_its_own_orders_only() -> None:
    assert may_read(HEAD, "ember/v1/s1/head-1/command")
    for wider in ("ember/v1/s1/+/command", "ember/v1/s1/head-1/#", "ember/v1/s1/head-2/command", "#", "$SYS/#"):
        assert not may_read(HEAD, wider)


def test_a_gateway_speaks_for_its_site_and_for_those_behind_it() -> None:
    assert may(GATEWAY, "ember/v1/s1/telemetry", HEAD, OTHER)
    assert may(GATEWAY, "ember/v1/s1/gw/status", HEAD, OTHER)
    assert may(GATEWAY, "ember/v1/s1/head-1/alarm", HEAD, OTHER)
    assert may_read(GATEWAY, "ember/v1/s1/head-1/command", HEAD, OTHER)
    assert not may(GATEWAY, "ember/v1/s1/head-2/alarm", HEAD, OTHER)
    assert not may(GATEWAY, "ember/v1/s2/telemetry", HEAD, OTHER)


def test_who_is_no_gateway_speaks_for_nobody_whatever_others_say() -> None:
    pile = Device(id="gw", site="s1", device_class=DeviceClass.CHARGING_PILE)
    assert not may(pile, "ember/v1/s1/telemetry", HEAD)
    assert not may(pile, "ember/v1/s1/head-1/alarm", HEAD)


def test_a_gateway_of_the_same_name_at_another_site_speaks_for_nobody_here() -> None:
    assert not may(Device(id="gw", site="s2", device_class=DeviceClass.GATEWAY), "ember/v1/s1/head-1/alarm", HEAD)


def test_foreign_topics_are_open_to_the_device_that_has_them() -> None:
    bridge = Device(id="z2m", site="s1", attributes={"publish": ["zigbee2mqtt/#"], "subscribe": ["zigbee2mqtt/+/set"]})
    assert may(bridge, "zigbee2mqtt/kitchen/availability")
    assert may_read(bridge, "zigbee2mqtt/kitchen/set")
    assert may_read(bridge, "zigbee2mqtt/+/set")
    assert not may_read(bridge, "zigbee2mqtt/#")
    assert not may(OTHER, "zigbee2mqtt/kitchen")


def test_a_filter_that_got_past_the_import_still_grants_nothing() -> None:
    greedy = Device(id="x", site="s1", attributes={"publish": ["#", "ember/v1/s1/head-1/alarm", 3], "subscribe": "#"})
    assert permission(greedy) == permission(Device(id="x", site="s1"))


def test_a_name_with_a_wildcard_or_a_line_break_opens_nothing() -> None:
    for id_ in ("+", "a#b", "a\nuser emberwatch", "a "):
        device = Device(id=id_, site="s1", attributes={"publish": ["a/b"]})
        assert unfit_name(device)
        assert permission(device) == Permission()


def test_a_device_whose_id_has_levels_has_no_native_topics() -> None:
    device = Device(id="head-1/command", site="s1", attributes={"publish": ["ember/v1/s1/head-1/command/ack"]})
    assert user_name(device) == "s1/head-1/command"
    assert permission(device) == Permission()


def test_our_own_roles_read_every_source_and_publish_no_alarm() -> None:
    ours = our_permission(["ember/v1/+/+/alarm"])
    assert allowed(ours, Action.SUBSCRIBE, "ember/v1/+/+/alarm")
    assert allowed(ours, Action.PUBLISH, "ember/v1/s1/head-1/command")
    assert allowed(ours, Action.PUBLISH, "emberwatch/probe/main")
    assert not allowed(ours, Action.PUBLISH, "ember/v1/s1/head-1/alarm")


LEVEL = st.sampled_from(["a", "b", "", "$x"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join)
FILTER = st.tuples(
    st.lists(LEVEL | st.just("+"), min_size=1, max_size=3), st.sampled_from([[], ["#"]]), st.booleans()
).map(lambda parts: "/".join(parts[1] if parts[1] and parts[2] else parts[0] + parts[1]))


@given(wide=FILTER, narrow=FILTER, topic=TOPIC)
def test_a_filter_that_covers_another_matches_all_its_topics(wide: str, narrow: str, topic: str) -> None:
    if covers(wide, narrow) and matches(narrow, topic):
        assert matches(wide, topic)


@given(wide=FILTER, topic=TOPIC)
def test_a_filter_covers_a_plain_topic_exactly_when_it_matches_it(wide: str, topic: str) -> None:
    assert covers(wide, topic) == matches(wide, topic)


@given(narrow=FILTER)
def test_a_filter_covers_itself(narrow: str) -> None:
    assert covers(narrow, narrow)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ('{"publish": "zigbee2mqtt/#"}', "attribute publish must be a list"),
        ('{"publish": ["#"]}', "reaches every device's topics"),
        ('{"subscribe": ["+/set"]}', "reaches every device's topics"),
        ('{"publish": ["$SYS/x"]}', "the broker's own"),
        ('{"publish": ["emberwatch/probe/x"]}', "own probes"),
        ('{"publish": ["ember/v1/s1/head-2/alarm"]}', "native topics of others"),
        ('{"publish": ["ember/#"]}', "native topics of others"),
        ('{"publish": ["a/#/b"]}', "must stand alone"),
        ('{"publish": ["a\\nuser emberwatch"]}', "control characters"),
        ('{"publish": [7]}', "7 is no text"),
    ],
)
def test_the_import_refuses_filters_that_reach_others_by_line(tmp_path: Path, attributes: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_inventory(_csv(tmp_path, attributes))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'inventory.csv'}:3: ") and said in problem


def test_the_import_takes_filters_of_a_device_s_own(tmp_path: Path) -> None:
    attributes = '{"publish": ["zigbee2mqtt/#", "ember/v1/s1/head-1/extra"], "subscribe": ["zigbee2mqtt/+/set"]}'
    (device,) = parse_inventory(_csv(tmp_path, attributes)).devices
    assert may(device, "zigbee2mqtt/x") and may(device, "ember/v1/s1/head-1/extra")


def _csv(folder: Path, attributes: str) -> Path:
    quoted = '"' + attributes.replace('"', '""') + '"'
    path = folder / "inventory.csv"
    lines = [",".join(COLUMNS), "site,s1,,,,,,,,", f"device,head-1,s1,,smoke_head,,,,,{quoted}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
