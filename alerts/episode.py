"""One rule on one subject, from the first sample over the limit to the end. The state machine of every rule kind.

            breach, hold > 0          hold over, samples close enough
    (none) ─────────────────▶ pending ───────────────────────▶ firing ──▶ firing (re-trigger under the latch)
       │                         │ quiet again                    │ quiet again, no latch      │ a person resets
       │ breach, no hold         ▼                                ▼                            ▼
       └──────────▶ firing    cleared                          cleared                       reset

Pure: it is given samples and times in order and answers with what changed.
"""

from __future__ import annotations

import msgspec

from alerts.alert import AlertState, Severity, SignalClass
from alerts.rules.contract import RuleBase, Signal

#: Samples kept to explain a pending alert.
EVIDENCE = 8


class Episode(msgspec.Struct):
    """Memory of one alert while it is pending or firing (times in µs).

    `condition`: true now, as far as the newest sample at `last_at` says; a latched alert stays firing without it.
    Class, severity and version are those of the rule when it began, for when that rule is gone from the rulebook.
    `due`: when the hold of a pending alert runs out. `away_since`: since when a latched condition is gone.
    """

    alert_id: str
    started_at: int
    state: AlertState
    last_at: int
    signal_class: SignalClass
    severity: Severity
    rule_version: str
    condition: bool = True
    due: int = 0
    away_since: int = 0
    retriggers: int = 0
    incident: str = ""
    value: float | bool = False
    why: str = ""
    limit: float | None = None
    evidence: list[tuple[int, float]] = []

    def note(self, signal: Signal, at: int) -> None:
        """Remember a breaching sample."""
        self.last_at = max(at, self.last_at)
        self.value, self.why, self.limit = signal.value, signal.why, signal.limit
        if signal.evidence:
            self.evidence = list(signal.evidence)
        elif self.state is AlertState.PENDING or not self.evidence:
            self.evidence = [*self.evidence[-(EVIDENCE - 1) :], (at, float(signal.value))]


class Change(msgspec.Struct, frozen=True):
    """One step of an episode: its states before and after, when (µs), and why."""

    before: AlertState | None
    after: AlertState
    at: int
    reason: str
    retrigger: bool = False


def begin(rule: RuleBase, signal: Signal, at: int, alert_id: str, started_at: int) -> tuple[Episode, Change]:
    """A sample breaches and there is no episode yet."""
    state = AlertState.PENDING if rule.hold else AlertState.FIRING
    episode = Episode(
        alert_id=alert_id,
        started_at=started_at,
        state=state,
        last_at=at,
        signal_class=rule.signal_class,
        severity=rule.severity,
        rule_version=rule.version,
        due=at + rule.hold,
    )
    episode.note(signal, at)
    return episode, Change(None, state, at, signal.why)


def observe(episode: Episode, rule: RuleBase, signal: Signal, at: int) -> Change | None:
    """A later sample of the same subject."""
    if episode.state is AlertState.PENDING:
        return _observe_pending(episode, rule, signal, at)
    if signal.breaching:
        return _breach_again(episode, rule, signal, at)
    if not signal.clear:
        episode.last_at = at
        return None
    if not rule.latch:
        return Change(AlertState.FIRING, AlertState.CLEARED, at, signal.why or "back to normal")
    if episode.condition:
        episode.condition, episode.away_since = False, at
    episode.last_at = at
    return None


def hold_is_over(episode: Episode, rule: RuleBase, now: int) -> Change | None:
    """The clock reached `due` of a pending episode. A hold is proven only by samples close enough together."""
    if episode.state is not AlertState.PENDING or now < episode.due or episode.due - episode.last_at > rule.max_gap:
        return None
    episode.state = AlertState.FIRING
    held = f"{episode.why}, for {rule.hold / 1e6:g} s"
    return Change(AlertState.PENDING, AlertState.FIRING, episode.due, held)


def reset(episode: Episode, at: int, author: str) -> Change | str:
    """A person un-latches; a sentence where that cannot be."""
    if episode.state is not AlertState.FIRING:
        return f"the alert is {episode.state}, only a firing one can be reset"
    if episode.condition:
        return "its condition is still true; it can be reset when the sensor is back to normal"
    return Change(AlertState.FIRING, AlertState.RESET, at, f"reset by {author}")


def _observe_pending(episode: Episode, rule: RuleBase, signal: Signal, at: int) -> Change | None:
    if not signal.breaching:
        return Change(AlertState.PENDING, AlertState.CLEARED, at, signal.why or "back to normal")
    if at - episode.last_at > rule.max_gap:
        episode.due = at + rule.hold  # what happened in between is unknown: the hold starts anew
    episode.note(signal, at)
    return hold_is_over(episode, rule, at)


def _breach_again(episode: Episode, rule: RuleBase, signal: Signal, at: int) -> Change | None:
    came_back = not episode.condition and at - episode.away_since >= rule.retrigger_after
    episode.condition = True
    if not came_back:
        episode.last_at = max(at, episode.last_at)
        return None
    episode.retriggers += 1
    away = (at - episode.away_since) / 1e6
    episode.evidence = []
    episode.note(signal, at)
    reason = f"{signal.why}, again after {away:.0f} s of quiet"
    return Change(AlertState.FIRING, AlertState.FIRING, at, reason, retrigger=True)
