"""A device that should report is silent. Pure."""

from __future__ import annotations

from alerts.rules.contract import RuleBase, Signal


class AbsenceRule(RuleBase, frozen=True, kw_only=True, tag="absence"):
    """Nothing heard for `after` expected intervals and one of grace, in time that our intake was listening.

    A device whose expected interval nobody knows is not judged. `after` counts intervals, so a head that reports each
    minute and one that reports each day are both called silent after missing as many reports.
    """

    after: float = 2.0

    @property
    def field(self) -> str:
        """It looks at no part of a reading: any reading is a sign of life."""
        return ""

    def patience(self, interval: int) -> int:
        """How much listening time (µs) may pass without a word, for this expected interval (µs)."""
        return round(interval * (self.after + 1))

    def silent(self, interval: int) -> Signal:
        """The answer when that time has passed."""
        missed = self.patience(interval) / 1e6
        why = f"nothing heard for {missed:.0f} s of listening; a report is expected every {interval / 1e6:.0f} s"
        return Signal(True, False, missed, why, self.patience(interval) / 1e6)
