"""Each packaged scenario shows in the town's reports what it promises: told in its own town, by two seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise, takewhile
from statistics import fmean

import msgspec
import pytest

from ingest.file_rows import parse_time
from ingest.readings import DAY, FIRE_STATES, HOUR, MINUTE, SECOND
from simulators.scenarios.command import bounds, concerned, planned
from simulators.scenarios.picking import DEPTH
from simulators.scenarios.story import load
from simulators.town.layout import Town
from simulators.town.life import reports
from simulators.town.models import SMOKE, Model
from simulators.town.report import Report
from simulators.truth import Truth

SMOKE_ALARM, HEAT_ALARM = 0.15, 57.0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario told in its town. `zero` is the event at 0 s."""

    town: Town
    truth: Truth
    reports: list[Report]
    begin: int
    zero: int

    def of(self, site: str = "", device: str = "", *models: Model) -> dict[str, list[Report]]:
        """Reports by device, of this site, this device, these models; everyone's where nothing is asked for."""
        model = {each.id: each.model for place in self.town.sites for each in place.devices}
        found: dict[str, list[Report]] = defaultdict(list)
        for report in self.reports:
            asked = site in ("", report.site) and device in ("", report.device)
            if asked and (not models or model[report.device] in models):
                found[report.device].append(report)
        return dict(found)

    def alarms(self) -> dict[str, int]:
        """When each device first said a state of fire class."""
        first: dict[str, int] = {}
        for report in self.reports:
            if any(report.states.get(state) for state in FIRE_STATES):
                first.setdefault(report.device, report.at)
        return first


@cache
def told(name: str, seed: int) -> Told:
    story = load(name)
    town, plan, truth = planned(story, seed=seed)
    begin, end = bounds(story)
    # two weeks at each model's own interval are millions of reports: of those the sites concerned, where heads sleep
    sites = town.sites if story.town.interval else [site for site in concerned(town, truth) if site.kind != "shed"]
    life = reports(sites, plan=plan, start_at=begin, interval_s=story.town.interval, seed=seed)
    kept = list(takewhile(lambda report: report.at < end, life))
    return Told(town=town, truth=truth, reports=kept, begin=begin, zero=begin + round(story.town.before * SECOND))


def passes(reports: list[Report], quantity: str, limit: float) -> int | None:
    """When a quantity first reaches a limit."""
    return next((report.at for report in reports if report.values.get(quantity, -1e9) >= limit), None)


def values(reports: list[Report], quantity: str, since: int = 0, until: int = 1 << 62) -> list[float]:
    return [report.values[quantity] for report in reports if since <= report.at < until and quantity in report.values]


pytestmark = pytest.mark.parametrize("seed", [1, 2])


def test_a_quiet_day_has_a_warm_noon_and_no_alarm(seed: int) -> None:
    day = told("quiet_day", seed)
    assert day.alarms() == {}
    for heard in day.of("", "", *SMOKE).values():
        assert max(values(heard, "smoke")) < 0.05
        temperatures = values(heard, "temperature")
        assert 3.0 < max(temperatures) - min(temperatures) < 30.0


def test_a_battery_fire_is_smoke_first_then_flame_then_heat(seed: int) -> None:
    fire = told("battery_fire", seed)
    lit = fire.truth.fires[0]
    ignition, flame = parse_time(lit.ignition), parse_time(lit.first_flame or "")
    near = fire.of("", lit.nearest)[lit.nearest]
    smoke, heat = passes(near, "smoke", SMOKE_ALARM), passes(near, "temperature", HEAT_ALARM)
    assert smoke is not None and heat is not None
    assert ignition < smoke < flame + 5 * SECOND < heat < ignition + 3 * MINUTE
    assert fire.alarms()[lit.nearest] == min(fire.alarms().values()) > ignition
    assert {device.rpartition("-")[0] for device in fire.alarms()} == {lit.site}


