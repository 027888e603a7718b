"""Alert: one rule true for one subject over one episode. Its states and the only ways they may change. Pure."""

from __future__ import annotations

import uuid
from enum import StrEnum

import msgspec

_NAMESPACE = uuid.UUID("7b0f6c6e-5c0a-5e53-9d0c-0a8d5b1f4e11")


class SignalClass(StrEnum):
    """Classes after the fire-alarm standards; they never mix."""

    FIRE = "fire"  #: a fire, or what must be taken for one
    PRE_ALARM = "pre_alarm"  #: on the way to a fire limit
    SUPERVISORY = "supervisory"  #: protection is impaired: tamper, removed, mains lost
    FAULT = "fault"  #: the equipment is broken, silent or low on battery
    DISABLED = "disabled"  #: switched off on purpose
    TEST = "test"  #: a test; never pages as fire


class Severity(StrEnum):
    """How urgent a rule's author says it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """States of an alert."""

    PENDING = "pending"  #: the condition is true, its hold has not run out
    FIRING = "firing"  #: true; for latched classes also after the condition has gone
    CLEARED = "cleared"  #: ended by itself
    RESET = "reset"  #: un-latched by a person


#: Every change that may happen; None is "no alert yet". firing → firing is a re-trigger or a step up the ladder.
CHANGES: frozenset[tuple[AlertState | None, AlertState]] = frozenset(
    {
        (None, AlertState.PENDING),
        (None, AlertState.FIRING),
        (AlertState.PENDING, AlertState.FIRING),
        (AlertState.PENDING, AlertState.CLEARED),
        (AlertState.FIRING, AlertState.FIRING),
        (AlertState.FIRING, AlertState.CLEARED),
        (AlertState.FIRING, AlertState.RESET),
    }
)


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one alert. `at` (µs) is logical: the corrected time of the reading, or the deadline.

    `offset` is the input record that caused it, `evidence` the judged samples (at µs, value) that a person needs
    to see why, oldest first. `device` is None when the subject is a site.
    """

    at: int
    rule: str
    signal_class: SignalClass
    severity: Severity
    site: str
    device: str | None
    before: AlertState | None
    after: AlertState
    value: float | bool | None
    reason: str
    alert_id: str
    rule_version: str
    incident_id: str = ""
    limit: float | None = None
    retriggers: int = 0
    offset: int = -1
    evidence: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if (self.before, self.after) not in CHANGES:
            raise ValueError(f"an alert cannot go from {self.before} to {self.after}")


def derived_id(*parts: object) -> str:
    """UUIDv5 of these parts, in order: the same parts give the same id everywhere."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))


def alert_id(rule: str, site: str, device: str | None, started_at: int) -> str:
    """Id of the alert of this rule and subject whose episode started then (µs)."""
    return derived_id("alert", rule, site, device or "", started_at)
