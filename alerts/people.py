"""What people do, applied or refused with the reason its author is shown. Pure."""

from __future__ import annotations

from alerts.alert import SignalClass
from alerts.episode import Episode, reset
from alerts.incident import Refusal, apply_act
from alerts.memory import SiteMemory, Subject
from alerts.outcome import Outcome, forget_closed
from alerts.rulebook import Rulebook
from alerts.rules.contract import RuleBase
from alerts.unknown import UNREGISTERED
from ingest.message import Act, ActKind


def apply(sites: dict[str, SiteMemory], outcome: Outcome, rulebook: Rulebook, act: Act, at: int) -> None:
    """One human act, at log time `at` (µs)."""
    if act.kind is ActKind.RESET:
        _reset(sites, outcome, rulebook, act, at)
        return
    for site in sites.values():
        for incident in site.incidents:
            if incident.id == act.incident:
                if outcome.offset > site.offset:
                    outcome.decisions.append(apply_act(incident, act, at))
                    forget_closed(site)
                return
    _refuse(outcome, act, "no such incident is open or recently closed here", at)


def rule_of(rulebook: Rulebook, rule_id: str, episode: Episode) -> RuleBase:
    """The rule of an episode; one that is gone from the rulebook as it was when the episode began."""
    if rule_id == UNREGISTERED.id:
        return UNREGISTERED
    return rulebook.by_id.get(rule_id) or RuleBase(
        id=rule_id,
        signal_class=episode.signal_class,
        severity=episode.severity,
        version=episode.rule_version,
        latch=episode.signal_class is SignalClass.FIRE,
    )


def _reset(sites: dict[str, SiteMemory], outcome: Outcome, rulebook: Rulebook, act: Act, at: int) -> None:
    found = _find_alert(sites, act.alert)
    if found is None:
        _refuse(outcome, act, "no such alert is open", at)
        return
    subject, rule_id, episode = found
    if outcome.offset <= subject.site.offset:
        return
    if rule_id == UNREGISTERED.id:
        episode.condition = False  # nobody will ever hear "back to normal" from a stranger
    change = reset(episode, at, act.author)
    if isinstance(change, str):
        _refuse(outcome, act, f"cannot reset: {change}", at)
        return
    incident = next((each for each in subject.site.incidents if each.id == episode.incident), None)
    outcome.changed(subject, rule_of(rulebook, rule_id, episode), episode, change)
    if incident is not None:
        reason = act.comment or f"alert {rule_id} of {subject.device_id} reset by {act.author}"
        outcome.decisions.append(incident.change(at, reason, act=act))
    forget_closed(subject.site)


def _find_alert(sites: dict[str, SiteMemory], alert: str) -> tuple[Subject, str, Episode] | None:
    for site_name, site in sites.items():
        if not any(alert in incident.seen for incident in site.incidents):
            continue
        for memories in (site.devices, site.strangers):
            for device_id, device in memories.items():
                for rule_id, episode in device.episodes.items():
                    if episode.alert_id == alert:
                        return Subject(site_name, site, device_id, device), rule_id, episode
    return None


def _refuse(outcome: Outcome, act: Act, reason: str, at: int) -> None:
    outcome.decisions.append(Refusal(act_id=act.id, incident=act.incident, reason=reason, at=at))
