"""GB/T 26875.3: every published frame with its meaning, and what golden folders cannot show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codecs.contract import PAYLOAD_LIMIT, Decoded
from ingest.codecs.gb26875 import decode
from ingest.codecs.gb26875_frame import (
    FRAME_LIMIT,
    SEND,
    UNIT_LIMIT,
    Frame,
    build,
    moment,
    next_span,
    read_frame,
    time_label,
)
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import iso
from ingest.sources import Source
from tests.support.data import published_frames
from tests.support.hostile import affordable

SOURCE = Source(filter="gb26875/#", codec="gb26875")
SENT = bytes((5, 9, 9, 27, 7, 26))
ADDRESS = bytes.fromhex("790300000000")

#: Label in sample_frames.txt → (device, Beijing time, values, states) of each observation.
MEANINGS: dict[str, list[tuple[str, str, dict[str, float], dict[str, bool]]]] = {
    "dgiot/shootingfans fire A区1层": [
        ("000000000000-1.3-217.6", "2020-08-01 19:18:48", {}, {"smoke_alarm": True, "fault": False})
    ],
    "dgiot photoelectric smoke fire": [
        ("2c312c320000-1.1-1.1", "2012-06-01 03:17:37", {}, {"smoke_alarm": True, "fault": False})
    ],
    "dgiot heartbeat a": [("000000000000", "2022-03-03 09:30:08", {}, {"online": True})],
    "dgiot heartbeat b req": [("000000000000", "2021-06-03 14:17:10", {}, {"online": True})],
    "dgiot heartbeat b ack": [],
    "dgiot type24 op record": [("000000000000", "2022-03-03 17:15:22", {}, {"muted": True})],
    "doc smoke fire": [("790300000000-1.1-10.2", "2012-09-26 09:58:02", {}, {"smoke_alarm": True, "fault": False})],
    "doc ack": [],
    "doc deny": [],
    "doc main power fault": [
        ("790300000000", "2012-09-26 09:58:02", {}, {"smoke_alarm": False, "fault": False, "mains_lost": True})
    ],
    "doc duty-check reply": [("790300000000", "2012-09-26 09:58:02", {}, {})],
    "doc sw version": [],
    "doc utd time": [],
    "doc sync time": [],
    "doc duty check cmd": [],
    "doc read utd status": [],
    "constructed analog 80.0C": [
        ("790300000000-1.2-513.1027", "2021-07-02 09:00:04", {"temperature": 80.0}, {}),
    ],
}


def decoded(payload: bytes, source: Source = SOURCE, topic: str = "-") -> Decoded:
    return decode(Message(topic=topic, source=source.filter, received_at=0), payload, source, {})


def outcome(payload: bytes) -> Decoded | None:
    """None where the payload is refused, as it should be: on one line."""
    try:
        return decoded(payload)
    except Undecodable as error:
        assert str(error).isprintable() and len(str(error)) < 200
        return None


def frame(unit: bytes = b"", *, serial: int = 1, command: int = SEND, source: bytes = ADDRESS) -> bytes:
    return build(Frame(serial=serial, sent=SENT, source=source, destination=bytes(6), command=command, unit=unit))


@pytest.mark.parametrize("label", MEANINGS)
def test_a_published_frame_means_what_its_source_says(label: str) -> None:
    found = [
        (item.device, _beijing(item.observed_at), item.values, item.states)
        for item in decoded(published_frames()[label]).observations
    ]
    assert found == MEANINGS[label]


def test_no_published_frame_is_without_a_meaning() -> None:
    assert published_frames().keys() == MEANINGS.keys()


def test_all_published_frames_in_one_message_say_what_they_say_alone() -> None:
    together = decoded(b"".join(published_frames().values())).observations
    alone = {(device, at) for meaning in MEANINGS.values() for device, at, _, _ in meaning}
    assert {(item.device, _beijing(item.observed_at)) for item in together} == alone
    assert len(together) == len(alone)


@pytest.mark.parametrize(
    "label", [label for label in MEANINGS if label not in ("dgiot heartbeat b ack", "doc deny", "doc ack")]
)
def test_a_published_frame_with_one_bit_turned_over_is_refused(label: str) -> None:
    whole = bytearray(published_frames()[label])
    whole[-3] ^= 1
    with pytest.raises(Undecodable, match="wrong checksum"):
        decoded(bytes(whole))


@pytest.mark.parametrize("label", MEANINGS)
def test_a_published_frame_that_ends_too_soon_is_refused(label: str) -> None:
    for size in range(len(published_frames()[label])):
        assert outcome(published_frames()[label][:size]) is None


def test_a_frame_is_read_as_it_was_built() -> None:
    for label, raw in published_frames().items():
        found = read_frame(raw, 0, len(raw))
        assert found.sum_ok == (label != "dgiot heartbeat b ack")
        assert build(found)[:-3] == raw[:-3]


def test_history_is_marked_only_where_the_centre_asked_for_records() -> None:
    record = bytes((24, 1, 2, 1)) + SENT
    assert [item.historical for item in decoded(frame(record, command=5)).observations] == [True]
    assert [item.historical for item in decoded(frame(record)).observations] == [False]


def test_a_time_label_is_local_time_of_its_zone() -> None:
    at = moment(SENT, "Asia/Shanghai")
    assert at is not None and iso(at) == "2026-07-27T01:09:05.000Z"
    assert time_label(at, "+08:00") == SENT


def test_a_longest_unit_is_read_and_a_longer_one_is_no_frame() -> None:
    longest = frame(bytes((5,)) + bytes(UNIT_LIMIT - 1))
    assert len(longest) == FRAME_LIMIT and next_span(longest, 0) == (0, FRAME_LIMIT)
    assert next_span(frame(bytes(UNIT_LIMIT + 1)), 0) is None


@pytest.mark.parametrize(
    "piece",
    [
        b"@",
        b"@@\0",
        b"@@" + bytes(22) + b"\xff\x03\x00",
        b"@@" + bytes(22) + b"\0\0\2\0##",
        b"40 ",
        frame(),
        frame(bytes((1, 102)) + b"".join(bytes((1, index, 5, 0)) + SENT for index in range(102))),
        frame(bytes((2, 22)) + b"".join(bytes((1, 1, 40, index)) + bytes(36) + SENT for index in range(22))),
    ],
    ids=["@", "starts", "wrong ends", "wrong sums", "hex", "keep-alives", "systems", "components"],
)
def test_no_payload_takes_long(piece: bytes) -> None:
    payload = piece * (PAYLOAD_LIMIT // len(piece))
    assert affordable(lambda: outcome(payload))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_understood(payload: bytes) -> None:
    outcome(payload)


@given(unit=st.binary(max_size=120), command=st.integers(0, 255), zone=st.sampled_from(["UTC", "Asia/Shanghai"]))
def test_any_unit_in_a_right_frame_is_refused_or_understood(unit: bytes, command: int, zone: str) -> None:
    source = Source(filter="#", codec="gb26875", zone=zone, fields={"smoke_raw": "130"})
    try:
        found = decoded(frame(unit, command=command), source).observations
    except Undecodable:
        return
    assert not found or command in (2, 5)


@given(flag=st.sampled_from([1, 2, 3, 4, 21, 24]), objects=st.binary(max_size=200), count=st.integers(0, 30))
def test_any_object_of_a_known_type_is_refused_or_understood(flag: int, objects: bytes, count: int) -> None:
    found = outcome(frame(bytes((flag, count)) + objects))
    if found is not None:
        assert found.observations


@given(st.data())
def test_a_mutated_frame_is_refused_or_understood(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(sorted(published_frames().values()))))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    outcome(bytes(raw) + data.draw(st.binary(max_size=40)))


def _beijing(at: int | None) -> str:
    assert at is not None
    return iso(at + 8 * 3600 * 1_000_000)[:19].replace("T", " ")
