"""Transitions as lines of JSON: the one form that live export and back-test share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from alerts.alert import Transition
from ingest.readings import iso


def transition_line(transition: Transition) -> dict[str, object]:
    """One transition as the outside world reads it; `at` in ISO 8601, UTC, milliseconds."""
    return {
        "at": iso(transition.at),
        "rule": transition.rule,
        "class": str(transition.signal_class),
        "severity": str(transition.severity),
        "site": transition.site,
        "device": transition.device,
        "before": None if transition.before is None else str(transition.before),
        "after": str(transition.after),
        "value": transition.value,
        "reason": transition.reason,
        "alert_id": transition.alert_id,
        "rule_version": transition.rule_version,
    }


def export_order(transition: Transition) -> tuple[int, str, str]:
    """Sort by this, stably, to get the order of every export: time, rule, device; ties stay in log order."""
    return transition.at, transition.rule, transition.device or ""


def json_lines(transitions: Iterable[Transition]) -> Iterator[str]:
    """Each transition as one line of JSON with its newline, in the order given."""
    for transition in transitions:
        yield msgspec.json.encode(transition_line(transition)).decode() + "\n"
