"""Which incident an alert belongs to, and whether people are told. Pure."""

from __future__ import annotations

from collections.abc import Callable

from alerts.alert import SignalClass, Transition
from alerts.incident import (
    Audience,
    Hush,
    HushReason,
    IncidentChange,
    IncidentMemory,
    IncidentState,
    Tell,
    TellReason,
    incident_id,
    tell_id,
)
from ingest.readings import MINUTE

#: Alerts of one site this far apart, with nothing burning in between, are two incidents.
GROUP_WINDOW = 30 * MINUTE

#: Classes that open an incident, the graver the higher; the others are kept as alerts for maintenance.
RANK = {SignalClass.FIRE: 2, SignalClass.PRE_ALARM: 1}
#: Classes that page; the others are shown on the board.
PAGING = frozenset({SignalClass.FIRE})

Step = IncidentChange | Tell | Hush


def joinable(
    incidents: list[IncidentMemory], at: int, still_true: Callable[[IncidentMemory], bool]
) -> IncidentMemory | None:
    """The open incident of the site that an alert at `at` belongs to."""
    for incident in reversed(incidents):
        if incident.state is IncidentState.CLOSED:
            continue
        if at - incident.active_at <= GROUP_WINDOW or still_true(incident):
            return incident
    return None


def open_incident(incidents: list[IncidentMemory], alert: Transition) -> IncidentMemory:
    """A new incident of the alert's site; no two of a site ever share their opening time."""
    opened_at = max([alert.at, *(incident.opened_at + 1 for incident in incidents)])
    incident = IncidentMemory(
        id=incident_id(alert.site, opened_at),
        site=alert.site,
        opened_at=opened_at,
        active_at=alert.at,
        signal_class=alert.signal_class,
        severity=alert.severity,
        reason=alert.reason,
    )
    incidents.append(incident)
    return incident


def take_in(
    incident: IncidentMemory, alert: Transition, *, audience: Audience, reason: TellReason | None, new: bool
) -> list[Step]:
    """An alert fires or comes back: the incident's change and whether anybody is told.

    `reason` overrides why people are told (late, unregistered, re-triggered). A re-trigger always tells, and re-opens
    what was closed.
    """
    again = reason is TellReason.RETRIGGERED
    risen = RANK.get(alert.signal_class, 0) > RANK.get(incident.signal_class, 0)
    if risen:
        incident.signal_class, incident.severity = alert.signal_class, alert.severity
    if again and incident.state is IncidentState.CLOSED:
        incident.state = IncidentState.OPEN
    incident.active_at = max(incident.active_at, alert.at)
    incident.seen[alert.alert_id] = alert.retriggers
    if risen or again:
        incident.reason = alert.reason  # what people read first stays what alarmed them, not what joined later
    change = incident.change(max(alert.at, incident.opened_at), incident.reason)
    mark = f"{alert.signal_class}/{audience}"
    if alert.signal_class not in PAGING:
        return [change, _hush(alert, incident.id, HushReason.BELOW_PAGING)]
    if mark in incident.told and not again:
        return [change, _hush(alert, incident.id, HushReason.ALREADY_TOLD)]
    if mark not in incident.told:
        incident.told.append(mark)
    plain = TellReason.OPENED if new or not risen else TellReason.UPGRADED
    return [change, _tell(incident, alert, audience, reason or plain)]


def hush_only(alert: Transition, reason: HushReason) -> Hush:
    """An alert that belongs to no incident."""
    return _hush(alert, "", reason)


def _hush(alert: Transition, incident: str, reason: HushReason) -> Hush:
    return Hush(alert_id=alert.alert_id, incident=incident, reason=reason, at=alert.at)


def _tell(incident: IncidentMemory, alert: Transition, audience: Audience, reason: TellReason) -> Tell:
    return Tell(
        id=tell_id(incident.id, reason, alert.at),
        incident=incident.id,
        site=incident.site,
        signal_class=alert.signal_class,
        severity=alert.severity,
        reason=reason,
        audience=audience,
        at=alert.at,
        opened_at=incident.opened_at,
        alerts=tuple(incident.seen),
        text=f"{alert.signal_class} at {incident.site}: {alert.device or 'the site'}: {alert.reason}",
        began_at=alert.at if reason is TellReason.LATE else 0,
        offset=alert.offset,
    )
