"""ThingsBoard and CloudEvents: JSON whose keys are free."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.contract import CodecMemory
from ingest.errors import Undecodable
from ingest.sources import Source
from tests.support.promises import keeps_its_promises, mangled, tell

THINGSBOARD = [
    f"thingsboard/{name}.json"
    for name in (
        "telemetry_object_types",
        "telemetry_array",
        "gateway_telemetry",
        "gateway_connect",
        "gateway_attributes",
    )
]
CLOUDEVENTS = [
    f"cloudevents/{name}"
    for name in (
        "structured_json_data.json",
        "structured_smoke_composed.json",
        "structured_xml_data.json",
        "mqtt_binding_doc_example_INVALID.txt",
    )
]
TOPICS = ["v1/devices/me/telemetry", "v1/gateway/telemetry", "v1/gateway/connect", "a/v2/t", "v1/", "-", "v2/t/p"]
ATTRIBUTES = ["specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype"]


@settings(deadline=None)
@given(mangled(*THINGSBOARD), st.sampled_from(TOPICS))
def test_whatever_thingsboard_sends_is_decoded_or_refused_in_one_line(payload: bytes, topic: str) -> None:
    memory: CodecMemory = {}
    keeps_its_promises("thingsboard", topic, payload, memory)
    assert memory == {}


@settings(deadline=None)
@given(
    mangled(*CLOUDEVENTS),
    st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(["1.0", "application/json", "", "x", "/a/b"])),
    st.sampled_from(["", "application/json", "application/cloudevents+json", "application/xml", "\0"]),
)
def test_whatever_event_comes_is_decoded_or_refused_in_one_line(
    payload: bytes, properties: dict[str, str], content_type: str
) -> None:
    memory: CodecMemory = {}
    keeps_its_promises("cloudevents", "t", payload, memory, properties=properties, content_type=content_type)
    assert memory == {}


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["smoke", "smoke_alarm", "temperature", "Temp_F", "battery", "co", "test", "mute", "ts", "values"]
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_value_under_a_known_key_is_read_or_refused(body: dict[str, object]) -> None:
    keeps_its_promises("thingsboard", "v2/t", json.dumps(body).encode())
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": body}
    keeps_its_promises("cloudevents", "t", json.dumps(event).encode())


def test_without_a_configured_device_nobodys_telemetry_is_taken_for_somebodys() -> None:
    source = Source(filter="v1/devices/me/+", codec="thingsboard", shard="main")
    with pytest.raises(Undecodable, match="set device: in the source"):
        tell("thingsboard", "v1/devices/me/telemetry", b'{"temperature":20}', source=source)


def test_a_gateways_devices_are_its_keys_even_where_the_source_names_a_device() -> None:
    source = Source(filter="+/v1/#", codec="thingsboard", shard="main", device="topic:1")
    found = tell("thingsboard", "token/v1/gateway/attributes", b'{"A":{"battery":5}}', source=source)
    assert [item.device for item in found.observations] == ["A"]


def test_an_unknown_key_never_stands_in_an_error() -> None:
    with pytest.raises(Undecodable) as error:
        tell("thingsboard", "v2/t", b'{"door-code 4711":1,"smoke":[1]}')
    assert "4711" not in str(error.value)
