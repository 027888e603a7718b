"""Heat release curves and detectors that lag."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.physics.detectors import (
    CHAMBER_M,
    FASTEST_S,
    HEAT_HEAD_RTI,
    THERMISTOR_RTI,
    chamber_lag_s,
    follow,
    heat_lag_s,
)
from simulators.physics.release import FAST, FUELS, GROWTH, Linear, Measured, Pulses, TSquared


def test_the_classes_of_growth_reach_a_megawatt_when_textbooks_say() -> None:
    for name, seconds in (("slow", 600), ("medium", 300), ("fast", 150), ("ultra_fast", 75)):
        assert GROWTH[name] * seconds**2 == pytest.approx(1055, rel=0.001), name


def test_a_fire_waits_grows_stays_and_dies_away() -> None:
    fire = TSquared(growth=FAST, peak_kw=469.0, incubation_s=30, burn_s=60, decay_s=90)
    assert fire.kw(29) == 0.0
    assert fire.kw(80) == pytest.approx(FAST * 2500)
    assert fire.kw(131) == fire.kw(189) == 469.0  # peak after 100 s of growth, for 60 s
    assert fire.kw(190 + 90) == pytest.approx(469.0 / math.e)


def test_a_measured_curve_is_straight_between_its_points() -> None:
    curve = Measured(times=(10, 20, 40), kws=(0, 100, 50))
    assert [curve.kw(t) for t in (9.9, 10, 15, 20, 30, 40, 99)] == [0, 0, 50, 100, 75, 50, 50]


def test_glowing_spreads_evenly_and_ends() -> None:
    glow = Linear(per_s=0.01, peak_kw=2.0, burn_s=100)
    assert [glow.kw(t) for t in (0, 100, 250, 299, 300)] == [0.0, 1.0, 2.0, 2.0, 0.0]


def test_all_cells_together_give_their_heat_and_no_more() -> None:
    pack = Pulses(times=(0.0, 5.0, 5.0, 30.0), kj_each=100.0, lasts_s=10.0)
    assert sum(pack.kw(second / 10) for second in range(600)) / 10 == pytest.approx(400.0)
    assert pack.kw(6.0) == 30.0


@given(st.floats(-100, 1000), st.floats(-100, 1000), st.floats(0.1, 100), st.floats(0, 50), st.floats(0, 50))
def test_following_twice_is_following_once_for_longer(
    seen: float, true: float, lag: float, one: float, other: float
) -> None:
    together = follow(seen, true, lag, one + other)
    assert follow(follow(seen, true, lag, one), true, lag, other) == pytest.approx(together, abs=1e-6)
    assert min(seen, true) - 1e-9 <= together <= max(seen, true) + 1e-9


def test_behind_a_steady_ramp_a_mass_is_late_by_its_lag() -> None:
    lag, seen = heat_lag_s(HEAT_HEAD_RTI, 0.8), 0.0
    for second in range(600):
        seen = follow(seen, second * 20 / 60, lag, 1.0)
    assert (599 * 20 / 60 - seen) / (20 / 60) == pytest.approx(lag, abs=1.0)


def test_a_faster_flow_and_a_lighter_mass_are_seen_sooner() -> None:
    assert heat_lag_s(THERMISTOR_RTI, 1.0) == pytest.approx(6.0)
    assert heat_lag_s(THERMISTOR_RTI, 4.0) == pytest.approx(3.0)
    assert heat_lag_s(HEAT_HEAD_RTI, 1.0) > heat_lag_s(THERMISTOR_RTI, 1.0)
    assert chamber_lag_s(CHAMBER_M, 0.0) == pytest.approx(40.0)  # still air: the room's own draught brings it
    assert chamber_lag_s(CHAMBER_M, 100.0) == FASTEST_S


def test_every_fuel_gives_heat_and_radiates_less_than_half_of_it() -> None:
    for name, fuel in FUELS.items():
        assert fuel.heat_kj_g > 0 and 0 <= fuel.radiated < 0.5, name
        assert fuel.smoke_g_g + fuel.co_g_g < 0.5, name
