"""Readings out of JSON objects whose keys nobody standardised (ThingsBoard, CloudEvents), and out of texts (Homie).

What the keys mean: usual_names. Values are read leniently, as people write them: numbers as text, on/off, words of
detectors. What makes no sense is not reported, except under a name that says fire or that an operator mapped: those
set the message aside. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ingest.codecs.json_text import shown
from ingest.codecs.usual_names import Meaning, meaning, reported, without_tested_fire
from ingest.codecs.values import mapped_quantity, quantity
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES

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
#: What drivers write when a probe is missing or broken: all bits set, a DS18B20 that does not answer …
_NO_PROBE = frozenset({327.67, 3276.7, -327.68, -3276.8, 655.35, 6553.5, -127.0, -999.0, -9999.0})
_TEMPERATURES = frozenset({"temperature", "temperature_2", "device_temperature"})
_PERCENTAGES = frozenset({"battery", "humidity"})


def read(body: Mapping[str, object], source: Source, path: str) -> tuple[dict[str, float], dict[str, bool]]:
    """Quantities and states of an object; `path` is where it stands."""
    fields = tuple(source.fields.items())
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    for key, value in body.items():
        if value is None:
            continue
        what = meaning(key, "", fields)
        if what is not None:
            note(what, value, f"{path}.{key}", values, states)
    return values, without_tested_fire(states)


def note(what: Meaning, value: object, path: str, values: dict[str, float], states: dict[str, bool]) -> None:
    """Note one value under our name, unless it says that there is none."""
    if type(value) is str:
        word = value.strip().lower() if len(value) <= _LONGEST_WORD else value
        if word in _ABSENT:
            return
        if word in _TESTING and _says_fire(what):
            states["test"] = True
            return
        value = _WORDS[word] if word in _WORDS and (what.state or what.either) else _number(word, path)
    elif type(value) is int:
        value = quantity(value, path)
    found = reported(what, value) if isinstance(value, bool | float | str) else None
    if found is None:
        if _says_fire(what) or what.mapped:
            raise Undecodable(f"{path}: {shown(value)} is no {what.name}; true or false, or a number would be")
        return
    name, told = found
    if type(told) is bool:
        states[name] = told or states.get(name, False)
    elif is_reported(name, told):
        values[name] = told


def is_reported(name: str, number: float) -> bool:
    """False for what stands for no value: a battery of -1 or 255 %, a temperature of 327.67 °C."""
    if name in _TEMPERATURES:
        return number not in _NO_PROBE
    if name in _PERCENTAGES:
        return 0 <= number <= 100
    return name != "rssi" or number < 0


def _says_fire(what: Meaning) -> bool:
    return what.either or what.name in FIRE_STATES


def _number(word: str, path: str) -> float | str:
    """The number a text is; the text itself where it is none."""
    try:
        return mapped_quantity(word, path)
    except Undecodable:
        return word
