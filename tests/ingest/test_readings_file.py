"""Readings files: what is written is read back, and what is wrong is said in one line."""

from __future__ import annotations

import gzip
import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import OperatorError
from ingest.readings import QUANTITIES, STATES, from_datetime
from ingest.readings_file import CHUNK, FileRow, parse_time, read_readings, write_readings

ENDINGS = ("csv", "csv.gz", "jsonl", "jsonl.gz", "parquet")
T0 = 1_594_512_094_385_974

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
file_rows = st.builds(
    FileRow,
    at=st.integers(from_datetime(datetime(1, 1, 2, tzinfo=UTC)), from_datetime(datetime(9999, 12, 30, tzinfo=UTC))),
    site=names,
    device=names,
    values=st.dictionaries(st.sampled_from(sorted(QUANTITIES)), finite, max_size=4),
    states=st.dictionaries(st.sampled_from(STATES), st.booleans(), max_size=4),
)


def content(rows: list[FileRow]) -> list[FileRow]:
    return [msgspec.structs.replace(row, line=0) for row in rows]


def read(path: Path) -> list[FileRow]:
    return list(read_readings(path))


def one_line(path: Path) -> str:
    with pytest.raises(OperatorError) as caught:
        read(path)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(path))
    return said.removeprefix(str(path))


def csv_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "readings.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows=st.lists(file_rows, max_size=8))
def test_what_is_written_is_read_back_exactly(ending: str, rows: list[FileRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"readings.{ending}"
        assert write_readings(path, rows) == len(rows)
        assert content(read(path)) == rows


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_rows_give_the_same_bytes(ending: str, tmp_path: Path) -> None:
    rows = [FileRow(at=T0 + i, site="s", device="d", values={"temperature": i / 3}) for i in range(50)]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_readings(tmp_path / folder / f"r.{ending}", rows)
    if ending.endswith(".gz"):
        assert (tmp_path / "a" / f"r.{ending}").read_bytes()[4:8] == bytes(4)  # no time of writing in the header
    assert (tmp_path / "a" / f"r.{ending}").read_bytes() == (tmp_path / "b" / f"r.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_longer_than_a_chunk_keep_their_order_and_line_numbers(ending: str, tmp_path: Path) -> None:
    count = CHUNK * 2 + 7
    path = tmp_path / f"long.{ending}"
    write_readings(path, (FileRow(at=T0 + i, site="s", device="d", values={"co": 1.0}) for i in range(count)))
    rows = read(path)
    assert [row.at for row in rows] == list(range(T0, T0 + count))
    first = 2 if ending.startswith("csv") else 1
    assert [row.line for row in rows] == list(range(first, first + count))


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-05-01T08:00:00+08:00", 1_777_593_600_000_000),
        ("2026-05-01T00:00:00.000001Z", 1_777_593_600_000_001),
        ("1594512094.385974", T0),
        ("1594512094.3859746", T0 + 1),  # to the nearest microsecond
        ("1594512094385.974", T0),  # milliseconds
        ("99999999999", 99_999_999_999_000_000),
        ("100000000000", 100_000_000_000_000),
        ("1.594512094e9", 1_594_512_094_000_000),
        ("-1", -1_000_000),
        ("0", 0),
    ],
)
def test_times_are_exact_to_the_microsecond(text: str, micros: int) -> None:
    assert parse_time(text) == micros


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-05-01T08:00:00", "2026-05-01", "nan", "inf", "1e999999999", "-1e999999999", "1_0", "١"],
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|no time|empty"):
        parse_time(text)


def test_empty_cells_are_not_reported(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "time,site,device,temperature,smoke_alarm\n1,s,d,,\n2,s,d,21.5,\n3,s,d,,True\n")
    assert [(row.values, row.states) for row in read(path)] == [
        ({}, {}),
        ({"temperature": 21.5}, {}),
        ({}, {"smoke_alarm": True}),
    ]


@pytest.mark.parametrize(("text", "state"), [("true", True), ("FALSE", False), ("1", True), ("0", False)])
def test_states_take_true_false_1_0(text: str, state: bool, tmp_path: Path) -> None:
    assert read(csv_file(tmp_path, f"time,device,fault\n1,d,{text}\n"))[0].states == {"fault": state}


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("\ufefftime,device,temperature\r\n1,棚一,20\r\n\r\n2,棚一,21\r\n\r\n".encode())
    assert [(row.line, row.device, row.values["temperature"]) for row in read(path)] == [
        (2, "棚一", 20.0),
        (4, "棚一", 21.0),
    ]


def test_a_file_without_sites_is_one_site(tmp_path: Path) -> None:
    for text in ("time,device\n1,d\n", "time,site,device\n1,,d\n2,,d\n"):
        assert {row.site for row in read(csv_file(tmp_path, text))} == {"site"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: empty; "),
        (
            "time,device,temprature\n",
            ":1: temprature: unknown column; did you mean temperature? known: time, site,",
        ),
        ("time,device,Temperature\n", ":1: Temperature: unknown column; did you mean temperature? known: "),
        ("time,device,co,co\n", ":1: co: the column is there twice"),
        ("device,co\n", ":1: time: the column is missing; "),
        ("time,co\n", ":1: device: the column is missing; "),
        ("time,device,co\n1,d,2\nlater,d,2\n", ":3: time: 'later' is no time; write ISO 8601 "),
        ("time,device,co\n2026-05-01T08:00:00,d,2\n", ":2: time: 2026-05-01T08:00:00 has no zone; write "),
        ("time,device,co\n,d,2\n", ":2: time: empty; "),
        ("time,device,co\n1,,2\n", ":2: device: empty; name the device that reported"),
        ("time,device,co\n1, d,2\n", ":2: device: ' d' is no id; "),
        ("time,device,co\n1,d,two\n", ":2: co: 'two' is no number; "),
        ("time,device,co\n1,d,nan\n", ":2: co: 'nan' is no number; "),
        ("time,device,co\n1,d,inf\n", ":2: co: 'inf' is no number; "),
        ("time,device,co\n1,d,1e400\n", ":2: co: inf is no finite number; "),
        ("time,device,co\n1,d,1_000\n", ":2: co: '1_000' is no number; "),
        ("time,device,fault\n1,d,yes\n", ":2: fault: 'yes' is no state; write true or false"),
        ("time,device,co\n1,d,2,3\n", ":2: 4 cells where the header names 3 columns; "),
        ("time,site,device\n1,s,d\n2,,d\n", ":3: site: empty; name the site, or leave the column out"),
        ("time,site,device\n1,,d\n2,s,d\n", ":3: site: 's' here, but the rows before name no site; "),
        ("time,device,co,fault\n1,d,2,0\n1,d,2,no\n1,d,bad,0\n", ":3: fault: 'no' is no state; "),
    ],
)
def test_what_is_wrong_in_a_csv_is_one_line_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    assert one_line(csv_file(tmp_path, text)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"time":1,"device":"d"}\n{"time":1,"devise":"d"}\n', ":2: devise: unknown column; did you mean device? "),
        ('{"time":1,"co":2}\n', ":1: device: the column is missing"),
        ('{"time":1,"device":"d","co":true}\n', ":1: co: True is no number; "),
        ('{"time":1,"device":"d","fault":2}\n', ":1: fault: 2 is no state; "),
        ('{"time":1,"device":"d","co":1' + "0" * 400 + "}\n", ":1: "),
        ('{"time":true,"device":"d"}\n', ":1: time: True is no time; "),
        ('{"time":1,"device":["d"]}\n', ":1: device: ['d'] is no id; "),
        ('{"time":1,"device":"d"}\n{"time"\n', ":2: not JSON: "),
        ("[1]\n", ":1: not a JSON object; "),
    ],
)
def test_what_is_wrong_in_json_lines_is_one_line_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    assert one_line(path).startswith(said)


