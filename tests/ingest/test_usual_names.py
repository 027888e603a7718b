"""What metrics are usually called."""

from __future__ import annotations

import pytest

from ingest.codecs.usual_names import Value, meaning, named_by, reported
from ingest.readings import QUANTITIES, STATES


def said(path: str, value: Value, unit: str = "") -> tuple[str, float | bool] | None:
    what = meaning(path, unit)
    return None if what is None else reported(what, value)


@pytest.mark.parametrize("name", sorted(set(QUANTITIES) - {"smoke"}))
def test_quantities_are_known_by_our_own_names(name: str) -> None:
    assert said(name, 1.5) == (name, 1.5)
    assert said(f"Shed 3/{name.replace('_', ' ').title()}", 1.5) == (name, 1.5)


@pytest.mark.parametrize("name", STATES)
def test_states_are_known_by_our_own_names(name: str) -> None:
    assert said(name, True) == (name, True)
    assert said(f"Shed 3/{name.replace('_', ' ').title()}", 0) == (name, False)


@pytest.mark.parametrize(
    ("path", "unit", "value", "expected"),
    [
        ("Smoke", "", True, ("smoke_alarm", True)),
        ("Smoke", "", 1, ("smoke_alarm", True)),
        ("Smoke", "", 12.5, ("smoke_raw", 12.5)),
        ("Smoke", "dB/m", 0.1, ("smoke", 0.1)),
        ("Smoke", "%/m", 50, ("smoke", 3.0102999566398116)),
        ("Smoke (%/m)", "", 50, ("smoke", 3.0102999566398116)),
        ("Obscuration", "%/ft", 1.0, ("smoke", 0.1432023)),
        ("Obscuration dB/m", "", 0.1, ("smoke", 0.1)),
        ("Obscuration", "", 100.0, None),
        ("Smoke/Alarm", "", True, ("smoke_alarm", True)),
        ("Alarm", "", True, ("smoke_alarm", True)),
        ("Door/Alarm", "", True, None),
        ("Battery/Alarm", "", True, ("low_battery", True)),
        ("Temperature (°F)", "", 212, ("temperature", 100.0)),
        ("Temperature", "degF", 212, ("temperature", 100.0)),
        ("Temperature", "K", 273.15, ("temperature", 0.0)),
        ("Temperature", "deg C", 21.5, ("temperature", 21.5)),
        ("Temperature", "%", 21.5, None),
        ("Temperature", "", True, None),
        ("Temperature/Value", "", 21.5, ("temperature", 21.5)),
        ("CPU/Temperature", "", 61.0, ("device_temperature", 61.0)),
        ("Battery/Temperature", "", 31.0, ("device_temperature", 31.0)),
        ("Battery/Voltage", "mV", 3100, ("voltage", 3.1)),
        ("Battery", "V", 3.1, ("voltage", 3.1)),
        ("Battery", "/", 0.97, ("battery", 97.0)),
        ("Limits/Temperature", "", 57.0, None),
        ("Temperature/Setpoint", "", 57.0, None),
        ("Node Control/Test", "", True, None),
        ("CO", "mg/m3", 5.0, None),
        ("/3303/0/5700", "", 21.5, ("temperature", 21.5)),
        ("x" * 201, "", 1.5, None),
        ("温度", "℃", 21.5, ("temperature", 21.5)),
        ("Tamper", "", 2, None),
        ("Humidity", "", float("nan"), None),
    ],
)
def test_names_and_units(path: str, unit: str, value: Value, expected: tuple[str, float | bool] | None) -> None:
    found = said(path, value, unit)
    assert (found and found[0]) == (expected and expected[0])
    if found and expected:
        assert found[1] == pytest.approx(expected[1], rel=1e-6)


def test_an_operator_names_more_and_takes_away() -> None:
    fields = (("smoke_alarm", "DI1"), ("temperature", "Shed/T7"), ("tamper", None))
    assert meaning("Inputs/DI1", "", fields) is not None
    mapped = meaning("Shed/T7", "°F", fields)
    assert mapped is not None and reported(mapped, "212") == ("temperature", 100.0)
    assert meaning("Temperature", "", fields) is None, "the temperature stands elsewhere"
    assert meaning("Tamper", "", fields) is None
    assert meaning("Humidity", "", fields) is not None


@pytest.mark.parametrize(
    ("unit", "name"), [("Cel", "temperature"), ("%RH", "humidity"), ("%EL", "battery"), ("lx", "")]
)
def test_units_that_name_a_quantity(unit: str, name: str) -> None:
    assert named_by(unit) == name
