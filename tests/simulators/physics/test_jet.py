"""The ceiling jet: published correlations, worked out by hand, and what must hold everywhere."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.physics.jet import AIR_KJ_KG_K, AMBIENT_K, DENSITY_K, GRAVITY, delay_s, plume_kg_s, rise, velocity
from simulators.physics.release import GROWTH

powers = st.floats(0.1, 5000)
distances = st.floats(0, 60)
heights = st.floats(1, 6)


def test_alperts_rise_above_the_fire_and_a_height_away() -> None:
    assert rise(100, 0.0, 3.0) == pytest.approx(58.4, abs=0.1)  # 16.9 · 100^⅔ / 3^(5/3) = 16.9 · 21.54 / 6.24
    assert rise(100, 3.0, 3.0) == pytest.approx(18.6, abs=0.1)  # 5.38 · (100/3)^⅔ / 3 = 5.38 · 10.36 / 3


def test_alperts_speed_above_the_fire_and_a_height_away() -> None:
    assert velocity(100, 0.0, 3.0) == pytest.approx(3.09, abs=0.01)  # 0.96 · (100/3)^⅓
    assert velocity(100, 3.0, 3.0) == pytest.approx(0.628, abs=0.002)  # 0.195 · 4.642 · 1.732 / 3^(5/6)


def test_where_near_becomes_far_nothing_jumps() -> None:
    height = 2.4
    for quantity, share in ((rise, 0.18), (velocity, 0.15), (delay_s, 0.15), (rise, 4.0)):
        below, above = (quantity(200, share * height * step, height) for step in (0.9999, 1.0001))
        assert above == pytest.approx(below, rel=0.02), quantity.__name__


def test_the_plume_of_a_burner_carries_what_zukoski_says() -> None:
    # 0.071 · 70^⅓ · 2^(5/3) + 0.0018 · 70 = 0.071 · 4.121 · 3.175 + 0.126
    assert plume_kg_s(70, 2.0) == pytest.approx(1.055, abs=0.002)


def test_a_wall_leaves_half_the_plume_of_twice_the_fire() -> None:
    assert plume_kg_s(70, 2.0, walls=2) == pytest.approx(plume_kg_s(140, 2.0) / 2)
    assert plume_kg_s(70, 2.0, walls=4) < plume_kg_s(70, 2.0, walls=2) < plume_kg_s(70, 2.0)


def growing_rise(growth: float, t_s: float, r: float, height: float) -> float:
    """Heskestad & Delichatsios 1978, constants of NFPA 72: the rise under a fire of `growth`·t² kW, with its delay."""
    a = GRAVITY / (AIR_KJ_KG_K * DENSITY_K)
    scaled = t_s / (math.pow(a * growth, -1 / 5) * math.pow(height, 4 / 5)) - 0.861 * (1 + r / height)
    if scaled <= 0:
        return 0.0
    unit = math.pow(a * growth, 2 / 5) * (AMBIENT_K / GRAVITY) * math.pow(height, -3 / 5)
    return unit * math.pow(scaled / (0.146 + 0.242 * r / height), 4 / 3)


def test_growing_fires_come_out_much_as_heskestad_and_delichatsios_have_them() -> None:
    grid = itertools.product(GROWTH.values(), (2.1, 2.6), (0.5, 1.0, 2.0, 3.0), (30.0, 60.0, 120.0))
    for growth, height, heights_out, t in grid:
        r = heights_out * height
        then = max(0.0, t - delay_s(growth * t**2, r, height))
        theirs, ours = growing_rise(growth, t, r, height), rise(growth * then**2, r, height)
        if theirs >= 10:
            assert (0.65 if heights_out >= 2 else 0.55) < ours / theirs < 1.35, (growth, height, heights_out, t)


@given(powers, powers, distances, heights)
def test_a_larger_fire_is_hotter_faster_and_sooner_everywhere(one: float, other: float, r: float, h: float) -> None:
    small, large = sorted((one, other))
    assert rise(small, r, h) <= rise(large, r, h)
    assert velocity(small, r, h) <= velocity(large, r, h)
    assert delay_s(small, r, h) >= delay_s(large, r, h)


@given(powers, distances, distances, heights)
def test_farther_away_is_cooler_slower_and_later(kw: float, one: float, other: float, h: float) -> None:
    near, far = sorted((one, other))
    assert rise(kw, near, h) >= rise(kw, far, h) * 0.98  # the two formulas meet within 2 % at 0.18 heights
    assert velocity(kw, near, h) >= velocity(kw, far, h) * 0.98
    assert 0 < delay_s(kw, near, h) <= delay_s(kw, far, h)


@given(distances, heights)
def test_no_fire_no_flow(r: float, h: float) -> None:
    assert rise(0.0, r, h) == velocity(0.0, r, h) == 0.0
