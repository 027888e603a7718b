"""One module a rule kind, each pure: what makes the condition true, what makes it false, and why.

A rule answers for one sample of one subject with a Signal. It never sees a clock, an alert or an incident: holds,
latches and re-triggers are the same for all kinds and live in alerts/episode.py.
"""

from __future__ import annotations

from alerts.rules.absence import AbsenceRule as AbsenceRule
from alerts.rules.level import LevelRule as LevelRule
from alerts.rules.rate import RateRule as RateRule
from alerts.rules.state import StateRule as StateRule

Rule = StateRule | LevelRule | RateRule | AbsenceRule

#: The registry: one line a kind.
KINDS: dict[str, type[Rule]] = {
    "state": StateRule,
    "level": LevelRule,
    "rate": RateRule,
    "absence": AbsenceRule,
}
