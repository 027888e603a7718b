"""Gateways, call points and sirens: they say with each round that they are there. Call points are pressed by a plan."""

from __future__ import annotations

from simulators.town.device import Life
from simulators.town.heads import battery_left
from simulators.town.models import Model
from simulators.town.trouble import LOW_BATTERY


class Plain(Life):
    """A device that measures nothing of the air."""

    __slots__ = ()

    def live(self, at: int, due: bool) -> int:
        states = self.shown(self._states(at), at)
        if due or (states != self.states and self.states is not None) or (self.states is None and any_alarm(states)):
            self.say(at, self._values(at), states)
        return self.due

    def _states(self, at: int) -> dict[str, bool]:
        match self.device.model:
            case Model.GATEWAY:
                return {"online": True, "mains_lost": False}
            case Model.CALL_POINT:
                return {"manual_alarm": False, "low_battery": self._battery(at) < LOW_BATTERY}
            case _:
                return {"mains_lost": False}

    def _values(self, at: int) -> dict[str, float]:
        if self.device.model is Model.CALL_POINT:
            return {"battery": float(round(self._battery(at)))}
        left = None if self.trouble is None else self.trouble.reserve(at)
        return {} if left is None else {"battery": float(round(left))}

    def _battery(self, at: int) -> float:
        told = None if self.trouble is None else self.trouble.battery(at)
        return battery_left(self.device.model, self.key, at) if told is None else told


def any_alarm(states: dict[str, bool]) -> bool:
    """Whether it has something to say before its first round."""
    return any(on for name, on in states.items() if name != "online")
