"""A pack in thermal runaway: cell by cell, and against the cell test that was measured."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.physics.batteries import (
    CELL_KJ,
    CELLS,
    HOTTEST_K,
    LEAD_S,
    VAPOUR,
    VAPOUR_G,
    WARMS_S,
    cells,
    surface_rise,
)
from tests.support.data import recorded


@given(st.floats(*LEAD_S), st.integers(0, 50))
def test_every_cell_burns_once_and_none_before_the_first_flame(lead: float, seed: int) -> None:
    vapour, flames = cells(lead, random.Random(seed))
    assert len(flames.times) == CELLS
    assert flames.times[0] == lead and list(flames.times) == sorted(flames.times)
    assert flames.kw(lead - 0.1) == 0 < flames.kw(lead)
    assert vapour.times[0] == 0.0 and vapour.times[-1] < lead
    assert flames.times[-1] - lead < 400


@given(st.floats(*LEAD_S), st.integers(0, 50), st.floats(0, 1))
def test_until_the_flame_there_is_always_vapour(lead: float, seed: int, share: float) -> None:
    vapour, _ = cells(lead, random.Random(seed))
    assert vapour.kw(share * lead * 0.999) > 0


def test_a_slow_pack_begins_with_wisps_and_a_fast_one_with_a_cloud() -> None:
    slow, _ = cells(180.0, random.Random(1))
    fast, _ = cells(15.0, random.Random(1))
    assert slow.kw(1.0) < fast.kw(1.0) / 4


@given(st.floats(-2000, 3000), st.floats(0.1, 60), st.floats(*LEAD_S))
def test_the_surface_only_warms_until_the_fire_ends_and_then_cools(since: float, step: float, lead: float) -> None:
    ends = lead + 240
    now, later = surface_rise(since, lead, ends), surface_rise(since + step, lead, ends)
    assert 0 <= now <= HOTTEST_K
    assert later >= now if since + step <= ends else later <= HOTTEST_K
    assert later <= now or since < ends


def test_the_surface_warms_for_minutes_then_runs_away() -> None:
    lead = 40.0
    assert surface_rise(-WARMS_S, lead, 300) == 0
    assert surface_rise(0, lead, 300) == pytest.approx(60.0)  # ten minutes of 6 K/min
    assert surface_rise(lead + 180, lead, 300) == pytest.approx(880, abs=1)
    assert surface_rise(30, lead, 300) - surface_rise(0, lead, 300) == pytest.approx(10.0)  # 20 K/min


def test_the_measured_cells_gave_as_much_co_and_heat_and_burnt_after_a_lead_like_ours() -> None:
    data = pd.read_csv(recorded("fsri_liion_ess") / "Cell_Level_Experiment.csv")
    seconds = data["Time (s)"]
    runaway, flaming = (seconds[data[flag].eq(True)].iloc[0] for flag in ("Thermal Runaway", "Flaming"))
    assert LEAD_S[0] < flaming - runaway < LEAD_S[1]
    litres = data["CO Flow (L/min)"].clip(lower=0)[(seconds > 1690) & (seconds < flaming)].sum() / 60
    assert VAPOUR_G * VAPOUR.co_g_g == pytest.approx(litres / 24.05 * 28.01 / 30, rel=0.25)
    kj = data["Heat Release Rate (kW)"].clip(lower=0)[(seconds >= flaming) & (seconds < 1950)].sum() / 30
    assert kj == pytest.approx(CELL_KJ, rel=0.2)
