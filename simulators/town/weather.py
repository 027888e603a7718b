"""Air under a shed's roof on an ordinary day. Pure: the same time, seed and shed give the same air."""

from __future__ import annotations

import math
import random

from ingest.readings import DAY, HOUR

#: Local time in China, for the hour of the day.
ZONE = 8 * HOUR
#: The day's mean, half its swing, and what a sun-heated metal roof adds at noon; all °C, a mild day in May.
MEAN_C, SWING_C, ROOF_C = 20.0, 5.0, 6.0
#: Humidity falls as the day warms: %RH at the mean, and %RH per kelvin.
HUMIDITY, HUMIDITY_PER_K = 62.0, -2.2


class Air:
    """The air of one shed: a day curve, and slow wandering of its own (clouds, wind)."""

    def __init__(self, *, seed: str, site: str) -> None:
        chance = random.Random(f"air/{seed}/{site}")
        self._offset = chance.gauss(0.0, 0.7)
        self._roof = ROOF_C * chance.uniform(0.5, 1.0)
        self._waves = [
            (chance.uniform(0.1, 0.4), chance.uniform(0.5, 3.0) * HOUR, chance.uniform(0, 2 * math.pi))
            for _ in range(3)
        ]

    def temperature(self, at: int) -> float:
        """°C."""
        hour = (at + ZONE) % DAY / HOUR
        day = math.cos((hour - 15) / 24 * 2 * math.pi)  # warmest at 15 h
        sun = max(0.0, math.sin((hour - 6) / 12 * math.pi)) if 6 <= hour <= 18 else 0.0
        waves = sum(height * math.sin(at / period * 2 * math.pi + shift) for height, period, shift in self._waves)
        return MEAN_C + self._offset + SWING_C * day + self._roof * sun + waves

    def humidity(self, temperature: float) -> float:
        """%RH at this temperature."""
        return min(99.0, max(10.0, HUMIDITY + HUMIDITY_PER_K * (temperature - MEAN_C)))
