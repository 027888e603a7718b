"""What golden folders cannot show of the LoRaWAN codecs: bounds, names of products, whose frame it is, fuzz."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import Outcome, Reason
from ingest.codecs import CODECS
from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory, Decoded
from ingest.codecs.frames import FRAMES, frame_named
from ingest.errors import ConfigError, Undecodable
from ingest.message import Message
from ingest.readings import FIRE_STATES, QUANTITIES, STATES
from ingest.sources import Source
from ingest.sources_file import parse_sources
from tests.support.admission import Desk
from tests.support.data import sample
from tests.support.hostile import affordable

UP = "application/102/device/24e124329e090021/event/up"
FIELDS: dict[str, str | None] = {"temperature": "ngsi.T1", "smoke_alarm": "smoke", "voltage": "battery", "co": None}
SERVERS = ("chirpstack", "tts")
GS524N_ALARM = bytes.fromhex("22116223291F")
SEEDS = (
    "chirpstack_v4/event_up.json",
    "chirpstack_v4/event_up_gs524n_test_button.json",
    "chirpstack_v4/event_status.json",
    "chirpstack_v3/event_up_em400_real.json",
    "tts_v3/up_text_payload.json",
    "tts_v3/up_soil_real.json",
    "tts_v3/join.json",
)
FRAMES_SEEN = {
    "milesight-gs524n": GS524N_ALARM,
    "milesight-em300": bytes.fromhex("01755C20CE9E74466310015D0003673401046865"),
    "dragino-lht65": bytes.fromhex("CBF60B0D0376010ADD7FFF"),
    "tg563a": bytes.fromhex("017E150001"),
    "yobiiq-sd1001": bytes.fromhex("010064020001050001"),
}
#: The machine may be busy: how long one example takes says nothing.
TRY = settings(deadline=None, max_examples=60)


def decode(codec: str, payload: bytes, topic: str = UP, source: Source | None = None) -> Decoded:
    memory: CodecMemory = {}
    source = source or Source(filter=topic, codec=codec)
    decoded = CODECS[codec](Message(topic=topic, source=source.filter, received_at=0), payload, source, memory)
    assert memory == {}, "LoRaWAN needs no memory"
    return decoded


def uplink(server: str, frame: bytes, profile: str) -> bytes:
    data = base64.b64encode(frame).decode()
    if server == "chirpstack":
        info = {"devEui": "24E1245240000001", "deviceProfileName": profile}
        return json.dumps({"deviceInfo": info, "fPort": 1, "data": data}).encode()
    message = {"f_port": 1, "frm_payload": data, "version_ids": {"model_id": profile}}
    return json.dumps({"end_device_ids": {"dev_eui": "24E1245240000001"}, "uplink_message": message}).encode()


def checked(codec: str, payload: bytes, source: Source | None = None) -> None:
    """Only what every codec promises."""
    try:
        decoded = decode(codec, payload, source=source)
    except Undecodable as error:
        assert str(error).isprintable(), "a reason is one line"
        return
    for item in decoded.observations:
        assert set(item.values) <= set(QUANTITIES)
        assert set(item.states) <= set(STATES)
        assert all(type(value) is float and abs(value) < 1e300 for value in item.values.values())
        assert all(type(value) is bool for value in item.states.values())
        assert not (item.states.get("test") and FIRE_STATES & item.states.keys())
        assert item.seq is None or type(item.seq) is int
        msgspec.msgpack.encode(item)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("frame", FRAMES_SEEN)
def test_a_frame_says_the_same_alone_and_inside_an_uplink(server: str, frame: str) -> None:
    alone = decode(frame, FRAMES_SEEN[frame]).observations
    inside = decode(server, uplink(server, FRAMES_SEEN[frame], frame)).observations
    assert [(item.values, item.states, item.historical) for item in alone] == [
        (item.values, item.states, item.historical) for item in inside
    ]
    assert {item.device for item in inside} == {"24e1245240000001"}


def test_every_frame_has_a_codec_and_a_product() -> None:
    assert set(FRAMES) == set(FRAMES_SEEN) <= set(CODECS)
    assert {frame_named(name) for name in FRAMES} == set(FRAMES)


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("Milesight GS524N", "milesight-gs524n"),
        ("shed_3_gs-524n_north", "milesight-gs524n"),
        ("Milesight Neering EM300-DI", "milesight-em300"),
        ("EM 320-TH", "milesight-em300"),
        ("em400-tld", "milesight-em300"),
        ("LHT65N", "dragino-lht65"),
        ("dragino-lht65n-e5", "dragino-lht65"),
        ("TG563A v2", "tg563a"),
        ("Yobiiq iQ SD-1001", "yobiiq-sd1001"),
        ("Tests 101", ""),
        ("system 300", ""),
        ("GS524", ""),
        ("烟感", ""),
        ("x" * 500 + " GS524N", ""),
    ],
)
def test_a_product_is_known_by_its_name(name: str, frame: str) -> None:
    assert frame_named(name) == frame


def test_a_bare_frame_without_a_device_can_be_nobodys() -> None:
    """An empty id can neither be registered nor enrolled; a made-up one could."""
    assert decode("milesight-gs524n", GS524N_ALARM, "sheds/raw").observations[0].device == ""
    assert decode("milesight-gs524n", GS524N_ALARM, "sheds/24-E1-24-52-40-00-00-01/raw").observations[0].device == (
        "24e1245240000001"
    )


def test_nobody_enrols_a_bare_frame_that_names_no_device() -> None:
    desk = Desk('sources: [{filter: "sheds/#", codec: milesight-gs524n, site: shed, enrol: true}]')
    said = desk.hear("sheds/raw", GS524N_ALARM, at=0)
    assert (said.outcome, said.reason) == (Outcome.QUARANTINED, Reason.UNKNOWN_DEVICE)
    assert said.suspicion is not None and "smoke_alarm" in said.suspicion.why, "a fire of nobody's is told all the same"
    assert desk.hear("sheds/24e1245240000001", GS524N_ALARM, at=1).outcome is Outcome.STORED


def test_what_a_device_stored_has_no_frame_counter_so_that_sending_it_twice_is_no_news() -> None:
    now, stored = decode("chirpstack", uplink("chirpstack", FRAMES_SEEN["milesight-em300"], "EM300")).observations
    assert (now.seq, now.historical) == (0, False)
    assert (stored.seq, stored.historical) == (None, True)


def test_a_frame_on_a_port_of_its_maker_is_not_read_as_a_report() -> None:
    with pytest.raises(Undecodable, match="port 3: a TG563A reports on port 1"):
        FRAMES["tg563a"](FRAMES_SEEN["tg563a"], 3)
    assert FRAMES["dragino-lht65"](bytes.fromhex("0B0164FFFF0BF6"), 5)[0].values == {"voltage": 3.062}


def test_a_frame_named_in_the_source_is_checked_at_load() -> None:
    text = 'sources:\n  - {filter: "application/#", codec: chirpstack, frame: %s}\n'
    assert parse_sources(text % "tg563a", "sources.yaml").sources[0].frame == "tg563a"
    with pytest.raises(ConfigError, match=r"sources.yaml:2: frame: tg536a is no device frame; did you mean tg563a\?"):
        parse_sources(text % "tg536a", "sources.yaml")


def _wide(key: str) -> bytes:
    return b'{"deviceInfo":{"devEui":"24e124329e090021"},"object":{%s}}' % key.encode()


HOSTILE = {
    "many keys": _wide(",".join(f'"k{number}":{number}' for number in range(18_000))),
    "many objects": _wide(",".join(f'"k{number}":{{"T1":{number}}}' for number in range(10_000))),
    "many keys inside": _wide(",".join(f'"k{number}":{{"i{number}":1}}' for number in range(10_000))),
    "deep objects": _wide(('"' + "a" * 4000 + '":{') * 50 + '"T1":1' + "}" * 50),
    "one long key": _wide(f'"{"T" * 250_000}":1'),
    "many gateways": b'{"devEUI":"24e124329e090021","rxInfo":[' + b'{"rssi":-1},' * 18_000 + b'{"rssi":-2}]}',
    "many stored": _wide('"history":[' + '{"timestamp":1,"temperature":1},' * 7000 + "{}]"),
    "long data": b'{"devEUI":"24e124329e090021","deviceName":"EM300","data":"' + b"IM7/" * 60_000 + b'"}',
    "long number": _wide('"temperature":"' + "9" * 250_000 + '"'),
    "long word": _wide('"smoke":"' + " " * 250_000 + '"'),
    "long name": b'{"devEUI":"' + b"a" * 250_000 + b'","data":"AA=="}',
}


@pytest.mark.parametrize("case", HOSTILE)
def test_no_payload_takes_long(case: str) -> None:
    payload = HOSTILE[case]
    assert len(payload) <= PAYLOAD_LIMIT
    source = Source(filter="#", codec="chirpstack", fields=FIELDS, frame="milesight-em300")
    assert affordable(lambda: checked("chirpstack", payload, source))


@pytest.mark.parametrize("frame", FRAMES)
@TRY
@given(data=st.data())
def test_any_bytes_are_a_frame_or_undecodable(frame: str, data: st.DataObject) -> None:
    seed = FRAMES_SEEN[frame]
    some = st.binary(max_size=300)
    near = st.tuples(st.integers(0, len(seed)), some).map(lambda cut: seed[: cut[0]] + cut[1])
    payload = data.draw(st.one_of(some, near))
    checked(frame, payload)
    for server in SERVERS:
        checked(server, uplink(server, payload, frame))


@TRY
@given(bad=st.integers(0, 255), at=st.integers(0, 5))
def test_no_changed_byte_of_a_gs524n_passes_its_sum(bad: int, at: int) -> None:
    changed = GS524N_ALARM[:at] + bytes([bad]) + GS524N_ALARM[at + 1 :]
    if changed != GS524N_ALARM:
        with pytest.raises(Undecodable, match="wrong sum"):
            decode("milesight-gs524n", changed)


@pytest.mark.parametrize("name", SEEDS)
@TRY
@given(data=st.data())
def test_a_changed_sample_is_decoded_or_undecodable(name: str, data: st.DataObject) -> None:
    seed = sample(name).read_bytes()
    at = data.draw(st.integers(0, len(seed)))
    put = data.draw(
        st.one_of(st.binary(max_size=4), st.sampled_from([b"null", b"-1", b'"', b"{}", b"[]", b"1e308", b"9"]))
    )
    payload = seed[:at] + put + seed[at + data.draw(st.integers(0, 12)) :]
    for server in SERVERS:
        checked(server, payload)
        checked(server, payload, Source(filter="#", codec=server, fields=FIELDS, frame="milesight-em300", site="$.a.b"))


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["alarm", "normal", "Good", "28.29", "undefined", "GS524N", "qg=="]),
)
WORDS = """
    deviceInfo devEui devEUI deviceProfileName time rxInfo rssi fCnt fPort data object objectJSON event type status
    history timestamp temperature smoke smokeAlarm test battery bat_status temperatureSensor humiditySensor value
    ngsi T1 end_device_ids dev_eui device_id uplink_message decoded_payload frm_payload rx_metadata received_at f_cnt
    f_port join_accept simulated correlation_ids last_battery_percentage normalized_payload air version_ids model_id
    margin batteryLevel No_connect batteryLevelUnavailable messageType
"""
KEYS = st.sampled_from(WORDS.split())
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))


@TRY
@given(tree=st.dictionaries(KEYS, TREES, max_size=6), event=st.sampled_from(["up", "status", "join", "x"]))
def test_any_value_under_any_known_key_is_decoded_or_undecodable(tree: dict[str, object], event: str) -> None:
    tree = {"devEui": "24e124329e090021", "end_device_ids": {"device_id": "d"}, **tree}
    payload = json.dumps(tree).encode()
    for server in SERVERS:
        try:
            decode(server, payload, f"application/1/device/24e124329e090021/event/{event}")
        except Undecodable as error:
            assert str(error).isprintable()
        checked(server, payload, Source(filter="#", codec=server, fields=FIELDS))
