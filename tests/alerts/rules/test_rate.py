"""The rate rule: fast rises found, single odd samples ignored, gaps not compared."""

from __future__ import annotations

from alerts.alert import Severity, SignalClass
from alerts.rules.rate import MOST_SAMPLES, RateRule, Window
from ingest.readings import SECOND

RULE = RateRule(
    id="rise",
    signal_class=SignalClass.FIRE,
    severity=Severity.CRITICAL,
    quantity="temperature",
    rise=8.3,
    over=60 * SECOND,
)


def breaches(samples: list[tuple[float, float]], rule: RateRule = RULE) -> list[float]:
    """Times (s) at which the rule says yes."""
    window, found = Window(), []
    for at, value in samples:
        window, signal = rule.judge(window, round(at * SECOND), value)
        if signal is not None and signal.breaching:
            found.append(at)
    return found


def test_a_fast_rise_is_found_before_the_fixed_limit() -> None:
    values = [20, 20, 21, 24, 29, 36, 44]
    assert breaches([(10 * step, value) for step, value in enumerate(values)]) == [50, 60]


def test_two_kelvin_a_minute_never_is_a_fast_rise() -> None:
    assert breaches([(5 * step, 25 + 2 * 5 * step / 60) for step in range(400)]) == []


def test_a_slow_sensor_needs_the_rise_within_its_own_steps_scaled_to_the_window() -> None:
    minutes = [20, 20, 20, 45, 90]
    assert breaches([(60 * step, value) for step, value in enumerate(minutes)]) == [240]
    gentle = [20, 20, 24, 28, 32, 36, 40]
    assert breaches([(60 * step, value) for step, value in enumerate(gentle)]) == []


def test_values_across_a_long_gap_are_not_compared() -> None:
    before = [(10.0 * step, 10.0) for step in range(6)]
    after = [(50 + RULE.max_gap / SECOND + 1 + 10 * step, 30.0) for step in range(6)]
    assert breaches(before + after) == []


def test_the_window_of_a_very_fast_sensor_stays_bounded() -> None:
    window, signal = Window(), None
    for step in range(10_000):
        window, _ = RULE.judge(window, step * SECOND // 100, 20.0)
    for step in range(2):
        window, signal = RULE.judge(window, 100 * SECOND + step, 40.0)
    assert signal is not None
    assert signal.breaching
    assert len(signal.evidence) == MOST_SAMPLES
    assert len(window) == 16 * MOST_SAMPLES


def test_samples_older_than_the_rise_may_take_are_forgotten() -> None:
    window, signal = Window(), None
    for step in range(20):
        window, signal = RULE.judge(window, step * 10 * SECOND, 20.0)
    assert signal is not None
    assert signal.clear
    assert len(window) == 16 * 7  # from 60 s ago to now


def test_the_reason_names_the_rise_the_time_and_the_limit() -> None:
    window = Window()
    signal = None
    for step, value in enumerate([20, 20, 21, 24, 29, 36]):
        window, signal = RULE.judge(window, step * 10 * SECOND, value)
    assert signal is not None
    assert signal.why == "temperature rose 9.0 °C in 40 s to 36 °C; the limit is 8.3 °C in 60 s"
    assert len(signal.evidence) == 6
