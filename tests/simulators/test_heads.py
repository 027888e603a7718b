"""What heads make of the air: lag, alarms of their own, when they speak. And what troubles do to them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import takewhile

import msgspec
import pytest

from ingest.readings import DAY, HOUR, MINUTE, SECOND
from simulators.physics.exposure import Exposure, Place
from simulators.town.layout import Device, Site, build_town
from simulators.town.life import reports
from simulators.town.models import Model
from simulators.town.plan import (
    Away,
    Battery,
    Charging,
    Clock,
    Drift,
    Glitch,
    Mains,
    Plan,
    Reboot,
    Spell,
    States,
    Stuck,
    Trouble,
)
from simulators.town.report import Report
from simulators.wire.messages import messages

START = 1_777_593_600 * SECOND  # 08:00 in China
TOWN = build_town(sites=6, devices=48, seed=1)
SHED, GATEWAY_SHED = TOWN.sites[0], TOWN.sites[2]
HEAD = f"{SHED.id}-h01"
LASTS = 600 * SECOND


class Puff(msgspec.Struct, frozen=True, kw_only=True):
    """The same everywhere at a site, for a while."""

    site: str
    start_at: int
    end_at: int
    exposure: Exposure

    def at_place(self, place: Place, at: int) -> Exposure:
        return self.exposure


def puff(*, after: float, lasts: float, site: str = SHED.id, **exposure: float) -> Puff:
    start = START + int(after * SECOND)
    return Puff(site=site, start_at=start, end_at=start + int(lasts * SECOND), exposure=Exposure(**exposure))


def told(
    sites: Sequence[Site] = (SHED,),
    *,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    seconds: float = 600,
    interval_s: float | None = 10,
    device: str = "",
    seed: int = 1,
) -> list[Report]:
    every = reports(sites, plan=plan, start_at=START, interval_s=interval_s, seed=seed)
    within = takewhile(lambda report: report.at < START + int(seconds * SECOND), every)
    return [report for report in within if device in ("", report.device)]


def in_trouble(*troubles: Trouble, seconds: float = 600) -> list[Report]:
    return told(plan=Plan(troubles=troubles), device=HEAD, seconds=seconds)


def between(report: Report, first: float, last: float) -> bool:
    return START + first * SECOND <= report.at < START + last * SECOND


def one_of(model: Model) -> Site:
    """A site with a single device of this model."""
    site = SHED
    device = Device(id=f"{site.id}-x01", site=site.id, model=model, place=Place(x_m=1.0, y_m=1.0))
    return msgspec.structs.replace(site, devices=(device,), gateway="")


# --- what they feel and when they speak ---------------------------------------------------------------------------


def test_smoke_is_an_alarm_after_some_seconds_and_is_over_only_well_below() -> None:
    source = puff(after=100, lasts=60, smoke=0.5, velocity=1.0)
    own = told(plan=Plan(sources=(source,)), device=HEAD)
    (up, down) = [b for a, b in itertools.pairwise(own) if a.states["smoke_alarm"] != b.states["smoke_alarm"]]
    assert 2 <= (up.at - source.start_at) / SECOND <= 12
    assert up.urgent and down.urgent
    assert down.values["smoke"] < 0.05
    assert not any(report.urgent for report in own if report not in (up, down))


def test_two_seconds_of_smoke_are_no_alarm() -> None:
    draught = puff(after=90, lasts=60, velocity=8.0)
    own = told(plan=Plan(sources=(draught, puff(after=100, lasts=2, smoke=0.3))), device=HEAD)
    assert max(report.values["smoke"] for report in own) > 0.05
    assert not any(report.states["smoke_alarm"] for report in own)


def test_a_fast_flow_is_felt_sooner_than_still_air() -> None:
    def reached(velocity: float) -> int:
        source = puff(after=100, lasts=300, temperature=60.0, velocity=velocity)
        own = told(plan=Plan(sources=(source,)), device=HEAD)
        return next(report.at for report in own if report.states["heat_alarm"])

    assert reached(2.0) < reached(0.5) < reached(0.0)


def test_heated_air_is_drier_and_steam_is_damp() -> None:
    sources = (puff(after=100, lasts=60, temperature=15.0), puff(after=300, lasts=60, humidity=30.0))
    own = told(plan=Plan(sources=sources), device=HEAD)
    plain, dry, damp = (
        [report.values["humidity"] for report in own if between(report, first, first + 20)] for first in (60, 140, 340)
    )
    assert max(dry) < min(plain) - 10
    assert min(damp) > max(plain) + 10


def test_a_head_on_the_mains_in_alarm_repeats_within_seconds_and_a_lora_head_each_minute() -> None:
    source = puff(after=100, lasts=300, smoke=1.0, velocity=1.0)
    for model, shortest, longest in ((Model.MAINS_HEAD, 2, 6), (Model.LORA_HEAD, 60, 62)):
        own = told([one_of(model)], plan=Plan(sources=(source,)), interval_s=3600)
        alarms = [report.at / SECOND for report in own if report.states["smoke_alarm"] and not report.urgent]
        steps = [later - sooner for sooner, later in itertools.pairwise(alarms)]
        assert shortest <= min(steps) <= max(steps) <= longest


def test_a_sleeping_head_looks_each_ten_seconds_and_then_each_second() -> None:
    source = puff(after=100, lasts=300, smoke=1.0, velocity=1.0)
    first = next(
        report
        for report in told([one_of(Model.BATTERY_HEAD)], plan=Plan(sources=(source,)), interval_s=86_400)
        if report.states["smoke_alarm"]
    )
    assert 3 <= (first.at - source.start_at) / SECOND <= 16
    assert first.urgent
    assert set(first.values) == {"temperature", "smoke", "battery"}


def test_models_tell_what_they_measure_as_often_as_they_do() -> None:
    for model, every, values, states in (
        (Model.MAINS_HEAD, 60, {"temperature", "humidity", "smoke"}, {"smoke_alarm", "heat_alarm"}),
        (Model.BATTERY_HEAD, 86_400, {"temperature", "smoke", "battery"}, {"smoke_alarm", "low_battery"}),
        (Model.LORA_HEAD, 3_600, {"temperature", "smoke", "battery"}, {"smoke_alarm", "heat_alarm", "low_battery"}),
        (Model.HEAT_HEAD, 60, {"temperature"}, {"heat_alarm"}),
        (Model.PILE, 180, {"voltage", "current", "device_temperature", "rssi"}, set()),
        (Model.GATEWAY, 60, set(), {"online", "mains_lost"}),
        (Model.CALL_POINT, 86_400, {"battery"}, {"manual_alarm", "low_battery"}),
        (Model.SIREN, 3_600, set(), {"mains_lost"}),
    ):
        own = told([one_of(model)], interval_s=None, seconds=3 * every)
        assert [later.at - sooner.at for sooner, later in itertools.pairwise(own)] == [every * SECOND] * 2
        assert (set(own[0].values), set(own[0].states)) == (values, states)


def test_the_devices_of_a_gateway_report_in_its_rounds() -> None:
    every = told([GATEWAY_SHED], interval_s=None, seconds=3700)
    rounds = {report.at for report in every if report.device == GATEWAY_SHED.gateway}
    spoken = [report for report in every if report.gateway]
    assert {report.at for report in spoken} == rounds
    assert len({report.device for report in spoken}) == sum(
        device.model not in (Model.PILE, Model.CALL_POINT) for device in GATEWAY_SHED.devices
    )


def test_an_evening_s_charge_goes_on_after_midnight() -> None:
    own = told([one_of(Model.PILE)], seconds=24 * 3600, interval_s=600)
    night = [r.values["current"] for r in own if (r.at + 8 * HOUR) % DAY < 3 * HOUR]
    early = [r.values["current"] for r in own if 7 * HOUR < (r.at + 8 * HOUR) % DAY < 9 * HOUR]
    assert max(night) > 1 > 0.2 > max(early)


def test_a_sun_heated_roof_warms_all_heads_alike() -> None:
    spell = Spell(start_at=START - DAY, end_at=START + DAY, mean_c=32.0, sun=1.0, wind_m_s=0.5)
    site = msgspec.structs.replace(SHED, roof="metal")
    noon = [r for r in told([site], plan=Plan(spells=(spell,)), seconds=6 * 3600, interval_s=60) if "smoke" in r.values]
    last = {report.device: report.values["temperature"] for report in noon if report.at > START + 5 * HOUR}
    assert len(last) >= 3
    assert min(last.values()) > 40
    assert max(last.values()) - min(last.values()) < 4


def test_a_spell_holds_over_the_sites_of_its_area_alone() -> None:
    def over(area: str, site_area: str) -> bool:
        fog = Spell(start_at=START, end_at=START + HOUR, fog_db_m=2.0, ease_s=1.0, area=area)
        site = msgspec.structs.replace(one_of(Model.MAINS_HEAD), area=site_area)
        return told([site], plan=Plan(spells=(fog,)), seconds=60)[-1].values["smoke"] > 0.2

    assert over("yj.s1", "yj.s1.c2") and over("yj.s1", "yj.s1") and over("", "yj.s1.c2")
    assert not over("yj.s1", "yj.s10.c2")
    assert not over("yj.s1.c2", "yj.s1")


def test_fog_is_smoke_to_one_head_more_than_to_another_and_warms_none() -> None:
    fog = Spell(start_at=START, end_at=START + HOUR, fog_db_m=0.25, ease_s=60.0)
    heads = [r for r in told(plan=Plan(spells=(fog,)), seconds=1200, interval_s=60) if "smoke" in r.values]
    seen = {report.device: report.values["smoke"] for report in heads if between(report, 600, 900)}
    assert min(seen.values()) > 0.03
    assert max(seen.values()) > 1.2 * min(seen.values())
    clear = [r for r in told(seconds=1200, interval_s=60) if "smoke" in r.values]
    assert max(r.values["smoke"] for r in clear) < 0.03


def test_the_load_of_a_pile_rises_in_the_evening_and_draws_the_voltage_down() -> None:
    own = told([one_of(Model.PILE)], seconds=86_400, interval_s=600)
    by_hour = {
        hour: [r.values["current"] for r in own if (r.at + 8 * HOUR) % DAY // HOUR == hour] for hour in range(24)
    }
    assert sum(by_hour[21]) > 3 * sum(by_hour[9])
    most, least = (pick(own, key=lambda r: r.values["current"]) for pick in (max, min))
    assert most.values["device_temperature"] > least.values["device_temperature"]


# --- troubles -----------------------------------------------------------------------------------------------------


def test_a_stuck_sensor_repeats_what_it_read_first_and_is_blind_to_smoke() -> None:
    stuck = Stuck(site=SHED.id, device=HEAD, start_at=START + 50 * SECOND, end_at=START + LASTS, quantity="smoke")
    plan = Plan(troubles=(stuck,), sources=(puff(after=100, lasts=60, smoke=0.5),))
    own = told(plan=plan, device=HEAD)
    assert len({report.values["smoke"] for report in own if between(report, 60, 600)}) == 1
    assert not any(report.states["smoke_alarm"] for report in own)
    assert any(report.states["smoke_alarm"] for report in told(plan=plan, device=f"{SHED.id}-h02"))


def test_a_drifting_sensor_alarms_by_itself_in_the_end() -> None:
    drift = Drift(
        site=SHED.id, device=HEAD, start_at=START, end_at=START + DAY, quantity="smoke", per_day=0.2 * 86_400 / 400
    )
    own = in_trouble(drift)
    alarms = [report for report in own if report.states["smoke_alarm"]]
    assert 280 < (alarms[0].at - START) / SECOND < 330


def test_glitches_are_single_readings_that_alarm_nobody() -> None:
    glitch = Glitch(site=SHED.id, start_at=START, end_at=START + HOUR, quantity="temperature", by=60.0, chance=0.05)
    own = in_trouble(glitch, seconds=3600)
    wrong = [report for report in own if report.values["temperature"] > 60]
    assert 5 < len(wrong) < 40
    assert not any(report.states["heat_alarm"] for report in own)


def test_a_battery_says_that_it_is_low_and_then_nothing() -> None:
    dying = Battery(
        site=SHED.id, device=f"{SHED.id}-x01", start_at=START, end_at=START + DAY, percent=20.0, per_day=20.0 * 24
    )
    own = told([one_of(Model.LORA_HEAD)], plan=Plan(troubles=(dying,)), seconds=7200, interval_s=60)
    low = [report for report in own if report.states["low_battery"]]
    assert (low[0].at - START) / MINUTE == pytest.approx(15, abs=1.1)
    assert 58 <= (own[-1].at - START) / MINUTE <= 60
    assert low[-1].values["battery"] <= 1


def test_what_lives_on_the_mains_needs_no_battery() -> None:
    empty = Battery(site=SHED.id, start_at=START, end_at=START + DAY, percent=0.0, per_day=2.0)
    sites = [one_of(Model.MAINS_HEAD), one_of(Model.PILE)]
    for site in sites:
        assert told([site], plan=Plan(troubles=(empty,))) == told([site])


def test_what_was_not_kept_is_lost_and_the_broker_tells_of_it() -> None:
    away = Away(site=SHED.id, device=HEAD, start_at=START + 100 * SECOND, end_at=START + 300 * SECOND, keeps=False)
    own = in_trouble(away)
    status = [(round((r.at - START) / SECOND), r.online) for r in own if r.online is not None]
    assert status == [(145, False), (300, True)]
    measured = [report for report in own if report.online is None]
    assert not any(between(report, 100, 300) for report in measured)
    assert measured[-1].seq > len(measured)  # it went on counting


def test_a_head_cut_off_from_its_gateway_is_missed_by_nobody_else() -> None:
    head = f"{GATEWAY_SHED.id}-h02"
    away = Away(
        site=GATEWAY_SHED.id, device=head, start_at=START + 100 * SECOND, end_at=START + 300 * SECOND, keeps=False
    )
    plain, cut = told([GATEWAY_SHED]), told([GATEWAY_SHED], plan=Plan(troubles=(away,)))
    assert cut == [r for r in plain if not (r.device == head and between(r, 100, 300))]  # and no status: it has none


def test_an_alarm_that_began_while_away_is_urgent_afterwards() -> None:
    away = Away(site=SHED.id, device=HEAD, start_at=START + 100 * SECOND, end_at=START + 200 * SECOND, keeps=False)
    plan = Plan(troubles=(away,), sources=(puff(after=150, lasts=300, smoke=0.5),))
    own = [report for report in told(plan=plan, device=HEAD) if report.at >= away.end_at and report.online is None]
    assert own[0].urgent and own[0].states["smoke_alarm"]


def test_what_a_gateway_kept_comes_afterwards_in_arrays_oldest_first() -> None:
    away = Away(site=GATEWAY_SHED.id, start_at=START + 100 * SECOND, end_at=START + 300 * SECOND, keeps=True)
    every = told([GATEWAY_SHED], plan=Plan(troubles=(away,)))
    pile = next(device.id for device in GATEWAY_SHED.devices if device.model is Model.PILE)
    late = [report for report in every if report.late and report.device != pile]
    assert {report.at for report in late} == {away.end_at}
    assert [report.stated_at for report in late] == sorted(report.stated_at for report in late)
    assert all(away.start_at <= report.stated_at < away.end_at for report in late)
    plain = told([GATEWAY_SHED])
    key = lambda report: (report.device, report.stated_at, report.seq, report.values)  # noqa: E731
    assert sorted(map(key, every_measured(every)), key=str) == sorted(map(key, plain), key=str)  # nothing is lost
    arrays = [m for m in messages(every) if m.at == away.end_at and m.topic == f"ember/v1/{GATEWAY_SHED.id}/telemetry"]
    assert sum(len(msgspec.json.decode(m.payload)) for m in arrays) == len(late)


def every_measured(found: Sequence[Report]) -> list[Report]:
    return [report for report in found if report.online is None]


def test_a_wrong_clock_states_wrong_times_and_sends_at_right_ones() -> None:
    wrong = Clock(site=SHED.id, device=HEAD, start_at=START, end_at=START + DAY, offset_s=-120.0, ppm=1000.0)
    for report in in_trouble(wrong):
        since = (report.at - START) / SECOND
        assert (report.stated_at - report.at) / SECOND == pytest.approx(-120 + since / 1000, abs=0.001)


def test_a_rebooted_device_counts_from_one_and_speaks_at_once() -> None:
    reboot = Reboot(site=SHED.id, device=HEAD, start_at=START + 100 * SECOND, end_at=START + 200 * SECOND)
    own = [report for report in in_trouble(reboot) if report.online is None]
    assert not any(between(report, 100, 200) for report in own)
    again = next(report for report in own if report.at >= reboot.end_at)
    assert (again.at, again.seq) == (reboot.end_at, 1)


def test_without_mains_piles_are_silent_and_gateways_live_on_their_reserve() -> None:
    cut = Mains(site=GATEWAY_SHED.id, start_at=START + 100 * SECOND, end_at=START + 500 * SECOND, reserve_s=200.0)
    every = told([GATEWAY_SHED], plan=Plan(troubles=(cut,)))
    gateway = [r for r in every if r.device == GATEWAY_SHED.gateway and r.online is None]
    assert gateway[0].states["mains_lost"] is False
    lost = next(report for report in gateway if report.states["mains_lost"])
    assert lost.at == cut.start_at
    assert not any(between(report, 300, 500) for report in gateway)
    assert next(report for report in gateway if between(report, 500, 501)).states["mains_lost"] is False
    piles = [r for r in every if r.device.endswith("p01") and r.online is None]
    assert piles and not any(between(report, 100, 500) for report in piles)
    heads = [r for r in every if "-h" in r.device]
    assert any(between(report, 100, 300) for report in heads)
    assert not any(between(report, 300, 500) for report in heads)


def test_a_device_says_what_it_is_told_to_at_once_and_takes_it_back() -> None:
    said = States(
        site=SHED.id,
        device=HEAD,
        start_at=START + 101 * SECOND,
        end_at=START + 200 * SECOND,
        states={"smoke_alarm": True, "tamper": True},
    )
    own = in_trouble(said)
    up = next(report for report in own if report.states.get("tamper"))
    assert (up.at, up.urgent, up.states["smoke_alarm"]) == (said.start_at, True, True)
    down = next(report for report in own if report.at >= said.end_at)
    assert (down.at, down.urgent) == (said.end_at, True)
    assert down.states["smoke_alarm"] is False and down.states["tamper"] is False


def test_a_call_point_is_pressed_by_a_plan() -> None:
    pressed = States(site=SHED.id, start_at=START + 60 * SECOND, end_at=START + DAY, states={"manual_alarm": True})
    (first,) = told([one_of(Model.CALL_POINT)], plan=Plan(troubles=(pressed,)), interval_s=86_400)
    assert (first.at, first.urgent, first.states["manual_alarm"]) == (pressed.start_at, True, True)


def test_a_protective_stop_takes_the_load_off_a_pile_and_a_restart_puts_it_on() -> None:
    at = START + 100 * SECOND
    troubles = (
        Charging(site=SHED.id, start_at=at, end_at=at + 100 * SECOND, watts=0.0),
        Charging(site=SHED.id, start_at=at + 100 * SECOND, end_at=at + 200 * SECOND, watts=2000.0),
    )
    own = told([one_of(Model.PILE)], plan=Plan(troubles=troubles))
    assert all(report.values["current"] < 0.1 for report in own if between(report, 100, 200))
    assert all(report.values["current"] > 9 for report in own if between(report, 200, 300))
    assert any(report.at == at for report in own) and any(report.at == at + 100 * SECOND for report in own)


def test_trouble_at_one_site_changes_nothing_at_others_nor_does_a_longer_plan() -> None:
    sites = TOWN.sites[:3]
    quiet = told(sites)
    wild = Plan(
        troubles=(
            Reboot(site=SHED.id, start_at=START + 10 * SECOND, end_at=START + 60 * SECOND),
            Away(site=SHED.id, start_at=START + 100 * SECOND, end_at=START + 200 * SECOND, keeps=True),
        ),
        sources=(puff(after=30, lasts=200, smoke=1.0, temperature=40.0),),
    )
    loud = told(sites, plan=wild)
    assert [r for r in loud if r.site != SHED.id] == [r for r in quiet if r.site != SHED.id]
    assert [r.at for r in loud] == sorted(r.at for r in loud)