def test_a_smoulder_is_smoke_without_heat(seed: int) -> None:
    glow = told("smoulder", seed)
    lit = glow.truth.fires[0]
    for heard in glow.of(lit.site, "", *SMOKE).values():
        before = fmean(values(heard, "temperature", 0, parse_time(lit.ignition)))
        assert max(values(heard, "temperature")) < before + 8.0
    near = glow.of("", lit.nearest)[lit.nearest]
    smoke = passes(near, "smoke", SMOKE_ALARM)
    assert smoke is not None and parse_time(lit.ignition) < smoke < parse_time(lit.ignition) + 20 * MINUTE
    assert not any(report.states.get("heat_alarm") for report in glow.reports)


def test_arson_is_heat_within_two_minutes_at_two_sheds(seed: int) -> None:
    arson = told("arson_two_sheds", seed)
    assert len({lit.site for lit in arson.truth.fires}) == 2
    for lit in arson.truth.fires:
        heat = passes(arson.of("", lit.nearest)[lit.nearest], "temperature", HEAT_ALARM)
        assert heat is not None and heat - parse_time(lit.ignition) < 2 * MINUTE


def test_fire_at_the_neighbour_shows_only_after_it_was_lit(seed: int) -> None:
    spread = told("neighbour_spread", seed)
    first, _, third = spread.truth.fires
    alarms = spread.alarms()
    at = {device: moment for device, moment in alarms.items() if device.startswith(third.site)}
    assert at and min(at.values()) > parse_time(third.ignition)
    assert min(alarms.values()) > parse_time(first.ignition)


def test_a_re_ignition_is_a_second_smoke_after_a_clear_air(seed: int) -> None:
    twice = told("re_ignition", seed)
    first, again = twice.truth.fires
    near = twice.of("", first.nearest)[first.nearest]
    before_again = values(near, "smoke", parse_time(again.ignition) - 2 * MINUTE, parse_time(again.ignition))
    assert max(before_again) < 0.05 < SMOKE_ALARM < max(values(near, "smoke", parse_time(again.ignition)))
    assert max(values(near, "smoke", 0, parse_time(first.out or ""))) > 1.0


def test_a_hot_roof_warms_all_heads_of_a_site_alike(seed: int) -> None:
    hot = told("hot_roof", seed)
    metal = [site for site in hot.town.sites if site.roof == "metal"]
    noon = hot.begin + 6 * HOUR + 30 * MINUTE  # it begins at 6 h
    for site in metal:
        at_noon = [
            fmean(values(heard, "temperature", noon, noon + 5 * MINUTE))
            for heard in hot.of(site.id, "", *SMOKE).values()
        ]
        assert min(at_noon) > 44.0 and max(at_noon) < 60.0
        assert max(at_noon) - min(at_noon) < 4.0
    assert metal and not hot.truth.fire
    assert not any(report.states.get("smoke_alarm") for report in hot.reports)


def test_fog_lifts_smoke_everywhere_and_warms_nothing(seed: int) -> None:
    fog = told("fog", seed)
    lifts = []
    for heard in fog.of("", "", *SMOKE).values():
        before, during = (
            values(heard, "smoke", fog.begin + a * HOUR, fog.begin + b * HOUR) for a, b in ((0, 1), (3, 5))
        )
        lifts.append(fmean(during) - fmean(before))
        warm = [
            fmean(values(heard, "temperature", fog.begin + a * HOUR, fog.begin + b * HOUR)) for a, b in ((0, 1), (3, 5))
        ]
        assert warm[1] < warm[0] + 5.0
    assert min(lifts) > 0.015 and max(lifts) > 0.06


def test_a_burnt_meal_passes_an_alarm_and_an_ordinary_one_does_not(seed: int) -> None:
    kitchen = told("cooking", seed)
    steam, meal, burnt = kitchen.truth.nuisances
    heads = kitchen.of(steam.site, "", *SMOKE)
    highest = [
        max(max(values(heard, "smoke", parse_time(span.start), parse_time(span.end))) for heard in heads.values())
        for span in (steam, meal, burnt)
    ]
    assert highest[0] < SMOKE_ALARM > highest[1] and highest[2] > 2 * highest[1]
    assert all(max(values(heard, "temperature")) < 40.0 for heard in heads.values())
    assert all(at > parse_time(burnt.start) for at in kitchen.alarms().values())


