"""The layout of a town: what every town has, whatever its size and seed."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.inventory import DeviceClass
from ingest.readings import QUANTITIES
from simulators.physics.exposure import Place
from simulators.town.ground import along_curve, degrees, metres
from simulators.town.layout import Site, Town, build_town, distance_m, usual_sites
from simulators.town.models import MODELS, SMOKE, Model
from simulators.town.names import COMMUNITY, COMPOUND, STREET, invented


@st.composite
def towns(draw: st.DrawFn) -> Town:
    devices = draw(st.integers(1, 3000))
    sites = draw(st.none() | st.integers(1, min(devices, 400)))
    return build_town(devices=devices, sites=sites, seed=draw(st.integers(0, 1000)))


def heads(site: Site) -> list[Place]:
    return [device.place for device in site.devices if device.model in SMOKE]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 99))
def test_a_town_has_exactly_the_devices_and_sites_asked_for(devices: int, sites: int, seed: int) -> None:
    sites = min(sites, devices)
    town = build_town(devices=devices, sites=sites, seed=seed)
    assert len(town.sites) == sites
    assert sum(len(site.devices) for site in town.sites) == devices
    assert all(site.devices for site in town.sites)
    assert [site.number for site in town.sites] == list(range(sites))


@settings(max_examples=30, deadline=None)
@given(towns())
def test_ids_are_unique_and_lead_to_what_they_name(town: Town) -> None:
    ids = [device.id for site in town.sites for device in site.devices]
    assert len(set(ids)) == len(ids)
    assert len({site.id for site in town.sites}) == len(town.sites)
    assert all(town.site(site.id) is site for site in town.sites)
    assert all(device.site == site.id for site in town.sites for device in site.devices)
    assert town.site("nowhere") is None


@settings(max_examples=30, deadline=None)
@given(towns())
def test_every_site_hangs_on_a_tree_of_five_levels_spread_evenly(town: Town) -> None:
    areas = {area.id: area for area in town.areas}
    assert len(areas) == len(town.areas)
    assert [area.id for area in town.areas if not area.parent] == ["yj"]
    for area in town.areas[1:]:
        assert areas[area.parent].level == area.level - 1
    assert {areas[site.area].level for site in town.sites} == {4}
    sites = Counter(site.area for site in town.sites)
    children = Counter(area.parent for area in town.areas)
    assert max(sites.values()) <= 24
    assert set(sites) == {area.id for area in town.areas if area.level == 4}
    for level in range(4):
        counts = [children[area.id] for area in town.areas if area.level == level]
        assert min(counts) >= 1 and max(counts) - min(counts) <= 1


@settings(max_examples=30, deadline=None)
@given(towns())
def test_names_are_unique_inside_their_parent(town: Town) -> None:
    named = Counter((area.parent, area.name) for area in town.areas)
    named.update((site.area.rpartition(".")[0], site.name) for site in town.sites)
    assert set(named.values()) == {1}
    assert all(name for _, name in named)


@pytest.mark.parametrize("endings", [STREET, COMMUNITY, COMPOUND])
def test_invented_names_never_repeat_even_when_signs_run_out(endings: tuple[str, ...]) -> None:
    names = invented(random.Random(1), 6000, endings)
    assert len(set(names)) == 6000
    assert names[:5] != invented(random.Random(2), 5, endings)


@settings(max_examples=30, deadline=None)
@given(towns())
def test_the_sites_of_an_area_follow_each_other(town: Town) -> None:
    for area in town.areas:
        numbers = [site.number for site in town.sites_below(area.id)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@settings(max_examples=30, deadline=None)
@given(towns())
def test_no_two_sites_are_at_one_point(town: Town) -> None:
    assert len({(site.lat, site.lon) for site in town.sites}) == len(town.sites)


@settings(max_examples=30, deadline=None)
@given(towns())
def test_devices_and_bikes_are_inside_their_room(town: Town) -> None:
    for site in town.sites:
        room = site.enclosure
        for place in [*(device.place for device in site.devices), *map(site.bay, range(site.bays))]:
            assert 0 <= place.x_m <= room.length_m
            assert 0 <= place.y_m <= room.width_m
            assert 0 < place.below_ceiling_m < room.ceiling_m
            assert place.bay < site.bays
        with pytest.raises(IndexError, match="has no parking space"):
            site.bay(site.bays)


@settings(max_examples=30, deadline=None)
@given(towns())
def test_who_does_not_speak_for_itself_has_the_gateway_of_its_own_site(town: Town) -> None:
    for site in town.sites:
        gateways = [device.id for device in site.devices if device.model is Model.GATEWAY]
        assert gateways == ([site.gateway] if site.gateway else [])
        behind = [device for device in site.devices if device.gateway]
        assert {device.gateway for device in behind} <= {site.gateway}
        assert all(device.model not in (Model.GATEWAY, Model.PILE) for device in behind)
        if site.gateway:
            assert site.devices[0].id == site.gateway and behind


def smoke_heat_heads(site: Site) -> int:
    return sum(MODELS[device.model].device_class == "smoke_heat_head" for device in site.devices)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 19), st.integers(5, 200), st.integers(0, 99))
def test_small_towns_are_sheds_with_three_smoke_and_heat_heads_under_one_ceiling(
    sites: int, each: int, seed: int
) -> None:
    town = build_town(devices=sites * each, sites=sites, seed=seed)
    assert [site.id for site in town.sites] == [f"shed-{number + 1:03d}" for number in range(sites)]
    for site in town.sites:
        assert smoke_heat_heads(site) >= 3
    assert [bool(site.gateway) for site in town.sites] == [number % 3 == 2 for number in range(sites)]


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 200), st.integers(5, 40), st.integers(0, 99))
def test_so_have_the_sheds_of_a_mixed_town(sites: int, each: int, seed: int) -> None:
    town = build_town(devices=sites * each, sites=sites, seed=seed)
    for site in town.sites:
        if site.kind == "shed":
            assert smoke_heat_heads(site) >= 3


@settings(max_examples=30, deadline=None)
@given(towns())
def test_sheds_keep_to_the_groups_and_the_space_that_bikes_need(town: Town) -> None:
    for site in town.sites:
        if site.kind != "shed" or not site.bays:
            continue
        bikes = [site.bay(number) for number in range(site.bays)]
        rows = {place.y_m for place in bikes}
        assert site.enclosure.length_m * site.enclosure.width_m / site.bays >= 2.2
        for row in rows:
            along = [place.x_m for place in bikes if place.y_m == row]
            gaps = [number for number, (one, other) in enumerate(pairwise(along), 1) if other - one > 1.5]
            groups = [along[start:end] for start, end in pairwise([0, *gaps, len(along)])]
            assert all(len(group) <= 25 and group[-1] - group[0] + 0.8 <= 20.01 for group in groups)
            assert all(other - one >= 0.79 for one, other in pairwise(along))


@settings(max_examples=30, deadline=None)
@given(towns())
def test_heads_hang_in_rows_five_metres_apart(town: Town) -> None:
    for site in town.sites:
        for one, other in pairwise(heads(site)):
            if one.y_m == other.y_m:
                assert 5.0 <= other.x_m - one.x_m <= 7.0


def test_a_demo_has_eight_sheds_of_six_in_four_streets() -> None:
    town = build_town(devices=48, seed=1)
    assert [len(site.devices) for site in town.sites] == [6] * 8
    assert {site.kind for site in town.sites} == {"shed"}
    assert len({site.area.split(".")[1] + site.area for site in town.sites}) == 4
    assert Counter(area.level for area in town.areas) == {0: 1, 1: 4, 2: 4, 3: 4, 4: 4}
    assert [centre.parent for centre in town.centres] == ["yj"]


@pytest.mark.parametrize(
    ("devices", "sites"), [(1, 1), (10, 1), (48, 8), (120, 20), (400, 20), (1000, 50), (620_000, 31_000)]
)
def test_the_usual_number_of_sites(devices: int, sites: int) -> None:
    assert usual_sites(devices) == sites


def test_a_larger_town_mixes_sites_and_models() -> None:
    town = build_town(devices=2000, seed=1)
    assert Counter(site.kind for site in town.sites) == {"shed": 50, "stairwell": 30, "shop": 20}
    assert {site.id.split("-")[0] for site in town.sites} == {"shed", "stair", "shop"}
    assert {device.model for site in town.sites for device in site.devices} == set(Model)
    assert {site.roof for site in town.sites} == {"metal", "concrete", "none"}
    assert {site.roof for site in town.sites if site.kind != "shed"} == {"none"}


def test_in_a_district_each_street_has_a_centre_and_each_site_one_above_it() -> None:
    town = build_town(devices=260_000, sites=3000, seed=1)
    assert len(town.centres) == 3
    below = [town.sites_below(centre.parent) for centre in town.centres]
    assert sorted(site.number for sites in below for site in sites) == list(range(3000))
    assert min(map(len, below)) > 0.6 * max(map(len, below))
    assert town.sites_below("yj") == town.sites


def test_sites_below_an_area_are_not_those_of_one_whose_number_begins_alike() -> None:
    town = build_town(devices=150_000, sites=6000, seed=1)
    communities = [area.id for area in town.areas if area.level == 2]
    assert {"yj.s1.c1", "yj.s1.c10"} <= set(communities)
    assert sum(len(town.sites_below(area)) for area in communities) == 6000


def test_a_compound_has_near_neighbours_and_the_town_has_far_ones() -> None:
    town = build_town(devices=2000, seed=1)
    for site in town.sites:
        nearest = min(distance_m(site, other) for other in town.sites if other is not site)
        assert 4 < nearest < 120
    assert max(distance_m(town.sites[0], other) for other in town.sites) > 500


def test_sheds_stand_clear_of_each_other_and_of_houses() -> None:
    town = build_town(devices=2000, seed=3)
    sheds = [site for site in town.sites if site.kind == "shed"]
    for one in sheds:
        for other in town.sites:
            if other is not one and _same_compound(one, other):
                assert gap(one, other) >= 5.9, (one.id, other.id)


def _same_compound(one: Site, other: Site) -> bool:
    return one.area.rpartition(".")[0] == other.area.rpartition(".")[0]


def gap(one: Site, other: Site) -> float:
    """Metres between the walls of two rooms."""
    (x, y), (u, v) = metres(one.lat, one.lon), metres(other.lat, other.lon)
    across = abs(x - u) - (one.enclosure.length_m + other.enclosure.length_m) / 2
    along = abs(y - v) - (one.enclosure.width_m + other.enclosure.width_m) / 2
    return math.hypot(max(across, 0.0), max(along, 0.0))


def test_the_same_seed_gives_the_same_town_and_another_seed_another() -> None:
    def build(seed: int) -> Town:
        return build_town(devices=500, seed=seed)

    assert build(7) == build(7)
    one, other = build(7), build(8)
    assert {site.name for site in one.sites}.isdisjoint({site.name for site in other.sites})
    assert [(site.lat, site.lon) for site in one.sites] != [(site.lat, site.lon) for site in other.sites]
    assert [site.enclosure for site in one.sites] != [site.enclosure for site in other.sites]


@pytest.mark.parametrize(("devices", "sites"), [(0, None), (2, 3), (5, 0)])
def test_a_site_never_stands_empty(devices: int, sites: int | None) -> None:
    with pytest.raises(ValueError, match="each site needs one at least"):
        build_town(devices=devices, sites=sites, seed=1)


def test_models_speak_of_classes_and_quantities_that_the_program_knows() -> None:
    assert set(MODELS) == set(Model)
    for facts in MODELS.values():
        assert facts.device_class in list(DeviceClass)
        assert set(facts.measures) <= set(QUANTITIES)
        assert 1 <= facts.interval_s <= 86_400
        assert (facts.battery_days > 0) != facts.mains
        assert ("battery" in facts.measures) == (facts.battery_days > 0)


@pytest.mark.parametrize("side", [1, 2, 8, 16])
def test_the_curve_passes_each_cell_once_and_never_jumps(side: int) -> None:
    cells = sorted(((x, y) for x in range(side) for y in range(side)), key=lambda cell: along_curve(side, *cell))
    assert [along_curve(side, *cell) for cell in cells] == list(range(side * side))
    assert all(abs(a - x) + abs(b - y) == 1 for (a, b), (x, y) in pairwise(cells))


@given(st.floats(-20_000, 20_000), st.floats(-20_000, 20_000))
def test_metres_come_back_from_degrees(east: float, north: float) -> None:
    assert math.dist(metres(*degrees((east, north))), (east, north)) < 0.02
