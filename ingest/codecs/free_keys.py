"""Readings out of JSON objects whose keys nobody standardised (ThingsBoard, CloudEvents), and out of texts (Homie).

What the keys mean: usual_names. Values are read leniently, as people write them: numbers as text, on/off, words of
detectors. What makes no sense is not reported, except under a name that says fire or that an operator mapped: those
set the message aside. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ingest.codecs.contract import Decoded
from ingest.codecs.json_text import shown
from ingest.codecs.times import micros
from ingest.codecs.usual_names import Meaning, meaning, reported, without_tested_fire
from ingest.codecs.values import mapped_quantity, quantity
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

#: What people write where there is nothing to report.
_ABSENT = frozenset({"", "-", "--", "null", "none", "nil", "nan", "undefined", "unknown", "unavailable", "n/a"})
_WORDS = {
    **dict.fromkeys(("true", "on", "yes"), True),
    **dict.fromkeys(("false", "off", "no"), False),
    **dict.fromkeys(("alarm", "alarming", "detected", "triggered", "active", "smoke", "fire"), True),
    **dict.fromkeys(("clear", "cleared", "normal", "idle", "ok", "safe", "inactive", "no smoke"), False),
}
_TESTING = frozenset({"test", "tested", "testing", "self-test", "selftest", "simulated"})
_LONGEST_WORD = 32
_KINDS = (bool, float, str)
#: Different keys in one message; looking one up takes microseconds.
KEY_LIMIT = 1_000
#: What drivers write when a probe is missing or broken: all bits set, a DS18B20 that does not answer …
_NO_PROBE = frozenset({327.67, 3276.7, -327.68, -3276.8, 655.35, 6553.5, -127.0, -999.0, -9999.0})
_TEMPERATURES = frozenset({"temperature", "temperature_2", "device_temperature"})
_PERCENTAGES = frozenset({"battery", "humidity"})


class Reader:
    """Reads the objects of one message."""

    __slots__ = ("_fields", "_known", "_mapped")

    def __init__(self, source: Source) -> None:
        self._mapped = source.fields
        self._fields = tuple(source.fields.items())
        self._known: dict[str, Meaning | None] = {}

    def read(self, body: Mapping[str, object], path: str) -> tuple[dict[str, float], dict[str, bool]]:
        """Quantities and states of an object at this path. A wrong value beside a fire does not keep it from us."""
        values: dict[str, float] = {}
        states: dict[str, bool] = {}
        wrong: Undecodable | None = None
        for key, value in body.items():
            what = self._known[key] if key in self._known else self._meaning(key)
            if what is None and type(value) is dict:
                inside = ((f"{key}/{inner}", each) for inner, each in value.items())
                told = [(name, each, found) for name, each in inside if (found := self._of_fire(name)) is not None]
            else:
                told = [] if what is None or value is None else [(key, value, what)]
            for name, each, meant in told:
                try:
                    where = name if name.isprintable() else shown(name)  # signs do not count, but a line has one end
                    note(meant, each, f"{path}.{where}", self._mapped, values, states)
                except Undecodable as error:
                    wrong = wrong or error
        states = without_tested_fire(states)
        if wrong is not None and not says_fire(states):
            raise wrong
        return values, states

    def _of_fire(self, key: str) -> Meaning | None:
        """Of the objects inside only what says fire is read: what else they hold are settings as often as values."""
        what = self._known[key] if key in self._known else self._meaning(key)
        return what if what is not None and _of_fire(what) else None

    def _meaning(self, key: str) -> Meaning | None:
        if len(self._known) >= KEY_LIMIT:
            raise Undecodable(f"more than {KEY_LIMIT} different keys; a device has a few")
        found = self._known[key] = meaning(key, "", self._fields)
        return found


def says_fire(states: Mapping[str, bool]) -> bool:
    """Whether one of the fire states is true."""
    return any(value and name in FIRE_STATES for name, value in states.items())


def time_of(stated: object, zone: str, path: str, states: Mapping[str, bool]) -> int | None:
    """As times.micros; None instead of an error where a fire is told: it must not wait for a clock."""
    try:
        return micros(stated, zone, path)
    except Undecodable:
        if says_fire(states):
            return None
        raise


def told(found: Iterable[Observation], wrong: Undecodable | None) -> Decoded:
    """What was found beside something wrong: all of it where it says fire, else the error is raised."""
    observations = tuple(found)
    if wrong is not None and not any(says_fire(observation.states) for observation in observations):
        raise wrong
    return Decoded(observations=observations)


def note(
    what: Meaning,
    value: object,
    path: str,
    mapped: Mapping[str, str | None],
    values: dict[str, float],
    states: dict[str, bool],
) -> None:
    """Note one value under our name, unless it says that there is none, or `mapped` finds that name elsewhere."""
    if type(value) is str:
        word = value.strip().lower() if len(value) <= _LONGEST_WORD else value
        if word in _ABSENT:
            return
        if word in _TESTING and _of_fire(what):
            states["test"] = True
            return
        value = _WORDS[word] if word in _WORDS and (what.state or what.either) else _number(word, path)
    elif type(value) is int:
        value = quantity(value, path)
    found = reported(what, value) if isinstance(value, _KINDS) else None
    if found is None:
        if _of_fire(what) or what.mapped:
            raise Undecodable(f"{path}: {shown(value)} is no {what.name}; true or false, or a number would be")
        return
    name, said = found
    if name in mapped and not what.mapped:
        return
    if type(said) is bool:
        states[name] = said or states.get(name, False)
    elif is_reported(name, said):
        values[name] = said


def is_reported(name: str, number: float) -> bool:
    """False for what stands for no value: a battery of -1 or 255 %, a temperature of 327.67 °C."""
    if name in _TEMPERATURES:
        return number not in _NO_PROBE
    if name in _PERCENTAGES:
        return 0 <= number <= 100
    return name != "rssi" or number < 0


def _of_fire(what: Meaning) -> bool:
    return what.either or what.name in FIRE_STATES


def _number(word: str, path: str) -> float | str:
    """The number a text is; the text itself where it is none."""
    try:
        return mapped_quantity(word, path)
    except Undecodable:
        return word
