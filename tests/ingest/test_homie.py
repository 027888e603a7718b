from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.contract import CodecMemory
from ingest.codecs.homie_memory import DEVICE_LIMIT, PROPERTY_LIMIT
from tests.support.data import sample
from tests.support.promises import keeps_its_promises, mangled
from tests.support.promises import tell as decoded

SAMPLES = [
    f"homie_5/{name}"
    for name in (
        "state_ready.txt",
        "state_sleeping.txt",
        "property_temperature.txt",
        "alert_battery.txt",
        "description_smoke_composed.json",
    )
]
TAILS = [
    "$state",
    "$description",
    "$alert/smoke",
    "$alert/x",
    "a/smoke",
    "a/smo\nke",
    "$alert/fi\nre",
    "cpu/temperature",
    "a/b/set",
    "$log/warn",
    "",
]


def tell(memory: CodecMemory, topic: str, payload: str) -> list[tuple[str, dict[str, float], dict[str, bool]]]:
    found = decoded("homie", f"homie/5/{topic}", payload.encode(), memory).observations
    return [(item.device, item.values, item.states) for item in found]


def description(**more: object) -> str:
    return json.dumps({"homie": "5.0", "version": 1, **more})


@settings(deadline=None)
@given(mangled(*SAMPLES), st.sampled_from(TAILS), st.sampled_from(["homie/5/d/", "a/b/5/d/", "5/5/", "homie/5/$x/"]))
def test_whatever_arrives_is_decoded_or_refused_in_one_line(payload: bytes, tail: str, prefix: str) -> None:
    keeps_its_promises("homie", prefix + tail, payload)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["gw", "a", "b"]), st.sampled_from(TAILS), mangled(*SAMPLES)), max_size=12))
def test_no_order_of_messages_breaks_what_is_remembered(told: list[tuple[str, str, bytes]]) -> None:
    memory: CodecMemory = {}
    for device, tail, payload in told:
        keeps_its_promises("homie", f"homie/5/{device}/{tail}", payload, memory)


def test_a_flood_of_invented_devices_does_not_grow_the_memory_and_forgets_the_most_silent() -> None:
    memory: CodecMemory = {}
    tell(memory, "first/$state", "ready")
    tell(memory, "second/$state", "ready")
    tell(memory, "first/$state", "ready")
    for number in range(DEVICE_LIMIT - 1):
        tell(memory, f"invented-{number}/$state", "ready")
    assert len(memory) == DEVICE_LIMIT
    assert "homie/5/first" in memory
    assert "homie/5/second" not in memory


def test_of_a_description_with_thousands_of_properties_a_few_are_kept() -> None:
    memory: CodecMemory = {}
    properties = {f"temperature-{'x' * 100}{number}": {"unit": "°F", "datatype": "float"} for number in range(900)}
    tell(memory, "d/$description", description(nodes={"a": {"properties": properties}}))
    assert len(msgspec.msgpack.encode(memory)) < 100
    nodes = {
        f"n{number}": {"properties": {"temperature": {"unit": "°F", "datatype": "float"}}} for number in range(900)
    }
    tell(memory, "d/$description", description(nodes=nodes))
    kept = memory["homie/5/d"]
    assert isinstance(kept, dict) and len(kept["p"]) == PROPERTY_LIMIT


def test_a_description_that_says_no_more_than_its_ids_is_not_kept() -> None:
    memory: CodecMemory = {}
    tell(memory, "d/$description", description(nodes={"a": {"properties": {"smoke": {"datatype": "boolean"}}}}))
    assert memory == {"homie/5/d": {}}


def test_a_new_description_takes_the_place_of_the_old() -> None:
    memory: CodecMemory = {}
    fahrenheit = {"a": {"properties": {"temperature": {"unit": "°F", "datatype": "float"}}}}
    tell(memory, "d/$description", description(nodes=fahrenheit))
    assert tell(memory, "d/a/temperature", "212") == [("d", {"temperature": 100.0}, {})]
    tell(memory, "d/$description", description())
    assert tell(memory, "d/a/temperature", "21") == [("d", {"temperature": 21.0}, {})]


def test_domains_do_not_mix() -> None:
    memory: CodecMemory = {}
    tell(memory, "head/$description", description(root="gw"))
    assert tell(memory, "head/$state", "ready") == [("head", {}, {"online": True})]
    lost = decoded("homie", "other/5/gw/$state", b"lost", memory).observations
    assert [(item.device, item.states) for item in lost] == [("gw", {"online": False})]
    assert [device for device, _, _ in tell(memory, "gw/$state", "lost")] == ["gw", "head"]


def test_every_property_of_the_published_head_is_understood() -> None:
    memory: CodecMemory = {}
    head = "shed03-smoke"
    tell(memory, f"{head}/$description", sample("homie_5/description_smoke_composed.json").read_text(encoding="utf-8"))
    assert tell(memory, f"{head}/detector/smoke", "true") == [(head, {}, {"smoke_alarm": True})]
    assert tell(memory, f"{head}/detector/temperature", "61") == [(head, {"temperature": 61.0}, {})]
    assert tell(memory, f"{head}/detector/obscuration", "0") == [(head, {"smoke": 0.0}, {})]
    assert tell(memory, f"{head}/device/battery", "8") == [(head, {"battery": 8.0}, {})]
    assert tell(memory, f"{head}/device/tamper", "false") == [(head, {}, {"tamper": False})]
    assert tell(memory, "gw01/$state", "lost")[1] == (head, {}, {"online": False})


def test_a_removed_device_is_forgotten() -> None:
    memory: CodecMemory = {}
    tell(memory, "head/$description", description(root="gw"))
    assert tell(memory, "head/$state", "") == []
    assert tell(memory, "gw/$state", "lost") == [("gw", {}, {"online": False})]


def test_a_root_that_closes_its_connection_says_nothing_of_its_tree() -> None:
    memory: CodecMemory = {}
    tell(memory, "head/$description", description(root="gw"))
    tell(memory, "head/$state", "ready")
    assert tell(memory, "gw/$state", "disconnected") == [("gw", {}, {"online": False})]
    assert tell(memory, "gw/$state", "ready") == [("gw", {}, {"online": True})]
