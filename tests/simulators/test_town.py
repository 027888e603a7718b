"""The town: the same seed gives the same bytes; its files are what the program reads."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest

from ingest.readings import SECOND
from ingest.readings_file import read_readings
from ingest.topics import EmberKind, parse_ember
from simulators.__main__ import main
from simulators.town.battery_fire import ignite
from simulators.town.layout import build_town, inventory_csv
from simulators.town.life import reports
from simulators.wire.messages import Outgoing, messages

START = 1_777_593_600 * SECOND


def life(*, seed: int = 1, seconds: int = 120, fire: bool = True) -> list[Outgoing]:
    town = build_town(sites=6, devices=20, seed=seed)
    fires = [ignite(site="shed-003", start_at=START + 20 * SECOND, heads=3, seed=str(seed))] if fire else []
    told = reports(town.sheds, fires=fires, start_at=START, interval_s=10, seed=seed)
    within = takewhile(lambda report: report.at < START + seconds * SECOND, told)
    return list(messages(within, {shed.id: shed.gateway for shed in town.sheds if shed.gateway}))


def run(*arguments: str) -> int:
    return main(["town", *arguments])


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert life(seed=7) == life(seed=7)
    assert life(seed=7) != life(seed=8)


def test_a_fire_changes_nothing_for_the_heads_of_other_sheds() -> None:
    def others(told: list[Outgoing]) -> list[Outgoing]:
        return [message for message in told if message.site != "shed-003"]

    assert others(life(fire=True)) == others(life(fire=False))


def test_messages_are_native_topics_with_time_and_seq() -> None:
    for message in life():
        topic = parse_ember(message.topic)
        assert topic is not None
        items = json.loads(message.payload)
        for item in items if isinstance(items, list) else [items]:
            assert item["ts"].endswith("Z")
            assert item["seq"] >= 1
            assert ("device" in item) == (topic.kind is EmberKind.GATEWAY_TELEMETRY)


def test_a_gateway_speaks_for_its_heads_and_alarms_have_their_own_topic() -> None:
    kinds = Counter((m.site, parse_ember(m.topic).kind) for m in life())  # type: ignore[union-attr]
    assert kinds["shed-003", EmberKind.GATEWAY_TELEMETRY] > 10
    assert kinds["shed-003", EmberKind.ALARM] >= 1
    assert kinds["shed-003", EmberKind.TELEMETRY] == 0
    assert kinds["shed-001", EmberKind.GATEWAY_TELEMETRY] == 0
    assert kinds["shed-001", EmberKind.TELEMETRY] > 10


def test_heads_begin_spread_over_the_interval() -> None:
    firsts = {m.device: m.at for m in reversed(life(fire=False)) if not m.topic.startswith("ember/v1/shed-003/tele")}
    assert len({at // SECOND for at in firsts.values()}) >= 6


def test_the_inventory_hangs_together(tmp_path: Path) -> None:
    town = build_town(sites=25, devices=60, seed=1)
    path = tmp_path / "town.csv"
    path.write_text(inventory_csv(town, interval_s=10), encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = Counter(row["kind"] for row in rows)
    assert (kinds["centre"], kinds["site"], kinds["device"]) == (1, 25, 60 + 25 // 3)
    areas = {row["id"]: row["parent"] for row in rows if row["kind"] == "area"}
    ids = Counter((row["kind"], row["id"]) for row in rows)
    assert max(ids.values()) == 1
    for row in rows:
        if row["kind"] in ("site", "centre"):
            assert row["parent"] in areas
    for site in (row for row in rows if row["kind"] == "site"):
        depth, area = 1, site["parent"]
        while areas[area]:
            depth, area = depth + 1, areas[area]
        assert depth == 5  # city, street, community, compound, grid
        assert site["name"]
    parents = {row["id"] for row in rows if row["kind"] == "site" or row["class"] == "gateway"}
    assert {row["parent"] for row in rows if row["kind"] == "device"} <= parents


def test_the_readings_file_needs_no_broker_and_is_the_same_each_time(tmp_path: Path) -> None:
    common = ("--sites", "3", "--devices", "6", "--seconds", "300", "--start", "2026-05-01T08:00:00+08:00")
    for name in ("a.csv", "b.csv"):
        assert run(*common, "--scenario", "battery_fire", "--readings", str(tmp_path / name)) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    rows = list(read_readings(tmp_path / "a.csv"))
    assert len({row.device for row in rows}) == 7
    assert any(row.states.get("smoke_alarm") for row in rows)
    assert [row.at for row in rows] == sorted(row.at for row in rows)


def test_the_day_is_warmer_at_noon_than_at_night(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    start = ("--start", "2026-05-01T00:00:00+08:00", "--seconds", "86400", "--interval", "600")
    assert run("--sites", "1", "--devices", "1", *start, "--readings", str(path)) == 0
    values = [row.values for row in read_readings(path)]
    night, noon = values[24], values[80]  # 4 h, 13 h 20
    assert noon["temperature"] > night["temperature"] + 8
    assert noon["humidity"] < night["humidity"] - 10
    assert all(value["smoke"] < 0.03 for value in values)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--devices", "2", "--sites", "3"), "--devices 2: fewer heads than sheds"),
        (("--scenario", "battery_fire", "--fires", "9"), "--fires 9: there are only 8 sheds"),
        (("--scenario", "battery_fire", "--fire-site", "x"), "--fire-site x: no such shed; there are shed-001 to"),
        (("--readings", "/nowhere/x.csv"), "say how long with --seconds"),
        (("--readings", "/nowhere/x.csv", "--seconds", "1"), "/nowhere/x.csv: no such file or directory"),
        (("--inventory", "/nowhere/x.csv"), "--inventory /nowhere/x.csv: no such file or directory"),
        (("--broker", "http://x"), "--broker: must be mqtt://host:1883 or mqtts://host:8883"),
        (("--broker", "mqtt://127.0.0.1:1"), "127.0.0.1:1: connection refused; start a broker there"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 1
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("option", ["--sites=0", "--interval=0", "--speed=slow", "--start=yesterday", "--fire-at=-1"])
def test_a_wrong_option_is_exit_code_2(option: str) -> None:
    with pytest.raises(SystemExit) as left:
        run(option)
    assert left.value.code == 2
