"""From a story to a plan and its truth: chosen by the seed alone, true to what was asked for."""

from __future__ import annotations

import hashlib
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import OperatorError
from ingest.file_rows import parse_time
from ingest.readings import MINUTE, SECOND
from simulators.physics.exposure import NOTHING, Place
from simulators.scenarios.story import Story, load, names, parse
from simulators.town.layout import Town, build_town, distance_m
from simulators.town.plan import Away, Charging, Mains, Plan, States
from simulators.truth import Truth

START = 1_778_565_600_000_000
SMALL = build_town(devices=48, sites=8, seed=1)
MIXED = build_town(devices=480, sites=48, seed=1)
TWO_EVENTS = """\
name: two
says: Two things.
lasts: 10m
events:
  - {what: glitches, quantity: smoke, by: 1, where: {device: head, count: 2}}
  - {what: clock, offset: 60, where: {device: head}}
"""


def town_of(story: Story) -> Town:
    return build_town(devices=story.town.devices, sites=story.town.sites, seed=1)


def plan(name: str, town: Town, **more: object) -> tuple[Plan, Truth]:
    return load(name).plan(town=town, start_at=START, seed=7, **more)  # type: ignore[arg-type]


def digest(told: tuple[Plan, Truth]) -> str:
    return hashlib.blake2b(pickle.dumps(told)).hexdigest()


@pytest.mark.parametrize("name", names())
def test_every_scenario_has_a_plan_in_its_own_town_the_same_each_time(name: str) -> None:
    story, town = load(name), town_of(load(name))
    first = story.plan(town=town, start_at=START, seed=3)
    assert digest(first) == digest(load(name).plan(town=town_of(story), start_at=START, seed=3))
    made, truth = first
    assert bool(made.sources or made.troubles or made.spells) == (name != "quiet_day")
    assert truth.fire == bool(truth.fires) == (truth.ignition is not None)


def test_another_seed_chooses_other_sites() -> None:
    story = load("battery_fire")
    chosen = {story.plan(town=MIXED, start_at=START, seed=seed)[1].fires[0].site for seed in range(12)}
    assert len(chosen) > 4


@given(times=st.integers(1, 8))
def test_a_telling_is_where_it_is_however_many_follow(times: int) -> None:
    story = load("welding")
    made = story.plan(town=MIXED, start_at=START, seed=7, times=times, every_s=90.0)[0]
    alone = story.plan(town=MIXED, start_at=START, seed=7, times=8, every_s=90.0)[0]
    assert set(made.sources) <= set(alone.sources)
    assert len({source.site for source in made.sources}) == times


def test_an_event_is_where_it_is_whatever_else_happens() -> None:
    both = parse(TWO_EVENTS, "two.yaml").plan(town=MIXED, start_at=START, seed=7)[0]
    one = parse("\n".join(TWO_EVENTS.splitlines()[:-1]), "two.yaml").plan(town=MIXED, start_at=START, seed=7)[0]
    assert one.troubles == both.troubles[:2] and len(both.troubles) == 3


def test_the_sites_named_come_first_then_others_each_once() -> None:
    told = plan("battery_fire", SMALL, sites=["shed-005", "shed-002"], times=8, every_s=60.0)[1]
    sites = [fire.site for fire in told.fires]
    assert sites[:2] == ["shed-005", "shed-002"] and len(set(sites)) == 8
    assert [parse_time(fire.ignition) for fire in told.fires] == [START + n * MINUTE for n in range(8)]


def test_weather_leaves_the_sites_named_to_what_burns_there() -> None:
    both = "name: b\nsays: x\nlasts: 9m\nevents:\n  - {what: fog}\n  - {what: battery_fire, where: {kind: shed}}\n"
    made, truth = parse(both, "b.yaml").plan(town=SMALL, start_at=START, seed=1, sites=["shed-004"])
    assert [fire.site for fire in truth.fires] == ["shed-004"]
    assert [spell.area for spell in made.spells] == [""]
    assert [(span.what, span.site) for span in truth.nuisances] == [("fog", "")]


def test_a_town_too_small_for_a_story_says_so() -> None:
    with pytest.raises(OperatorError, match=r"battery_fire.*this town has 8 of a shed"):
        plan("battery_fire", SMALL, times=9)
    with pytest.raises(OperatorError, match=r"cooking: kitchen: this town has 0 of a shop with a head"):
        plan("cooking", SMALL)
    with pytest.raises(OperatorError, match=r"no site shed-999"):
        plan("battery_fire", SMALL, sites=["shed-999"])
    with pytest.raises(OperatorError, match=r"shed-001: not a site with a gateway"):
        plan("gateway_loss", SMALL, sites=["shed-001"])


