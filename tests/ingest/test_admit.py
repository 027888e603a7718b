"""Where a message ends: outcomes, reasons, duplicates, suspected fires, memory."""

from __future__ import annotations

from typing import cast

import pytest

from ingest.admission import Outcome, Reason
from ingest.admit import admit
from ingest.codecs import CODECS
from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory, Decoded
from ingest.inventory import Device, InventoryDelta
from ingest.memory import Memory
from ingest.message import Message
from ingest.readings import Lateness, Observation
from ingest.sources import Source
from ingest.sources_file import parse_sources
from tests.support.admission import ALARM, START, TELEMETRY, Desk, micros, record, stamp

GATEWAY = "ember/v1/shed/telemetry"
YEARS = 9 * 365 * 86_400

ENROL = """
sources:
  - {filter: "in/+/+", codec: json-map, site: "topic:2", device: "topic:3", enrol: true, time: "$.t",
     fields: {temperature: "$.v", smoke_alarm: "$.alarm.smoke"}}
  - {filter: "named/+", codec: json-map, site: $.site, device: $.device, enrol: true, fields: {temperature: "$.v"}}
  - {filter: "somewhere/+", codec: json-map, device: "topic:2", fields: {temperature: "$.v", smoke_alarm: "$.s"}}
"""


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_reading_of_a_registered_device_is_stored(desk: Desk) -> None:
    said = desk.hear(TELEMETRY, {"ts": stamp(9), "seq": 4, "temperature": 21, "smoke_alarm": False}, at=10)
    assert said.outcome is Outcome.STORED and said.reason is None and said.suspicion is None
    (reading,) = said.readings
    assert (reading.site, reading.device, reading.seq) == ("shed", "d1", 4)
    assert (reading.at, reading.received_at, reading.device_at) == (micros(9), micros(10), micros(9))
    assert (reading.values, reading.states, reading.late) == ({"temperature": 21.0}, {"smoke_alarm": False}, None)


def test_a_message_understood_without_a_reading_is_no_reading(desk: Desk) -> None:
    assert desk.hear("ember/v1/shed/d1/command/ack", {"id": "c1"}, at=0).outcome is Outcome.NO_READING
    assert desk.hear(TELEMETRY, {"light": 3}, at=1).outcome is Outcome.NO_READING
    assert desk.hear("ember/v1/shed/nobody/telemetry", [], at=2).outcome is Outcome.NO_READING


def test_each_reason_of_quarantine_says_what_is_wrong(desk: Desk) -> None:
    said = desk.hear("ember/v1/shed/ghost/telemetry", {"temperature": 20}, at=0)
    assert (said.outcome, said.reason) == (Outcome.QUARANTINED, Reason.UNKNOWN_DEVICE)
    assert said.detail == "device ghost is not registered at site shed"
    said = desk.hear("ember/v1/shed/b1/telemetry", {"temperature": 20}, at=1)
    assert (said.outcome, said.reason) == (Outcome.QUARANTINED, Reason.WRONG_SITE)
    assert said.detail == "device b1 speaks for site shed and is registered at barn"
    said = desk.hear(TELEMETRY, b"{", at=2)
    assert (said.reason, said.detail) == (Reason.UNDECODABLE, "not JSON: input data was truncated")
    said = desk.hear(TELEMETRY, b" " * (PAYLOAD_LIMIT + 1), at=3)
    assert (said.reason, said.detail) == (Reason.OVERSIZE, "262145 bytes; at most 262144 are read")
    said = desk.hear("zigbee2mqtt/x", {"smoke": False}, at=4)
    assert (said.reason, said.suspicion) == (Reason.NO_SOURCE, None)
    assert all(not admission.readings for admission in [said])


def test_the_largest_payload_that_is_read_is_read(desk: Desk) -> None:
    body = b'{"temperature":20}'.ljust(PAYLOAD_LIMIT)
    assert desk.hear(TELEMETRY, body, at=0).outcome is Outcome.STORED


# --- gateways: one outcome a message -----------------------------------------------------------------------------


