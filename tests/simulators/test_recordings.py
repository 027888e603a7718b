"""Recordings: bytes as they were, times and ids as asked, fires where they belong. No broker."""

from __future__ import annotations

import gzip
import json
import threading
import zipfile
from pathlib import Path

import pytest

from ingest.errors import OperatorError
from ingest.readings import SECOND
from ingest.readings_file import FileRow, write_readings
from simulators.tapes.fields import Fields
from simulators.tapes.recording import Recording
from simulators.tapes.replay import id_map
from simulators.tapes.tapes import FIRE_TOPIC, Fires, RawTape, ReadingsTape, fill
from simulators.tapes.times import TimeMap, TimeMode
from simulators.wire.messages import Outgoing
from simulators.wire.pace import Pace
from tests.support.data import recorded

NOW = 1_800_000_000 * SECOND
RAW = b'[ {"ts": 100.5, "device_id":"a:1", "data":{"temp":2.50e1}},\n {"device_id":"b","ts":101.0}]'
NO_FIRES = Fires(sites=[], topic=FIRE_TOPIC, seed=1)


def times(mode: TimeMode = TimeMode.ORIGINAL, *, speed: float = 1.0, moved: int = 0) -> TimeMap:
    first = 100 * SECOND + SECOND // 2
    pace = Pace(now=lambda: NOW, stop=threading.Event(), origin=first, speed=speed)
    return TimeMap(mode=mode, first=first, moved=moved, pace=pace)


def tape(
    path: Path, *, ids: dict[str, str] | None = None, fires: Fires = NO_FIRES, topic: str = "r/{device_id}"
) -> RawTape:
    return RawTape(path, topic=topic, ids=ids or {}, fields=Fields(id_field="device_id"), fires=fires)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "raw.json"
    path.write_bytes(RAW)
    return path


def test_each_message_is_published_byte_for_byte(raw: Path) -> None:
    told = list(tape(raw).messages(times()))
    assert [m.payload for m in told] == [
        b'{"ts": 100.5, "device_id":"a:1", "data":{"temp":2.50e1}}',
        b'{"device_id":"b","ts":101.0}',
    ]
    assert [m.topic for m in told] == ["r/a:1", "r/b"]
    assert [m.at for m in told] == [100_500_000, 101_000_000]


def test_archives_and_json_lines_hold_the_same(raw: Path, tmp_path: Path) -> None:
    lines = b"\n".join(
        [b'{"ts": 100.5, "device_id":"a:1", "data":{"temp":2.50e1}}', b"", b'{"device_id":"b","ts":101.0}']
    )
    (tmp_path / "raw.jsonl").write_bytes(lines)
    (tmp_path / "raw.json.gz").write_bytes(gzip.compress(RAW))
    with zipfile.ZipFile(tmp_path / "raw.json.zip", "w") as archive:
        archive.writestr("raw.json", RAW)
    for name in ("raw.jsonl", "raw.json.gz", "raw.json.zip"):
        assert [m.raw for m in Recording(tmp_path / name)] == [m.raw for m in Recording(raw)]


def test_a_changed_id_is_written_anew_and_others_are_not(raw: Path) -> None:
    first, second = tape(raw, ids={"a:1": "head-1"}).messages(times())
    assert json.loads(first.payload) == {"ts": 100.5, "device_id": "head-1", "data": {"temp": 25.0}}
    assert (first.topic, first.device) == ("r/head-1", "head-1")
    assert second.payload == b'{"device_id":"b","ts":101.0}'


def test_times_shift_to_now_or_scale_with_the_speed(raw: Path) -> None:
    shifted = [json.loads(m.payload)["ts"] for m in tape(raw).messages(times(TimeMode.SHIFT_TO_NOW))]
    assert shifted == [NOW / SECOND, NOW / SECOND + 0.5]
    scaled = [json.loads(m.payload)["ts"] for m in tape(raw).messages(times(TimeMode.SCALE, speed=5))]
    assert scaled == [NOW / SECOND, NOW / SECOND + 0.1]
    second_round = times(TimeMode.SHIFT_TO_NOW, moved=60 * SECOND)
    assert next(json.loads(m.payload)["ts"] for m in tape(raw).messages(second_round)) == NOW / SECOND + 60


