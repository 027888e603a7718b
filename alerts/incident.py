"""Incident: alerts of one site grouped in time, what people work on. Words and the only ways it may change. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from alerts.alert import Severity, SignalClass, derived_id

#: Pseudo-site of incidents about our own intake, and of fires nobody can place.
INTAKE_SITE = "intake"
UNLOCATED_SITE = "unlocated"


class IncidentState(StrEnum):
    """Lifecycle; a sensor's recovery never closes an incident."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    DISPATCHED = "dispatched"
    ON_SCENE = "on_scene"
    CONTROLLED = "controlled"
    CLOSED = "closed"


class TellReason(StrEnum):
    """Why people are told about an incident now."""

    OPENED = "opened"  #: the incident begins
    UPGRADED = "upgraded"  #: its class rose, pre_alarm to fire
    RETRIGGERED = "retriggered"  #: the condition went away and came back under the latch
    LATE = "late"  #: learnt late: it began earlier than now
    BLIND = "blind"  #: our intake heard nothing for a while
    UNREGISTERED = "unregistered"  #: a fire sign from a device nobody registered, or that nobody can decode


class HushReason(StrEnum):
    """Why a firing alert did not lead to a page of its own."""

    ALREADY_TOLD = "already_told"  #: its incident was told at this class before
    BELOW_PAGING = "below_paging"  #: its class is shown on the board and pages nobody
    SHADOW = "shadow"  #: its rule is on trial


class Audience(StrEnum):
    """Whom a tell is for; the dispatcher resolves it to a team or centre."""

    TEAM = "team"  #: the team of the site's area
    CENTRE = "centre"  #: the fire-safety centre of the site's area


class IncidentChange(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of an incident after a change (µs times); the newest one by offset counts."""

    id: str
    site: str
    state: IncidentState
    signal_class: SignalClass
    severity: Severity
    opened_at: int
    changed_at: int
    alerts: tuple[str, ...]
    reason: str
    author: str = ""  #: who did it, "" = the engine
    act_id: str = ""
    comment: str = ""
    verdict: str = ""
    cause: str = ""
    summary: str = ""
    team: str = ""
    next_action: str = ""  #: what happens next and when, or why nothing does


class Tell(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody must be told. `id` is derived, so that telling twice is impossible to miss."""

    id: str
    incident: str
    site: str
    signal_class: SignalClass
    severity: Severity
    reason: TellReason
    audience: Audience
    at: int
    opened_at: int
    alerts: tuple[str, ...]
    text: str  #: one sentence a person understands
    began_at: int = 0  #: for late: when it began by the device's account


class Hush(msgspec.Struct, frozen=True, kw_only=True):
    """A firing alert that pages nobody by itself, with the reason."""

    alert_id: str
    incident: str
    reason: HushReason
    at: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A human act that was not applied, with the reason its author is shown."""

    act_id: str
    incident: str
    reason: str
    at: int


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence for the centre that belongs to no incident."""

    id: str
    at: int
    text: str


def incident_id(site: str, opened_at: int) -> str:
    """Id of the incident of this site that opened then (µs)."""
    return derived_id("incident", site, opened_at)


def blind_incident_id(shard: str, down_at: int) -> str:
    """Id of the incident "we hear nothing since `down_at`": dispatcher and engine arrive at the same one."""
    return derived_id("blind", shard, down_at)


def tell_id(incident: str, reason: TellReason, at: int) -> str:
    """Id of one telling."""
    return derived_id("tell", incident, reason, at)
