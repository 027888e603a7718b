"""What the simulators say is what the program understands: codecs, sources, inventory, rules."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from alerts.alert import SignalClass
from alerts.backtest import backtest_rows
from alerts.rulebook import load_rulebook
from ingest.codecs import CODECS
from ingest.file_rows import FileRow
from ingest.inventory_file import parse_inventory
from ingest.message import Message
from ingest.readings import SECOND, Observation
from ingest.sources import Source
from ingest.sources_file import load_sources, parse_sources
from ingest.topics import Matcher
from simulators.load.fleet import OPENING, Fleet, tails, write_inventory
from simulators.load.forms import FireForm, Form
from simulators.scenarios.story import load
from simulators.tapes.replay import EPILOG
from simulators.tapes.tapes import FIRE_TOPIC, Fires, fill
from simulators.town.inventory import write_inventory as write_town
from simulators.town.layout import build_town
from simulators.town.life import reports
from simulators.town.plan import Away, Clock, Plan
from simulators.town.report import Report, row_of
from simulators.town.single import battery_fire_reports
from simulators.wire.messages import Outgoing, messages, status
from tests.bench.material import messages as messages_of

START = 1_777_593_600 * SECOND


def understood(message: Outgoing, sources: tuple[Source, ...]) -> list[Observation]:
    """Decoded as the program would, by the source its topic belongs to."""
    found = Matcher(source.filter for source in sources).match(message.topic)
    source = next(source for source in sources if source.filter == found)
    raw = Message(topic=message.topic, source=source.filter, received_at=message.at)
    return list(CODECS[source.codec](raw, message.payload, source, {}).observations)


def told_by(reported: Report) -> Observation:
    return Observation(
        site=reported.site,
        device=reported.device,
        observed_at=reported.stated_at // 1000 * 1000,
        seq=reported.seq,
        values=reported.values,
        states=reported.states,
    )


def town_reports() -> list[Report]:
    """A fire behind a gateway, a site that is cut off for a while, and a clock that is wrong."""
    town = build_town(sites=4, devices=24, seed=1)
    fire, _ = load("battery_fire").plan(town=town, start_at=START + 20 * SECOND, seed=1, sites=["shed-003"])
    troubles = (
        Away(site="shed-003", start_at=START + 40 * SECOND, end_at=START + 70 * SECOND, keeps=True),
        Away(site="shed-001", device="shed-001-h01", start_at=START, end_at=START + 35 * SECOND, keeps=True),
        Clock(site="shed-002", start_at=START, end_at=START + 90 * SECOND, offset_s=-3600.5),
    )
    plan = Plan(sources=fire.sources, troubles=troubles)
    told = reports(town.sites, plan=plan, start_at=START, interval_s=10, seed=1)
    return list(takewhile(lambda report: report.at < START + 90 * SECOND, told))


def test_every_report_of_the_town_is_understood_as_it_was_meant() -> None:
    meant = town_reports()
    sources = load_sources(None).sources
    heard = [seen for message in messages(meant) for seen in understood(message, sources)]
    assert [seen for seen in heard if seen.seq] == [told_by(report) for report in meant if report.online is None]
    assert [seen.states["online"] for seen in heard if not seen.seq] == [
        report.online for report in meant if report.online is not None
    ]
    assert sum(report.late for report in meant) > 12


def test_a_status_is_understood_as_online_or_not() -> None:
    sources = load_sources(None).sources
    for online in (True, False):
        (seen,) = understood(status(site="s", device="d", at=START, online=online), sources)
        assert (seen.site, seen.device, seen.states) == ("s", "d", {"online": online})


def test_the_load_is_understood() -> None:
    topic, tail, seq = next(messages_of(Fleet(devices=3, sites=1)))
    payload = OPENING % (START // 1000, seq) + tail
    message = Outgoing(at=START, topic=topic, payload=payload, site="", device="")
    (seen,) = understood(message, load_sources(None).sources)
    assert (seen.site, seen.device, seen.observed_at, seen.seq) == ("load-s00001", "load-d0000001", START, seq)
    assert set(seen.values) == {"temperature", "humidity", "smoke"}
    assert seen.states == {"smoke_alarm": False}


def test_what_gateways_and_fires_of_the_load_say_is_understood() -> None:
    fleet, sources = Fleet(devices=6, sites=2, gateways=True), load_sources(None).sources
    form, numbers = Form(fleet, 1), np.array([1])
    row = form.rows(speakers=numbers, turns=numbers, ids=numbers, ts=START // 1000)[0].tobytes()
    topic, payload = row[form.topic].decode(), row[form.payload_at :]
    seen = understood(Outgoing(at=START, topic=topic, payload=payload, site="", device=""), sources)
    assert [(one.site, one.device, one.observed_at) for one in seen] == [
        ("load-s00002", fleet.device(number), START) for number in (1, 3, 5)
    ]
    assert all(one.states == {"smoke_alarm": False} and one.values.keys() >= {"temperature", "smoke"} for one in seen)
    topic, payload, _ = FireForm(fleet).row(site=1, packet_id=1, ts=START // 1000)
    (fire,) = understood(Outgoing(at=START, topic=topic, payload=payload, site="", device=""), sources)
    assert (fire.site, fire.device, fire.states) == ("load-s00002", "load-d0000002", {"smoke_alarm": True})


def test_the_source_that_replay_s_help_shows_takes_the_fires_in_beside_the_recording() -> None:
    shown = re.search(r"- \{filter.*?\}\}", EPILOG, re.DOTALL)
    assert shown is not None
    whole = 'filter: "recording/#", codec: json-map, clock: observed, enrol: true, site: lab, device: "$.device_id"'
    text = f'sources:\n  - {{{whole}, time: "$.ts", fields: {{temperature: "$.data.temp"}}}}\n  {shown[0]}\n'
    sources = parse_sources(text, "help").sources
    first = Fires(sites=["a"], topic=FIRE_TOPIC, seed=1).over(START, START + 3600 * SECOND)[0]
    message = Outgoing(at=first.at, topic=fill(FIRE_TOPIC, first.body), payload=first.raw, site="a", device="")
    (seen,) = understood(message, sources)
    meant = battery_fire_reports(site="a", start_at=START + 1800 * SECOND, prefix="fire-1", seed=1)[0]
    wanted = {name: meant.values[name] for name in ("temperature", "humidity", "smoke")}
    assert (seen.site, seen.device, seen.observed_at) == ("a", meant.device, meant.at)
    assert (seen.values, seen.states) == (wanted, meant.states)


def test_the_inventories_of_town_and_load_are_taken(tmp_path: Path) -> None:
    town = build_town(sites=40, devices=300, seed=3)
    write_town(str(tmp_path / "town.csv"), town, interval_s=10)
    known = parse_inventory(tmp_path / "town.csv")
    assert (len(known.sites), len(known.devices)) == (40, 300)
    behind = {device.id: device.gateway for device in known.devices if device.gateway}
    assert behind["shed-003-h01"] == "shed-003-gw"
    assert all(device.expected_interval_s == 10 for device in known.devices)
    write_inventory(str(tmp_path / "load.csv"), Fleet(devices=100, sites=9))
    assert len(parse_inventory(tmp_path / "load.csv").devices) == 100
    write_inventory(str(tmp_path / "gateways.csv"), Fleet(devices=100, sites=10, gateways=True))
    devices = {device.id: device for device in parse_inventory(tmp_path / "gateways.csv").devices}
    assert len(devices) == 110
    assert (devices["load-d0000013"].gateway, devices["load-d0000013"].site) == ("load-g00003", "load-s00003")


@pytest.mark.parametrize("seed", range(5))
def test_the_default_rules_tell_of_a_battery_fire_within_ten_seconds_and_only_after_it(seed: int) -> None:
    rows = [row_of(report) for report in battery_fire_reports(site="s", start_at=START, prefix="f", seed=seed)]
    result = backtest_rows(rows, load_rulebook(None))
    fire = [t for t in result.transitions if t.signal_class is SignalClass.FIRE]
    assert START < fire[0].at <= START + 10 * SECOND
    assert min(t.at for t in result.transitions if t.signal_class is not SignalClass.FAULT) > START


def test_a_quiet_day_of_the_town_raises_no_alert() -> None:
    town = build_town(sites=2, devices=12, seed=2)
    told = reports(town.sites, start_at=START, interval_s=120, seed=2)
    rows = [row_of(report) for report in takewhile(lambda report: report.at < START + 86_400 * SECOND, told)]
    assert backtest_rows(rows, load_rulebook(None)).transitions == []


@pytest.mark.parametrize("seed", range(10))
def test_the_load_raises_no_alert_of_its_own_however_fast_its_readings_come(seed: int) -> None:
    endings = [json.loads(b"{" + tail[1:]) for tail in tails(seed)]
    rows = []
    for number in range(400):
        values = {**endings[number % len(endings)]}
        states = {"smoke_alarm": values.pop("smoke_alarm")}
        rows.append(FileRow(at=START + number * SECOND // 4, site="s", device="d", values=values, states=states))
    assert backtest_rows(rows, load_rulebook(None)).transitions == []
