"""Charging piles: voltage, current and their own temperature, by the bikes that come and go.

D = ../shared/domain.md with section and confidence tag, A = our assumption.
"""

from __future__ import annotations

from simulators.town.charging import load
from simulators.town.device import Life, Tell
from simulators.town.heads import Here
from simulators.town.layout import Device
from simulators.town.noise import GAUSS, bits

#: The supply: volts without load, and how much it sags for each kW of the pile. A: the ordinary 220 V.
MAINS_V, SAG_V_PER_KW = 226.0, 1.5
#: What a charger's rectifier makes of it: current for each W and V. A.
POWER_FACTOR = 0.9
#: In the box: warmer than the air outside, and for each W it gives; K. A.
BOX_C, BOX_C_PER_W = 3.0, 0.006
#: Noise of a reading, one deviation: V, A, K, dBm. A.
NOISE_V, NOISE_A, NOISE_C, NOISE_DBM = 1.2, 0.02, 0.2, 2.5
RSSI_DBM = -71.0


class Pile(Life):
    """One pile with the sockets of its bays."""

    __slots__ = ("_bays", "_here", "_joined")

    def __init__(
        self, *, device: Device, here: Here, bays: range, key: int, first: int, every: int, tell: Tell
    ) -> None:
        super().__init__(device=device, key=key, first=first, every=every, tell=tell)
        self._here = here
        self._bays = bays
        self._joined: float | None = None

    def live(self, at: int, due: bool) -> int:
        joined = None if self.trouble is None else self.trouble.watts(at)
        states = self.shown({}, at)
        if due or joined != self._joined or states != (self.states or {}):
            self._joined = joined
            self.say(at, self._values(at, joined), states)
        return self.due

    def _values(self, at: int, joined: float | None) -> dict[str, float]:
        watts = 0.0 if joined == 0 else load(self._here.key, self._bays, at) + (joined or 0.0)
        drawn = bits(self.key, at // 1000)
        volts = MAINS_V - SAG_V_PER_KW * watts / 1000 + NOISE_V * GAUSS[drawn & 4095]
        amperes = watts / (volts * POWER_FACTOR) + NOISE_A * GAUSS[drawn >> 12 & 4095]
        box = self._here.air.at(at).temperature + BOX_C + BOX_C_PER_W * watts + NOISE_C * GAUSS[drawn >> 24 & 4095]
        found = {
            "voltage": volts,
            "current": max(0.0, amperes),
            "device_temperature": box,
            "rssi": RSSI_DBM + NOISE_DBM * GAUSS[drawn >> 36 & 4095],
        }
        if self.trouble is not None:
            found = {name: self.trouble.sensed(name, value, at) for name, value in found.items()}
        return {
            "voltage": round(found["voltage"], 1),
            "current": round(found["current"], 2),
            "device_temperature": round(found["device_temperature"], 1),
            "rssi": float(round(found["rssi"])),
        }
