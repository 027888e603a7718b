"""The exported line is a promise to programs outside: its keys, their order and their forms."""

from __future__ import annotations

import json

from alerts.alert import AlertState, Severity, SignalClass, Transition
from alerts.export import export_order, json_lines, transition_line


def a_transition(**changes: object) -> Transition:
    values: dict[str, object] = {
        "at": 1_700_000_000_123_456,
        "rule": "heat-fixed",
        "signal_class": SignalClass.FIRE,
        "severity": Severity.CRITICAL,
        "site": "s1",
        "device": "d1",
        "before": None,
        "after": AlertState.FIRING,
        "value": 61.5,
        "reason": "温度 61.5 °C is above 57 °C",
        "alert_id": "a0000000-0000-5000-8000-000000000001",
        "rule_version": "v1",
    }
    return Transition(**(values | changes))  # type: ignore[arg-type]


def test_a_line_has_the_promised_keys_in_the_promised_order() -> None:
    assert transition_line(a_transition()) == {
        "at": "2023-11-14T22:13:20.123Z",
        "rule": "heat-fixed",
        "class": "fire",
        "severity": "critical",
        "site": "s1",
        "device": "d1",
        "before": None,
        "after": "firing",
        "value": 61.5,
        "reason": "温度 61.5 °C is above 57 °C",
        "alert_id": "a0000000-0000-5000-8000-000000000001",
        "rule_version": "v1",
    }
    keys = "at rule class severity site device before after value reason alert_id rule_version"
    assert list(transition_line(a_transition())) == keys.split()


def test_a_site_as_subject_has_null_for_device_and_a_state_has_a_boolean_value() -> None:
    line = transition_line(a_transition(device=None, value=True, before=AlertState.FIRING))
    assert (line["device"], line["value"], line["before"]) == (None, True, "firing")


def test_each_transition_is_one_line_of_json_that_keeps_chinese_readable() -> None:
    [line] = json_lines([a_transition(reason="烟雾\n报警")])
    assert line.endswith("}\n") and line.count("\n") == 1 and "烟雾" in line
    assert json.loads(line) == transition_line(a_transition(reason="烟雾\n报警"))


def test_the_order_is_time_then_rule_then_device_with_sites_first() -> None:
    rows = [
        a_transition(at=2, rule="a"),
        a_transition(at=1, rule="b", device="d2"),
        a_transition(at=1, rule="b", device=None),
        a_transition(at=1, rule="a", device="d9"),
    ]
    ordered = sorted(rows, key=export_order)
    assert [(row.at, row.rule, row.device) for row in ordered] == [
        (1, "a", "d9"),
        (1, "b", None),
        (1, "b", "d2"),
        (2, "a", "d1"),
    ]
