"""The weather: season, day and spells; the air under a roof, and what it does to humidity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.readings import DAY, HOUR, MINUTE
from ingest.readings_file import parse_time
from simulators.town.plan import Spell
from simulators.town.weather import SiteAir, Weather, humidity, irradiance, saturation

MAY, JULY, JANUARY = (parse_time(f"2026-{day}T00:00:00+08:00") for day in ("05-01", "07-20", "01-15"))
HOT = Spell(start_at=JULY - DAY, end_at=JULY + 2 * DAY, mean_c=32.0, sun=1.0, wind_m_s=1.0)


def under(roof: str, spells: tuple[Spell, ...] = (), seed: int = 1) -> SiteAir:
    return SiteAir(key=seed, weather=Weather(seed=seed, spells=spells), roof=roof, openness=0.7)


def test_summer_is_warmer_than_winter_and_the_afternoon_than_the_night() -> None:
    air = under("none")
    means = [sum(air.at(day + hour * HOUR).temperature for hour in range(24)) / 24 for day in (JANUARY, MAY, JULY)]
    assert means == sorted(means)
    assert means[2] - means[0] > 15
    assert air.at(MAY + 15 * HOUR).temperature > air.at(MAY + 4 * HOUR).temperature + 3


def test_a_metal_roof_on_a_hot_clear_noon_has_more_than_50_degrees_under_it() -> None:
    """domain.md 3.1: where it can be 40 °C or more, class A1 is the wrong head."""
    noon = under("metal", (HOT,)).at(JULY + 13 * HOUR)
    assert 50 < noon.temperature + noon.roof < 62
    assert under("none", (HOT,)).at(JULY + 13 * HOUR).roof == 0
    assert 0 < under("concrete", (HOT,)).at(JULY + 13 * HOUR).roof < 8


def test_at_night_no_roof_is_warm_and_a_slab_gives_off_its_heat_in_the_evening() -> None:
    for roof in ("metal", "concrete"):
        assert under(roof).at(JULY + 3 * HOUR).roof == 0
    slab = under("concrete")
    assert slab.at(JULY + 19 * HOUR).roof > under("metal").at(JULY + 19 * HOUR).roof


@given(vapour=st.floats(1, 40), celsius=st.floats(-10, 60), warmer=st.floats(0.5, 40))
def test_the_same_vapour_in_warmer_air_is_less_humidity(vapour: float, celsius: float, warmer: float) -> None:
    assert humidity(vapour, celsius + warmer) < humidity(vapour, celsius)
    assert humidity(saturation(celsius), celsius) == pytest.approx(100)


def test_saturation_is_that_of_the_tables() -> None:
    for celsius, hectopascal in ((0.0, 6.11), (20.0, 23.4), (40.0, 73.8)):
        assert saturation(celsius) == pytest.approx(hectopascal, rel=0.005)


def test_the_sun_is_gone_at_night_high_in_july_and_weak_behind_clouds() -> None:
    assert irradiance(JULY, 1.0) == 0
    assert 800 < irradiance(JULY + 12 * HOUR, 1.0) < 900
    assert irradiance(JANUARY + 12 * HOUR, 1.0) < 550
    assert irradiance(JULY + 12 * HOUR, 0.0) == pytest.approx(0.25 * irradiance(JULY + 12 * HOUR, 1.0))


def test_a_spell_comes_and_goes_gently_and_leaves_the_rest_as_the_season_has_it() -> None:
    spell = Spell(start_at=MAY + 4 * HOUR, end_at=MAY + 8 * HOUR, fog_db_m=0.4, humidity=97.0, ease_s=1800.0)
    with_fog, without = Weather(seed=1, spells=(spell,)), Weather(seed=1)
    fog = [with_fog.at(spell.start_at + minutes * MINUTE).fog for minutes in (-1, 0, 15, 30, 120, 225, 240)]
    assert fog == pytest.approx([0, 0, 0.2, 0.4, 0.4, 0.2, 0])
    at = MAY + 6 * HOUR
    assert with_fog.at(at).temperature == without.at(at).temperature
    assert humidity(with_fog.at(at).vapour, with_fog.at(at).temperature) > 90
    assert with_fog.at(MAY) == without.at(MAY)


@given(seconds=st.integers(0, 400 * 86_400), seed=st.integers(0, 50))
def test_the_air_is_the_same_whenever_it_is_asked_and_never_jumps(seconds: int, seed: int) -> None:
    at = MAY + seconds * 1_000_000
    fresh, used = under("metal", seed=seed), under("metal", seed=seed)
    used.at(at - 3 * MINUTE)
    assert used.at(at) == fresh.at(at)
    now, soon = used.at(at), used.at(at + MINUTE)
    assert abs(soon.temperature - now.temperature) < 0.5
    assert abs(soon.roof - now.roof) < 1
    assert humidity(now.vapour, now.temperature) < 115  # its own offset apart, never beyond saturation