@pytest.mark.parametrize(
    ("recorded_ts", "stated"), [("100", 160), ('"1970-01-01T00:01:40Z"', "1970-01-01T00:02:40+00:00")]
)
def test_a_moved_time_keeps_its_form(recorded_ts: str, stated: object, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(f'[{{"device_id":"a","ts":{recorded_ts}}}]')
    pace = Pace(now=lambda: 160 * SECOND, stop=threading.Event(), origin=100 * SECOND)
    shift = TimeMap(mode=TimeMode.SHIFT_TO_NOW, first=100 * SECOND, moved=0, pace=pace)
    assert json.loads(next(tape(path).messages(shift)).payload)["ts"] == stated


def test_three_fires_are_spread_over_the_recording_in_order_of_time() -> None:
    path = recorded("iot_telemetry/raw_data_xlarge.json.zip")
    mixed = tape(path, fires=Fires(sites=["a", "b", "c"], topic=FIRE_TOPIC, seed=1))
    told = list(mixed.messages(times()))
    fires = [m for m in told if m.topic.count("/") == 2]
    assert len(told) == len(mixed) == 50_270 + len(fires)
    assert [m.at for m in told] == sorted(m.at for m in told)
    assert {m.topic for m in fires} == {
        f"recording/{s}/fire-{n}-h{h}" for n, s in enumerate("abc", 1) for h in (1, 2, 3)
    }
    first, last = mixed.span()
    for number, site in enumerate("abc", start=1):
        alarms = [m.at for m in fires if m.site == site and json.loads(m.payload)["data"]["smoke_alarm"]]
        assert abs(min(alarms) - (first + (last - first) * number // 4)) < 15 * SECOND
    own = [m.payload for m in told if m.topic.count("/") == 1]
    assert own == [m.raw for m in Recording(path)]


def test_the_real_recording_is_read_whole() -> None:
    recording = Recording(recorded("iot_telemetry/raw_data_xlarge.json.zip"))
    assert len(recording) == 50_270
    assert recording.span() == (1_594_598_424_502_334, 1_594_685_070_381_223)
    assert len({message.body["device_id"] for message in recording}) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{]", "not a JSON array"),
        ("[]", "no messages in it"),
        ('{"ts":1}\nnot json', "message 2: not JSON"),
        ("[1]", "message 1: not a JSON object"),
        ('[{"ts":1},{"time":1}]', "message 2: no time in ts; name the field that holds it with --time-field"),
        ('[{"ts":"noon"}]', "message 1: ts: 'noon' is no time"),
        ('[{"ts":1}]', "--topic r/{device_id}: a message has no device_id; it has ts"),
        ('[{"ts":1,"device_id":"a/b"}]', "device_id is a/b, but / + # cannot be in a topic level"),
    ],
)
def test_what_is_wrong_in_a_recording_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(OperatorError) as caught:
        list(tape(path).messages(times()))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_archives_and_missing_files_are_one_line(tmp_path: Path) -> None:
    for name in ("x.zip", "x.json.gz"):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(OperatorError, match="broken archive"):
            Recording(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "locked.zip", "w") as archive:
        archive.writestr("x.json", RAW)
    data = bytearray((tmp_path / "locked.zip").read_bytes())
    data[6] |= 1  # says that it has a password
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(OperatorError, match=r"cannot be unpacked: .*password"):
        Recording(tmp_path / "locked.zip")
    with pytest.raises(OperatorError, match="no such file or directory; name a readable file"):
        Recording(tmp_path / "none.json")


def test_topics_take_fields_inside_fields() -> None:
    assert fill("x/{data.room}/{id}", {"data": {"room": 7}, "id": "d"}) == "x/7/d"
    assert fill("x/{a.b}", {"a.b": 1}) == "x/1"
    with pytest.raises(OperatorError, match=r"--topic x/#: topic 'x/#' has a wildcard"):
        fill("x/#", {})


def test_ids_are_mapped_by_words_or_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("old,new\na,b\nc:1,d\n")
    assert id_map(str(path)) == {"a": "b", "c:1": "d"} == id_map("a=b,c:1=d")
    path.write_text("old,new\na,\n")
    (tmp_path / "none.csv").write_text("old,new\n")
    for wrong in (str(path), "a=", "nofile.csv", str(tmp_path / "none.csv")):
        with pytest.raises(OperatorError, match=r"ids.csv:2|--id-map|none.csv: no ids in it"):
            id_map(wrong)


def rows_as_messages(path: Path) -> list[Outgoing]:
    return list(ReadingsTape(path, topic="", ids={"d2": "new"}).messages(times()))


def test_a_readings_file_becomes_native_messages(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write_readings(
        path,
        [
            FileRow(at=SECOND, site="s", device="d1", values={"temperature": 20.5}, states={"smoke_alarm": False}),
            FileRow(at=SECOND + 1, site="s", device="d1", states={"smoke_alarm": True, "tamper": True}),
            FileRow(at=SECOND + 2, site="s", device="d1", states={"smoke_alarm": True}),
            FileRow(at=SECOND + 3, site="s", device="d2", states={"heat_alarm": True}),
            FileRow(at=SECOND + 4, site="s", device="d1", states={"smoke_alarm": False}),
        ],
    )
    told = rows_as_messages(path)
    assert [m.topic for m in told] == [
        f"ember/v1/s/{tail}" for tail in ("d1/telemetry", "d1/alarm", "d1/telemetry", "new/alarm", "d1/alarm")
    ]
    assert json.loads(told[0].payload) == {"ts": "1970-01-01T00:00:01Z", "temperature": 20.5, "smoke_alarm": False}
    assert json.loads(told[1].payload) == {"ts": "1970-01-01T00:00:01.000001Z", "smoke_alarm": True, "tamper": True}


def test_a_row_that_cannot_be_moved_so_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("time,device\n9999-12-31T23:00:00Z,a\n")
    with pytest.raises(OperatorError, match="a time cannot be moved so far"):
        list(ReadingsTape(path, topic="", ids={}).messages(times(TimeMode.SHIFT_TO_NOW)))


def test_a_device_that_cannot_be_a_topic_level_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("time,device\n1,a\n2,a/b\n")
    with pytest.raises(OperatorError, match=r"r\.csv:3: device 'a/b' cannot be a topic level"):
        rows_as_messages(path)
