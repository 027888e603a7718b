"""A quantity rises fast: so many units within so much time, and not by one odd sample. Pure."""

from __future__ import annotations

from struct import Struct

from alerts.rules.contract import RuleBase, Signal
from ingest.readings import QUANTITIES

#: Samples kept for one device and rule; a sensor faster than over / 64 is thinned by forgetting the oldest.
MOST_SAMPLES = 64

#: The samples of one device that a rate rule still needs: time (µs, int64, rising) and value (float64) of each, one
#: behind the other. A hundred thousand devices have one each, so it is packed.
Window = bytes
_SIZE = 16
_PACK = Struct("<qd").pack
_UNPACK = [Struct("<" + "qd" * samples).unpack for samples in range(MOST_SAMPLES + 1)]


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

    def judge(self, window: Window, at: int, value: float, *, watched: bool = True) -> tuple[Window, Signal | None]:
        """The window with one sample more (later than all in it), and the answer; None: too few samples to say.

        Not `watched`: None also where there is no fast rise, which is nearly always and then cheap.
        """
        flat = _UNPACK[len(window) // _SIZE](window)
        drop = self._stale(flat, at)
        if drop:
            flat, window = flat[2 * drop :], window[drop * _SIZE :]
        window += _PACK(at, value)
        if len(flat) < 6:
            return window, None
        high = min(value, flat[-1])
        if not watched and high - min(flat[1:-2:2]) < self.rise:
            return window, None
        return window, self._answer((*flat[::2], at), (*flat[1::2], value), high)

    def _stale(self, flat: tuple[float, ...], at: int) -> int:
        """How many of the oldest samples (time, value, time, …) are needed no longer once there is one at `at`."""
        count = len(flat) // 2
        if count and at - flat[-2] > self.max_gap:
            return count
        drop, oldest = 0, at - self.over
        while count - drop > 3 and (flat[2 * drop] < oldest or count - drop >= MOST_SAMPLES):
            drop += 1  # the newest and at least two earlier ones always stay
        return drop

    def _answer(self, times: tuple[int, ...], values: tuple[float, ...], high: float) -> Signal:
        low, low_at = self._second_lowest(times, values)
        span = times[-1] - low_at
        grown = high - low
        scaled = grown if span <= self.over else grown * self.over / span
        unit, value = QUANTITIES[self.quantity].partition(",")[0], values[-1]
        if scaled < self.rise:
            return Signal(False, scaled < self.rise / 2, value, "", self.rise)
        why = (
            f"{self.quantity} rose {grown:.1f} {unit} in {span / 1e6:.0f} s to {value:g} {unit}; "
            f"the limit is {self.rise:g} {unit} in {self.over / 1e6:.0f} s"
        )
        return Signal(True, False, value, why, self.rise, tuple(zip(times, values, strict=True)))

    def _second_lowest(self, times: tuple[int, ...], values: tuple[float, ...]) -> tuple[float, int]:
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