def test_dust_lifts_the_floor_week_by_week(seed: int) -> None:
    dusty = told("dust_drift", seed)
    devices = {span.device for span in dusty.truth.nuisances}
    for device, heard in dusty.of("", "", *SMOKE).items():
        weeks = [
            fmean(values(heard, "smoke", dusty.zero + n * 7 * DAY, dusty.zero + (n + 1) * 7 * DAY)) for n in range(4)
        ]
        if device in devices:
            assert weeks == sorted(weeks) and weeks[3] - weeks[0] > 0.025
        else:
            assert abs(weeks[3] - weeks[0]) < 0.01


def test_welding_is_puffs_without_heat(seed: int) -> None:
    rail = told("welding", seed)
    welding, sweeping = rail.truth.nuisances
    start, end = parse_time(welding.start), parse_time(sweeping.start)
    heads = rail.of(welding.site, "", *SMOKE)
    near = max(heads.values(), key=lambda heard: max(values(heard, "smoke", start, end)))
    smoke = values(near, "smoke", start, end)
    half = max(smoke) / 2
    rises = sum(1 for one, other in pairwise(smoke) if one < half <= other)
    assert max(smoke) > 0.08 and rises >= 3
    before = fmean(values(near, "temperature", 0, start))
    assert max(values(near, "temperature")) < before + 5.0


