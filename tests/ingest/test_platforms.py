"""What golden folders cannot show of the codecs of carrier and cloud platforms: bounds, memory, fuzz, every sample."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import CODECS, huawei_iotda, platforms
from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory, Decoded
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import FIRE_STATES, QUANTITIES, STATES, from_datetime
from ingest.sources import Source
from tests.support.data import SAMPLES, sample
from tests.support.hostile import affordable

FOLDERS = {
    "ctwing": "ctwing_aep",
    "huawei-iotda": "huawei_iotda",
    "onenet": "onenet",
    "onem2m": "onem2m",
}
GOLDEN = Path(__file__).parent / "codecs"
IMEI = 860374051096202
TOPICS = (
    "-",
    "push/platform",
    "$oc/devices/head-1/sys/properties/report",
    "$oc/devices/head-1/sys/messages/up",
    "$sys/product/head-1/thing/property/post",
    "/oneM2M/req/Mobius2/S2m7DGh9dPe/json",
)
FIELDS: dict[str, str | None] = {
    "smoke_alarm": "serviceId:1001",
    "rssi": "3300_0_5700",
    "smoke_raw": "level",
    "co": None,
}


def decode(codec: str, tree: object, memory: CodecMemory, topic: str = "push/x") -> Decoded:
    payload = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    message = Message(topic=topic, source="#", received_at=0)
    return CODECS[codec](message, payload, Source(filter="#", codec=codec), memory)


def data(platform_id: str, imei: int | str, **payload: object) -> dict[str, object]:
    return {"messageType": "dataReport", "deviceId": platform_id, "IMEI": str(imei), "payload": payload}


def online(platform_id: str) -> dict[str, object]:
    return {"messageType": "deviceOnlineOfflineReport", "eventType": 1, "deviceId": platform_id}


def device_of(decoded: Decoded) -> str:
    (observation,) = decoded.observations
    return observation.device


@pytest.mark.parametrize(("codec", "folder"), FOLDERS.items())
def test_every_published_sample_is_in_a_golden_case(codec: str, folder: str) -> None:
    sample(f"{folder}")
    published = {f"{folder}/{path.name}" for path in (SAMPLES / folder).iterdir()}
    assert published
    assert published <= {
        line for path in (GOLDEN / codec).glob("*/samples.txt") for line in path.read_text().splitlines()
    }


def test_invented_names_do_not_grow_the_memory_and_devices_heard_lately_stay_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platforms, "GENERATION", 10)
    memory: CodecMemory = {}
    for number in range(500):
        decode("ctwing", data(f"id-{number}", IMEI + number), memory)
        decode("ctwing", data("mine", IMEI), memory)
        assert device_of(decode("ctwing", online("mine"), memory)) == str(IMEI)
    assert len(msgspec.msgpack.encode(memory)) < 20 * 40
    assert device_of(decode("ctwing", online("id-499"), memory)) == str(IMEI + 499)
    assert device_of(decode("ctwing", online("id-0"), memory)) == "id-0"
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=dict[str, object])
    assert device_of(decode("ctwing", online("mine"), loaded)) == str(IMEI)


def test_a_long_platform_id_is_not_remembered() -> None:
    memory: CodecMemory = {}
    decode("ctwing", data("x" * 100, IMEI), memory)
    assert "x" * 100 not in str(memory)


@pytest.mark.parametrize(
    "imei", ["", "undefined", "0000000", "000000000000000", "12345678901234567", "86037405109620x"]
)
def test_what_is_no_imei_does_not_name_a_device(imei: str) -> None:
    assert device_of(decode("ctwing", data("id", imei), {})) == "id"


def test_a_head_registered_anew_keeps_its_name() -> None:
    memory: CodecMemory = {}
    decode("ctwing", data("old", IMEI), memory)
    decode("ctwing", data("new", IMEI), memory)
    assert device_of(decode("ctwing", online("new"), memory)) == str(IMEI)


def behind(gateway: str, device: str, status: str = "") -> dict[str, object]:
    body: dict[str, object] = {"status": status} if status else {"services": []}
    header = {"device_id": device, "gateway_id": gateway}
    resource = "device.status" if status else "device.property"
    return {"resource": resource, "notify_data": {"header": header, "body": body}}


def test_gateways_and_what_is_behind_them_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huawei_iotda, "_GATEWAYS", 5)
    monkeypatch.setattr(huawei_iotda, "_BEHIND", 3)
    memory: CodecMemory = {}
    for gateway in range(20):
        for device in range(20):
            decode("huawei-iotda", behind(f"g{gateway}", f"d{device}"), memory)
    gone = decode("huawei-iotda", behind("g19", "g19", "OFFLINE"), memory)
    assert [item.device for item in gone.observations] == ["g19", "d0", "d1", "d2"]
    assert len(decode("huawei-iotda", behind("g0", "g0", "OFFLINE"), memory).observations) == 1
    assert len(msgspec.msgpack.encode(memory)) < 200


def test_a_fire_is_told_beside_whatever_is_wrong() -> None:
    broken = {"service_id": "Smoke", "properties": {"level": "high"}}
    burning = {"service_id": "Smoke", "properties": {"level": 1}}
    header = {"device_id": "head-1"}
    tree = {"resource": "device.property", "notify_data": {"header": header, "body": {"services": [broken]}}}
    with pytest.raises(Undecodable, match="level"):
        decode("huawei-iotda", tree, {})
    tree["notify_data"] = {"header": header, "body": {"services": [broken, burning]}}
    assert decode("huawei-iotda", tree, {}).observations[-1].states == {"smoke_alarm": True}


HOSTILE: dict[str, list[object]] = {
    "ctwing": [
        data("d", IMEI, **{f"k{number:x}": number for number in range(15_000)}),
        {"messageType": "dataReport", "deviceId": "d", "payload": [{}] * 60_000},
        [online(str(number)) for number in range(3_000)],
        {"messageType": "eventReport", "deviceId": "d", "serviceId": "x" * 200_000, "eventType": 2},
    ],
    "huawei-iotda": [
        {"devices": [{"device_id": str(number), "services": []} for number in range(5_000)]},
        {"services": [{"properties": {f"k{number}": 0}} for number in range(6_000)]},
    ],
    "onenet": [
        {"msg": [{"type": 1, "dev_id": number, "ds_id": f"k{number}", "value": 1} for number in range(4_000)]},
        {"msg": "[" * 200_000},
    ],
    "onem2m": [
        {"m2m:sgn": {"sur": "a/" * 100_000, "nev": {"rep": {"m2m:cin": {"con": "1" * 50_000}}}}},
        {"m2m:sgn": {"sur": "a/b/c", "nev": {"rep": {"m2m:cin": {"con": "QUFB" * 40_000, "cnf": ":1"}}}}},
    ],
}


@pytest.mark.parametrize(("codec", "tree"), [(codec, tree) for codec, trees in HOSTILE.items() for tree in trees])
def test_the_largest_payloads_are_judged_soon(codec: str, tree: object) -> None:
    payload = json.dumps(tree, separators=(",", ":")).encode()
    assert len(payload) <= PAYLOAD_LIMIT
    assert affordable(lambda: checked(codec, payload, "$oc/devices/head-1/sys/properties/report"))


def checked(codec: str, payload: bytes, topic: str, fields: dict[str, str | None] | None = None) -> None:
    """Only what every codec promises."""
    source = Source(filter="#", codec=codec, fields=fields or {})
    memory: CodecMemory = {}
    try:
        decoded = CODECS[codec](Message(topic=topic, source="#", received_at=0), payload, source, memory)
    except Undecodable as error:
        assert str(error).isprintable(), "a reason is one line"
        decoded = Decoded()
    for item in decoded.observations:
        assert item.device
        assert set(item.values) <= set(QUANTITIES)
        assert set(item.states) <= set(STATES)
        assert all(type(value) is float and math.isfinite(value) for value in item.values.values())
        assert all(type(value) is bool for value in item.states.values())
        assert not (item.states.get("test") and any(item.states.get(fire) for fire in FIRE_STATES))
        assert item.observed_at is None or type(item.observed_at) is int
        msgspec.msgpack.encode(item)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(memory)) == memory


@given(payload=st.binary(max_size=200), codec=st.sampled_from(list(FOLDERS)), topic=st.sampled_from(TOPICS))
def test_no_bytes_do_harm(payload: bytes, codec: str, topic: str) -> None:
    checked(codec, payload, topic)


_WORDS = """
messageType dataReport eventReport deviceOnlineOfflineReport payload serviceData Alarm_Status deviceId IMEI
eventType eventContent serviceId timestamp resource device.property device.status notify_data header body
services service_id Smoke properties level alarm event_time status ONLINE device_id gateway_id devices
notifyType service event_type sub_device_update_status paras device_statuses msg type dev_id imei ds_id value
at 3303_0_5700 3_0_20 notify lifeCycle property event deviceName data params time m2m:sgn sur nev rep m2m:cin
con ct cnf vrq sud pc op Mobius/a/b/c application/json:1 temp smoke test smoke_alarm rssi deviceDataChanged
"""
WORDS = st.sampled_from(_WORDS.split())
SCALARS = st.one_of(
    WORDS,
    st.none(),
    st.booleans(),
    st.sampled_from(
        [0, 1, 2, 3, 4, 5, 7, 14, -1, IMEI, 10**400, 1606982320277, 22.5, 1e300, "", "1", "20260912T173041Z"]
    ),
    st.text(max_size=3),
    st.just('{"temp": 1, "smoke": "x"}'),
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5), max_leaves=20
)


@settings(max_examples=300)
@given(tree=TREES, codec=st.sampled_from(list(FOLDERS)), topic=st.sampled_from(TOPICS), mapped=st.booleans())
def test_no_tree_of_their_words_does_harm(tree: object, codec: str, topic: str, mapped: bool) -> None:
    checked(codec, json.dumps(tree).encode("utf-8", "surrogatepass"), topic, FIELDS if mapped else None)


@settings(max_examples=300)
@given(
    codec=st.sampled_from(list(FOLDERS)),
    pick=st.integers(0, 100),
    steps=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    replaced=TREES,
    topic=st.sampled_from(TOPICS),
)
def test_a_sample_with_one_part_replaced_does_no_harm(
    codec: str, pick: int, steps: list[int], replaced: object, topic: str
) -> None:
    sample(FOLDERS[codec])
    files = sorted((SAMPLES / FOLDERS[codec]).iterdir())
    tree = json.loads(files[pick % len(files)].read_bytes())
    node = tree
    for step in steps:
        parts = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not parts:
            break
        place = parts[step % len(parts)]
        if step == steps[-1] or not isinstance(node[place], dict | list):
            node[place] = replaced
            break
        node = node[place]
    checked(codec, json.dumps(tree).encode("utf-8", "surrogatepass"), topic, FIELDS)


@pytest.mark.parametrize(("zone", "hour"), [("UTC", 10), ("Asia/Shanghai", 2)])
def test_a_platform_s_time_without_zone_is_the_source_s(zone: str, hour: int) -> None:
    body = {"msg": {"type": 1, "dev_id": 7, "ds_id": "temperature", "at": "2021-03-01 10:00:00", "value": 21}}
    source = Source(filter="push/platform", codec="onenet", zone=zone)
    message = Message(topic="push/platform", source=source.filter, received_at=0)
    (seen,) = CODECS["onenet"](message, json.dumps(body).encode(), source, {}).observations
    assert seen.observed_at == from_datetime(datetime(2021, 3, 1, hour, tzinfo=UTC))


@pytest.mark.parametrize("definition", ["org.onem2m.home.moduleclass.smokeSensor", "org.", "", 7])
def test_a_flex_container_says_what_it_is_by_its_definition_or_its_own_name(definition: object) -> None:
    container = {"hd:smoSr": {"cnd": definition, "alarm": True}}
    body = {"m2m:sgn": {"nev": {"rep": container}, "sur": "/Mobius/head-1/smoke/sub"}}
    source = Source(filter="push/platform", codec="onem2m")
    message = Message(topic="push/platform", source=source.filter, received_at=0)
    (seen,) = CODECS["onem2m"](message, json.dumps(body).encode(), source, {}).observations
    assert seen.states == {"smoke_alarm": True}
