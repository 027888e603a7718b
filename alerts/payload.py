"""What a page says: the JSON of the webhook channel, which every other channel reads too. Pure."""

from __future__ import annotations

import msgspec

from alerts.alert import AlertState, Severity, SignalClass, Transition
from alerts.incident import IncidentState, Tell, TellReason
from alerts.outbox import Page
from ingest.readings import iso


class PageAlert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert of the incident, as it was last seen before the page was made."""

    id: str
    rule: str = ""
    device: str | None = None
    value: float | bool | None = None
    reason: str = ""
    fired_at: str | None = None


class PageIncident(msgspec.Struct, frozen=True, kw_only=True):
    """The incident and where it is."""

    id: str
    site: str
    site_name: str
    area: str
    centre: str
    state: IncidentState
    opened_at: str
    url: str


class PageBody(msgspec.Struct, frozen=True, kw_only=True, rename={"signal_class": "class"}):
    """The body of a webhook. All of it is settled when the page is made, but `sent_at` and the incident's state."""

    id: str  #: the idempotency key
    reason: TellReason
    signal_class: SignalClass
    severity: Severity
    text: str  #: one sentence for a person
    incident: PageIncident
    alerts: tuple[PageAlert, ...]
    team: str  #: team or centre
    step: int
    began_at: str | None = None  #: for late: when it began by the device's account
    sent_at: str = ""  #: of this attempt


_decode = msgspec.json.Decoder(PageBody).decode
_encode = msgspec.json.Encoder().encode


def body_of(page: Page, tell: Tell, incident: PageIncident, alerts: tuple[PageAlert, ...]) -> bytes:
    """All that is known when the page is made."""
    return _encode(
        PageBody(
            id=page.id,
            reason=tell.reason,
            signal_class=tell.signal_class,
            severity=tell.severity,
            text=tell.text,
            incident=incident,
            alerts=alerts,
            team=page.target,
            step=page.step,
            began_at=moment(tell.began_at) if tell.began_at else None,
        )
    )


def stamped(facts: bytes, state: IncidentState | None, sent_at: int) -> bytes:
    """The body of one attempt: as it was made, with the incident's state and the time of now."""
    body = _decode(facts)
    incident = msgspec.structs.replace(body.incident, state=state or body.incident.state)
    return _encode(msgspec.structs.replace(body, incident=incident, sent_at=moment(sent_at)))


def alert_after(transition: Transition, before: PageAlert | None) -> PageAlert:
    """What a page says about an alert after this transition; the first firing counts as its time."""
    fired = before.fired_at if before else None
    if fired is None and transition.after is AlertState.FIRING:
        fired = moment(transition.at)
    return PageAlert(
        id=transition.alert_id,
        rule=transition.rule,
        device=transition.device,
        value=transition.value,
        reason=transition.reason,
        fired_at=fired,
    )


def moment(at: int) -> str:
    """ISO 8601, or the bare number where a clock went beyond the calendar: a page must not fail by its date."""
    try:
        return iso(at)
    except ValueError:
        return f"{at} µs"
