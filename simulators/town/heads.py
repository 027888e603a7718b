"""A smoke and heat head: what it measures, when it alarms, when it reports. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec

from ingest.readings import SECOND
from simulators.town.battery_fire import (
    ALARM_INTERVAL_S,
    HEAT_ALARM_C,
    HEAT_CLEAR_C,
    HEAT_LAG_S,
    SCALE_END_C,
    SMOKE_ALARM_DB_M,
    SMOKE_CLEAR_DB_M,
    SMOKE_LAG_S,
    Fire,
)
from simulators.town.weather import Air

#: A head looks at its sensors so often while something may be going on.
SAMPLE = SECOND
#: Between two regular reports it also tells of a change this large, but not more often than each 2 s.
TOLD_CHANGE_C, TOLD_CHANGE_DB_M = 3.0, 0.05
MIN_GAP = 2 * SECOND
#: Battery on each so many reports.
BATTERY_EVERY = 20


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one device says at one time; `urgent` when a state of fire class has changed."""

    at: int
    site: str
    device: str
    seq: int
    values: dict[str, float]
    states: dict[str, bool]
    urgent: bool = False


class SmokeHeatHead:
    """One head. `step` must be called with times that never go back."""

    def __init__(self, *, site: str, device: str, position_m: float, air: Air, seed: str) -> None:
        self._site, self._device, self._position = site, device, position_m
        self._air = air
        self._chance = chance = random.Random(f"head/{seed}/{site}/{device}")
        self._temperature_error = chance.gauss(0.0, 0.3)
        self._smoke_floor = abs(chance.gauss(0.006, 0.003))
        self._battery = chance.uniform(70.0, 100.0)
        self._alarm_interval = int(chance.uniform(*ALARM_INTERVAL_S) * SECOND)
        self._smoke_alarm = self._heat_alarm = False
        self._extra_c = self._extra_db = 0.0  # what the fires add, as the slow sensors see it
        self._sampled_at = self._reported_at = 0
        self._told = (0.0, 0.0)
        self._seq = 0

    def step(self, at: int, fires: Sequence[Fire], *, due: bool) -> Report | None:
        """Sample at `at`; the report when one is due, something has changed, or an alarm goes on."""
        temperature, smoke, humidity = self._sample(at, fires)
        changed = self._judge(temperature, smoke)
        quiet = at - self._reported_at
        moved = abs(temperature - self._told[0]) >= TOLD_CHANGE_C or abs(smoke - self._told[1]) >= TOLD_CHANGE_DB_M
        alarming = (self._smoke_alarm or self._heat_alarm) and quiet >= self._alarm_interval
        if not (due or changed or alarming or (moved and quiet >= MIN_GAP)):
            return None
        self._reported_at, self._told = at, (temperature, smoke)
        self._seq += 1
        values = {"temperature": temperature, "humidity": humidity, "smoke": smoke}
        if self._seq % BATTERY_EVERY == 1:
            values["battery"] = float(round(self._battery))
        states = {"smoke_alarm": self._smoke_alarm, "heat_alarm": self._heat_alarm}
        return Report(
            at=at, site=self._site, device=self._device, seq=self._seq, values=values, states=states, urgent=changed
        )

    @property
    def restless(self) -> bool:
        """It must be stepped each second: an alarm stands, or a fire's traces are not gone."""
        return self._smoke_alarm or self._heat_alarm or self._extra_c > 0.5 or self._extra_db > 0.01

    def _sample(self, at: int, fires: Sequence[Fire]) -> tuple[float, float, float]:
        effects = [fire.at_ceiling(head_m=self._position, at=at) for fire in fires]
        step_s = (at - self._sampled_at) / SECOND if self._sampled_at else 0.0
        self._sampled_at = at
        self._extra_db = _follow(self._extra_db, sum(smoke for smoke, _ in effects), step_s / SMOKE_LAG_S)
        self._extra_c = _follow(self._extra_c, sum(heat for _, heat in effects), step_s / HEAT_LAG_S)
        air = self._air.temperature(at)
        temperature = air + self._temperature_error + self._extra_c + self._chance.gauss(0.0, 0.12)
        smoke = self._smoke_floor + self._extra_db + self._chance.gauss(0.0, 0.003)
        humidity = self._air.humidity(air) - 0.3 * self._extra_c + self._chance.gauss(0.0, 0.5)
        return (
            round(min(temperature, SCALE_END_C), 1),
            round(max(smoke, 0.0), 3),
            round(min(max(humidity, 1.0), 99.0), 1),
        )

    def _judge(self, temperature: float, smoke: float) -> bool:
        """The head's own alarms, each with a lower level to end it; whether one changed."""
        before = (self._smoke_alarm, self._heat_alarm)
        self._smoke_alarm = smoke >= (SMOKE_CLEAR_DB_M if self._smoke_alarm else SMOKE_ALARM_DB_M)
        self._heat_alarm = temperature >= (HEAT_CLEAR_C if self._heat_alarm else HEAT_ALARM_C)
        return before != (self._smoke_alarm, self._heat_alarm)


def _follow(seen: float, true: float, steps: float) -> float:
    """A sensor of first order: it goes towards the truth, the longer the nearer."""
    return true + (seen - true) * math.exp(-steps)