def test_a_stuck_sensor_says_the_same_and_others_do_not(seed: int) -> None:
    stuck = told("stuck_sensor", seed)
    by = {span.what: span.device for span in stuck.truth.faults}
    since = stuck.zero
    assert len(set(values(stuck.of("", by["stuck temperature"])[by["stuck temperature"]], "temperature", since))) == 1
    assert set(values(stuck.of("", by["stuck smoke"])[by["stuck smoke"]], "smoke", since)) == {0.0}
    odd = values(stuck.of("", by["glitch temperature"])[by["glitch temperature"]], "temperature", since)
    usual = sorted(odd)[len(odd) // 2]
    assert 1 <= sum(value > usual + 30 for value in odd) < len(odd) / 15
    for device, heard in stuck.of("", "", *SMOKE).items():
        assert device == by["stuck temperature"] or len(set(values(heard, "temperature", since))) > 5


def test_a_dying_battery_is_told_before_it_falls_silent(seed: int) -> None:
    dying = told("dying_batteries", seed)
    devices = {span.device for span in dying.truth.faults} & set(dying.of())
    assert len(devices) > 3
    for device in devices:
        heard = dying.of("", device)[device]
        said_low = [report.at for report in heard if report.states.get("low_battery")]
        assert said_low and said_low[0] < heard[-1].at < dying.zero + 14 * DAY - DAY
        levels = values(heard, "battery", dying.zero)
        assert levels == sorted(levels, reverse=True)


def test_a_gateway_without_a_link_silences_its_site_alone_and_sends_afterwards(seed: int) -> None:
    lost = told("gateway_loss", seed)
    (span,) = lost.truth.faults
    start, end = parse_time(span.start), parse_time(span.end)
    sent = [report for report in lost.reports if report.online is None and start <= report.at < end]
    speaks = {device.id: device.gateway or device.id for site in lost.town.sites for device in site.devices}
    assert not any(speaks[report.device] == span.device for report in sent)
    assert {report.site for report in sent} >= {site.id for site in lost.town.sites} - {span.site}
    late = [report for report in lost.reports if report.late]
    assert late and all(start <= report.stated_at < end <= report.at for report in late)
    assert {speaks[report.device] for report in late} == {span.device}


def test_a_carrier_that_fails_loses_what_heads_measured_and_not_what_gateways_kept(seed: int) -> None:
    failed = told("carrier_loss", seed)
    start, end = failed.zero + 22 * MINUTE, failed.zero + 80 * MINUTE
    stated = {
        device: [r.stated_at for r in heard if start <= r.stated_at < end] for device, heard in failed.of().items()
    }
    models = {device.id: device for site in failed.town.sites for device in site.devices}
    for id, moments in stated.items():
        if models[id].gateway:
            assert len(moments) > 40
        elif models[id].model is Model.BATTERY_HEAD:
            assert moments == []


def test_a_clock_that_drifts_is_ahead_or_behind_by_more_and_more(seed: int) -> None:
    clocks = told("clock_drift", seed)
    off = {
        device: [report.stated_at - report.at for report in heard if report.at >= clocks.zero and report.values]
        for device, heard in clocks.of("", "", *SMOKE).items()
    }
    wrong = {span.device for span in clocks.truth.faults}
    ranked = sorted((max(map(abs, late)), device) for device, late in off.items() if device in wrong)
    drift, zone, years = (device for _, device in ranked)
    assert 0.9 * 7200 * 200 < abs(off[drift][-1] - off[drift][0]) < 1.1 * 7200 * 200
    assert all(abs(abs(late) - 8 * HOUR) < SECOND for late in off[zone])
    assert all(abs(late) > 8 * 365 * DAY for late in off[years])
    assert all(max(map(abs, late)) < SECOND for device, late in off.items() if device not in wrong)


def test_a_reboot_is_a_short_silence_and_numbers_from_one(seed: int) -> None:
    rebooted = told("device_reboot", seed)
    times = Counter(span.device for span in rebooted.truth.faults)
    for device, heard in rebooted.of("", "", *SMOKE).items():
        counted = [report.seq for report in heard if report.values]
        again = sum(1 for one, other in pairwise(counted) if other <= one)
        assert again == times[device]
    assert sorted(times.values()) == [1, 1, 3]


def test_a_power_cut_is_said_by_the_street_at_once_and_piles_fall_silent(seed: int) -> None:
    cut = told("power_cut", seed)
    dark = {span.site for span in cut.truth.faults}
    start = cut.zero + 5 * MINUTE
    said = {report.device: report for report in reversed(cut.reports) if report.states.get("mains_lost")}
    assert {report.site for report in said.values()} <= dark
    for device, heard in cut.of("", "", Model.MAINS_HEAD, Model.GATEWAY).items():
        if heard[0].site in dark:
            assert start <= said[device].at < start + 30 * SECOND
    for heard in cut.of("", "", Model.PILE).values():
        during = [report for report in heard if report.values and start <= report.at < start + 59 * MINUTE]
        assert (during == []) == (heard[0].site in dark)


def test_a_storm_is_every_head_of_the_street_within_a_second(seed: int) -> None:
    storm = told("storm", seed)
    alarms = storm.alarms()
    streets = {
        ".".join(site.area.split(".")[: DEPTH["street"]])
        for site in storm.town.sites
        if any(device.id in alarms for device in site.devices)
    }
    assert len(streets) == 1
    heads = {
        device.id for site in storm.town.sites_below(streets.pop()) for device in site.devices if device.model in SMOKE
    }
    assert set(alarms) == heads and len(heads) > 30
    assert max(alarms.values()) - min(alarms.values()) <= 2 * SECOND
    assert not any(report.states.get("smoke_alarm") for report in storm.reports if report.at > storm.zero + 70 * SECOND)


def test_a_pile_gives_too_much_stops_and_is_started_again_before_the_fire(seed: int) -> None:
    pile = told("restart_after_protective_stop", seed)
    lit = pile.truth.fires[0]
    currents = {device: heard for device, heard in pile.of(lit.site, "", Model.PILE).items()}
    found = []
    for heard in currents.values():
        parts = [
            fmean(values(heard, "current", pile.zero + a * MINUTE + 30 * SECOND, pile.zero + b * MINUTE))
            for a, b in ((2, 13), (13, 18), (18, 22))
        ]
        found.append(parts[1] < 0.2 < 4.0 < min(parts[0], parts[2]))
    assert any(found)
    assert min(pile.alarms().values()) > parse_time(lit.ignition) > pile.zero + 18 * MINUTE
