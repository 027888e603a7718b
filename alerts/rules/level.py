"""A quantity at or beyond a limit, with a separate level where it ends. Pure."""

from __future__ import annotations

from alerts.rules.contract import RuleBase, Signal
from ingest.readings import QUANTITIES


class LevelRule(RuleBase, frozen=True, kw_only=True, tag="level"):
    """`quantity` at or above `above` (or at or below `below`); it ends under `clear_below` (over `clear_above`).

    Limits are in the quantity's unit. Exactly one of above and below is set; the clear level lies on its quiet side.
    """

    quantity: str
    above: float | None = None
    below: float | None = None
    clear_below: float | None = None
    clear_above: float | None = None

    @property
    def field(self) -> str:
        """The part of a reading it looks at."""
        return self.quantity

    def quiet(self, value: float) -> bool:
        """The cheap answer for nearly every sample: not at the limit."""
        return value < self.above if self.above is not None else value > (self.below or 0.0)

    def judge(self, value: float) -> Signal:
        """The answer to one sample."""
        unit = QUANTITIES[self.quantity].partition(",")[0]
        if self.above is not None:
            clear_level = self.above if self.clear_below is None else self.clear_below
            breaching, clear, limit, side = value >= self.above, value < clear_level, self.above, "at or above"
        else:
            limit = self.below if self.below is not None else 0.0
            clear_level = limit if self.clear_above is None else self.clear_above
            breaching, clear, side = value <= limit, value > clear_level, "at or below"
        relation = side if breaching else f"not {side}"
        why = f"{self.quantity} {value:g} {unit} is {relation} {limit:g} {unit}"
        return Signal(breaching, clear, value, why, limit)
