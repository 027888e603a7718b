"""From changes of episodes to decisions: transitions, incidents, and who is told. Pure."""

from __future__ import annotations

from alerts.alert import AlertState, Transition, alert_id
from alerts.decisions import Decision
from alerts.episode import Change, Episode, begin
from alerts.grouping import RANK, hush_only, joinable, open_incident, take_in
from alerts.incident import Audience, HushReason, IncidentMemory, IncidentState, TellReason
from alerts.memory import SiteMemory, Subject
from alerts.rules.contract import RuleBase, Signal


class Outcome:
    """Collects the decisions made while one record is judged; `offset` is that record's."""

    def __init__(self) -> None:
        self.offset = -1
        self.decisions: list[Decision] = []

    def take(self) -> list[Decision]:
        """The decisions since the last call, in the order they were made."""
        decisions, self.decisions = self.decisions, []
        return decisions

    def begun(self, subject: Subject, rule: RuleBase, signal: Signal, at: int) -> tuple[Episode, Change]:
        """A new episode; it starts strictly later than the last one of this rule and subject."""
        device = subject.device
        if device.last_starts is None:
            device.last_starts = {}
        started_at = max(at, device.last_starts.get(rule.id, at - 1) + 1)
        device.last_starts[rule.id] = started_at
        new_id = alert_id(rule.id, subject.site_name, subject.device_id, started_at)
        episode, change = begin(rule, signal, at, new_id, started_at)
        device.episodes[rule.id] = episode
        return episode, change

    def changed(
        self,
        subject: Subject,
        rule: RuleBase,
        episode: Episode,
        change: Change,
        *,
        reason: TellReason | None = None,
        audience: Audience = Audience.TEAM,
    ) -> None:
        """Put a change of an episode into words, and an alert that fires into its incident."""
        incident, new = self._incident_for(subject, rule, episode, change)
        transition = self.transition(subject, rule, episode, change, incident)
        self.decisions.append(transition)
        if change.after in (AlertState.CLEARED, AlertState.RESET):
            del subject.device.episodes[rule.id]
        elif change.after is AlertState.FIRING:
            if incident is None:
                why = HushReason.SHADOW if rule.shadow else HushReason.BELOW_PAGING
                self.decisions.append(hush_only(transition, why))
            else:
                told = TellReason.RETRIGGERED if change.retrigger else reason
                self.decisions.extend(take_in(incident, transition, audience=audience, reason=told, new=new))
                forget_closed(subject.site)

    def transition(
        self, subject: Subject, rule: RuleBase, episode: Episode, change: Change, incident: IncidentMemory | None
    ) -> Transition:
        """The words for one change."""
        return Transition(
            at=change.at,
            rule=rule.id,
            signal_class=rule.signal_class,
            severity=rule.severity,
            site=subject.site_name,
            device=subject.device_id or None,
            before=change.before,
            after=change.after,
            value=episode.value,
            reason=change.reason,
            alert_id=episode.alert_id,
            rule_version=rule.version,
            incident_id=incident.id if incident else episode.incident,
            limit=episode.limit,
            retriggers=episode.retriggers,
            offset=self.offset,
            evidence=tuple(episode.evidence),
        )

    def _incident_for(
        self, subject: Subject, rule: RuleBase, episode: Episode, change: Change
    ) -> tuple[IncidentMemory | None, bool]:
        """The incident of a change, and whether it is new; None for alerts that make none."""
        incidents = subject.site.incidents
        known = next((each for each in incidents if each.id == episode.incident), None)
        if known is not None or change.after is not AlertState.FIRING:
            return known, False
        if rule.shadow or rule.signal_class not in RANK:
            return None, False
        incident = joinable(incidents, change.at, lambda each: _still_true(subject.site, each))
        new = incident is None
        if incident is None:
            incident = open_incident(incidents, self.transition(subject, rule, episode, change, None))
        episode.incident = incident.id
        return incident, new


def forget_closed(site: SiteMemory) -> None:
    """Closed incidents are remembered only while one of their alerts is still latched."""
    site.incidents[:] = [
        each for each in site.incidents if each.state is not IncidentState.CLOSED or site.episodes_of(each.id)
    ]


def _still_true(site: SiteMemory, incident: IncidentMemory) -> bool:
    return any(episode.condition for episode in site.episodes_of(incident.id))
