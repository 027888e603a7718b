"""Clouds that are no fire: they come, thin out with distance and time, and go; any time may be asked in any order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.readings import MINUTE, SECOND
from simulators.physics.exposure import NOTHING, Exposure, Place
from simulators.scenarios.nuisances import KINDS, Cloud, cloud

START = 1_778_565_600_000_000
MIDDLE = Place(x_m=5.0, y_m=2.0, below_ceiling_m=1.5)
kinds = pytest.mark.parametrize("kind", sorted(KINDS))


def made(kind: str, *, strength: float = 1.0, seed: str = "1", lasts_s: float = 600.0) -> Cloud:
    return cloud(what=kind, site="shop-1", start_at=START, lasts_s=lasts_s, place=MIDDLE, strength=strength, seed=seed)


def over_time(source: Cloud, place: Place) -> list[Exposure]:
    return [source.at_place(place, START + second * SECOND) for second in range(0, 1800, 5)]


@kinds
def test_there_is_nothing_before_it_begins_and_nothing_after_its_end(kind: str) -> None:
    source = made(kind)
    assert source.at_place(MIDDLE, START - 1) == NOTHING
    assert source.at_place(MIDDLE, source.end_at) == NOTHING
    assert START + 10 * MINUTE < source.end_at < START + 60 * MINUTE
    assert max(each.smoke for each in over_time(source, MIDDLE)) > 0.01


@kinds
def test_it_is_weaker_and_later_farther_away(kind: str) -> None:
    source, far = made(kind), Place(x_m=11.0, y_m=2.0)
    near_smoke = [each.smoke for each in over_time(source, MIDDLE)]
    far_smoke = [each.smoke for each in over_time(source, far)]
    assert max(far_smoke) < max(near_smoke) / 2
    first = [next(i for i, smoke in enumerate(seen) if smoke > 0.001) for seen in (near_smoke, far_smoke)]
    assert first[0] < first[1]


@kinds
def test_strength_is_of_the_smoke_and_not_of_the_heat(kind: str) -> None:
    one, three = (over_time(made(kind, strength=strength), MIDDLE) for strength in (1.0, 3.0))
    assert max(e.smoke for e in three) == pytest.approx(3 * max(e.smoke for e in one))
    assert max(e.temperature for e in three) == max(e.temperature for e in one)


@kinds
def test_the_same_seed_gives_the_same_cloud(kind: str) -> None:
    assert made(kind) == made(kind)
    if KINDS[kind].off_s != (0.0, 0.0):
        assert made(kind) != made(kind, seed="2")


@kinds
def test_no_ordinary_nuisance_is_ever_as_warm_as_a_fire(kind: str) -> None:
    assert max(each.temperature for each in over_time(made(kind), MIDDLE)) < 6.0


@given(
    kind=st.sampled_from(sorted(KINDS)),
    second=st.floats(-100.0, 5000.0),
    x=st.floats(0.0, 60.0),
    lasts_s=st.floats(1.0, 3600.0),
    seed=st.text("abc", max_size=2),
)
def test_what_it_adds_is_finite_never_negative_and_dies_out_smoothly(
    kind: str, second: float, x: float, lasts_s: float, seed: str
) -> None:
    source, place = made(kind, seed=seed, lasts_s=lasts_s), Place(x_m=x, y_m=2.0)
    at = START + round(second * SECOND)
    here, soon = source.at_place(place, at), source.at_place(place, at + SECOND)
    assert all(math.isfinite(value) and value >= 0 for value in (here.smoke, here.temperature, here.co, here.humidity))
    # no faster than it builds up from nothing, three puffs of twice the strength together
    assert abs(soon.smoke - here.smoke) < 6 * KINDS[kind].full.smoke / min(KINDS[kind].rise_s, KINDS[kind].fade_s)


def test_steam_is_humid_and_exhaust_is_carbon_monoxide() -> None:
    assert max(each.humidity for each in over_time(made("steam"), MIDDLE)) > 20.0
    assert max(each.co for each in over_time(made("exhaust"), MIDDLE)) > 40.0
    assert max(each.co for each in over_time(made("sweeping"), MIDDLE)) == 0.0
