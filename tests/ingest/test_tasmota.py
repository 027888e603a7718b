"""What golden cases cannot show of Tasmota: topics of any pattern, bounds, hostile bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import tasmota, zigbee2mqtt_names
from ingest.codecs.contract import CodecMemory
from ingest.errors import Undecodable
from ingest.sources import Source
from tests.support.data import sample
from tests.support.promises import affordable_each, keeps_its_promises, mutated, tell, trees

TOPICS = [
    *("-", "", "tele/a/SENSOR", "tele/a/STATE", "tele/a/LWT", "stat/a/RESULT", "stat/a/STATUS8", "stat/a/FIRE", "/LWT"),
    *("a/tele/SENSOR", "tele/zb/1A2B/SENSOR", "SENSOR", "tele/x\x07/SENSOR"),
]
KEYS = [
    *("Time", "Epoch", "TempUnit", "DS18B20", "ANALOG", "ENERGY", "ZbReceived", "LwReceived", "TuyaReceived", "ZbInfo"),
    *("0x1A2B", "Device", "Name", "IEEEAddr", "ZoneType", "ZoneStatusChange", "0500!00", "LinkQuality", "Temperature"),
    *("Humidity", "mac", "Wifi", "Signal", "Vcc", "StatusSNS", "DpId", "DpIdType", "DpIdData", "DevEUIh", "DevEUIl"),
    *("Battery", "Switch2", "Action", "UptimeSec", "ZbState", "ShortAddr"),
]
TEXTS = [
    "F",
    "C",
    "0x1A2B",
    "0x00158D0001D64498",
    "010000FF0000",
    "A840410E",
    "ON",
    "2026-01-01T00:00:00",
    "01",
    "²²²²",
]
MAPPED = Source(filter="#", codec="tasmota", fields={"smoke_alarm": "Switch2", "fault": "FIRE", "temperature": None})


@pytest.mark.parametrize(
    ("topic", "device"),
    [
        ("tele/shed7/SENSOR", "shed7"),
        ("shed7/tele/SENSOR", "shed7"),
        ("home/shed7/tele/SENSOR", "home/shed7"),
        ("home/tele/shed7/SENSOR", "home/shed7"),
        ("tele/home/shed7/SENSOR", "home/shed7"),
    ],
)
def test_the_device_is_found_in_any_full_topic(topic: str, device: str) -> None:
    assert tell("tasmota", topic, {"AM2301": {"Temperature": 20}}, {}).observations[0].device == device


def test_a_zigbee_device_keeps_its_id_when_it_joins_again() -> None:
    memory: CodecMemory = {}
    for short in ("0x1A2B", "0x3C4D"):
        block = {"Device": short, "IEEEAddr": "0x00158d0001d64498", "Name": "roof"}
        tell("tasmota", "stat/zb/RESULT", {"ZbInfo": {short: block}}, memory)
        received = {"ZbReceived": {short: {"Device": short, "Name": "roof", "Temperature": 20}}}
        assert tell("tasmota", "tele/zb/SENSOR", received, memory).observations[0].device == "0x00158d0001d64498"
    dead = tell("tasmota", "tele/zb/LWT", b"Offline", memory).observations
    assert [item.device for item in dead] == ["zb", "0x00158d0001d64498"]


def test_invented_devices_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zigbee2mqtt_names, "OF_ALL", 50)
    monkeypatch.setattr(tasmota, "_FIRE_LIMIT", 50)
    memory: CodecMemory = {}
    for number in range(200):
        block = {"Device": f"n{number}", "ZoneType": 40, "ZoneStatusChange": 1}
        told = tell("tasmota", f"tele/g{number % 90}/SENSOR", {"ZbReceived": {"x": block}}, memory)
        assert told.observations[0].device == f"n{number}"
    zones = memory.pop("\x00fire")
    kept = [value for value in memory.values() if isinstance(value, dict)]
    assert isinstance(zones, dict) and len(zones) == 50
    assert sum(len(bridge["ids"]) for bridge in kept) == 50 and len(kept) <= 50


def test_a_message_of_very_many_devices_is_refused() -> None:
    blocks = {f"0x{number:04X}": {"Temperature": 20} for number in range(300)}
    with pytest.raises(Undecodable, match="more than 256 devices"):
        tell("tasmota", "tele/zb/SENSOR", {"ZbReceived": blocks}, {})


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_bytes_break_it(data: st.DataObject) -> None:
    files = ["zigbee_named.json", "state.json", "tuya_mcu.json", "lorawan_bridge.json", "sensor_switch_contact.json"]
    samples = [sample(f"tasmota/{file}").read_bytes() for file in files]
    samples += [b'{"x\\ny":{"Temperature":"warm"}}', b'{"ZbReceived":{"1":{"ZoneType":40,"ZoneStatusChange":257}}}']
    memory: CodecMemory = {}
    payloads = st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"Online", b"Offline", b"ON"]),
        mutated(samples),
        st.sampled_from(samples),
        trees(KEYS, TEXTS).map(lambda tree: json.dumps(tree).encode()),
    )
    for topic, payload in data.draw(st.lists(st.tuples(st.sampled_from(TOPICS), payloads), max_size=5)):
        keeps_its_promises("tasmota", topic, payload, memory, data.draw(st.sampled_from([MAPPED, None])))


def test_the_largest_payloads_take_their_time_in_bounds() -> None:
    chips = json.dumps({f"c{number}": {"Humidity": 1} for number in range(9_000)}).encode()
    short = json.dumps({"ZbReceived": {f"0x{number:04X}": {"Name": f"n{number}"} for number in range(9_000)}}).encode()
    data = json.dumps({"TuyaReceived": {"DpIdData": "F" * 240_000, "DpId": 1, "DpIdType": 1}}).encode()
    assert max(len(chips), len(short), len(data)) < 256 * 1024
    messages = [("tele/a/SENSOR", payload) for payload in (chips, short, data)]
    assert affordable_each("tasmota", [*messages, ("tele/a/LWT", b"x" * 250_000)])
