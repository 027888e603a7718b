"""The rulebook: what it accepts, and that every mistake is named at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.alert import SignalClass
from alerts.rulebook import load_rulebook, parse_duration, parse_rulebook
from alerts.rules import LevelRule
from ingest.errors import ConfigError
from ingest.inventory import DeviceClass


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_rulebook(text, "r.yaml")
    return caught.value.problems


def test_the_packaged_rulebook_loads_and_latches_every_fire() -> None:
    book = load_rulebook(None)
    assert {rule.latch for rule in book.rules if rule.signal_class is SignalClass.FIRE} == {True}
    assert {rule.latch for rule in book.rules if rule.signal_class is not SignalClass.FIRE} == {False}


def test_no_state_of_fire_class_waits_for_a_hold() -> None:
    assert all(
        rule.hold == 0
        for rule in load_rulebook(None).rules
        if rule.signal_class is SignalClass.FIRE and not isinstance(rule, LevelRule)
    )


def test_a_fixed_heat_limit_is_not_for_probes_on_a_battery() -> None:
    plan = load_rulebook(None).plans[DeviceClass.SURFACE_PROBE.value]
    assert [rule.id for rule in plan.levels["temperature"]] == ["pack-hot"]


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    text = """rules:
  - {id: a, kind: levle, class: fire, severity: critical}
  - {id: b, kind: level, quantity: temprature, above: 57, class: fire, severity: critical}
  - {id: b, kind: level, quantity: temperature, above: hot, class: fire, severity: urgent}
  - kind: state
    state: smoke_alarm
    clas: fire
"""
    found = problems(text)
    assert "r.yaml:2: rule a: kind levle is unknown; did you mean level?" in found
    assert "r.yaml:3: rule b: quantity temprature is unknown; did you mean temperature?" in found
    assert "r.yaml:4: rule b: above 'hot' is no number" in found
    assert any(line.startswith("r.yaml:4: rule b: severity urgent is unknown") for line in found)
    assert any(line.startswith("r.yaml:5: has no id") for line in found)
    assert "r.yaml:7: unknown key clas for kind state; did you mean class?" in found


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("above: 57, below: 3", "needs exactly one of above and below"),
        ("", "needs exactly one of above and below"),
        ("above: 50, clear_below: 57", "clear_below 57 lies over above 50"),
        ("below: 20, clear_above: 10", "clear_above 10 lies under below 20"),
        ("above: 57, clear_above: 50", "with above write clear_below"),
        ("above: .nan", "above nan is no number"),
        ("above: 57, hold: 10", "hold 10 is no duration; write 10s"),
        ("above: 57, devices: [smoke_haed]", "device class smoke_haed is unknown; did you mean smoke_head?"),
        ("above: 57, latch: maybe", "latch 'maybe' must be true or false"),
    ],
)
def test_a_level_rule_that_cannot_work_is_refused(keys: str, complaint: str) -> None:
    separator = ", " if keys else ""
    text = f"rules: [{{id: a, kind: level, quantity: temperature, class: fire, severity: critical{separator}{keys}}}]"
    assert any(complaint in line for line in problems(text))


@pytest.mark.parametrize("text", ["", "[]", "rules: 5", "rulez: []", "rules: [5]", "rules:\n- {id: [}"])
def test_a_file_that_is_no_rulebook_gives_one_clear_line_and_no_traceback(text: str) -> None:
    assert all(line.startswith("r.yaml") for line in problems(text))


def test_a_repeated_id_is_refused() -> None:
    rule = "{id: a, kind: state, state: fault, class: fault, severity: info}"
    assert problems(f"rules: [{rule}, {rule}]") == ["r.yaml:1: rule id a stands twice; ids must differ"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file or directory; name an existing file"):
        load_rulebook(tmp_path / "none.yaml")


def test_the_version_of_a_rule_changes_with_its_definition_and_not_with_its_place() -> None:
    first = "{id: a, kind: level, quantity: temperature, above: 57, class: fire, severity: critical}"
    second = "{id: b, kind: state, state: fault, class: fault, severity: info}"
    one = parse_rulebook(f"rules: [{first}, {second}]", "x").by_id
    two = parse_rulebook(f"# moved\nrules: [{second}, {first}]", "y").by_id
    three = parse_rulebook(f"rules: [{first.replace('57', '58')}, {second}]", "z").by_id
    assert one["a"].version == two["a"].version != three["a"].version
    assert one["b"].version == three["b"].version


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0s", 0), ("250ms", 250_000), ("10s", 10_000_000), ("1.5m", 90_000_000), ("2h", 7_200_000_000), ("10", None)],
)
def test_durations_carry_their_unit(text: str, micros: int | None) -> None:
    assert parse_duration(text) == micros