def test_a_gateway_s_message_is_stored_for_the_devices_that_are_known(desk: Desk) -> None:
    items = [
        {"device": "ghost", "smoke_alarm": True},
        {"device": "d2", "temperature": 20},
        {"device": "b1", "temperature": 20},
        {"device": "d1", "temperature": 21},
    ]
    said = desk.hear(GATEWAY, items, at=0)
    assert said.outcome is Outcome.STORED and said.reason is None
    assert [reading.device for reading in said.readings] == ["d2", "d1"]
    assert said.detail == "device ghost is not registered at site shed; and 1 more readings of this message"
    assert said.suspicion is not None
    assert (said.suspicion.site, said.suspicion.device) == ("shed", "ghost")
    assert "smoke_alarm" in said.suspicion.why


def test_a_gateway_s_message_without_a_known_device_is_quarantined(desk: Desk) -> None:
    said = desk.hear(GATEWAY, [{"device": "g1", "temperature": 20}, {"device": "g2", "temperature": 20}], at=0)
    assert (said.outcome, said.reason, said.suspicion) == (Outcome.QUARANTINED, Reason.UNKNOWN_DEVICE, None)


def test_new_and_repeated_readings_of_one_message_are_counted_apart(desk: Desk) -> None:
    first = {"device": "d1", "ts": stamp(0), "temperature": 20}
    second = {"device": "d1", "ts": stamp(1), "temperature": 21}
    assert desk.hear(GATEWAY, [first], at=1).outcome is Outcome.STORED
    said = desk.hear(GATEWAY, [first, second], at=2)
    assert (said.outcome, said.duplicates, len(said.readings)) == (Outcome.STORED, 1, 1)
    said = desk.hear(GATEWAY, [first, second], at=3)
    assert (said.outcome, said.duplicates, said.readings) == (Outcome.DUPLICATE, 2, ())


# --- duplicates --------------------------------------------------------------------------------------------------


def test_the_same_device_time_and_content_is_a_duplicate_however_it_is_written(desk: Desk) -> None:
    assert desk.hear(TELEMETRY, b'{"ts":1777593600000,"temperature":20,"co":1}', at=1).outcome is Outcome.STORED
    said = desk.hear(TELEMETRY, b'{"co":1.0,"temperature":20.0,"ts":"2026-05-01T08:00:00+08:00"}', at=30)
    assert (said.outcome, said.duplicates) == (Outcome.DUPLICATE, 1)


@pytest.mark.parametrize(
    "change", [{"ts": stamp(0.001)}, {"temperature": 20.1}, {"seq": 2}, {"fault": False}, {"smoke_alarm": True}]
)
def test_another_time_content_or_seq_is_no_duplicate(desk: Desk, change: dict[str, object]) -> None:
    body = {"ts": stamp(0), "temperature": 20, "seq": 1}
    assert desk.hear(TELEMETRY, body, at=0).outcome is Outcome.STORED
    assert desk.hear(TELEMETRY, {**body, **change}, at=1).outcome is Outcome.STORED
    assert desk.hear(TELEMETRY, body, at=2).outcome is Outcome.DUPLICATE


def test_another_device_is_no_duplicate(desk: Desk) -> None:
    for device, site in (("d1", "shed"), ("d2", "shed"), ("d1", "barn")):
        said = desk.hear(f"ember/v1/{site}/{device}/telemetry", {"ts": stamp(0), "temperature": 20}, at=1)
        assert said.outcome is Outcome.STORED


def test_a_device_that_starts_its_seq_again_is_heard(desk: Desk) -> None:
    assert desk.hear(TELEMETRY, {"ts": stamp(0), "seq": 1, "temperature": 20}, at=0).outcome is Outcome.STORED
    assert desk.hear(TELEMETRY, {"ts": stamp(60), "seq": 1, "temperature": 20}, at=60).outcome is Outcome.STORED


def test_without_a_device_time_only_a_marked_repeat_of_the_same_bytes_is_a_duplicate(desk: Desk) -> None:
    same = {"temperature": 20}
    assert desk.hear(TELEMETRY, same, at=0, packet_id=7).outcome is Outcome.STORED
    assert desk.hear(TELEMETRY, same, at=10, packet_id=8).outcome is Outcome.STORED
    assert desk.hear(TELEMETRY, same, at=11, packet_id=8, dup=True).outcome is Outcome.DUPLICATE
    assert desk.hear(TELEMETRY, same, at=11, packet_id=8).outcome is Outcome.STORED  # packet ids come round again
    assert desk.hear(TELEMETRY, {"temperature": 21}, at=12, packet_id=8, dup=True).outcome is Outcome.STORED
    # marked, but the delivery it repeats never reached us
    assert desk.hear(TELEMETRY, same, at=13, packet_id=9, dup=True).outcome is Outcome.STORED


