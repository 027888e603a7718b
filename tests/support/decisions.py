"""Decisions for tests: plausible ones by name, and Hypothesis strategies for any sequence of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from alerts.alert import CHANGES, AlertState, Severity, SignalClass, Transition, derived_id
from alerts.decisions import Progress, entry
from alerts.incident import (
    Audience,
    Hush,
    HushReason,
    IncidentChange,
    IncidentState,
    Notice,
    Refusal,
    Tell,
    TellReason,
)
from alerts.outbox import DeliveryOutcome, Page, Receipt
from alerts.timeline import Word
from ingest.journal import Entry
from ingest.message import Kind, encode

NOON = 1_732_190_400_000_000


def uid(name: str) -> str:
    """The id that goes by this name in a test."""
    return derived_id("test", name)


def transition(alert: str = "a1", **changes: Any) -> Transition:
    values: dict[str, Any] = {
        "at": NOON,
        "rule": "heat-fixed",
        "signal_class": SignalClass.FIRE,
        "severity": Severity.CRITICAL,
        "site": "s1",
        "device": "d1",
        "before": None,
        "after": AlertState.FIRING,
        "value": 61.5,
        "reason": "61.5 °C is above 57 °C",
        "alert_id": uid(alert),
        "rule_version": "v1",
        "incident_id": uid("i1"),
        "limit": 57.0,
        "evidence": ((NOON - 1_000_000, 55.0), (NOON, 61.5)),
    }
    return Transition(**(values | changes))


def incident(name: str = "i1", **changes: Any) -> IncidentChange:
    values: dict[str, Any] = {
        "id": uid(name),
        "site": "s1",
        "state": IncidentState.OPEN,
        "signal_class": SignalClass.FIRE,
        "severity": Severity.CRITICAL,
        "opened_at": NOON,
        "changed_at": NOON,
        "alerts": (uid("a1"),),
        "reason": "fire at d1",
    }
    return IncidentChange(**(values | changes))


def tell(name: str = "t1", *, alerts: tuple[str, ...] = ("a1",), **changes: Any) -> Tell:
    values: dict[str, Any] = {
        "id": uid(name),
        "incident": uid("i1"),
        "site": "s1",
        "signal_class": SignalClass.FIRE,
        "severity": Severity.CRITICAL,
        "reason": TellReason.OPENED,
        "audience": Audience.TEAM,
        "at": NOON,
        "opened_at": NOON,
        "alerts": tuple(uid(alert) for alert in alerts),
        "text": "Fire at s1: 61.5 °C at d1",
    }
    return Tell(**(values | changes))


def hush(alert: str = "a1", **changes: Any) -> Hush:
    values: dict[str, Any] = {
        "alert_id": uid(alert),
        "incident": uid("i1"),
        "reason": HushReason.ALREADY_TOLD,
        "at": NOON,
    }
    return Hush(**(values | changes))


def refusal(act: str = "c1", **changes: Any) -> Refusal:
    values: dict[str, Any] = {"act_id": uid(act), "incident": uid("i1"), "reason": "it is closed", "at": NOON}
    return Refusal(**(values | changes))


def page(name: str = "p1", told: str = "t1", **changes: Any) -> Page:
    values: dict[str, Any] = {
        "id": uid(name),
        "tell": uid(told),
        "incident": uid("i1"),
        "site": "s1",
        "step": 1,
        "target": "north",
        "channel": "hook",
        "signal_class": SignalClass.FIRE,
        "reason": "opened",
        "due_at": NOON,
        "created_at": NOON,
        "alerts": (uid("a1"),),
    }
    return Page(**(values | changes))


def receipt(
    page_name: str = "p1",
    attempt: int = 1,
    outcome: DeliveryOutcome = DeliveryOutcome.ACCEPTED,
    *,
    final: bool = True,
    **changes: Any,
) -> Receipt:
    values: dict[str, Any] = {
        "id": uid(f"{page_name}/{attempt}"),
        "page": uid(page_name),
        "attempt": attempt,
        "outcome": outcome,
        "final": final,
        "at": NOON + attempt,
        "detail": "",
    }
    return Receipt(**(values | changes))


def log_entry(word: Word | None) -> Entry:
    """The record of a word; None: the evaluator's progress without a decision."""
    if word is None:
        return Entry(Kind.PROGRESS, encode(Progress(cursor=0)))
    return entry(word)


_alerts = st.sampled_from(["a1", "a2", "a3"])
_incidents = st.sampled_from(["i1", "i2"])
_acts = st.sampled_from(["", "c1", "c2"])
_times = st.integers(NOON, NOON + 5)

words: st.SearchStrategy[Word | None] = st.one_of(
    st.builds(
        lambda alert, change, at, value, inc, signal: transition(
            alert,
            before=change[0],
            after=change[1],
            at=at,
            value=value,
            signal_class=signal,
            incident_id=inc and uid(inc),
        ),
        _alerts,
        st.sampled_from(sorted(CHANGES, key=str)),
        _times,
        st.sampled_from([None, True, 61.5, float("nan"), 1e300]),
        st.sampled_from(["", "i1", "i2"]),
        st.sampled_from(SignalClass),
    ),
    st.builds(
        lambda name, state, at, act, text: incident(
            name, state=state, changed_at=at, act_id=act and uid(act), author="李\0", comment=text
        ),
        _incidents,
        st.sampled_from(IncidentState),
        _times,
        _acts,
        st.text(max_size=5),
    ),
    st.builds(
        lambda name, alerts: tell(name, alerts=tuple(alerts)),
        st.sampled_from(["t1", "t2"]),
        st.lists(_alerts, max_size=3),
    ),
    st.builds(lambda alert, reason: hush(alert, reason=reason), _alerts, st.sampled_from(HushReason)),
    st.builds(refusal, st.sampled_from(["c1", "c2"])),
    st.builds(page, st.sampled_from(["p1", "p2", "p3"]), st.sampled_from(["t1", "t2"])),
    st.builds(
        lambda name, attempt, outcome, final: receipt(name, attempt, outcome, final=final),
        st.sampled_from(["p1", "p2", "p3"]),
        st.integers(1, 3),
        st.sampled_from(DeliveryOutcome),
        st.booleans(),
    ),
    st.builds(lambda name, text: Notice(id=uid(name), at=NOON, text=text), st.sampled_from(["n1", "n2"]), st.text()),
    st.none(),
)
