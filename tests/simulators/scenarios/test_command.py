"""`python -m simulators scenario`: lists, shows, checks and draws; what is wrong is one line."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import pytest

from ingest.readings_file import FileRow, write_readings
from simulators.__main__ import main, parser
from simulators.scenarios.command import EPILOG, PLOT_EPILOG
from simulators.scenarios.plot import picture, png
from simulators.scenarios.story import names
from simulators.truth import Burning, Span, Truth, write_truth
from tests.support.data import data_folder, recorded

START = 1_778_565_600_000_000
CHECKED = "name: x\nsays: y\nlasts: 5m\nevents:\n  - {what: smoulder}\n"


def rows() -> list[FileRow]:
    return [
        FileRow(
            at=START + second * 1_000_000,
            site="shed-1",
            device=f"shed-1-h{head}",
            values={"temperature": 20.0 + head + second / 100, "smoke": 0.01 * head},
            states={"smoke_alarm": 300 < second < 500},
        )
        for second in range(0, 900, 10)
        for head in (1, 2)
    ]


def truth() -> Truth:
    return Truth(
        recording="one",
        source="a test",
        site="shed-1",
        fire=True,
        clock="exact",
        interval_s=10.0,
        ignition="2026-05-12T06:05:00Z",
        fires=[Burning(what="smoulder", site="shed-1", ignition="2026-05-12T06:05:00Z")],
        quiet=[Span(what="before the fire", start="2026-05-12T06:00:00Z", end="2026-05-12T06:05:00Z")],
    )


def size(data: bytes) -> tuple[int, int]:
    """Width and height, after a look at every checksum of the PNG."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(body)
        assert body[:4] != b"tIME" and b"Software" not in body[:20]
        at += 12 + length
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_the_list_names_every_scenario_and_events_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in names())
    assert main(["scenario", "events"]) == 0
    assert "battery_fire: " in capsys.readouterr().out


def test_what_is_shown_is_a_file_that_can_be_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "show", "smoulder"]) == 0
    copy = tmp_path / "mine.yaml"
    copy.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["scenario", "check", str(copy)]) == 0
    assert capsys.readouterr().out == f"{copy}: right; 1 events, 1 fires, 4800 s\n"


def test_check_says_all_that_is_wrong_in_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (
        ("one", CHECKED.replace("smoulder", "smolder")),
        ("two", CHECKED.replace("5m", "5")),
        ("three", CHECKED.replace("smoulder", "smoulder, where: {kind: shop}")),
    ):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    files = [str(tmp_path / f"{name}.yaml") for name in ("one", "two", "three")]
    assert main(["scenario", "check", *files]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 3
    assert f"{files[0]}:5: what smolder is unknown; did you mean smoulder?" in said[0]
    assert f"{files[1]}:3: " in said[1]
    assert f"{files[2]}: in its own town: " in said[2]


def test_a_picture_of_a_scenario_is_the_same_each_time(tmp_path: Path) -> None:
    drawn = []
    for name in ("one.png", "two.png"):
        assert main(["scenario", "plot", "battery_fire", "--seconds", "1000", "--png", str(tmp_path / name)]) == 0
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    assert size(drawn[0])[0] == 1300
    other = ["scenario", "plot", "battery_fire", "--seconds", "1000", "--seed", "2", "--png", str(tmp_path / "3.png")]
    assert main(other) == 0 and (tmp_path / "3.png").read_bytes() != drawn[0]


def test_a_picture_that_was_interrupted_is_none(tmp_path: Path) -> None:
    words, stop = ["scenario", "plot", "battery_fire", "--png", str(tmp_path / "x.png")], threading.Event()
    stop.set()
    args = parser("scenario").parse_args(words)
    assert args.run(args, now=lambda: START, stop=stop) == 130
    assert list(tmp_path.iterdir()) == []


def test_readings_are_drawn_with_the_truth_beside_them_or_without_any(tmp_path: Path) -> None:
    write_readings(tmp_path / "one.csv.gz", rows())
    plot = ["scenario", "plot", "--readings", str(tmp_path / "one.csv.gz"), "--png", str(tmp_path / "one.png")]
    assert main(plot) == 0
    without = size((tmp_path / "one.png").read_bytes())
    write_truth(tmp_path / "one.truth.json", truth())
    assert main(plot) == 0
    assert size((tmp_path / "one.png").read_bytes())[1] > without[1]


def test_a_panel_stands_for_each_quantity_asked_for_and_measured() -> None:
    heights = [
        size(png(picture(rows(), truth(), title="x", shows=shows)))[1] for shows in (["smoke"], [], ["smoke", "co"])
    ]
    assert heights[0] < heights[1] and heights[0] == heights[2]


def test_readings_of_mistaken_clocks_do_not_stretch_the_axis() -> None:
    odd = FileRow(at=0, site="shed-1", device="shed-1-h1", values={"smoke": 0.0}, states={})
    seen = picture([*rows(), odd], None, title="x", span=(START, START + 10**9))
    assert seen.begin == START and seen.title == "x (1 readings state times outside)"


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["plot", "--png", "x.png"], "give either a scenario or --readings FILE"),
        (["plot", "batery_fire", "--png", "x.png"], "did you mean battery_fire?"),
        (["plot", "battery_fire", "--png", "nowhere/x.png", "--seconds", "60"], "--png nowhere/x.png: no such file"),
        (["plot", "battery_fire", "--png", "x.png", "--show", "smok"], "--show smok: no quantity; did you mean smoke"),
        (["plot", "--readings", "none.csv", "--png", "x.png"], "none.csv: no such file"),
        (["plot", "battery_fire", "--truth", "x.truth.json", "--png", "x.png"], "--truth needs --readings too"),
        (["plot", "--readings", "x.csv", "--png", "x.csv"], "--png x.csv: is a file of this command already"),
        (["show", "mine.yaml"], "mine.yaml: no such file"),
        (["check", "mine"], "mine: no scenario mine; known"),
        (["show", "mine"], "no scenario mine"),
        (["check", "mine.yaml"], "mine.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str],
    right: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scenario", *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("simulators: ") and right in said and said.count("\n") == 1


def test_a_truth_that_is_none_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_readings(tmp_path / "one.csv", rows())
    (tmp_path / "one.truth.json").write_text("{}", encoding="utf-8")
    assert main(["scenario", "plot", "--readings", str(tmp_path / "one.csv"), "--png", str(tmp_path / "x.png")]) == 1
    assert "one.truth.json: not a truth file: " in capsys.readouterr().err


def test_the_examples_of_the_help_work_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded("nist_smoke_alarms")
    monkeypatch.setenv("EMBERWATCH_TEST_DATA", str(data_folder()))
    printed = [*EPILOG.splitlines(), *PLOT_EPILOG.splitlines()]
    commands = [line.split()[3:] for line in printed if line.startswith("  python -m simulators ")]
    assert len(commands) == 6
    for command in commands:
        assert main(command) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"spread.png", "fires", "sdc05.png", "roof.png", "smoke.png"}