@pytest.mark.parametrize(
    ("first", "then", "right"),
    [
        ("kind: shed, device: head", "device: siren", "where it is, is not a site with a siren; name another"),
        ("kind: shed, device: head", "kind: shop", "where it is, is not a shop; name another"),
        ("kind: shed, device: head", "whole: grid, device: siren", "this town has 0 of a site with a siren"),
        ("kind: shed, device: head", "whole: grid, kind: shop", "this town has 0 of a shop"),
    ],
)
def test_what_an_earlier_site_does_not_have_is_said_and_never_the_whole_site_instead(
    first: str, then: str, right: str
) -> None:
    text = "name: x\nsays: x\nlasts: 9m\nevents:\n"
    text += (
        f"  - {{what: reboot, called: it, where: {{{first}}}}}\n  - {{what: reboot, where: {{same_as: it, {then}}}}}\n"
    )
    with pytest.raises(OperatorError, match=right):
        parse(text, "x.yaml").plan(town=SMALL, start_at=START, seed=1)


def test_no_bike_stands_beside_the_only_one() -> None:
    text = "name: x\nsays: x\nlasts: 9m\nevents:\n  - {what: battery_fire, called: it, where: {kind: shop}}\n"
    text += "  - {what: battery_fire, where: {same_as: it, bay: next}}\n"
    with pytest.raises(OperatorError, match=r"has one parking space and so none for bay: next"):
        parse(text, "x.yaml").plan(town=MIXED, start_at=START, seed=1)


def test_arson_is_at_the_two_ends_of_the_town() -> None:
    first, second = (MIXED.site(fire.site) for fire in plan("arson_two_sheds", MIXED)[1].fires)
    assert first is not None and second is not None and first.kind == second.kind == "shed"
    assert distance_m(first, second) == max(distance_m(first, site) for site in MIXED.sites if site.kind == "shed")


def test_fire_spreads_to_the_bike_beside_and_the_site_nearest() -> None:
    made, truth = plan("neighbour_spread", MIXED)
    first, second, third = truth.fires
    assert first.site == second.site != third.site
    assert second.again_of == first.ignition and third.again_of is None
    one, other = MIXED.site(first.site), MIXED.site(third.site)
    assert one is not None and other is not None
    assert distance_m(one, other) == min(distance_m(one, site) for site in MIXED.sites if site is not one)
    bays = [source.place.bay for source in made.sources if source.site == first.site]  # type: ignore[attr-defined]
    assert abs(bays[0] - bays[1]) == 1


def test_a_pack_that_was_put_out_burns_again_on_its_own_bay() -> None:
    made, truth = plan("re_ignition", SMALL)
    first, again = truth.fires
    assert again.site == first.site and again.again_of == first.ignition
    assert first.out is not None and parse_time(again.ignition) - parse_time(first.out) >= 15 * MINUTE
    put_out, lit = made.sources
    assert put_out.source.place.bay == lit.place.bay >= 0  # type: ignore[attr-defined]


def test_a_fire_put_out_fades_from_what_it_was() -> None:
    source = plan("re_ignition", SMALL)[0].sources[0]
    above = Place(x_m=source.source.place.x_m, y_m=1.0)  # type: ignore[attr-defined]
    out = parse_time(plan("re_ignition", SMALL)[1].fires[0].out or "")
    seen = [source.at_place(above, out + after * SECOND) for after in (-1, 30, 60, 240, 900)]
    assert seen[0].temperature > 50 and seen[-1] == NOTHING
    for earlier, later in pairwise(seen):
        assert later.temperature < earlier.temperature and later.smoke < earlier.smoke


def test_a_power_cut_takes_the_whole_street_and_nothing_beside_it() -> None:
    made = plan("power_cut", MIXED)[0]
    dark = {trouble.site for trouble in made.troubles if isinstance(trouble, Mains)}
    streets = {site.area.split(".")[1] for site in MIXED.sites if site.id in dark}
    assert len(streets) == 1
    assert dark == {site.id for site in MIXED.sites if site.area.split(".")[1] in streets}


def test_a_carrier_takes_every_gateway_and_battery_head() -> None:
    made = plan("carrier_loss", MIXED)[0]
    gone = {trouble.device for trouble in made.troubles if isinstance(trouble, Away)}
    models = {device.id: device.model for site in MIXED.sites for device in site.devices}
    assert gone == {id for id, model in models.items() if model in ("gateway", "battery_head")}
    assert all(trouble.keeps == (models[trouble.device] == "gateway") for trouble in made.troubles)  # type: ignore[union-attr]