def test_a_slow_device_s_repeat_is_known_behind_any_number_of_other_messages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.repeats.GENERATION", 10)
    body = {"ts": stamp(0), "temperature": 20}
    desk.hear(TELEMETRY, body, at=0)
    for step in range(100):
        desk.hear("ember/v1/shed/d2/telemetry", {"ts": stamp(step), "temperature": step}, at=step)
        assert len(desk.memory.prints.young) <= 10 and len(desk.memory.prints.old) <= 10
    assert desk.hear(TELEMETRY, body, at=101).outcome is Outcome.DUPLICATE
    # of the other device's messages the window holds the last ten to twenty
    said = desk.hear("ember/v1/shed/d2/telemetry", {"ts": stamp(90), "temperature": 90}, at=102, dup=True)
    assert said.outcome is Outcome.DUPLICATE
    said = desk.hear("ember/v1/shed/d2/telemetry", {"ts": stamp(0), "temperature": 0}, at=102, dup=True)
    assert said.outcome is Outcome.STORED


def test_a_retained_copy_of_what_was_heard_is_a_duplicate(desk: Desk) -> None:
    body = {"ts": stamp(0), "temperature": 20}
    desk.hear(TELEMETRY, body, at=0)
    desk.hear(TELEMETRY, {"ts": stamp(5), "temperature": 20}, at=5)
    assert desk.hear(TELEMETRY, body, at=100, retain=True).outcome is Outcome.DUPLICATE


def test_a_second_fire_under_a_clock_that_stands_still_is_no_duplicate(desk: Desk) -> None:
    alarm, normal = {"ts": stamp(0), "smoke_alarm": True}, {"ts": stamp(0), "smoke_alarm": False}
    assert desk.hear(ALARM, alarm, at=0).outcome is Outcome.STORED
    assert desk.hear(ALARM, alarm, at=1).outcome is Outcome.DUPLICATE
    assert desk.hear(ALARM, normal, at=20).outcome is Outcome.STORED
    assert desk.hear(ALARM, alarm, at=40).outcome is Outcome.STORED


@pytest.mark.parametrize("mark", ["dup", "retain", "backlog"])
def test_a_fire_that_the_broker_repeats_behind_its_end_is_a_duplicate(desk: Desk, mark: str) -> None:
    desk.hear(ALARM, {"ts": stamp(0), "smoke_alarm": True}, at=0)
    desk.hear(ALARM, {"ts": stamp(20), "smoke_alarm": False}, at=20)
    said = desk.hear(ALARM, {"ts": stamp(0), "smoke_alarm": True}, at=40, **{mark: True})
    assert said.outcome is Outcome.DUPLICATE


def test_equal_readings_under_a_wrong_clock_that_stands_still_are_heard(desk: Desk) -> None:
    body = {"ts": "2000-01-01T00:00:00Z", "temperature": 20}
    assert desk.hear(TELEMETRY, body, at=0).outcome is Outcome.STORED
    assert desk.hear(TELEMETRY, body, at=1).outcome is Outcome.DUPLICATE
    for at in (10, 20, 30, 40, 100):
        said = desk.hear(TELEMETRY, body, at=at)
        assert said.outcome is Outcome.STORED
        assert said.readings[0].at == micros(at)


# --- suspected fires ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["smoke_alarm", "heat_alarm", "manual_alarm"])
def test_a_fire_state_of_an_unknown_device_is_suspicious(desk: Desk, state: str) -> None:
    said = desk.hear("ember/v1/shed/ghost/alarm", {state: True}, at=0)
    assert said.reason is Reason.UNKNOWN_DEVICE and said.suspicion is not None
    assert (said.suspicion.site, said.suspicion.device) == ("shed", "ghost")
    assert said.suspicion.why == f"unknown_device: {state} (device ghost is not registered at site shed)"


def test_a_fire_state_at_the_wrong_site_is_suspicious_at_the_topic_s_site(desk: Desk) -> None:
    said = desk.hear("ember/v1/shed/b1/alarm", {"smoke_alarm": True}, at=0)
    assert said.reason is Reason.WRONG_SITE and said.suspicion is not None
    assert (said.suspicion.site, said.suspicion.device) == ("shed", "b1")


