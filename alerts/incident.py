"""Incident: alerts of one site grouped in time, what people work on. Words and the only ways it may change. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from alerts.alert import Severity, SignalClass, derived_id
from ingest.message import Act, ActKind

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
    SUSPECTED = "suspected"  #: a fire sign in a record that the evaluator, which is behind, has not judged yet


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
    """Somebody must be told. `id` is derived, so that telling twice is impossible to miss.

    `offset` is the input record that caused it; -1 where none did, and in logs from before this was said.
    """

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
    offset: int = -1


class Hush(msgspec.Struct, frozen=True, kw_only=True):
    """A firing alert that pages nobody by itself, with the reason.

    `told_by`: the page by which its people were told already, when the dispatcher paged before it was judged.
    """

    alert_id: str
    incident: str
    reason: HushReason
    at: int
    told_by: str = ""


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


class IncidentMemory(msgspec.Struct):
    """What the engine remembers of an incident (µs times). `seen` has each alert's retrigger count; `told` the
    class/audience pairs that were told."""

    id: str
    site: str
    opened_at: int
    active_at: int
    signal_class: SignalClass
    severity: Severity
    reason: str
    state: IncidentState = IncidentState.OPEN
    seen: dict[str, int] = {}
    told: list[str] = []
    team: str = ""
    author: str = ""
    verdict: str = ""
    cause: str = ""
    summary: str = ""

    def change(self, at: int, reason: str, *, act: Act | None = None) -> IncidentChange:
        """The whole incident as it is now."""
        return IncidentChange(
            id=self.id,
            site=self.site,
            state=self.state,
            signal_class=self.signal_class,
            severity=self.severity,
            opened_at=self.opened_at,
            changed_at=at,
            alerts=tuple(self.seen),
            reason=reason,
            author=act.author if act else "",
            act_id=act.id if act else "",
            comment=act.comment if act else "",
            verdict=self.verdict,
            cause=self.cause,
            summary=self.summary,
            team=self.team,
            next_action=NEXT_ACTION[self.state],
        )


#: What comes next for an incident in this state; the escalation policy will replace these reasons by due times.
NEXT_ACTION: dict[IncidentState, str] = {
    IncidentState.OPEN: "paged once; nothing is repeated because no escalation policy is configured",
    IncidentState.ACKNOWLEDGED: "in the hands of whoever acknowledged it",
    IncidentState.DISPATCHED: "the team is on its way",
    IncidentState.ON_SCENE: "the team is on scene",
    IncidentState.CONTROLLED: "to be closed with a verdict",
    IncidentState.CLOSED: "none: closed",
}

_ALL_OPEN = frozenset(IncidentState) - {IncidentState.CLOSED}

#: Which act is possible in which states, and the state it leads to (None: stays).
ACTS: dict[ActKind, tuple[frozenset[IncidentState], IncidentState | None]] = {
    ActKind.ACKNOWLEDGE: (frozenset({IncidentState.OPEN}), IncidentState.ACKNOWLEDGED),
    ActKind.DISPATCH: (
        frozenset({IncidentState.OPEN, IncidentState.ACKNOWLEDGED, IncidentState.DISPATCHED}),
        IncidentState.DISPATCHED,
    ),
    ActKind.ARRIVE: (_ALL_OPEN - {IncidentState.ON_SCENE, IncidentState.CONTROLLED}, IncidentState.ON_SCENE),
    ActKind.CONTROL: (_ALL_OPEN - {IncidentState.CONTROLLED}, IncidentState.CONTROLLED),
    ActKind.CLOSE: (_ALL_OPEN, IncidentState.CLOSED),
    ActKind.COMMENT: (frozenset(IncidentState), None),
    ActKind.ESCALATE: (_ALL_OPEN, None),
}

VERDICTS = ("confirmed", "false_alarm", "test")


def apply_act(incident: IncidentMemory, act: Act, at: int) -> IncidentChange | Refusal:
    """A human act on an incident: the change, or why it is refused. The only way a person changes one."""
    possible, after = ACTS[act.kind]
    word = act.kind.name.lower()
    refusal = ""
    if incident.state not in possible:
        by = f" by {incident.author}" if incident.author and incident.state is not IncidentState.OPEN else ""
        refusal = f"cannot {word}: the incident is {incident.state}{by}"
    elif act.kind is ActKind.CLOSE and act.body.get("verdict") not in VERDICTS:
        refusal = f"cannot close: verdict must be one of {', '.join(VERDICTS)}"
    elif act.seen and act.kind in (ActKind.ACKNOWLEDGE, ActKind.CLOSE) and incident.seen != act.seen:
        unseen = [alert for alert, count in incident.seen.items() if act.seen.get(alert) != count]
        refusal = f"cannot {word}: {len(unseen)} alerts are new or came back since you looked; look again"
    if refusal:
        return Refusal(act_id=act.id, incident=incident.id, reason=refusal, at=at)
    if after is not None:
        incident.state, incident.author = after, act.author
    incident.team = act.body.get("team", incident.team)
    incident.verdict = act.body.get("verdict", incident.verdict)
    incident.cause = act.body.get("cause", incident.cause)
    incident.summary = act.body.get("summary", incident.summary)
    return incident.change(at, act.comment or f"{word} by {act.author}", act=act)
