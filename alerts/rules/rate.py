"""A quantity rises fast: so many units within so much time, and not by one odd sample. Pure."""

from __future__ import annotations

import msgspec

from alerts.rules.contract import RuleBase, Signal
from ingest.readings import QUANTITIES

#: Samples kept for one device and rule; a sensor faster than over / 64 is thinned by forgetting the oldest.
MOST_SAMPLES = 64


class Window(msgspec.Struct):
    """The samples of one device that a rate rule still needs: times (µs, rising) and values."""

    times: list[int] = []
    values: list[float] = []


class RateRule(RuleBase, frozen=True, kw_only=True, tag="rate"):
    """`quantity` rises by `rise` units within `over` µs.

    A single odd sample, low or high, must not make a fire, and must not hide one. So the rise is measured from the
    second lowest of the earlier samples to the lower of the two newest, and at least two earlier samples are needed.
    Where a slow sensor has fewer than two earlier samples within `over`, the two before them serve, and the rise is
    scaled down to `over`. Samples further apart than `max_gap` are not compared.
    """

    quantity: str
    rise: float
    over: int

    @property
    def field(self) -> str:
        """The part of a reading it looks at."""
        return self.quantity

    def judge(self, window: Window, at: int, value: float, *, watched: bool = True) -> Signal | None:
        """Take a sample (later than all before it) into `window`; the answer, or None: too few samples to say.

        Not `watched`: None also where there is no fast rise, which is nearly always and then cheap.
        """
        self._keep(window, at, value)
        times, values = window.times, window.values
        if len(times) < 4:
            return None
        high = min(values[-1], values[-2])
        if not watched and high - min(values[:-2]) < self.rise:
            return None
        low, low_at = self._second_lowest(times, values)
        span = at - low_at
        grown = high - low
        scaled = grown if span <= self.over else grown * self.over / span
        unit = QUANTITIES[self.quantity].partition(",")[0]
        if scaled < self.rise:
            return Signal(False, scaled < self.rise / 2, value, "", self.rise)
        why = (
            f"{self.quantity} rose {grown:.1f} {unit} in {span / 1e6:.0f} s to {value:g} {unit}; "
            f"the limit is {self.rise:g} {unit} in {self.over / 1e6:.0f} s"
        )
        return Signal(True, False, value, why, self.rise, tuple(zip(times, values, strict=True)))

    def _keep(self, window: Window, at: int, value: float) -> None:
        times, values = window.times, window.values
        if times and at - times[-1] > self.max_gap:
            times.clear()
            values.clear()
        times.append(at)
        values.append(value)
        if len(times) <= 4:
            return  # the two newest and at least two earlier ones always stay
        drop = 0
        while len(times) - drop > 4 and (times[drop] < at - self.over or len(times) - drop > MOST_SAMPLES):
            drop += 1
        if drop:
            del times[:drop], values[:drop]

    def _second_lowest(self, times: list[int], values: list[float]) -> tuple[float, int]:
        lowest = second = float("inf")
        lowest_at = second_at = 0
        for index in range(len(values) - 2):
            value = values[index]
            if value < lowest:
                second, second_at = lowest, lowest_at
                lowest, lowest_at = value, times[index]
            elif value <= second:
                second, second_at = value, times[index]
        return second, second_at