@pytest.mark.parametrize(
    "body",
    [{"smoke_alarm": False}, {"temperature": 300}, {"fault": True}, {"smoke_alarm": True, "test": True}],
)
def test_an_unknown_device_that_says_no_fire_is_not_suspicious(desk: Desk, body: dict[str, object]) -> None:
    for topic in ("ember/v1/shed/ghost/alarm", "ember/v1/shed/ghost/telemetry"):
        said = desk.hear(topic, body, at=0)
        assert (said.outcome, said.suspicion) == (Outcome.QUARANTINED, None)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"smoke_alarm": true, "temperature": "x"}',
        b'{"smoke_alarm":1,"temperature":"x"}',
        b"{'heat_alarm' : True}",
        b"manual_alarm=on",
        b'{"smoke_alarm": tr',
        b'{"battery": 90, "smoke": true, "linkquality": ',
        b'{"type": "fire"',
        '{"内容": "火警"'.encode(),
        "火警".encode("gbk"),
        b'{"x": "\\u706b\\u8b66"',
        b"x" * 60_000 + b'"smoke_alarm":true',
    ],
)
def test_bytes_that_read_like_fire_are_suspicious(desk: Desk, payload: bytes) -> None:
    said = desk.hear(TELEMETRY, payload, at=0)
    assert said.reason is Reason.UNDECODABLE and said.suspicion is not None, said
    assert (said.suspicion.site, said.suspicion.device) == ("shed", "d1")
    assert said.suspicion.why.startswith("undecodable: its bytes read like ")


@pytest.mark.parametrize(
    "payload",
    [
        b'{"smoke": 0.01, "no_smoke": true, ',
        b'{"smoke": false',
        b"",
        b"{",
        b'{"smoke_alarm": false, "temperature": "x"}',
        b'{"smoke_alarm": 0, "heat_alarm":"off" "manual_alarm": null',
        b'{"fire": false',
        b'{"fire":0',
        b'{"smoke_alarm": 10',
        b'{"smoke_alarm": 1.5',
        b'{"fault": true',
        b"x" * 70_000 + b'"smoke_alarm":true',
    ],
)
def test_bytes_that_say_nothing_or_false_are_not_suspicious(desk: Desk, payload: bytes) -> None:
    said = desk.hear(TELEMETRY, payload, at=0)
    assert (said.reason, said.suspicion) == (Reason.UNDECODABLE, None)


def test_anything_broken_on_an_alarm_topic_is_suspicious_unless_it_says_false(desk: Desk) -> None:
    for payload in (b"", b"\xff\xfe", b'{"alarm": "yes"}', b'{"temperature": "x"}'):
        said = desk.hear(ALARM, payload, at=0)
        assert said.suspicion is not None and said.suspicion.why == "undecodable: it came on an alarm topic"
    assert desk.hear(ALARM, b'{"smoke_alarm": false, "ts": []}', at=0).suspicion is None


def test_an_oversize_or_sourceless_message_is_looked_at_too(desk: Desk) -> None:
    large = desk.hear(TELEMETRY, b'{"smoke_alarm":true}'.ljust(PAYLOAD_LIMIT + 1), at=0)
    assert large.reason is Reason.OVERSIZE and large.suspicion is not None
    lost = desk.hear("foreign/x", b'{"smoke_alarm":true}', at=0)
    assert lost.reason is Reason.NO_SOURCE and lost.suspicion is not None
    assert (lost.suspicion.site, lost.suspicion.device) == ("", "")
    alarm = desk.hear(ALARM, b"?", at=0, source="gone/#")
    assert alarm.reason is Reason.NO_SOURCE and alarm.suspicion is not None and alarm.suspicion.site == "shed"


def test_a_mapped_fire_state_is_found_under_its_own_name_in_broken_bytes() -> None:
    desk = Desk(ENROL)
    said = desk.hear("in/shed/d1", b'{"v": "x", "alarm": {"smoke": true}}', at=0)
    assert said.reason is Reason.UNDECODABLE and said.suspicion is not None
    assert (said.suspicion.site, said.suspicion.device) == ("shed", "d1")
    assert desk.hear("in/shed/d1", b'{"v": "x", "alarm": {"smoke": false}}', at=0).suspicion is None
    # a name of one letter is no sign
    assert desk.hear("somewhere/d2", b'{"v": "x", "s": true}', at=0).suspicion is None


