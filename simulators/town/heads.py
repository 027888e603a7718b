"""Heads under the ceiling and probes at the bays: what they feel, when they alarm, when they report.

D = ../shared/domain.md with section and confidence tag, A = our assumption.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.readings import DAY, MINUTE, SECOND
from simulators.physics.detectors import (
    CHAMBER_M,
    HEAT_HEAD_RTI,
    PROBE_LAG_S,
    THERMISTOR_RTI,
    chamber_lag_s,
    follow,
    heat_lag_s,
)
from simulators.physics.exposure import Exposure, Source
from simulators.town.charging import load
from simulators.town.device import Life, Tell
from simulators.town.layout import Device
from simulators.town.models import MODELS, Model
from simulators.town.noise import GAUSS, between, bits, gauss
from simulators.town.trouble import FAR, LOW_BATTERY
from simulators.town.weather import SiteAir, humidity

#: A head follows the air so often while something is going on.
SAMPLE = SECOND
#: Calibration: offset of the thermometer in K, smoke that clean air seems to have in dB/m; one deviation. A.
OFFSET_C, FLOOR_DB_M, FLOOR_SPREAD = 0.3, 0.006, 0.003
#: Noise of one reading, one deviation: K, dB/m, %RH. A.
NOISE_C, NOISE_DB_M, NOISE_RH = 0.12, 0.003, 0.5
#: How much of the fog outside a chamber sees: mesh and housing keep most drops out, one head more than another. A.
FOG_SEEN = (0.15, 0.6)
#: Heads under one roof differ by so much in what it adds to them. A.
ROOF_SEEN = (0.94, 1.06)
#: The smoke alarm. D 3.2: EN 54-7 allows no response below 0.05 dB/m [T]; A: 0.15 is a usual setting.
SMOKE_ALARM_DB_M, SMOKE_CLEAR_DB_M = 0.15, 0.05
#: So many looks in a row above it. D 3.3: smoke drivers count samples [S]; A: three.
LOOKS = 3
#: The heat alarm. D 3.1: static response of class A1 54 to 65 °C [S]; 57.2 °C in a common combined head [S].
HEAT_ALARM_C, HEAT_CLEAR_C = 57.0, 50.0
#: A battery head looks for smoke so often; once it has seen some, each second. A: about what its chips do.
BATTERY_LOOK_S = 10
#: A head in alarm repeats itself. A: a mains head 2 to 5 s; D 3.1: a LoRa alarm each minute [T].
MAINS_REPEAT_S, BATTERY_REPEAT_S = (2.0, 5.0), (60.0, 60.0)
#: Between regular reports a mains head tells of a change this large, but not more often than each 2 s. A.
TOLD_CHANGE_C, TOLD_CHANGE_DB_M = 3.0, 0.05
MIN_GAP = 2 * SECOND
#: The thermistor's end of scale, °C. A.
SCALE_END_C = 125.0
#: Traces below this are none: K, dB/m, %RH.
TRACE_C, TRACE_DB_M, TRACE_RH = 0.3, 0.003, 1.0
#: A charging pack warms the probe on its bay, K/W. A: 3 K at 200 W.
PROBE_C_PER_W = 0.015
#: Batteries are changed in good time: an ordinary one stands between. A.
BATTERY = (100.0, 30.0)
_CALM: tuple[Source, ...] = ()
#: Smoke and heat alarm; and what sources add, as the slow sensors see it: K, dB/m, %RH.
NO_ALARM = (False, False)
NO_TRACE = (0.0, 0.0, 0.0)


class Make(msgspec.Struct, frozen=True, kw_only=True):
    """What a model of head is made of."""

    smoke: bool
    heat_alarm: bool
    humidity: bool
    battery: bool
    probe: bool
    rti: float
    repeat_s: tuple[float, float]


def _make(model: Model) -> Make:
    facts = MODELS[model]
    return Make(
        smoke="smoke" in facts.measures,
        heat_alarm=facts.device_class in ("smoke_heat_head", "heat_head"),
        humidity="humidity" in facts.measures,
        battery="battery" in facts.measures,
        probe=model is Model.SURFACE_PROBE,
        rti=HEAT_HEAD_RTI if model is Model.HEAT_HEAD else THERMISTOR_RTI,
        repeat_s=MAINS_REPEAT_S if facts.mains else BATTERY_REPEAT_S,
    )


MAKES = {model: _make(model) for model, facts in MODELS.items() if "temperature" in facts.measures}


class Here:
    """What the heads of one site share: its air, what goes on in it, its sockets."""

    __slots__ = ("_watch", "air", "calm", "key", "sources")

    def __init__(self, *, air: SiteAir, key: int, sources: Sequence[Source], watch: Sequence[tuple[int, int]]) -> None:
        self.air = air
        self.key = key
        self.sources = tuple(sources)
        self._watch = tuple(watch)
        self.calm = not sources and not watch  # nothing ever goes on here

    def active(self, at: int) -> tuple[Source, ...]:
        """The sources that add something now."""
        return tuple(source for source in self.sources if source.start_at <= at < source.end_at)

    def look_again(self, at: int) -> int:
        """When a head that is at rest must look: at the next source, and each minute of odd weather."""
        times = [source.start_at for source in self.sources if source.start_at > at]
        times += [start for start, _ in self._watch if start > at]
        times += [at + MINUTE for start, end in self._watch if start <= at < end]
        return min(times, default=FAR)


class Head(Life):
    """One head or probe."""

    __slots__ = (
        "_alarm",
        "_extra",
        "_floor",
        "_fog",
        "_here",
        "_looks",
        "_make",
        "_offset",
        "_roof",
        "_sampled_at",
        "_told",
        "_told_at",
    )

    def __init__(self, *, device: Device, here: Here, key: int, first: int, every: int, tell: Tell) -> None:
        super().__init__(device=device, key=key, first=first, every=every, tell=tell)
        self._here = here
        self._make = MAKES[device.model]
        self._offset = OFFSET_C * gauss(key, 1)
        self._floor = abs(FLOOR_DB_M + FLOOR_SPREAD * gauss(key, 2))
        self._roof = 0.0 if self._make.probe else between(key, 3, *ROOF_SEEN)
        self._fog = between(key, 4, *FOG_SEEN)
        self.restart()

    def restart(self) -> None:
        """Begin again; what the sensors have taken up of smoke and heat is gone by then."""
        super().restart()
        self._alarm = NO_ALARM
        self._looks = 0
        self._extra = NO_TRACE
        self._sampled_at = self._told_at = 0
        self._told = (0.0, 0.0)

    @property
    def restless(self) -> bool:
        """It must be stepped each second: an alarm stands or may come, or traces are not gone."""
        if self._looks or self._alarm is not NO_ALARM:
            return True
        heat, smoke, damp = self._extra
        return self._extra is not NO_TRACE and (heat > TRACE_C or smoke > TRACE_DB_M or abs(damp) > TRACE_RH)

    def live(self, at: int, due: bool) -> int:
        here = self._here
        active = _CALM if here.calm else here.active(at)
        if active or self.restless:
            self._breathe(at, active)
        temperature, smoke, damp = self._sense(at)
        self._judge(temperature, smoke, looks=due or self._looks_now(at, active))
        battery = self._battery(at) if self._make.battery else 100.0
        states = self._states(battery)
        if self.trouble is not None:
            states = self.trouble.states(states, at)
        if due or self._worth_telling(at, temperature, smoke, states):
            self._told_at, self._told = at, (temperature, smoke)
            self.say(at, self._values(temperature, smoke, damp, battery), states)
        if active or self.restless:
            return min(self.due, at + SAMPLE)
        self._extra = NO_TRACE
        return self.due if here.calm else min(self.due, here.look_again(at))

    def _breathe(self, at: int, active: Sequence[Source]) -> None:
        """Follow what the sources add here."""
        seconds = min(at - self._sampled_at, SAMPLE) / SECOND  # at rest before, nothing had come yet
        self._sampled_at = at
        there = [source.at_place(self.device.place, at) for source in active]
        velocity = max((each.velocity for each in there), default=0.0)
        warmth = PROBE_LAG_S if self._make.probe else heat_lag_s(self._make.rti, velocity)
        chamber = chamber_lag_s(CHAMBER_M, velocity)
        true = _sum(there)
        heat, smoke, damp = self._extra
        self._extra = (
            follow(heat, true.temperature, warmth, seconds),
            follow(smoke, true.smoke, chamber, seconds),
            follow(damp, true.humidity, chamber, seconds),
        )

    def _sense(self, at: int) -> tuple[float, float, float]:
        """Temperature, smoke and humidity as the sensors give them."""
        make, air = self._make, self._here.air.at(at)
        heat, haze, damp = self._extra
        drawn = bits(self.key, at // 1000)
        true = air.temperature + air.roof * self._roof + heat
        if make.probe:
            true += PROBE_C_PER_W * load(self._here.key, (self.device.place.bay,), at)
        temperature = true + self._offset + NOISE_C * GAUSS[drawn & 4095]
        smoke = self._floor + self._fog * air.fog + haze + NOISE_DB_M * GAUSS[drawn >> 12 & 4095]
        moist = 0.0
        if make.humidity:
            moist = humidity(air.vapour, true) + damp + NOISE_RH * GAUSS[drawn >> 24 & 4095]
        if self.trouble is not None:
            temperature = self.trouble.sensed("temperature", temperature, at)
            smoke = self.trouble.sensed("smoke", smoke, at)
            moist = self.trouble.sensed("humidity", moist, at)
        if temperature > SCALE_END_C:
            temperature = SCALE_END_C
        return round(temperature, 1), round(smoke, 3) if smoke > 0 else 0.0, round(min(max(moist, 1.0), 99.0), 1)

    def _judge(self, temperature: float, smoke: float, *, looks: bool) -> None:
        """The head's own alarms, each with a lower level to end it; smoke after some looks in a row."""
        alarm, heat = self._alarm
        make = self._make
        if make.smoke and looks:
            above = smoke >= (SMOKE_CLEAR_DB_M if alarm else SMOKE_ALARM_DB_M)
            self._looks = self._looks + 1 if above else 0
            alarm = above if alarm else self._looks >= LOOKS
        if make.heat_alarm:
            heat = temperature >= (HEAT_CLEAR_C if heat else HEAT_ALARM_C)
        self._alarm = (alarm, heat) if alarm or heat else NO_ALARM

    def _looks_now(self, at: int, active: Sequence[Source]) -> bool:
        """A battery head sleeps between its looks, until it has seen something."""
        asleep = self._make.battery and active and not self._looks
        return not asleep or (at // SECOND + self.key) % BATTERY_LOOK_S == 0

    def _states(self, battery: float) -> dict[str, bool]:
        smoke, heat = self._alarm
        make = self._make
        states = {"smoke_alarm": smoke} if make.smoke else {}
        if make.heat_alarm:
            states["heat_alarm"] = heat
        if make.battery:
            states["low_battery"] = battery < LOW_BATTERY
        return states

    def _worth_telling(self, at: int, temperature: float, smoke: float, states: dict[str, bool]) -> bool:
        """A state has changed, an alarm goes on, or the air has moved."""
        if states != self.states:
            return self.states is not None or any(states.values())
        quiet = at - self._told_at
        if self._alarm is not NO_ALARM and quiet >= between(self.key, 5, *self._make.repeat_s) * SECOND:
            return True
        if self._make.battery or not self._told_at or quiet < MIN_GAP:
            return False
        moved = abs(temperature - self._told[0]) >= TOLD_CHANGE_C
        return moved or (self._make.smoke and abs(smoke - self._told[1]) >= TOLD_CHANGE_DB_M)

    def _values(self, temperature: float, smoke: float, damp: float, battery: float) -> dict[str, float]:
        make = self._make
        values = {"temperature": temperature}
        if make.humidity:
            values["humidity"] = damp
        if make.smoke:
            values["smoke"] = smoke
        if make.battery:
            values["battery"] = float(round(battery))
        return values

    def _battery(self, at: int) -> float:
        """%; an ordinary one is changed in good time, each at a time of its own."""
        told = None if self.trouble is None else self.trouble.battery(at)
        return battery_left(self.device.model, self.key, at) if told is None else told


def battery_left(model: Model, key: int, at: int) -> float:
    """% of an ordinary battery of this model."""
    lasts = MODELS[model].battery_days * DAY * (BATTERY[0] - BATTERY[1]) / 100.0
    worn = (at / lasts + between(key, 6, 0.0, 1.0)) % 1.0
    return BATTERY[0] + (BATTERY[1] - BATTERY[0]) * worn


def _sum(there: Sequence[Exposure]) -> Exposure:
    if len(there) == 1:
        return there[0]
    return Exposure(
        temperature=sum(each.temperature for each in there),
        smoke=sum(each.smoke for each in there),
        humidity=sum(each.humidity for each in there),
        velocity=max((each.velocity for each in there), default=0.0),
    )
