"""The hot layer of a room: nothing is made from nothing, and it ends where published correlations end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.physics.exposure import Enclosure
from simulators.physics.jet import AIR_KJ_KG_K, AMBIENT_K, DENSITY_K
from simulators.physics.layer import THICK, Inflow, Layer, Room, fill, gathers, outflow_kg_s, room_of

DOOR = Room(area=13.7, perimeter=14.8, height=2.4, width_open_m=0.9, lintel_m=2.0)
SHUT = Room(area=13.7, perimeter=14.8, height=2.4, width_open_m=0.0, lintel_m=2.0)


def filled(room: Room, kw: float, seconds: int, smoke: float = 1.0) -> Layer:
    steady = [kw] * seconds
    inflow = Inflow(convective=steady, smoke=[smoke] * seconds, co=[0.0] * seconds, base_m=0.4, walls=1)
    return fill(room, inflow)


def depth(layer: Layer, second: int, room: Room) -> float:
    return room.height - layer.bottom[second]


def test_before_anything_flows_out_all_smoke_is_in_the_layer() -> None:
    layer = filled(SHUT, 50, 10)
    for second in range(10):
        assert layer.smoke[second] * depth(layer, second, SHUT) * SHUT.area == pytest.approx(
            second + 1, rel=0.01
        )  # gaps let 1 % go


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 500), st.integers(5, 300))
def test_the_layer_never_holds_more_heat_than_was_released(kw: float, seconds: int) -> None:
    layer = filled(SHUT, kw, seconds)
    for second in range(seconds):
        volume = depth(layer, second, SHUT) * SHUT.area
        heat = volume * DENSITY_K / (AMBIENT_K + layer.rise[second]) * AIR_KJ_KG_K * layer.rise[second]
        assert 0 < heat <= kw * (second + 1) * 1.001
        assert 0 <= layer.bottom[second] <= SHUT.height
        assert 0 <= layer.fresh[second] <= 1


@settings(max_examples=20, deadline=None)
@given(st.floats(1, 300), st.floats(1.2, 3))
def test_more_fire_makes_a_hotter_layer(kw: float, times: float) -> None:
    cooler, hotter = filled(DOOR, kw, 120), filled(DOOR, kw * times, 120)
    assert all(one < other for one, other in zip(cooler.rise[5:], hotter.rise[5:], strict=True))


@pytest.mark.parametrize("kw", [100.0, 250.0])
def test_with_the_door_open_it_ends_where_mccaffrey_quintiere_and_harkleroad_end(kw: float) -> None:
    # ΔT = 6.85 (Q² / (A₀ √H₀ · h_k · A_T))^⅓, the usual check for a room before flashover; h_k = √(kρc / t)
    seconds = 300
    layer = filled(DOOR, kw * 0.8, seconds)
    surfaces = 2 * DOOR.area + DOOR.perimeter * DOOR.height - 1.8
    mqh = 6.85 * (kw**2 / (1.8 * math.sqrt(2.0) * THICK / math.sqrt(seconds) * surfaces)) ** (1 / 3)
    assert layer.rise[-1] == pytest.approx(mqh, rel=0.35)


def test_the_layer_of_an_open_door_stops_below_the_lintel_and_the_shut_room_fills_up() -> None:
    assert 0.8 < filled(DOOR, 100, 300).bottom[-1] < 1.8
    assert filled(SHUT, 100, 300).bottom[-1] < 0.8


def test_nothing_flows_out_above_the_lintel_or_cold() -> None:
    assert outflow_kg_s(DOOR, 100.0, 2.1) == 0.0
    assert outflow_kg_s(DOOR, 0.0, 1.0) == 0.0
    # ⅔ · 0.7 · 0.9 m · 0.898 kg/m³ · √(2 · 9.81 · 100/293) · 0.5^1.5
    assert outflow_kg_s(DOOR, 100.0, 1.5) == pytest.approx(0.345, abs=0.005)


def test_a_half_open_roof_holds_no_layer_and_a_house_most_of_it() -> None:
    assert [gathers(openness) for openness in (0.0, 0.1, 0.5, 1.0)] == [1.0, 0.8, 0.0, 0.0]
    house = room_of(Enclosure(length_m=8, width_m=3, ceiling_m=2.6, openness=0.1))
    assert house.width_open_m == pytest.approx(2.2)
    assert house.change_per_s > DOOR.change_per_s > SHUT.change_per_s > 0


def test_smoke_leaves_when_the_fire_is_out() -> None:
    burning, out = [50.0] * 60, [0.0] * 900
    puffs = [1.0] * 60 + out
    layer = fill(DOOR, Inflow(convective=burning + out, smoke=puffs, co=puffs, base_m=0.4, walls=1))
    assert layer.smoke[-1] < layer.smoke[60] / 2
    assert layer.rise[-1] < 2