# --- sources, enrolment, the site by inventory -------------------------------------------------------------------


def test_a_source_that_enrols_registers_unknown_devices() -> None:
    desk = Desk(ENROL)
    said = desk.hear("in/new/x1", {"v": 20}, at=0)
    assert said.outcome is Outcome.STORED
    assert desk.memory.inventory.devices[("new", "x1")].enrolled
    assert desk.hear("in/barn/d2", {"v": 20}, at=0).outcome is Outcome.STORED  # ids are unique within a site only


def test_an_allow_list_enrols_those_it_names_and_says_so_of_the_others() -> None:
    desk = Desk(ENROL.replace("enrol: true", 'enrol: ["x*", "barn/*"]', 1))
    assert desk.hear("in/new/x1", {"v": 20}, at=0).outcome is Outcome.STORED
    assert desk.hear("in/barn/y1", {"v": 20}, at=0).outcome is Outcome.STORED
    said = desk.hear("in/new/z1", {"v": 20, "alarm": {"smoke": True}}, at=1)
    assert (said.outcome, said.reason) == (Outcome.QUARANTINED, Reason.UNKNOWN_DEVICE)
    assert said.detail == "device z1 is not registered at site new, and not on the allow-list of its source"
    assert said.suspicion is not None
    loaded = Memory.load(desk.memory.dump())
    assert admit(desk.records[-1], loaded).reason is Reason.UNKNOWN_DEVICE


BEHIND = """
sources:
  - {filter: "z2m/+/+", codec: json-map, gateway: "topic:2", device: "topic:3", time: "$.t",
     fields: {temperature: "$.v", smoke_alarm: "$.alarm"}}
"""


def test_a_gateway_speaks_for_its_own_devices_for_itself_and_for_those_behind_none() -> None:
    desk = Desk(BEHIND)
    behind = [Device(id=name, site="shed", gateway=gateway) for name, gateway in [("h1", "g1"), ("g1", "g0")]]
    desk.memory.apply_inventory(InventoryDelta(devices=behind))
    for device in ("h1", "g1", "d2"):
        assert desk.hear(f"z2m/g1/{device}", {"v": 20, "t": stamp(0)}, at=0).outcome is Outcome.STORED
    said = desk.hear("z2m/g2/h1", {"v": 20, "t": stamp(1)}, at=1)
    assert (said.outcome, said.reason, said.suspicion) == (Outcome.QUARANTINED, Reason.WRONG_GATEWAY, None)
    assert (said.site, said.device) == ("shed", "h1")
    assert said.detail == "device h1 is registered behind gateway g1, and gateway g2 speaks for it"
    fire = desk.hear("z2m/g2/h1", {"alarm": True, "t": stamp(2)}, at=2)
    assert fire.suspicion is not None
    assert (fire.suspicion.site, fire.suspicion.device) == ("shed", "h1")


def test_names_that_cannot_be_keys_are_not_enrolled() -> None:
    desk = Desk(ENROL)
    for topic in ("in/a\x07b/x1", "in/shed/x\x01", "in/shed/"):
        said = desk.hear(topic, {"v": 20}, at=0)
        assert said.outcome is Outcome.QUARANTINED, topic
    said = desk.hear("named/x", {"site": "a/b", "device": "x1", "v": 20}, at=0)
    assert said.reason is Reason.UNKNOWN_DEVICE
    assert len(desk.memory.inventory.devices) == 4


def test_a_device_is_found_by_the_inventory_where_the_message_names_no_site() -> None:
    desk = Desk(ENROL)
    said = desk.hear("somewhere/d2", {"v": 20}, at=0)
    assert said.readings[0].site == "shed"
    said = desk.hear("somewhere/d1", {"v": 20, "s": True}, at=0)
    assert (said.reason, said.detail) == (
        Reason.UNKNOWN_DEVICE,
        "device d1 is registered at 2 sites, and nothing says which",
    )
    assert said.suspicion is not None and said.suspicion.site == ""
    assert desk.hear("somewhere/ghost", {"v": 20}, at=0).detail == "device ghost is not registered"


