"""Fires as sources: smoke before heat, near before far, the same every time, nothing before and after."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readings import SECOND
from simulators.physics.batteries import CELLS, LEAD_S, WARMS_S
from simulators.physics.exposure import NOTHING, Enclosure, Exposure, Place
from simulators.physics.fire import Fire, battery_fire, growing_fire, smoulder, walls_near

SHED = Enclosure(length_m=22.0, width_m=3.0, ceiling_m=2.6, openness=0.7)
SHOP = Enclosure(length_m=8.0, width_m=5.0, ceiling_m=3.0, openness=0.1)
BAY = Place(x_m=6.0, y_m=1.5, below_ceiling_m=2.1, bay=7)
NEAR, FAR = Place(x_m=7.0, y_m=1.5), Place(x_m=14.0, y_m=1.5)
START = 1_700_000_000 * SECOND


def battery(*, seed: str = "1", lead_s: float | None = 40.0, enclosure: Enclosure = SHED) -> Fire:
    return battery_fire(site="shed-1", start_at=START, place=BAY, enclosure=enclosure, seed=seed, lead_s=lead_s)


def felt(fire: Fire, place: Place, second: float) -> Exposure:
    return fire.at_place(place, START + round(second * SECOND))


def first(fire: Fire, place: Place, quantity: str, limit: float) -> float:
    """Seconds until a quantity reaches a limit there; infinity: never."""
    end = (fire.end_at - START) // SECOND
    return next((float(s) for s in range(end) if getattr(felt(fire, place, s), quantity) >= limit), math.inf)


def marks(fire: Fire) -> dict[str, float]:
    return {what: (at - START) / SECOND for what, at in fire.events}


def test_a_battery_smokes_before_it_burns_and_is_hot_soon_after_the_flame() -> None:
    fire = battery()
    smoke, heat = first(fire, NEAR, "smoke", 0.15), first(fire, NEAR, "temperature", 37.0)
    assert smoke < 15 < 40 < heat < 90
    assert felt(fire, NEAR, 35).temperature < 5
    assert felt(fire, NEAR, 35).co > 50
    assert marks(fire)["first vapour"] == 0 and marks(fire)["first flame"] == 40


def test_far_heads_see_it_later_and_weaker() -> None:
    fire = battery()
    assert first(fire, NEAR, "smoke", 0.15) + 5 < first(fire, FAR, "smoke", 0.15) < 120
    assert felt(fire, FAR, 120).temperature < felt(fire, NEAR, 120).temperature / 2


def test_the_probe_of_its_own_bay_alone_feels_the_pack_warm_up_minutes_before() -> None:
    fire = battery()
    before = [felt(fire, BAY, second).temperature for second in (-WARMS_S - 1, -300, -60, 0, 40, 160)]
    assert before[0] == 0 and before == sorted(before) and before[1] > 20 and before[-1] > 300
    assert felt(fire, Place(x_m=6.8, y_m=1.5, bay=8), 100) == NOTHING
    assert felt(fire, NEAR, -1) == NOTHING


def test_a_battery_without_a_bay_has_no_warning() -> None:
    fire = battery_fire(site="s", start_at=START, place=Place(x_m=6, y_m=1), enclosure=SHED, seed="1", lead_s=20.0)
    assert fire.start_at == START and list(marks(fire)) == [
        "first vapour",
        "first flame",
        "57 °C at the ceiling above",
    ]


def test_every_mark_of_the_truth_is_what_the_fire_does() -> None:
    above = Place(x_m=BAY.x_m, y_m=BAY.y_m)
    for fire in (battery(), battery(enclosure=SHOP), battery(lead_s=150.0)):
        hot = first(fire, above, "temperature", 37.0)
        assert marks(fire)["57 °C at the ceiling above"] == pytest.approx(hot, abs=3)  # less the way up
        assert [at for _, at in fire.events] == sorted(at for _, at in fire.events)
        assert felt(fire, BAY, marks(fire)["the surface of the pack begins to warm"] + 60).temperature > 0


def test_the_lead_is_drawn_between_the_fastest_and_the_slowest() -> None:
    leads = [battery(seed=str(number), lead_s=None).lead_s for number in range(60)]
    assert LEAD_S[0] <= min(leads) < 20 and 120 < max(leads) <= LEAD_S[1]


def test_a_battery_that_vents_for_an_hour_burns_out_all_the_same() -> None:
    fire = battery(lead_s=3600.0)
    assert marks(fire)["first flame"] == 3600
    assert first(fire, NEAR, "temperature", 37.0) < 3700
    assert fire.course.kw[-1] < 1


def test_one_seed_is_one_fire_and_another_is_another() -> None:
    once, again, other = battery(lead_s=None), battery(lead_s=None), battery(lead_s=None, seed="2")
    assert once == again
    assert once.course.kw.tobytes() == again.course.kw.tobytes() != other.course.kw.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-900, 2400), min_size=2, max_size=8))
def test_it_has_no_memory_and_is_nothing_outside_its_time(seconds: list[int]) -> None:
    asked = [felt(FIRE, NEAR, second) for second in seconds]
    assert list(reversed([felt(FIRE, NEAR, second) for second in reversed(seconds)])) == asked
    for second, exposure in zip(seconds, asked, strict=True):
        at = START + second * SECOND
        assert FIRE.start_at <= at < FIRE.end_at or exposure == NOTHING


FIRE = battery(lead_s=20.0)


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 70), st.floats(0, 12), st.floats(0, 2.6), st.floats(-700, 1900))
def test_all_it_adds_is_finite_and_never_negative(x: float, y: float, below: float, second: float) -> None:
    for fire in (FIRE, INDOORS, GLOW):
        exposure = felt(fire, Place(x_m=x, y_m=y, below_ceiling_m=below), second)
        for value in (exposure.temperature, exposure.smoke, exposure.co, exposure.velocity):
            assert math.isfinite(value) and value >= 0


INDOORS = battery(lead_s=20.0, enclosure=SHOP)
GLOW = smoulder(site="shop-1", start_at=START, place=BAY, enclosure=SHOP)


def test_walls_hold_heat_and_smoke_that_a_canopy_lets_go() -> None:
    there = Place(x_m=2.0, y_m=4.0)
    assert felt(INDOORS, there, 90).temperature > 1.5 * felt(FIRE, there, 90).temperature
    assert felt(INDOORS, there, 800).smoke > felt(FIRE, there, 800).smoke


def test_the_more_open_the_walls_the_less_layer_there_is() -> None:
    there = Place(x_m=1.0, y_m=4.5)
    rises = [
        felt(battery(enclosure=msgspec.structs.replace(SHOP, openness=openness)), there, 200).temperature
        for openness in (0.1, 0.3, 0.5)
    ]
    assert rises[1] < 0.75 * rises[0]
    assert rises[2] < 0.75 * rises[1]


def test_below_a_thin_layer_there_is_nothing() -> None:
    low = Place(x_m=7.0, y_m=1.5, below_ceiling_m=0.8)
    assert felt(FIRE, low, 100) == NOTHING
    assert felt(INDOORS, low, 25).temperature == 0 < felt(INDOORS, low, 120).temperature


def test_glowing_smokes_for_minutes_without_heat() -> None:
    assert felt(GLOW, NEAR, 400).smoke > 0.5 and felt(GLOW, NEAR, 400).co > 20
    assert max(felt(GLOW, NEAR, second).temperature for second in range(0, 1800, 50)) < 10
    assert marks(GLOW) == {"first smoke": 0}


def test_faster_growth_is_hot_sooner_and_petrol_soonest() -> None:
    def hot(growth: str, fuel: str) -> float:
        fire = growing_fire(site="s", start_at=START, place=BAY, enclosure=SHED, growth=growth, fuel=fuel)
        return marks(fire)["57 °C at the ceiling above"]

    assert hot("ultra_fast", "petrol") < hot("fast", "plastic") < hot("medium", "wood") < hot("slow", "wood")


def test_walls_count_where_there_are_walls() -> None:
    corner, side, middle = Place(x_m=0.2, y_m=0.2), Place(x_m=4.0, y_m=4.8), Place(x_m=4.0, y_m=2.5)
    assert [walls_near(place, SHOP) for place in (corner, side, middle)] == [4, 2, 1]
    assert walls_near(corner, SHED) == 1


def test_a_whole_pack_burns_within_minutes() -> None:
    fire = battery(lead_s=20.0)
    assert CELLS == 136
    assert 500 < max(fire.course.kw) < 1000  # kW that a canopy keeps of pack and bike
    assert fire.course.kw[1500] < 5