def test_a_storm_is_one_second_of_alarms_of_at_most_so_many() -> None:
    told = load("storm").events[0][1]
    made, truth = plan("storm", MIXED)
    begun = [trouble.start_at for trouble in made.troubles if isinstance(trouble, States)]
    assert len(begun) > 20 and max(begun) - min(begun) <= SECOND and min(begun) >= START
    assert not truth.fire and {span.what for span in truth.nuisances} == {"alarm without a fire"}
    few = parse(
        "name: few\nsays: x\nlasts: 5m\nevents:\n"
        "  - {what: says, states: {smoke_alarm: true}, at_most: 7, where: {whole: city, device: head, count: 0}}\n",
        "few.yaml",
    )
    assert len(few.plan(town=MIXED, start_at=START, seed=1)[0].troubles) == 7
    assert told.at == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_the_owner_restarts_the_pile_that_had_stopped_itself(seed: int) -> None:
    made, truth = load("restart_after_protective_stop").plan(town=MIXED, start_at=START, seed=seed)
    on, off, again = (trouble for trouble in made.troubles if isinstance(trouble, Charging))
    assert on.device == off.device == again.device and on.watts > 0 < again.watts and off.watts == 0
    assert (off.start_at - START, again.start_at - off.start_at) == (13 * MINUTE, 5 * MINUTE)
    assert truth.fires[0].site == on.site and parse_time(truth.fires[0].ignition) > again.start_at


# --- the truth --------------------------------------------------------------------------------------------------


def spans_at(truth: Truth, site: str) -> list[tuple[int, int]]:
    """Where an alarm of fire class is false, by the words of simulators.truth."""
    burning = {fire.site for fire in truth.fires}
    return [
        (parse_time(span.start), parse_time(span.end))
        for span in truth.quiet
        if (span.site or truth.site) == site or (not span.site and not truth.site and site not in burning)
    ]


def test_quiet_is_everywhere_else_the_whole_time_and_at_the_fire_until_it_can_be_noticed() -> None:
    begin, end = START - 60 * MINUTE, START + 60 * MINUTE
    truth = plan("battery_fire", SMALL, begin=begin, end=end)[1]
    burning = truth.fires[0].site
    assert spans_at(truth, burning) == [(begin, load_start(truth))]
    for site in SMALL.sites:
        if site.id != burning:
            assert spans_at(truth, site.id) == [(begin, end)]


def load_start(truth: Truth) -> int:
    """When the pack begins to warm its probe, which is before the first vapour."""
    marks = {mark.what: parse_time(mark.at) for mark in truth.references}
    assert (
        marks["the surface of the pack begins to warm"] < marks["first vapour"] == parse_time(truth.fires[0].ignition)
    )
    return marks["the surface of the pack begins to warm"]


def test_a_recording_that_ends_before_the_first_vapour_has_no_fire_and_yet_no_quiet_pack() -> None:
    begin, end = START - 60 * MINUTE, START - SECOND
    truth = plan("battery_fire", SMALL, begin=begin, end=end)[1]
    assert not truth.fire and truth.fires == []
    warm = next(parse_time(mark.at) for mark in truth.references if "begins to warm" in mark.what)
    assert all(begin < parse_time(span.end) <= warm < end for span in truth.quiet) and truth.quiet


def test_a_town_of_one_site_is_never_called_quiet_while_it_burns() -> None:
    alone = build_town(devices=6, sites=1, seed=1)
    truth = load("smoulder").plan(town=alone, start_at=START, seed=1, begin=START - MINUTE, end=START + 60 * MINUTE)[1]
    assert truth.site == alone.sites[0].id
    assert spans_at(truth, truth.site) == [(START - MINUTE, START)]


def test_references_are_counted_from_their_own_fire() -> None:
    truth = plan("arson_two_sheds", SMALL)[1]
    for mark in truth.references:
        fire = next(fire for fire in truth.fires if fire.site == mark.site)
        assert mark.after_s == (parse_time(mark.at) - parse_time(fire.ignition)) / SECOND
    assert {mark.what for mark in truth.references} >= {"first flame", "57 °C at the ceiling above"}
    assert {mark.kind for mark in truth.references} == {"flaming", "heat"}


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_head_is_the_first_that_smoke_reaches(seed: int) -> None:
    made, truth = load("battery_fire").plan(town=SMALL, start_at=START, seed=seed)
    site = SMALL.site(truth.fires[0].site)
    assert site is not None
    reached = {
        head.id: next(s for s in range(600) if made.sources[0].at_place(head.place, START + s * SECOND // 5).smoke > 0)
        for head in site.devices
        if "head" in head.model
    }
    assert reached[truth.fires[0].nearest] == min(reached.values())


def test_what_ends_before_the_recording_begins_is_not_told() -> None:
    truth = plan("gateway_loss", SMALL, begin=START + 30 * MINUTE, end=START + 40 * MINUTE)[1]
    assert truth.faults == []
    assert len(plan("gateway_loss", SMALL)[1].faults) == 1
