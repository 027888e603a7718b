"""Converted recordings hold what data/README.md says is in them, and back-test's reader takes them."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ingest.file_rows import parse_time
from ingest.readings_file import FileRow, read_readings
from simulators.__main__ import main
from simulators.truth import read_truth
from tests.support.data import data_folder, recorded

Output = tuple[list[FileRow], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


def converted(name: str, recording: str, folder: Path) -> Output:
    recorded(name)
    path = folder / f"{recording}.csv"
    if not path.exists():
        assert main(["convert", name, str(folder), "--data", str(data_folder())]) == 0
    return list(read_readings(path)), json.loads((folder / f"{recording}.truth.json").read_bytes())


def after_s(row: FileRow) -> float:
    """Seconds after the nominal ignition at 2001-01-01T12:00:00Z."""
    return (row.at - 978_350_400_000_000) / 1e6


def series(rows: list[FileRow], device: str, quantity: str) -> list[float]:
    return [row.values[quantity] for row in rows if row.device == device and quantity in row.values]


def test_iot_telemetry_is_a_day_without_fire_with_its_four_drop_outs(folder: Path) -> None:
    rows, truth = converted("iot_telemetry", "iot_telemetry", folder)
    assert len(rows) == 50_270
    assert len({row.device for row in rows}) == 3
    assert all("smoke" not in row.values and 0.0 < row.values["smoke_raw"] < 0.1 for row in rows)
    assert (truth["fire"], truth["ignition"], truth["site"]) == (False, None, "lab")
    drops = " ".join(span["what"] for span in truth["nuisances"])
    assert all(f"to {low} °C" in drops for low in ("0.1", "0.3", "1.4", "4.5"))
    assert all(span["start"] < span["end"] for span in truth["nuisances"])


@pytest.mark.parametrize(
    ("test", "origin", "photoelectric", "heat"),
    [
        ("SDC02", "station-e", 78, 112),
        ("SDC05", "station-b", 42, 102),
        ("SDC07", "station-b", 85, 107),
        ("SDC10", "station-e", 108, 122),
    ],
)
def test_nist_fires_alarm_and_heat_when_the_readme_says(
    test: str, origin: str, photoelectric: int, heat: int, folder: Path
) -> None:
    rows, truth = converted("nist_smoke_alarms", test, folder)
    own = [row for row in rows if row.device == origin]
    alarm = next(after_s(row) for row in own if row.states["smoke_alarm"])
    step = truth["interval_s"]
    assert photoelectric <= alarm <= photoelectric + step
    hot = next(after_s(row) for row in own if row.values["temperature"] >= 57)
    assert heat - step <= hot <= heat + step
    photo = [m["after_s"] for m in truth["references"] if (m.get("device"), m.get("kind")) == (origin, "photoelectric")]
    assert min(photo) == photoelectric
    (fire,) = truth["fires"]
    assert (fire["what"], fire["site"], fire["room"]) == ("furniture", test.lower(), [origin])
    assert truth["fire"] and fire["ignition"] == truth["ignition"]
    assert truth["devices"] == {f"station-{name}": "smoke_heat_head" for name in "abcde"}
    assert not [row for row in rows if row.states.get("smoke_alarm") and after_s(row) < photoelectric - 60]


def test_all_71_activations_of_the_nist_alarms_are_kept(folder: Path) -> None:
    converted("nist_smoke_alarms", "SDC02", folder)
    truths = [json.loads((folder / f"{test}.truth.json").read_bytes()) for test in ("SDC02", "SDC05", "SDC07", "SDC10")]
    alarms = [mark for truth in truths for mark in truth["references"] if "alarm" in mark["what"]]
    assert len(alarms) == 71
    first_ion = [min(m["after_s"] for m in t["references"] if m.get("kind") == "ionisation") for t in truths]
    assert first_ion == [24, 32, 43, 40]


def test_smoke_of_the_nist_fires_is_dB_per_metre(folder: Path) -> None:
    rows, _ = converted("nist_smoke_alarms", "SDC02", folder)
    with recorded("nist_smoke_alarms/NIST_Smoke_Alarms_SDC02.csv").open(newline="") as file:
        densities = [float(row["SME_1"]) for row in csv.DictReader(file)]
    assert series(rows, "station-e", "smoke") == [pytest.approx(10 * density) for density in densities]
    rows, _ = converted("nist_smoke_alarms", "SDC10", folder)
    assert series(rows, "station-e", "smoke") == []  # no such column


def test_nab_is_celsius_with_its_longest_gap(folder: Path) -> None:
    rows, truth = converted("nab", "nab_office", folder)
    assert len(rows) == 7_267
    assert math.isclose(rows[0].values["temperature"], 21.0449, abs_tol=1e-3)
    gaps = [b.at - a.at for a, b in itertools.pairwise(rows)]
    assert max(gaps) / 3.6e9 / 24 == 7.25
    assert len([span for span in truth["nuisances"] if "labelled" in span["what"]]) == 2
    assert not truth["fire"]


def test_suthaharan_is_steam_at_two_motes_in_order_of_time(folder: Path) -> None:
    rows, truth = converted("wsn_suthaharan", "wsn_suthaharan", folder)
    assert len(rows) == 18_760
    assert round(max(series(rows, "mote-3", "temperature")), 1) == 52.9
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    assert {span["device"] for span in truth["nuisances"]} == {"mote-1", "mote-3"}
    assert not truth["fire"]


def test_lithium_ion_runs_away_at_1701_s_and_flames_at_1739_s(folder: Path) -> None:
    rows, truth = converted("fsri_liion_ess", "cell_level_experiment", folder)
    assert [mark["at"] for mark in truth["references"]] == ["2001-01-01T12:28:21Z", "2001-01-01T12:28:59Z"]
    assert [mark["kind"] for mark in truth["references"]] == ["runaway", "flaming"]
    assert truth["devices"] == {f"cell-{number}": "surface_probe" for number in range(1, 10)}
    assert [fire["what"] for fire in truth["fires"]] == ["battery_fire"]
    hottest = max(row.values.get("temperature", 0.0) for row in rows)
    assert 1_070 < hottest < 1_090
    assert len({row.device for row in rows}) == 9


def test_vettori_sprinklers_are_references(folder: Path) -> None:
    rows, truth = converted("vettori", "vettori_01", folder)
    assert [mark["after_s"] for mark in truth["references"]] == [46.4, 51.0]
    assert len(rows) == 40
    assert series(rows, "tree-1", "temperature")[-1] > 100


def test_a_room_of_the_size_of_a_shed_has_a_baseline_and_reaches_57(folder: Path) -> None:
    rows, truth = converted("fsri_compartments", "RedAccent_Closed_Corner_1", folder)
    mean = next(mark for mark in truth["references"] if mark["what"] == "57 °C, mean of the ceiling")
    assert 60 < mean["after_s"] < 180  # median 103 s over the closed chairs
    quiet = truth["quiet"][0]
    assert quiet["end"] == truth["ignition"] > quiet["start"]
    assert {row.device for row in rows} == {f"quadrant-{name}" for name in "abcd"}
    assert any(mark["what"] == "Ignition" and abs(mark["after_s"]) <= 1 for mark in truth["references"])


def test_the_burners_reach_57_within_seconds(folder: Path) -> None:
    _, truth = converted("fsri_compartments", "500kW_Open_Back_1", folder)
    mean = next(mark for mark in truth["references"] if mark["what"] == "57 °C, mean of the ceiling")
    assert 1 <= mean["after_s"] <= 8
    assert [fire["what"] for fire in truth["fires"]] == ["burner"]


def test_every_recording_says_what_its_devices_are_and_has_a_fire_exactly_where_there_is_one(folder: Path) -> None:
    recorded("nab")
    out = folder / "all"
    assert main(["convert", "all", str(out), "--data", str(data_folder()), "--format", "parquet"]) == 0
    truths = [read_truth(path) for path in sorted(out.glob("*.truth.json"))]
    assert len(truths) == 4 + 60 + 1 + 23 + 1 + 1 + 1
    for truth in truths:
        rows = list(read_readings(out / f"{truth.recording}.parquet"))
        assert truth.devices.keys() == {row.device for row in rows}
        assert truth.fire == bool(truth.fires) == (truth.ignition is not None)
        assert all(fire.room == [fire.nearest] or not fire.room for fire in truth.fires)
        assert {row.site for row in rows} == {truth.site}
        if not truth.fire:
            (quiet,) = truth.quiet
            assert parse_time(quiet.start) == rows[0].at and rows[-1].at < parse_time(quiet.end)


def test_tables_of_something_else_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nab").mkdir()
    (tmp_path / "nab" / "ambient_temperature_system_failure.csv").write_text("a,b\n1,2\n")
    assert main(["convert", "nab", str(tmp_path / "out"), "--data", str(tmp_path)]) == 1
    complaint = capsys.readouterr().err
    assert "nab: not the tables of this set: KeyError: 'timestamp'" in complaint and complaint.count("\n") == 1


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ("nab", str(tmp_path), "--data", "/nowhere"),
        ("vettori", str(tmp_path), "--data", str(tmp_path)),
    ):
        assert main(["convert", *arguments]) == 1
        complaint = capsys.readouterr().err
        assert "--data DIR" in complaint
        assert complaint.count("\n") == 1
    with pytest.raises(SystemExit) as left:
        main(["convert", "no_such_set", str(tmp_path)])
    assert left.value.code == 2
