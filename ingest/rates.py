"""How much one device may say, and all that speak through one gateway: what is beyond is set aside. Pure.

Counted in fixed windows of log time, so that writer and evaluator decide alike whatever their batches. Only a window's
devices are remembered: a district's 620,000 devices say something each minute, but a sixth of them in ten seconds.
Readings that waited somewhere (at the device, in its gateway, at the broker) come in a heap and have a larger limit of
their own; without one, a flood would only have to claim old times.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ingest.readings import FIRE_STATES, HOUR, MINUTE, SECOND, Observation
from ingest.suspicion import fire_states
from ingest.timing import Key

#: What was stored may come this many times as fast: a day of one reading every ten seconds (8,640) within ten seconds.
STORED = 20
DEVICE_WINDOW = 10 * SECOND
GATEWAY_WINDOW = MINUTE
#: The smallest limit: one reading in a device's window would be six a minute.
LEAST_PER_MINUTE = 60
NO_LIMIT = 1 << 62
#: Floods told in one hour; a whole district that floods is one story.
MOST_TOLD = 50


class Limits(NamedTuple):
    """Of one source: live readings in one window, of a device and of a gateway."""

    device: int
    gateway: int


def limits_of(device_per_minute: int, gateway_per_minute: int) -> Limits:
    """The limits of a source that states these; 0 = none."""
    share = MINUTE // DEVICE_WINDOW
    return Limits(-(-device_per_minute // share) if device_per_minute else NO_LIMIT, gateway_per_minute or NO_LIMIT)


class Window(msgspec.Struct):
    """Readings counted until `ends` (µs, log time), those that are news and those that were stored."""

    ends: int = 0
    live: dict[Key, int] = {}
    stored: dict[Key, int] = {}

    def begin(self, at: int, span: int) -> None:
        """A new window, the one this time lies in."""
        self.ends = (at // span + 1) * span
        self.live = {}
        self.stored = {}


class Rates(msgspec.Struct):
    """What was said in the windows at hand. Part of admit's memory."""

    devices: Window = msgspec.field(default_factory=Window)
    gateways: Window = msgspec.field(default_factory=Window)
    #: the fire states that went on beyond a limit, by device, in the devices' window
    excepted: dict[Key, dict[str, bool]] = {}
    hour: int = 0
    told: dict[Key, None] = {}  #: whose flood was told in this hour

    def begin_devices(self, at: int) -> None:
        """Forget what devices said in the window before."""
        self.devices.begin(at, DEVICE_WINDOW)
        self.excepted = {}

    def take_gateway(self, gateway: Key, at: int, limits: Limits) -> bool:
        """Count one live reading of a gateway; False, and not counted, when it is beyond the limit."""
        if at >= self.gateways.ends:
            self.gateways.begin(at, GATEWAY_WINDOW)
        brought = self.gateways.live.get(gateway, 0)
        if brought >= limits.gateway:
            return False
        self.gateways.live[gateway] = brought + 1
        return True

    def beyond(self, key: Key, gateway: Key | None, at: int, limits: Limits, *, stored: bool) -> str | None:
        """Which limit the device has reached, in words; None while it may go on."""
        if at >= self.devices.ends:
            self.begin_devices(at)
        times, what = (STORED, "stored readings") if stored else (1, "readings")
        if _counts(self.devices, stored).get(key, 0) >= limits.device * times:
            return f"device {key[1]} sent {limits.device * times} {what} within {DEVICE_WINDOW // SECOND} s"
        if gateway is None:
            return None
        if at >= self.gateways.ends:
            self.gateways.begin(at, GATEWAY_WINDOW)
        if _counts(self.gateways, stored).get(gateway, 0) >= limits.gateway * times:
            return f"gateway {gateway[1]} brought {limits.gateway * times} {what} within {GATEWAY_WINDOW // SECOND} s"
        return None

    def count(self, key: Key, gateway: Key | None, number: int, *, stored: bool) -> None:
        """Count readings that went on; `beyond` has been asked at this time."""
        said = _counts(self.devices, stored)
        said[key] = said.get(key, 0) + number
        if gateway is not None:
            brought = _counts(self.gateways, stored)
            brought[gateway] = brought.get(gateway, 0) + number

    def excepts(self, key: Key, item: Observation) -> bool:
        """Whether this goes on beyond every limit: a fire state, and the first word that it is over."""
        if item.states.get("test") or not (said := {n: v for n, v in item.states.items() if n in FIRE_STATES}):
            return False
        known = self.excepted.get(key, {})
        if not fire_states(item) and all(known.get(name) is value for name, value in said.items()):
            return False
        self.excepted[key] = known | said
        return True

    def is_news(self, key: Key, at: int) -> bool:
        """Whether the flood of this device is to be told: once an hour."""
        if at // HOUR != self.hour:
            self.hour, self.told = at // HOUR, {}
        if key in self.told or len(self.told) >= MOST_TOLD:
            return False
        self.told[key] = None
        return True


def _counts(window: Window, stored: bool) -> dict[Key, int]:
    return window.stored if stored else window.live
