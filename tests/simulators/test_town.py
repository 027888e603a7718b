"""The town: the same seed gives the same bytes; its files are what the program reads."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from itertools import takewhile
from pathlib import Path

import msgspec
import pytest

from ingest.readings import SECOND
from ingest.readings_file import read_readings
from ingest.topics import EmberKind, parse_ember
from simulators.__main__ import main, parser
from simulators.scenarios.story import load
from simulators.town.layout import Town, build_town
from simulators.town.life import reports
from simulators.town.models import Model
from simulators.town.plan import ORDINARY, Plan
from simulators.town.report import Report
from simulators.truth import Truth
from simulators.wire.messages import Outgoing, messages
from tests.support.data import ROOT

START = 1_777_593_600 * SECOND


def a_town(seed: int = 1) -> Town:
    return build_town(sites=6, devices=36, seed=seed)


def a_fire(town: Town, *, site: str = "shed-003", seed: int = 1) -> Plan:
    return load("battery_fire").plan(town=town, start_at=START + 20 * SECOND, seed=seed, sites=[site])[0]


def life(*, seed: int = 1, seconds: int = 120, fire: bool = True) -> list[Outgoing]:
    town = a_town(seed)
    plan = a_fire(town, seed=seed) if fire else ORDINARY
    told = reports(town.sites, plan=plan, start_at=START, interval_s=10, seed=seed)
    return list(messages(takewhile(lambda report: report.at < START + seconds * SECOND, told)))


def run(*arguments: str) -> int:
    return main(["town", *arguments])


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert life(seed=7) == life(seed=7)
    assert life(seed=7) != life(seed=8)


def test_the_order_of_sets_and_hashes_changes_no_byte(tmp_path: Path) -> None:
    for number in "12":
        what = ("--scenario", "power_cut", "--seconds", "700", "--start", "2026-05-01T08:00:00+08:00")
        command = [sys.executable, "-m", "simulators", "town", *what, "--readings", str(tmp_path / f"{number}.csv")]
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": number}, capture_output=True)
    for ending in ("csv", "truth.json"):
        assert (tmp_path / f"1.{ending}").read_bytes() == (tmp_path / f"2.{ending}").read_bytes()


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


def test_a_gateway_speaks_for_its_devices_and_alarms_have_their_own_topic() -> None:
    heads = [message for message in life() if "-p" not in message.device]  # piles have a link of their own
    kinds = Counter((m.site, parse_ember(m.topic).kind) for m in heads)  # type: ignore[union-attr]
    assert kinds["shed-003", EmberKind.GATEWAY_TELEMETRY] > 10
    assert kinds["shed-003", EmberKind.ALARM] >= 1
    assert kinds["shed-003", EmberKind.TELEMETRY] == 0
    assert kinds["shed-001", EmberKind.GATEWAY_TELEMETRY] == 0
    assert kinds["shed-001", EmberKind.TELEMETRY] > 10


def test_an_alarm_is_a_message_of_its_own_among_what_a_gateway_says() -> None:
    def said(device: str, urgent: bool) -> Report:
        values = {"temperature": 20.0}
        return Report(
            at=START, stated_at=START, site="s", device=device, seq=1, values=values, gateway="gw", urgent=urgent
        )

    found = list(messages([said("gw", False), said("a", False), said("b", True), said("c", False)]))
    assert [message.topic for message in found] == [
        "ember/v1/s/telemetry",
        "ember/v1/s/b/alarm",
        "ember/v1/s/telemetry",
    ]
    assert [len(json.loads(message.payload)) for message in found] == [2, 3, 1]  # the alarm: ts, seq, temperature


def test_piles_have_a_link_of_their_own() -> None:
    town = a_town()
    (pile,) = (device.id for device in town.sites[2].devices if device.model is Model.PILE)
    assert town.sites[2].gateway
    (told,) = {m.topic for m in life(fire=False) if m.device == pile}
    assert told == f"ember/v1/shed-003/{pile}/telemetry"


def test_heads_begin_spread_over_the_interval() -> None:
    firsts = {m.device: m.at for m in reversed(life(fire=False)) if not m.topic.startswith("ember/v1/shed-003/tele")}
    assert len({at // SECOND for at in firsts.values()}) >= 6


def test_the_readings_file_needs_no_broker_and_is_the_same_each_time(tmp_path: Path) -> None:
    common = ("--sites", "3", "--devices", "18", "--seconds", "300", "--start", "2026-05-01T08:00:00+08:00")
    for name in ("a.csv", "b.csv"):
        assert run(*common, "--scenario", "battery_fire", "--readings", str(tmp_path / name)) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.truth.json").read_bytes() == (tmp_path / "b.truth.json").read_bytes()
    rows = list(read_readings(tmp_path / "a.csv"))
    assert len({row.device for row in rows}) > 12
    assert any(row.states.get("smoke_alarm") for row in rows)
    assert [row.at for row in rows] == sorted(row.at for row in rows)


def test_a_file_without_an_end_lasts_until_the_last_telling_of_its_story_ends(tmp_path: Path) -> None:
    path = tmp_path / "fires.csv"
    told = ("--scenario", "battery_fire", "--fire-at", "30", "--fires", "2", "--fire-every", "90")
    assert run(*told, "--start", "2026-05-01T08:00:00Z", "--readings", str(path)) == 0
    times = [row.at for row in read_readings(path)]
    lasts = (times[-1] - times[0]) / SECOND
    assert 30 + 90 + load("battery_fire").lasts_s - 20 < lasts <= 30 + 90 + load("battery_fire").lasts_s


def test_a_file_lasts_until_the_story_has_been_told_at_every_named_site(tmp_path: Path) -> None:
    path = tmp_path / "fires.csv"
    told = ("--scenario", "battery_fire", "--fire-at", "30", "--fire-site", "shed-001,shed-002", "--fire-every", "90")
    assert run(*told, "--start", "2026-05-01T08:00:00Z", "--readings", str(path)) == 0
    times = [row.at for row in read_readings(path)]
    assert (times[-1] - times[0]) / SECOND > 30 + 90 + load("battery_fire").lasts_s - 20


def test_a_file_that_is_stopped_is_not_said_to_be_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, stop = tmp_path / "day.csv", threading.Event()
    stop.set()
    words = ["town", "--scenario", "battery_fire", "--readings", str(path)]
    args = parser("town").parse_args(words)
    assert args.run(args, now=lambda: START, stop=stop) == 130
    assert capsys.readouterr().err == "town: stopped before the end\n"
    assert not (tmp_path / "day.truth.json").exists()


def test_the_truth_lies_beside_the_readings(tmp_path: Path) -> None:
    arguments = ("--scenario", "battery_fire", "--fire-at", "30", "--fires", "2", "--seconds", "200")
    start = ("--start", "2026-05-01T08:00:00+08:00")
    assert run(*arguments, *start, "--readings", str(tmp_path / "day.csv.gz")) == 0
    truth = msgspec.json.decode((tmp_path / "day.truth.json").read_bytes(), type=Truth)
    assert [fire.ignition for fire in truth.fires] == ["2026-05-01T00:00:30.000Z", "2026-05-01T00:01:30.000Z"]
    assert len({fire.site for fire in truth.fires}) == 2


def test_a_scenario_sets_the_size_and_rhythm_where_nobody_does(tmp_path: Path) -> None:
    meant, path = load("carrier_loss").town, tmp_path / "town.csv"
    for options, devices, interval in (
        ((), meant.devices, meant.interval),
        (("--devices", "299"), 299, meant.interval),
    ):
        assert run("--scenario", "carrier_loss", *options, "--inventory", str(path)) == 0
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["kind"] == "device"]
        assert len(rows) == devices != 48
        assert {float(row["expected_interval_s"]) for row in rows} == {interval}


def test_a_named_site_burns_and_the_next_by_the_seed(tmp_path: Path) -> None:
    arguments = ("--scenario", "battery_fire", "--fire-site", "shed-007", "--fires", "2", "--seconds", "200")
    sites = set()
    for seed in "12":
        assert run(*arguments, "--seed", seed, "--readings", str(tmp_path / "a.csv")) == 0
        burning = msgspec.json.decode((tmp_path / "a.truth.json").read_bytes(), type=Truth).fires
        assert burning[0].site == "shed-007"
        sites.add(burning[1].site)
    assert len(sites) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--devices", "2", "--sites", "3"), "--devices 2: fewer devices than sites"),
        (("--scenario", "battery_fire", "--fires", "9"), "--fires 9: there are only 8 sites"),
        (("--scenario", "battery_fire", "--fire-site", "x"), "--fire-site x: no such site; there are shed-001 to"),
        (("--scenario", "battery_fire", "--fire-site", "shed-001,shed-001"), "--fire-site shed-001: named twice"),
        (("--fires", "3", "--broker", "mqtt://127.0.0.1:1"), "--fires: of which scenario? Give --scenario NAME"),
        (("--truth", "/nowhere/x.json", "--inventory", "/nowhere/x.csv"), "--truth: of which scenario?"),
        (("--sent", "/nowhere/x.tape", "--inventory", "/nowhere/x.csv"), "--sent /nowhere/x.tape: nothing is sent"),
        (("--interval", "1e-7", "--inventory", "/nowhere/x.csv"), "--interval 1e-07: time stamps have milliseconds"),
        (("--readings", "/nowhere/x.csv"), "say how long with --seconds"),
        (("--readings", "/nowhere/x.csv", "--seconds", "1"), "/nowhere/x.csv: no such file or directory"),
        (("--scenario", "batery_fire"), "no scenario batery_fire; did you mean battery_fire?"),
        (("--inventory", "/nowhere/x.csv"), "--inventory /nowhere/x.csv: no such file or directory"),
        (("--buildings", "/nowhere/x.geojson"), "--buildings /nowhere/x.geojson: no such file or directory"),
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


WRONG = (
    *("--sites=0", "--interval=0", "--speed=slow", "--start=yesterday", "--start=9999-12-31T23:59:59Z"),
    "--fire-at=-1",
)


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_option_is_exit_code_2(option: str) -> None:
    with pytest.raises(SystemExit) as left:
        run(option)
    assert left.value.code == 2
