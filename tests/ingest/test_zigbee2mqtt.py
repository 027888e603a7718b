"""What golden cases cannot show of Zigbee2MQTT: bounds of memory and time, order, hostile bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import payload_limit, zigbee2mqtt_names
from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory
from ingest.codecs.zigbee2mqtt_names import OF_ONE_BRIDGE
from ingest.errors import Undecodable
from ingest.sources import Source
from tests.support.data import sample
from tests.support.promises import affordable_each, keeps_its_promises, mutated, tell, trees

ALL = Source(filter="zigbee2mqtt/#", codec="zigbee2mqtt", site="s1")
IEEE = "0x00158d0001d64498"
TOPICS = [
    *("-", "", "zigbee2mqtt", "zigbee2mqtt/a", "zigbee2mqtt/a/b/smoke", "zigbee2mqtt/a/availability"),
    *("zigbee2mqtt/bridge/state", "zigbee2mqtt/bridge/devices", "zigbee2mqtt/bridge/event", "zigbee2mqtt/x\x07"),
    *("zigbee2mqtt/bridge/response/device/rename", "zigbee2mqtt//", "zigbee2mqtt/bridge", "zigbee2mqtt/a/set/x"),
]
KEYS = [
    *("smoke", "smoke_state", "smoke_density_dbm", "self_test", "test", "battery_level", "battery_state", "voltage"),
    *("temperature", "last_seen", "device", "ieeeAddr", "state", "type", "data", "friendly_name", "ieee_address"),
    *("from", "to", "Muted", "fault_state"),
]
TEXTS = [
    IEEE,
    "ON",
    "OFF",
    "online",
    "offline",
    "alarm",
    "checking",
    "low",
    "device_announce",
    "device_leave",
    "a",
]


def devices(tree: object) -> list[str]:
    memory: CodecMemory = {}
    decoded = tell("zigbee2mqtt", "zigbee2mqtt/a", tree, memory, ALL)
    return [item.device for item in decoded.observations]


def names(memory: CodecMemory) -> dict[str, str]:
    bridge = memory["zigbee2mqtt"]
    assert isinstance(bridge, dict)
    return dict(bridge["ids"])


def test_an_address_once_seen_is_the_id_of_later_messages_without_it() -> None:
    memory: CodecMemory = {}
    tell("zigbee2mqtt", "zigbee2mqtt/a", {"device": {"ieeeAddr": IEEE.upper().replace("0X", "0x")}}, memory, ALL)
    later = tell("zigbee2mqtt", "zigbee2mqtt/a", {"smoke": True}, memory, ALL)
    assert [item.device for item in later.observations] == [IEEE]
    gone = tell("zigbee2mqtt", "zigbee2mqtt/a/availability", b"", memory, ALL)
    assert gone.observations == () and "zigbee2mqtt" not in memory


def test_a_device_that_was_renamed_is_not_remembered_twice() -> None:
    memory: CodecMemory = {}
    for name in ("old", "new"):
        tell("zigbee2mqtt", f"zigbee2mqtt/{name}", {"device": {"ieeeAddr": IEEE}}, memory, ALL)
    assert names(memory) == {"new": IEEE}


def test_a_group_of_lights_is_not_remembered_as_a_device() -> None:
    memory: CodecMemory = {}
    tell("zigbee2mqtt", "zigbee2mqtt/all lights", {"state": "ON", "brightness": 80}, memory, ALL)
    assert tell("zigbee2mqtt", "zigbee2mqtt/bridge/state", b"offline", memory, ALL).observations == ()


def test_what_is_no_address_is_no_id() -> None:
    for wrong in ("0x12", IEEE + "0", "0x00158d0001d6449g", 7, None, {"a": 1}):
        assert devices({"device": {"ieeeAddr": wrong}}) == ["a"]


def test_an_invented_name_a_message_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zigbee2mqtt_names, "OF_ALL", 50)
    memory: CodecMemory = {}
    for number in range(300):
        source = Source(filter=f"b{number % 60}/#", codec="zigbee2mqtt")
        decoded = tell("zigbee2mqtt", f"b{number % 60}/n{number}", {"smoke": True}, memory, source)
        assert decoded.observations[0].states == {"smoke_alarm": True}  # read all the same
    bridges = [value for value in memory.values() if isinstance(value, dict)]
    assert len(bridges) <= 50 and sum(len(bridge["ids"]) for bridge in bridges) == 50
    for number in range(300):
        source = Source(filter=f"b{number % 60}/#", codec="zigbee2mqtt")
        tell("zigbee2mqtt", f"b{number % 60}/n{number}/availability", b"", memory, source)
    assert [value for value in memory.values() if isinstance(value, dict)] == []
    assert [value for value in memory.values() if isinstance(value, int)] == [0]


def test_one_bridge_cannot_take_the_room_of_the_others() -> None:
    memory: CodecMemory = {}
    listed = [{"friendly_name": f"d{number}", "ieee_address": IEEE} for number in range(OF_ONE_BRIDGE + 500)]
    tell("zigbee2mqtt", "zigbee2mqtt/bridge/devices", listed, memory, ALL)
    assert len(names(memory)) == OF_ONE_BRIDGE
    tell("zigbee2mqtt", "zigbee2mqtt/bridge/devices", listed[:3], memory, ALL)
    assert list(names(memory)) == ["d0", "d1", "d2"]


def listed(kilobytes: int) -> bytes:
    """bridge/devices of so many devices, with what Zigbee2MQTT says of each."""
    exposes = [{"name": f"n{number}", "type": "numeric", "access": 1, "values": ["a", 1.5]} for number in range(100)]
    device = {"friendly_name": "a", "ieee_address": IEEE, "type": "EndDevice", "definition": {"exposes": exposes}}
    size = len(json.dumps(device))
    return json.dumps([{**device, "friendly_name": f"d{n}"} for n in range(kilobytes * 1000 // size)]).encode()


def test_the_list_of_a_large_network_is_read_and_costs_little() -> None:
    large = listed(2_000)
    assert payload_limit("zigbee2mqtt", "zigbee2mqtt/bridge/devices") > len(large) > 7 * PAYLOAD_LIMIT
    memory: CodecMemory = {}
    tell("zigbee2mqtt", "zigbee2mqtt/bridge/devices", large, memory, ALL)
    assert len(names(memory)) > 250
    made_to_hurt = [
        b'[{"friendly_name":"a","x":[' + b"1e300," * 300_000 + b"1]}]",
        b"[" + b'{"friendly_name":"a"},' * 90_000 + b"{}]",
        b"[" + b"{}," * 600_000 + b"{}]",
        b'[{"friendly_name":"a","x":' + b"[" * 900_000 + b"]" * 900_000 + b"}]",
    ]
    assert affordable_each("zigbee2mqtt", [("z/bridge/devices", payload) for payload in (large, *made_to_hurt)])


def test_only_a_bridge_may_say_so_much() -> None:
    for topic in ("zigbee2mqtt/a", "zigbee2mqtt/bridge/state", "zigbee2mqtt/bridge/event"):
        assert payload_limit("zigbee2mqtt", topic) == payload_limit("tasmota", topic) == PAYLOAD_LIMIT
    with pytest.raises(Undecodable, match="at most 262144 are read of a device"):
        tell("zigbee2mqtt", "zigbee2mqtt/a/bridge/devices", listed(300), {}, ALL)


def test_a_dead_bridge_speaks_only_for_its_own_devices() -> None:
    memory: CodecMemory = {}
    for base in ("b1", "b2"):
        tell("zigbee2mqtt", f"{base}/head", {"smoke": False}, memory, Source(filter=f"{base}/#", codec="zigbee2mqtt"))
    source = Source(filter="b2/#", codec="zigbee2mqtt", site="topic:1")
    dead = tell("zigbee2mqtt", "b2/bridge/state", b"offline", memory, source).observations
    assert [(item.site, item.device, item.states) for item in dead] == [("b2", "head", {"online": False})]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_bytes_break_it(data: st.DataObject) -> None:
    files = ["ias_keypad_test_and_smoke_keys.json", "mijia_smoke_clear_with_device_block.json"]
    samples = [sample(f"zigbee2mqtt/{file}").read_bytes() for file in files]
    samples += [b'{"smoke":true,"test":true}', b'{"smoke":false,"voltage":"\\n"}']
    memory: CodecMemory = {}
    payloads = st.one_of(
        st.binary(max_size=40),
        st.sampled_from(samples) | mutated(samples),
        trees(KEYS, TEXTS).map(lambda t: json.dumps(t).encode()),
    )
    for topic, payload in data.draw(st.lists(st.tuples(st.sampled_from(TOPICS), payloads), max_size=5)):
        keeps_its_promises("zigbee2mqtt", topic, payload, memory, data.draw(st.sampled_from([ALL, None])))


def test_the_largest_payloads_take_their_time_in_bounds() -> None:
    many = json.dumps([{"friendly_name": f"d{number}", "ieee_address": IEEE} for number in range(3_500)]).encode()
    wide = json.dumps({f"k{number}": number for number in range(15_000)}).encode()
    assert max(len(many), len(wide)) < 256 * 1024
    assert affordable_each("zigbee2mqtt", [("z/bridge/devices", many), ("z/a", wide), ("z/a/smoke", b"9" * 250_000)])
