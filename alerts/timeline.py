"""Each decision as a line for people and as fields for programs: the rows of a timeline and of the live feed. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from alerts.alert import AlertState, Transition
from alerts.decisions import Decision
from alerts.export import transition_line
from alerts.incident import Hush, HushReason, IncidentChange, IncidentState, Notice, Refusal, Tell
from alerts.outbox import Page, Receipt
from ingest.readings import iso

Word = Decision | Page | Receipt

_ALERT_STATES = {
    AlertState.PENDING: "may be beginning",
    AlertState.FIRING: "fires",
    AlertState.CLEARED: "is over",
    AlertState.RESET: "was reset by a person",
}
_INCIDENT_STATES = {
    IncidentState.OPEN: "Open",
    IncidentState.ACKNOWLEDGED: "Acknowledged",
    IncidentState.DISPATCHED: "Team sent",
    IncidentState.ON_SCENE: "Team on scene",
    IncidentState.CONTROLLED: "Under control",
    IncidentState.CLOSED: "Closed",
}
_HUSHES = {
    HushReason.ALREADY_TOLD: "its incident was told before at this class",
    HushReason.BELOW_PAGING: "its class is shown on the board and pages nobody",
    HushReason.SHADOW: "its rule is on trial",
}
_OUTCOMES = {
    "accepted": "accepted",
    "refused": "refused for good",
    "retry": "failed",
    "unknown": "sent, no answer seen",
    "dropped": "not sent",
}


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """What one record means to people. `incident` is "" where it belongs to none; of a receipt only its page knows.

    `feed` is the kind under which the live feed carries it, "" when it does not.
    """

    at: int
    kind: str
    text: str
    body: dict[str, object]
    incident: str = ""
    author: str = ""
    feed: str = ""


def happening(word: Word) -> Happening:
    """The line of any word of the decisions stream."""
    tell_of: Callable[[Any], Happening] = _WORDS[type(word)]
    return tell_of(word)


def _transition(word: Transition) -> Happening:
    body = transition_line(word) | {
        "incident": word.incident_id or None,
        "limit": word.limit,
        "retriggers": word.retriggers,
        "evidence": [[iso(at), value] for at, value in word.evidence],
    }
    again = word.before is AlertState.FIRING and word.after is AlertState.FIRING
    what = "fires again or more gravely" if again else _ALERT_STATES[word.after]
    return Happening(
        at=word.at,
        kind="alert",
        text=f"{word.device or word.site}: {word.rule} ({word.signal_class}) {what}: {word.reason}",
        body=body,
        incident=word.incident_id,
        feed="alert",
    )


def _incident(word: IncidentChange) -> Happening:
    by = f" by {word.author}" if word.author else ""
    parts = [f"{_INCIDENT_STATES[word.state]}{by}: {word.reason}", word.comment]
    if word.state is IncidentState.CLOSED:
        parts += [word.verdict and f"verdict {word.verdict}", word.cause and f"cause {word.cause}", word.summary]
    return Happening(
        at=word.changed_at,
        kind="incident",
        text="; ".join(dict.fromkeys(part for part in parts if part and part != word.reason)),
        body=_fields(word),
        incident=word.id,
        author=word.author,
        feed="incident",
    )


def _tell(word: Tell) -> Happening:
    return Happening(at=word.at, kind="tell", text=word.text, body=_fields(word), incident=word.incident)


def _hush(word: Hush) -> Happening:
    before = f"told before it was judged, by page {word.told_by}"
    text = f"No page of its own: {before if word.told_by else _HUSHES[word.reason]}"
    return Happening(at=word.at, kind="hush", text=text, body=_fields(word), incident=word.incident)


def _refusal(word: Refusal) -> Happening:
    return Happening(
        at=word.at,
        kind="refusal",
        text=f"Not done: {word.reason}",
        body=_fields(word),
        incident=word.incident,
        feed="refusal",
    )


def _notice(word: Notice) -> Happening:
    return Happening(at=word.at, kind="notice", text=word.text, body=_fields(word), feed="notice")


def _page(word: Page) -> Happening:
    return Happening(
        at=word.created_at,
        kind="page",
        text=f"Page to {word.target} by {word.channel}, step {word.step}: {word.reason}",
        body=_fields(word),
        incident=word.incident,
        feed="page",
    )


def _receipt(word: Receipt) -> Happening:
    settled = word.outcome in ("accepted", "refused", "dropped")
    end = "" if settled else ", given up" if word.final else ", sent again later"
    return Happening(
        at=word.at,
        kind="receipt",
        text=f"attempt {word.attempt} {_OUTCOMES[word.outcome]}{end}{f': {word.detail}' if word.detail else ''}",
        body=_fields(word),
        feed="receipt",
    )


def _fields(word: Word) -> dict[str, object]:
    """A word's fields under their own names (signal_class as `class`), points in time as ISO 8601."""
    fields: dict[str, object] = msgspec.to_builtins(word)
    for name, value in fields.items():
        if name == "at" or name.endswith("_at"):
            unset = name == "began_at" and not value
            fields[name] = None if unset or not isinstance(value, int) else iso(value)
    if "signal_class" in fields:
        fields["class"] = fields.pop("signal_class")
    return fields


_WORDS: dict[type[msgspec.Struct], Callable[[Any], Happening]] = {
    Transition: _transition,
    IncidentChange: _incident,
    Tell: _tell,
    Hush: _hush,
    Refusal: _refusal,
    Notice: _notice,
    Page: _page,
    Receipt: _receipt,
}
