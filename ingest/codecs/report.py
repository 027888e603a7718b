"""What one device reports, gathered key by key, for formats whose keys mean what the user calls them. Pure.

A key that cannot be read sets the message aside, unless a fire stands beside it: a fire is told with what could be
read. The same state said by two keys is true when one of them says so.
"""

from __future__ import annotations

from ingest.codecs.json_text import shown
from ingest.codecs.values import mapped_quantity
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES, QUANTITIES, Observation

_LONGEST = 200  #: of a value written as text
_PLACEHOLDERS = frozenset({"", "none", "null", "unknown", "unavailable", "undefined", "nan", "n/a", "-"})
_COMMON: dict[str, bool] = {
    **dict.fromkeys(("true", "on", "yes", "1", "alarm", "detected"), True),
    **dict.fromkeys(("false", "off", "no", "0", "none", "normal", "ok", "clear", "idle", "inactive"), False),
}
_WORDS: dict[str, dict[str, bool]] = {
    "low_battery": {"low": True, **dict.fromkeys(("medium", "middle", "high", "full"), False)},
    "test": {
        "checking": True,
        **dict.fromkeys(("check_success", "check_failure", "success", "failure"), False),
        **dict.fromkeys(("check success", "check failure"), False),
    },
    "online": {"online": True, "offline": False},
}
#: While measuring or waiting these say nothing of the state.
_UNDECIDED = frozenset({"detecting", "others", "preheating"})
#: Of these every other word or number names one of many causes.
_OF_MANY_CAUSES = frozenset({"fault", "muted"})
#: What lies outside stands for "no probe" or "not measured": 327.67, 655.35, -1.
_SANE: dict[str, tuple[float, float]] = {
    "temperature": (-200.0, 327.6),
    "temperature_2": (-200.0, 327.6),
    "device_temperature": (-200.0, 327.6),
    "humidity": (0.0, 110.0),
    "battery": (0.0, 200.0),
    "smoke": (0.0, 1000.0),
    "smoke_raw": (0.0, 1e9),
    "co": (0.0, 1e6),
    "voltage": (0.0, 1e6),
}


class Report:
    """Values and states of one device in one message."""

    __slots__ = ("states", "values", "wrong")

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.states: dict[str, bool] = {}
        self.wrong: Undecodable | None = None  #: the first key that could not be read

    def put(self, name: str, value: object, path: str) -> None:
        """Take a quantity or state by our name for it; placeholders are not reported."""
        try:
            if (value is True or value is False) and name not in QUANTITIES:
                self.states[name] = value or self.states.get(name, False)
            elif name in QUANTITIES:
                number = quantity_of(name, value, path)
                if number is not None:
                    self.values[name] = number
            else:
                state = state_of(name, value, path)
                if state is not None:
                    self.states[name] = state or self.states.get(name, False)
        except Undecodable as error:
            self.wrong = self.wrong or error

    def observation(self, device: str, site: str | None, observed_at: int | None) -> Observation:
        """The reading; Undecodable when a key could not be read and no fire stands beside it."""
        states = self.states
        fires = [name for name in FIRE_STATES if states.get(name)]
        if self.wrong is not None and not fires:
            raise self.wrong
        if fires and states.get("test"):  # an alarm that was asked for
            for name in fires:
                del states[name]
        return Observation(device=device, site=site, observed_at=observed_at, values=self.values, states=states)


def quantity_of(name: str, value: object, path: str) -> float | None:
    """A number, also written as text; None for a placeholder."""
    if type(value) is str and _word(value, path) in _PLACEHOLDERS:
        return None
    if value is None:
        return None
    number = mapped_quantity(value, path)
    low, high = _SANE.get(name, (-1e12, 1e12))
    return number if low <= number <= high else None


def state_of(name: str, value: object, path: str) -> bool | None:
    """A state as devices write it; None for a placeholder or an undecided word."""
    if value is True or value is False:
        return value
    if type(value) is str:
        return _state_of_text(name, value, path)
    if value is None:
        return None
    if type(value) is int and (value == 0 or value == 1 or name in _OF_MANY_CAUSES):
        return value != 0 and value != -1
    raise Undecodable(f"{path}: {shown(value)} is neither true nor false")


def _state_of_text(name: str, text: str, path: str) -> bool | None:
    word = _word(text, path)
    known = _WORDS.get(name, _COMMON).get(word, _COMMON.get(word))
    if known is not None:
        return known
    if word in _PLACEHOLDERS or word in _UNDECIDED:
        return None
    if name in _OF_MANY_CAUSES:
        return True
    raise Undecodable(f"{path}: {shown(text)} is no state; true/false, on/off, yes/no or 1/0 would be")


def _word(text: str, path: str) -> str:
    if len(text) > _LONGEST:
        raise Undecodable(f"{path}: a text of {len(text)} characters is no value")
    return text.strip().lower()


def volts(value: float) -> float:
    """Volts of a supply that some devices state in mV: no battery and no mains has a kilovolt."""
    return value / 1000 if value >= 1000 else value