def test_json_numbers_texts_and_nulls_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"time":1594512094.385974,"device":"d","co":2,"smoke":null,"fault":1,"humidity":"40"}\n\n')
    assert read(path) == [
        FileRow(at=T0, site="site", device="d", values={"co": 2.0, "humidity": 40.0}, states={"fault": True}, line=1)
    ]


def test_parquet_as_pandas_writes_it_is_taken(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(["2026-05-01T00:00:00.000001Z", "2026-05-01T00:00:01.000000Z"]),
            "site": pd.Categorical(["s1", "s2"]),
            "device": [7, 8],
            "temperature": [20.5, None],
            "smoke_alarm": pd.array([None, True], dtype="boolean"),
        }
    )
    path = tmp_path / "r.parquet"
    frame.to_parquet(path)
    assert content(read(path)) == [
        FileRow(at=1_777_593_600_000_001, site="s1", device="7", values={"temperature": 20.5}),
        FileRow(at=1_777_593_601_000_000, site="s2", device="8", states={"smoke_alarm": True}),
    ]


def test_parquet_problems_are_one_line_too(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(b"no parquet at all")
    assert "not a readable Parquet file" in one_line(path)
    moments = pa.array([1], pa.timestamp("us"))
    pq.write_table(pa.table({"time": moments, "device": ["d"]}), path)
    assert one_line(path).startswith(": time: timestamps without a zone; ")
    pq.write_table(pa.table({"time": [1], "device": ["d"], "co": [math.nan]}), path)
    assert one_line(path).startswith(":1: co: nan is no finite number; ")


def test_a_missing_unknown_or_broken_file_is_one_line(tmp_path: Path) -> None:
    assert one_line(tmp_path / "none.csv").startswith(": no such file")
    assert "use .csv, .jsonl" in one_line(tmp_path / "readings.xlsx")
    chinese = tmp_path / "gbk.csv"
    chinese.write_bytes("time,device\n1,棚\n".encode("gbk"))
    assert "not UTF-8" in one_line(chinese)
    broken = tmp_path / "r.csv.gz"
    broken.write_bytes(gzip.compress(b"time,device\n1,d\n" * 1000)[:-20])
    assert "broken gzip file" in one_line(broken)
    broken.write_bytes(b"time,device\n1,d\n")
    assert "broken gzip file" in one_line(broken)


def test_a_failed_write_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("kept")

    with pytest.raises(ZeroDivisionError):
        write_readings(path, (FileRow(at=1 // (2 - i), site="s", device="d") for i in range(9)))
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]
    assert path.read_text() == "kept"
