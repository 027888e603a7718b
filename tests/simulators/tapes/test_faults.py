"""`faults`: from file to file of the same kind."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ingest.readings import SECOND
from ingest.readings_file import FileRow, read_readings, write_readings
from simulators.__main__ import main
from simulators.tapes.recording import Recording
from simulators.tapes.tapefile import Properties, Taped, TapeWriter, read_tape, read_unheard

MESSAGES = [
    Taped(
        at=n * SECOND,
        topic=f"ember/v1/s/d{n % 2}/telemetry",
        payload=json.dumps({"ts": n, "seq": n}).encode(),
        qos=n % 3,
        retain=n == 1,
        properties=Properties(content_type="application/json") if n == 2 else None,
    )
    for n in range(1, 11)
]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "in.tape"
    with TapeWriter(path) as tape:
        tape.unheard(1, 2)
        for message in MESSAGES:
            tape.put(message)
    return path


def faults(*arguments: object) -> int:
    return main(["faults", *map(str, arguments)])


def test_a_tape_becomes_a_tape_and_every_deed_is_listed(
    tape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, done = tmp_path / "out.tape", tmp_path / "done.jsonl"
    what = (
        "--drop",
        3,
        "--double",
        "4",
        "--delay",
        "5:1.5",
        "--corrupt",
        "6@*/d0/*",
        "--gap",
        "8:1",
        "--skew",
        "d0:60",
    )
    assert faults(tape, out, *what, "--done", done) == 0
    assert capsys.readouterr().out == (
        "faults: 10 in, 9 out; faults: drop 1, gap 1, double 1, delay 1, corrupt 1, skew 5\n"
    )
    left = list(read_tape(out))
    assert [round(message.at / SECOND, 1) for message in left] == [1, 2, 4, 4, 6, 6.5, 7, 8, 10]
    assert left[0] == MESSAGES[0]
    assert json.loads(left[1].payload)["ts"] == 62
    assert left[1].properties == MESSAGES[1].properties
    assert left[2] == left[3]
    assert left[4].payload.endswith(b"\xff")
    deeds = [json.loads(line) for line in done.read_text().splitlines()]
    assert {deed["number"] for deed in deeds if deed["what"] == "skew"} == {2, 4, 6, 8, 10}
    assert {"number": 3, "name": "ember/v1/s/d1/telemetry", "what": "drop"} in deeds
    assert {"number": 9, "name": "ember/v1/s/d1/telemetry", "what": "gap"} in deeds
    assert {"number": 5, "name": "ember/v1/s/d1/telemetry", "what": "delay", "seconds": 1.5} in deeds
    assert read_unheard(out) == [(1, 2)]


def test_without_faults_a_tape_stays_what_it_is(tape: Path, tmp_path: Path) -> None:
    assert faults(tape, tmp_path / "out.tape") == 0
    assert list(read_tape(tmp_path / "out.tape")) == MESSAGES


def test_a_readings_file_becomes_one_of_any_form(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    write_readings(
        path, [FileRow(at=n * SECOND, site="s", device="d", values={"temperature": float(n)}) for n in range(1, 9)]
    )
    assert faults(path, tmp_path / "out.parquet", "--drop", "1-2", "--delay", "3:2.5", "--double", "8") == 0
    assert [row.values["temperature"] for row in read_readings(tmp_path / "out.parquet")] == [4, 5, 3, 6, 7, 8, 8]


@pytest.mark.parametrize("name", ["out.json", "out.json.gz"])
def test_a_raw_recording_keeps_its_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text('[{"device_id": "a", "ts": 1.50},\n {"device_id":"b","ts":2},{"device_id":"a","ts":3}]')
    assert faults(path, tmp_path / name, "--drop", "2") == 0
    assert [m.raw for m in Recording(tmp_path / name)] == [
        b'{"device_id": "a", "ts": 1.50}',
        b'{"device_id":"a","ts":3}',
    ]


def test_a_raw_recording_has_clocks_where_its_fields_say(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id":"a","t":1}\n{"id":"b","t":2}\n')
    fields = ("--id-field", "id", "--time-field", "t")
    assert faults(path, tmp_path / "out.json", "--skew", "b:60", *fields) == 0
    assert [m.body["t"] for m in Recording(tmp_path / "out.json", time_field="t")] == [1, 62]


def test_gzip_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text('[{"device_id":"a","ts":1}]')
    for name in ("x.json.gz", "y.json.gz"):
        assert faults(path, tmp_path / name) == 0
    assert (tmp_path / "x.json.gz").read_bytes() == (tmp_path / "y.json.gz").read_bytes()
    assert gzip.decompress((tmp_path / "x.json.gz").read_bytes()) == b'[\n{"device_id":"a","ts":1}\n]\n'


def test_what_cannot_be_is_one_line(tape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "in.csv"
    rows.write_text("time,device,temperature\n1,d,20\n")
    raw = tmp_path / "in.json"
    raw.write_text('[{"device_id":"a","ts":1}]')
    deep = tmp_path / "deep.json"
    deep.write_text('{"device_id":' * 5_000)
    far = tmp_path / "far.json"
    far.write_text('{"device_id":"a","ts":"9999-12-31T23:59:00Z"}')
    late = tmp_path / "late.csv"
    late.write_text("time,device,temperature\n9999-12-31T23:59:00Z,d,20\n")
    for arguments, said in (
        ((tape, tmp_path / "o.tape", "--done", "/dev/full", "--drop", "1"), "--done /dev/full: no space left"),
        ((rows, tmp_path / "o.csv", "--time-field", "t"), "--time-field t: a readings file has its columns"),
        ((raw, tmp_path / "o.json.zip"), "o.json.zip: no archive is made; name it .json, or .json.gz"),
        ((deep, tmp_path / "o.json"), "deep.json: message 1: not JSON: "),
        ((far, tmp_path / "o.json", "--skew", "a:3600"), "a time cannot be moved so far"),
        ((rows, tmp_path / "o.csv", "--corrupt", "1"), "a readings file cannot hold what is unreadable"),
        ((raw, tmp_path / "o.json", "--corrupt", "1"), "a raw-json file cannot hold what is unreadable"),
        ((tmp_path / "none.tape", tmp_path / "o.tape"), "none.tape: no such file or directory; name a tape"),
        ((tmp_path / "none.csv", tmp_path / "o.csv"), "none.csv: no such file or directory; name a readable file"),
        ((late, tmp_path / "o.csv", "--skew", "d:3600"), "a time cannot be moved so far"),
        ((rows, tmp_path / "o.tape"), "not a readings file by its name"),
        ((tape, "/nowhere/o.tape"), "OUT /nowhere/o.tape: no such file or directory; name a file to write to"),
        ((raw, "/nowhere/o.json"), "OUT /nowhere/o.json: no such file or directory; name a file to write to"),
        ((tape, tmp_path / "o.tape", "--done", "/nowhere/d"), "--done /nowhere/d: no such file or directory"),
    ):
        assert faults(*arguments) == 1
        complaint = capsys.readouterr().err
        assert said in complaint
        assert complaint.count("\n") == 1


def test_nothing_is_written_over_what_is_read(tape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link, old, out = tmp_path / "link.tape", tmp_path / "old.tape", tmp_path / "o.tape"
    link.symlink_to(tape)
    old.write_bytes(tape.read_bytes())
    for arguments, said in (
        ((tape, tape), "OUT "),
        ((tape, link), "OUT "),
        ((tape, out, "--done", tape), "--done "),
        ((tape, out, "--done", out), "--done "),
    ):
        assert faults(*arguments) == 1
        complaint = f"{said}{arguments[-1]}: is a file of this command already; name another to write to\n"
        assert capsys.readouterr().err == f"simulators: {complaint}"
    assert faults(tmp_path / "none.tape", old) == 1
    assert list(read_tape(tape)) == list(read_tape(old)) == MESSAGES
