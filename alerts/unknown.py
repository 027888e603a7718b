"""What no rulebook rules: a fire sign nobody can place, and a time in which we ourselves heard nothing. Pure."""

from __future__ import annotations

from alerts.alert import AlertState, Severity, SignalClass, alert_id
from alerts.episode import Change, begin, observe
from alerts.incident import (
    INTAKE_SITE,
    UNLOCATED_SITE,
    Audience,
    IncidentMemory,
    Tell,
    TellReason,
    blind_incident_id,
    tell_id,
)
from alerts.memory import DeviceMemory, SiteMemory, Subject
from alerts.outcome import Outcome
from alerts.rulebook import digest
from alerts.rules.contract import RuleBase, Signal
from ingest.admission import Suspicion
from ingest.inventory import DeviceClass
from ingest.message import Intake
from ingest.readings import SECOND, iso

#: A gap of our own intake this long is told as "blind".
BLIND_AFTER = 30 * SECOND
#: Unregistered devices remembered for each site; a flood of invented names beyond it folds into the incident.
MOST_STRANGERS = 200

UNREGISTERED = RuleBase(
    id="unregistered-fire",
    signal_class=SignalClass.FIRE,
    severity=Severity.CRITICAL,
    version=digest("unregistered-fire 1"),
    latch=True,
)
BLIND = RuleBase(
    id="intake-blind",
    signal_class=SignalClass.FAULT,
    severity=Severity.CRITICAL,
    version=digest("intake-blind 1"),
)


def suspect(sites: dict[str, SiteMemory], outcome: Outcome, suspicion: Suspicion, at: int) -> None:
    """A fire sign nobody can place: an alert at the topic's site if we know it, and the centre is told."""
    site_name, label = suspicion.site, suspicion.device or "an unreadable message"
    if site_name not in sites:
        label = f"{site_name}/{label}" if site_name else label
        site_name = UNLOCATED_SITE
    site = sites.setdefault(site_name, SiteMemory())
    if outcome.offset <= site.offset:
        return
    if label not in site.strangers and len(site.strangers) >= MOST_STRANGERS:
        label = "more unregistered devices"
    stranger = site.strangers.setdefault(label, DeviceMemory(DeviceClass.SMOKE_HEAT_HEAD.value))
    subject = Subject(site_name, site, label, stranger)
    signal = Signal(True, False, True, suspicion.why)
    known = stranger.episodes.get(UNREGISTERED.id)
    if known is not None:
        observe(known, UNREGISTERED, signal, at)
        return
    episode, change = outcome.begun(subject, UNREGISTERED, signal, at)
    outcome.changed(subject, UNREGISTERED, episode, change, reason=TellReason.UNREGISTERED, audience=Audience.CENTRE)


def blind(sites: dict[str, SiteMemory], outcome: Outcome, intake: Intake, shard: str) -> None:
    """Our intake heard nothing for long: one alert with its beginning and end, one incident, and the centre is told.

    The ids are those the dispatcher used when it noticed by its own clock, so nobody is told twice.
    """
    site = sites.setdefault(INTAKE_SITE, SiteMemory())
    if outcome.offset <= site.offset:
        return
    why = f"no messages were taken in from {iso(intake.down_at)} to {iso(intake.up_at)}: {intake.reason}"
    incident = IncidentMemory(
        id=blind_incident_id(shard, intake.down_at),
        site=INTAKE_SITE,
        opened_at=intake.down_at,
        active_at=intake.up_at,
        signal_class=BLIND.signal_class,
        severity=BLIND.severity,
        reason=why,
    )
    site.incidents.append(incident)
    new_id = alert_id(BLIND.id, INTAKE_SITE, shard, intake.down_at)
    incident.seen[new_id] = 0
    subject = Subject(INTAKE_SITE, site, "", DeviceMemory(DeviceClass.GATEWAY.value))
    signal = Signal(True, False, (intake.up_at - intake.down_at) / SECOND, why, BLIND_AFTER / SECOND)
    episode, change = begin(BLIND, signal, intake.down_at, new_id, intake.down_at)
    back = Change(AlertState.FIRING, AlertState.CLEARED, intake.up_at, "messages are taken in again")
    outcome.decisions += [
        outcome.transition(subject, BLIND, episode, change, incident),
        outcome.transition(subject, BLIND, episode, back, incident),
        incident.change(intake.up_at, why),
        _tell_blind(incident, new_id),
    ]


def _tell_blind(incident: IncidentMemory, alert: str) -> Tell:
    return Tell(
        id=tell_id(incident.id, TellReason.BLIND, incident.opened_at),
        incident=incident.id,
        site=INTAKE_SITE,
        signal_class=BLIND.signal_class,
        severity=BLIND.severity,
        reason=TellReason.BLIND,
        audience=Audience.CENTRE,
        at=incident.opened_at,
        opened_at=incident.opened_at,
        alerts=(alert,),
        text=incident.reason,
    )
