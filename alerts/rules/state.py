"""A state a device reports is as named: `smoke_alarm` is true. Pure."""

from __future__ import annotations

from alerts.rules.contract import RuleBase, Signal


class StateRule(RuleBase, frozen=True, kw_only=True, tag="state"):
    """`state` has the value `when`. One head's fire-class state is a fire at once: such rules have no hold."""

    state: str
    when: bool = True

    @property
    def field(self) -> str:
        """The part of a reading it looks at."""
        return self.state

    def judge(self, value: bool) -> Signal:
        """The answer to one reported state."""
        breaching = value == self.when
        why = f"the device reports {self.state} = {str(value).lower()}"
        return Signal(breaching, not breaching, value, why)