def test_new_sources_and_a_new_inventory_count_from_their_record_on(desk: Desk) -> None:
    ghost = "ember/v1/shed/ghost/telemetry"
    assert desk.hear(ghost, {"temperature": 20}, at=0).reason is Reason.UNKNOWN_DEVICE
    desk.memory.apply_inventory(InventoryDelta(devices=[Device(id="ghost", site="shed")]))
    assert desk.hear(ghost, {"temperature": 20}, at=1).outcome is Outcome.STORED
    assert desk.hear(ghost, {"ts": stamp(-YEARS), "temperature": 20}, at=1).outcome is Outcome.STORED
    desk.memory.apply_inventory(InventoryDelta(removed_devices=["shed/ghost"]))
    assert desk.hear(ghost, {"temperature": 20}, at=2).reason is Reason.UNKNOWN_DEVICE
    assert not desk.memory.prints.last and not desk.memory.clocks.wrong  # nothing is remembered of it
    desk.memory.apply_sources(parse_sources(ENROL, "sources.yaml"))
    assert desk.hear(ghost, {"temperature": 20}, at=3).reason is Reason.NO_SOURCE


# --- memory ------------------------------------------------------------------------------------------------------


def _busy(desk: Desk) -> None:
    desk.hear(TELEMETRY, {"ts": stamp(0), "temperature": 20}, at=0)
    desk.hear(TELEMETRY, {"temperature": 20}, at=1, packet_id=3)
    desk.hear(ALARM, {"ts": stamp(2 - YEARS), "smoke_alarm": True}, at=2)
    desk.hear("ember/v1/barn/d1/telemetry", {"ts": stamp(3 + YEARS), "temperature": 20}, at=3)
    desk.hear(GATEWAY, [{"device": "d2", "ts": stamp(i), "temperature": i} for i in range(5)], at=5)


@pytest.mark.parametrize("generation", [3, 100])
def test_a_dumped_memory_goes_on_as_if_nothing_had_happened(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, generation: int
) -> None:
    monkeypatch.setattr("ingest.repeats.GENERATION", generation)
    _busy(desk)
    loaded = Memory.load(desk.memory.dump())
    assert loaded.dump() == desk.memory.dump()
    assert loaded.inventory.devices == desk.memory.inventory.devices
    assert loaded.sources == desk.memory.sources
    more = [
        ({"ts": stamp(0), "temperature": 20}, {}),
        ({"temperature": 20}, {"packet_id": 3, "dup": True}),
        ({"ts": stamp(8 - YEARS), "smoke_alarm": True}, {}),
    ]
    for index, (body, headers) in enumerate(more):
        said = desk.hear(TELEMETRY, body, at=9 + index, **headers)
        assert admit(desk.records[-1], loaded) == said
        assert loaded.dump() == desk.memory.dump()


def test_two_memories_fed_alike_are_alike_to_the_byte() -> None:
    writer, evaluator = Desk(ENROL), Desk(ENROL)
    for desk in (writer, evaluator):
        for step in range(50):
            desk.hear(f"in/s{step % 3}/x{step % 7}", {"t": stamp(step), "v": step}, at=step)
    assert writer.memory.dump() == evaluator.memory.dump()


def test_admit_takes_any_record_with_a_time_headers_and_a_value(desk: Desk) -> None:
    message = Message(topic=TELEMETRY, source="ember/v1/+/+/telemetry", received_at=START)
    said = admit(record(message, b'{"temperature":20}', START), desk.memory)
    assert said.readings[0].late is not Lateness.BACK_FILL and said.outcome is Outcome.STORED


def test_what_a_codec_remembers_is_dumped_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
        heard = memory["heard"] = cast(int, memory.get("heard", 0)) + 1
        return Decoded(observations=(Observation(device="d1", site="shed", values={"co": float(heard)}),))

    monkeypatch.setitem(CODECS, "ember-json", counting)
    desk.memory.apply_sources(desk.sources)
    assert desk.hear(TELEMETRY, {}, at=0).readings[0].values == {"co": 1}
    loaded = Memory.load(desk.memory.dump())
    assert admit(desk.records[-1], loaded).readings[0].values == {"co": 2}
    assert desk.hear(TELEMETRY, {}, at=1).readings[0].values == {"co": 2}
    desk.memory.apply_sources(desk.sources)  # and new sources do not make it forget
    assert desk.hear(TELEMETRY, {}, at=2).readings[0].values == {"co": 3}
