"""What golden cases cannot show of Home Assistant's discovery: bounds, order, templates, hostile bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import homeassistant_memory
from ingest.codecs.contract import CodecMemory
from ingest.codecs.homeassistant_template import filtered, found, parse_template, rendered
from ingest.errors import Undecodable
from tests.support.data import sample
from tests.support.promises import affordable_each, keeps_its_promises, mutated, tell, trees

CONFIG = "homeassistant/binary_sensor/n/o/config"
TOPICS = ["-", "", CONFIG, "homeassistant/device/d/config", "s", "homeassistant/status", "homeassistant/sensor//config"]
KEYS = [
    *("stat_t", "state_topic", "val_tpl", "dev_cla", "p", "cmps", "components", "dev", "ids", "cns", "avty", "t", "~"),
    *("pl_on", "payload_off", "unit_of_meas", "ent_cat", "avty_t", "avty_mode", "uniq_id", "smoke", "a"),
]
TEXTS = [
    *("s", "~s", "s~", "smoke", "temperature", "battery", "°F", "mV", "binary_sensor", "sensor", "all", "diagnostic"),
    *("{{ value_json.smoke }}", "{{ value|int }}", "{{ value_json.a['x'][0] | round(1) }}", "{{ 7*7 }}", "ON", "1"),
]


def smoke(topic: str = "s", **more: Any) -> dict[str, Any]:
    return {"dev_cla": "smoke", "stat_t": topic, "dev": {"ids": ["d"]}, **more}


@pytest.mark.parametrize(
    ("template", "payload", "text"),
    [
        ("{{ value_json.smoke }}", {"smoke": True}, "True"),
        ("{{value_json['a b'].c[1]}}", {"a b": {"c": [1, 2]}}, "2"),
        ("{{ value_json[\"a\"].get('b') }}", {"a": {"b": "x"}}, "x"),
        ("{{- value_json.t | float | round(1) -}}", {"t": "20.649"}, "20.6"),
        ("{{ value_json.t|int }}", {"t": 20.9}, "20"),
        ("{{ value_json.t | int(default=0) | is_defined }}", {"t": True}, "1"),
        ("{{ value_json.t | default('x') }}", {}, "None"),
        ("{{ value_json.t | float }}", {"t": "warm"}, "warm"),
        ("{{ value_json }}", 5, "5"),
    ],
)
def test_plain_look_ups_read_as_home_assistant_reads_them(template: str, payload: object, text: str) -> None:
    in_json, steps, filters = parse_template(template)
    assert in_json and rendered(filtered(found(payload, steps), filters, "x")) == text


@pytest.mark.parametrize(
    "template",
    [
        *(
            "{{ 7 * 7 }}",
            "{{ value_json.a + 1 }}",
            "{% if value_json.a %}x{% endif %}",
            "{{ value_json.a }} W",
            "value",
        ),
        *("{{ value.a }}", "{{ value_json.a | tojson }}", "{{ value_json.a() }}", "{{ value_json.a | round(-1) }}"),
        *("{{ valuex }}", "{{ value_json['a' }}", "{{ range(9999999) }}", "{{}}", "{{ states('x') }}"),
        "{{ value_json." + "a" * 400 + " }}",
    ],
)
def test_everything_else_is_no_look_up(template: str) -> None:
    with pytest.raises(ValueError, match="no plain"):
        parse_template(template)


def test_one_entity_beyond_us_does_not_cost_the_others() -> None:
    memory: CodecMemory = {}
    program = {"p": "sensor", "dev_cla": "temperature", "stat_t": "s", "val_tpl": "{{ value_json.t * 2 }}"}
    plain = {"p": "binary_sensor", "dev_cla": "smoke", "stat_t": "s"}
    with pytest.raises(Undecodable, match=r'"t": value_template .* is no plain look-up'):
        tell("homeassistant", "ha/device/d/config", {"dev": {"ids": "d"}, "cmps": {"t": program, "s": plain}}, memory)
    assert tell("homeassistant", "s", b"ON", memory).observations[0].states == {"smoke_alarm": True}


def test_json_booleans_are_compared_as_they_are_rendered() -> None:
    memory: CodecMemory = {}
    tell("homeassistant", CONFIG, smoke(val_tpl="{{ value_json.x }}", pl_on=True, pl_off=False), memory)
    for payload, alarm in (({"x": True}, True), ({"x": "false"}, False), ({"x": "True"}, True)):
        assert tell("homeassistant", "s", payload, memory).observations[0].states == {"smoke_alarm": alarm}
    assert tell("homeassistant", "s", {}, memory).observations == ()


def test_a_second_head_of_a_device_does_not_answer_for_the_first() -> None:
    memory: CodecMemory = {}
    for head in ("a", "b"):
        tell("homeassistant", f"ha/binary_sensor/{head}/config", smoke(f"s/{head}"), memory)
    first = tell("homeassistant", "s/a", b"ON", memory).observations
    second = tell("homeassistant", "s/b", b"OFF", memory).observations
    assert [item.device for item in (*first, *second)] == ["d", "d:b"]


def test_a_removed_configuration_leaves_nothing_behind() -> None:
    memory: CodecMemory = {}
    empty = {"configs": {}, "devices": {}, "topics": {}, "count": 0}
    for _ in range(3):  # also when it is repeated
        tell("homeassistant", CONFIG, smoke(avty_t="lwt", cmd_t="c"), memory)
    assert memory["count"] == 3
    tell("homeassistant", "lwt", b"offline", memory)
    tell("homeassistant", CONFIG, b"", memory)
    assert memory == empty
    tell("homeassistant", CONFIG, b"", memory)
    assert memory == empty


def test_a_flood_of_invented_configurations_is_refused_and_those_known_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homeassistant_memory, "OF_ALL", 20)
    memory: CodecMemory = {}
    tell("homeassistant", CONFIG, smoke(), memory)
    refused = 0
    for number in range(100):
        body = smoke(f"t{number}", dev={"ids": f"d{number}"})
        try:
            tell("homeassistant", f"ha/binary_sensor/o{number}/config", body, memory)
        except Undecodable as error:
            assert "too many entities" in str(error)
            refused += 1
    assert refused == 81 and memory["count"] == 20
    assert tell("homeassistant", "s", b"ON", memory).observations[0].states == {"smoke_alarm": True}


def test_a_topic_of_many_devices_and_a_device_of_many_entities_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homeassistant_memory, "OF_ONE_TOPIC", 5)
    monkeypatch.setattr(homeassistant_memory, "OF_ONE_DEVICE", 7)
    memory: CodecMemory = {}
    for number in range(5):
        tell("homeassistant", f"ha/binary_sensor/o{number}/config", smoke("s", dev={"ids": f"d{number}"}), memory)
    with pytest.raises(Undecodable, match="too many"):
        tell("homeassistant", "ha/binary_sensor/o5/config", smoke("s", dev={"ids": "d5"}), memory)
    assert len(tell("homeassistant", "s", b"ON", memory).observations) == 5
    parts = {str(number): {"p": "sensor", "stat_t": f"t{number}"} for number in range(9)}
    with pytest.raises(Undecodable, match="too many"):
        tell("homeassistant", "ha/device/many/config", {"dev": {"ids": "many"}, "cmps": parts}, memory)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_bytes_break_it(data: st.DataObject) -> None:
    samples = [sample("ha_discovery/smoke_device_composed.json").read_bytes(), json.dumps(smoke()).encode()]
    memory: CodecMemory = {}
    payloads = st.one_of(
        st.binary(max_size=30),
        st.sampled_from([b"ON", b"1", b"offline", b""]),
        mutated(samples),
        st.sampled_from(samples),
        trees(KEYS, TEXTS).map(lambda tree: json.dumps(tree).encode()),
    )
    topics = st.sampled_from([*TOPICS, "acme/shed03/state", "acme/shed03/lwt"])
    for topic, payload in data.draw(st.lists(st.tuples(topics, payloads), max_size=8)):
        keeps_its_promises("homeassistant", topic, payload, memory)


def test_the_largest_payloads_take_their_time_in_bounds() -> None:
    head = {"p": "binary_sensor", "stat_t": "s", "dev_cla": "smoke", "val_tpl": "{{ value_json.a | int }}"}
    parts = {f"c{number}": head for number in range(256)}
    plain = {f"c{number}": {"p": "sensor", "x": 1, "y": 2} for number in range(256)}
    memory: CodecMemory = {}
    hostile = [
        ("ha/device/d/config", json.dumps({"dev": {"ids": "d"}, "cmps": parts}).encode()),
        ("ha/sensor/d/config", json.dumps({f"x{number}_topic": f"t{number}" for number in range(9_000)}).encode()),
        ("ha/sensor/d/config", json.dumps({"stat_t": "s", "val_tpl": "{{ value" + " |int" * 50_000}).encode()),
        (
            "ha/device/e/config",
            json.dumps({"dev": {"ids": "e"}, "avty": [{"t": "b"}] * 13_000, "cmps": plain}).encode(),
        ),
        ("s", b" " * 250_000),
        ("s", json.dumps({"a": "9" * 250_000}).encode()),
        ("s", b"9" * 250_000),
    ]
    assert affordable_each("homeassistant", hostile, memory)
