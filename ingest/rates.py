"""How much one device may say, and all that speak through one gateway: what is beyond is set aside. Pure.

Counted in fixed windows of log time, so that writer and evaluator decide alike whatever their batches. Only a window's
devices are remembered: a district's 620,000 devices say something each minute, but a sixth of them in ten seconds.
Readings that waited somewhere (at the device, in its gateway, at the broker) come in a heap and have a larger limit of
their own; without one, a flood would only have to claim old times.
"""

from __future__ import annotations

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


def device_limit(per_minute: int) -> int:
    """Live readings of a device in its window, where a source allows it so many a minute; 0 = no limit."""
    return -(-per_minute * DEVICE_WINDOW // MINUTE) if per_minute else NO_LIMIT


class Window(msgspec.Struct):
    """Readings counted until `ends` (µs, log time): those that are news, and those that were stored."""

    ends: int = 0
    live: dict[Key, int] = {}
    stored: dict[Key, int] = {}


class Rates(Window):
    """What devices (the window itself) and gateways said in the windows at hand. Part of admit's memory."""

    gateways: Window = msgspec.field(default_factory=Window)
    #: the fire states that went on beyond a limit, by device, in this window
    excepted: dict[Key, dict[str, bool]] = {}
    hour: int = 0
    told: dict[Key, None] = {}  #: whose flood was told in this hour

    def begin(self, at: int) -> None:
        """Forget what devices said in the window before."""
        self.ends = (at // DEVICE_WINDOW + 1) * DEVICE_WINDOW
        self.live, self.stored, self.excepted = {}, {}, {}

    def of_gateways(self, at: int) -> Window:
        """The window of gateways, a new one when the one at hand is over."""
        window = self.gateways
        if at >= window.ends:
            window = self.gateways = Window(ends=(at // GATEWAY_WINDOW + 1) * GATEWAY_WINDOW)
        return window

    def take_gateway(self, gateway: Key, at: int, limit: int) -> bool:
        """Count one live reading of a gateway; False, and not counted, when it is beyond the limit."""
        live = self.of_gateways(at).live
        brought = live.get(gateway, 0)
        if brought >= limit:
            return False
        live[gateway] = brought + 1
        return True

    def beyond(self, key: Key, gateway: Key | None, at: int, limits: tuple[int, int], *, stored: bool) -> str | None:
        """Which limit (of a device, of a gateway) is reached, in words; None while the device may go on."""
        if at >= self.ends:
            self.begin(at)
        times, what = (STORED, "stored readings") if stored else (1, "readings")
        most, most_of_gateway = limits[0] * times, limits[1] * times
        if _counts(self, stored).get(key, 0) >= most:
            return f"device {key[1]} sent {most} {what} within {DEVICE_WINDOW // SECOND} s"
        if gateway is not None and _counts(self.of_gateways(at), stored).get(gateway, 0) >= most_of_gateway:
            return f"gateway {gateway[1]} brought {most_of_gateway} {what} within {GATEWAY_WINDOW // SECOND} s"
        return None

    def count(self, key: Key, gateway: Key | None, number: int, *, stored: bool) -> None:
        """Count readings that went on; `beyond` has been asked at this time."""
        said = _counts(self, stored)
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
