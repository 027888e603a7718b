"""What metrics and records are usually called, for formats that leave their names free (Sparkplug, SenML). Pure.

A name is a path: `Smoke/Alarm`, `room/temperature`. Its last part says the meaning, the part before it may say it
more closely (`CPU/Temperature` is the chip's). Case, spaces and signs do not count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ingest.codecs.values import NAME_LIMIT, celsius, db_per_metre, mapped_quantity, mapped_state
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES, QUANTITIES, STATES

Fields = tuple[tuple[str, str | None], ...]
Value = float | bool | str
Convert = Callable[[float], float]

#: Our names, and what else they are called (as `_bare` leaves it), each with its unit where it is not ours.
_USUAL: dict[str, tuple[str, ...]] = {
    "temperature": (
        "temp",
        "ambienttemperature",
        "ambienttemp",
        "airtemperature",
        "airtemp",
        "roomtemperature",
        "温度",
    ),
    "temperature_2": ("temp2", "probetemperature", "externaltemperature"),
    "device_temperature": (
        *(
            of + word
            for of in ("chip", "cpu", "board", "internal", "mcu", "device")
            for word in ("temperature", "temp")
        ),
        "batterytemperature",
    ),
    "smoke_raw": ("smokelevel", "smokedensity", "smokeconcentration", "smokevalue", "烟雾浓度"),
    "humidity": ("relativehumidity", "hum", "rh", "humidityrh", "湿度"),
    "co": ("carbonmonoxide", "coppm", "colevel", "coconcentration"),
    "battery": ("batterylevel", "batterypercent", "batterypercentage", "batterycharge", "电量"),
    "voltage": ("supplyvoltage", "batteryvoltage", "vbat", "电压"),
    "current": ("supplycurrent", "电流"),
    "rssi": ("signalstrength",),
    "smoke_alarm": (
        "smokedetected",
        "smokedetection",
        "smokestate",
        "smokestatus",
        "fire",
        "firealarm",
        "firedetected",
    ),
    "heat_alarm": ("heatdetected", "heatdetection"),
    "manual_alarm": ("manualcallpoint", "callpoint"),
    "tamper": ("tampered", "tamperalarm", "tamperstate", "tamperstatus"),
    "fault": ("trouble", "sensorfault", "devicefault"),
    "low_battery": ("batterylow", "batteryalarm"),
    "test": ("selftest", "testmode", "testing", "simulated"),
    "muted": ("mute", "silenced", "hush", "hushed"),
    "mains_lost": ("mainsfault", "mainsfailure", "acfail", "acfault", "powerfail", "powerfailure"),
}
_IN_UNIT: dict[str, tuple[str, str]] = {
    "temperaturec": ("temperature", "c"),
    "tempc": ("temperature", "c"),
    "temperaturef": ("temperature", "f"),
    "tempf": ("temperature", "f"),
    "obscuration": ("smoke", "%/m"),
    "smokeobscuration": ("smoke", "%/m"),
    "smokeobs": ("smoke", "%/m"),
    "smokem": ("smoke", "%/m"),  # "Smoke (%/m)"
    "obscurationm": ("smoke", "%/m"),
    "smokedbm": ("smoke", "db/m"),
    "obscurationdbm": ("smoke", "db/m"),
    "batterymv": ("voltage", "mv"),
    "voltagemv": ("voltage", "mv"),
    # LwM2M objects, `object.resource`
    "3303.5700": ("temperature", ""),
    "3304.5700": ("humidity", ""),
    "3316.5700": ("voltage", ""),
    "3317.5700": ("current", ""),
    "3.9": ("battery", ""),
    "3.7": ("voltage", "mv"),
    "4.2": ("rssi", ""),
}
_KNOWN: dict[str, tuple[str, str]] = {
    **{name.replace("_", ""): (name, "") for name in (*QUANTITIES, *STATES)},
    **{other: (name, "") for name, others in _USUAL.items() for other in others},
    **_IN_UNIT,
}
#: `smoke` alone: a switch says there is smoke, any other number is on a scale nobody told.
_SMOKE = "smoke"
_SMOKE_UNITS = frozenset({"%/m", "%obs/m", "%", "%/ft", "%obs/ft", "db/m"})
#: Below these stand settings and plans, not what is measured.
_NOT_MEASURED = frozenset(
    {
        "setpoint",
        "setpoints",
        "target",
        "limit",
        "limits",
        "threshold",
        "thresholds",
        "min",
        "max",
        "minimum",
        "maximum",
    }
    | {"config", "configuration", "settings", "parameters", "properties", "nodecontrol", "devicecontrol", "control"}
    | {"forecast", "outdoor", "outside", "attr", "cmd", "command", "commands"}
)
#: An `alarm` under one of these, or under nothing, is the detector's own.
_OWN = frozenset({"", "alarms", "status", "state", "inputs", "input", "detector", "sensor", "head", "data", "di"})
_GENERIC = frozenset({"value", "state", "status", "reading", "pv", "present"})
_LWM2M = re.compile(r"(?:.*[/:])?(\d{1,5})/\d{1,5}/(\d{1,5})", re.ASCII)
_SIGNS = re.compile(r"[^\w.]|_")


class Meaning(NamedTuple):
    """What values of one name are."""

    name: str
    state: bool
    convert: Convert | None  #: to our unit; None = it is in our unit
    mapped: str  #: the name in the payload when an operator mapped it: numbers and states may be texts; else ""
    either: bool = False  #: 0 and 1 are smoke_alarm, other numbers smoke_raw


def meaning(path: str, unit: str = "", fields: Fields = ()) -> Meaning | None:
    """What a metric of this name and unit ("" = not stated) is; None where it is nothing of ours."""
    return _meaning(path, unit, fields) if len(path) <= NAME_LIMIT and len(unit) <= NAME_LIMIT else None


def reported(what: Meaning, value: Value) -> tuple[str, float | bool] | None:
    """Our name and value; None where there is no such value. Undecodable only where an operator mapped the name."""
    name, is_state, convert, mapped, either = what
    if mapped and not (is_state and value in (0, 1)):
        value = mapped_state(value, mapped) if is_state else mapped_quantity(value, mapped)
    if type(value) is bool:
        return ("smoke_alarm" if either else name, value) if is_state or either else None
    if type(value) is str or not math.isfinite(number := float(value)):
        return None
    if is_state or either:
        if value == 0 or value == 1:
            return "smoke_alarm" if either else name, value == 1
        return ("smoke_raw", number) if either else None
    if convert is not None:
        try:
            number = convert(number)
        except Undecodable:  # no obscuration can be so: a sensor without a value, not a broken message
            return None
    return (name, number) if math.isfinite(number) else None


def without_tested_fire(states: dict[str, bool]) -> dict[str, bool]:
    """A device that says it is being tested says no fire."""
    if states.get("test"):
        return {name: value for name, value in states.items() if not (value and name in FIRE_STATES)}
    return states


@lru_cache(maxsize=4096)
def _meaning(path: str, unit: str, fields: Fields) -> Meaning | None:
    mapped = _mapped(path, fields)
    found = (mapped, "") if mapped else _usual(path)
    if found is None or (not mapped and any(name == found[0] for name, _ in fields)):
        return None
    name, own_unit = found
    stated = _unit(unit) or own_unit
    if name == _SMOKE and not mapped and stated not in _SMOKE_UNITS:
        return Meaning(name, False, None, "", either=True)
    if name in STATES:
        return Meaning(name, True, None, mapped and path)
    if name == "battery" and stated in ("v", "mv"):
        name = "voltage"
    convert = _CONVERT.get((name, stated))
    if convert is None and stated in _OTHERS.get(name, ()):
        return None
    return Meaning(name, False, convert, mapped and path)


def _mapped(path: str, fields: Fields) -> str:
    last = path.rpartition("/")[2]
    return next((name for name, key in fields if key is not None and key in (path, last)), "")


def _usual(path: str) -> tuple[str, str] | None:
    lwm2m = _LWM2M.fullmatch(path)
    if lwm2m:
        return _KNOWN.get(f"{lwm2m[1]}.{lwm2m[2]}")
    rest, _, last = path.rpartition("/")
    above, last = _bare(rest.rpartition("/")[2]), _bare(last)
    if above in _NOT_MEASURED:
        return None
    if last == "alarm" and above in _OWN:
        return "smoke_alarm", ""
    return _KNOWN.get(above + last) or _KNOWN.get(last) or (_KNOWN.get(above) if last in _GENERIC else None)


def _bare(part: str) -> str:
    return _SIGNS.sub("", part.lower())


def _unit(unit: str) -> str:
    bare = unit.strip().lower().replace("°", "").replace(" ", "").removeprefix("deg")
    return {"cel": "c", "celsius": "c", "far": "f", "fahrenheit": "f", "kelvin": "k"}.get(bare, bare)


def _kelvin(value: float) -> float:
    return value - 273.15


def _thousandth(value: float) -> float:
    return value / 1000


def _hundredfold(value: float) -> float:
    return value * 100


def _smoke(percent: float) -> float:
    return db_per_metre(percent, "obscuration")


def smoke_per_foot(percent: float) -> float:
    """Obscuration in %/ft as dB/m."""
    return db_per_metre(percent, "obscuration") / 0.3048


_TEMPERATURES = ("temperature", "temperature_2", "device_temperature")
_CONVERT: dict[tuple[str, str], Convert] = {
    **{(name, "f"): celsius for name in _TEMPERATURES},
    **{(name, "k"): _kelvin for name in _TEMPERATURES},
    ("voltage", "mv"): _thousandth,
    ("current", "ma"): _thousandth,
    ("battery", "/"): _hundredfold,
    ("humidity", "/"): _hundredfold,
    ("smoke", "%/m"): _smoke,
    ("smoke", "%obs/m"): _smoke,
    ("smoke", "%"): _smoke,
    ("smoke", "%/ft"): smoke_per_foot,
    ("smoke", "%obs/ft"): smoke_per_foot,
}
#: Units that say: this is something else, whatever it is called. A unit nobody knows says nothing.
_UNITS = frozenset(
    {"c", "f", "k", "v", "mv", "a", "ma", "dbm", "ppm", "%rh", "%el", "%", "/", "w", "pa", "lx", "mg/m3"}
)
_OWN_UNITS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_TEMPERATURES, frozenset("cfk")),
    "smoke": _SMOKE_UNITS,
    "humidity": frozenset({"%rh", "%", "/"}),
    "co": frozenset({"ppm"}),
    "battery": frozenset({"%el", "%", "/"}),
    "voltage": frozenset({"v", "mv"}),
    "current": frozenset({"a", "ma"}),
    "rssi": frozenset({"dbm"}),
}
_OTHERS: dict[str, frozenset[str]] = {name: _UNITS - own for name, own in _OWN_UNITS.items()}

#: A name that is only a device: the unit alone says what was measured (SenML).
_BY_UNIT = {"c": "temperature", "f": "temperature", "k": "temperature", "%rh": "humidity", "%el": "battery"}
_BY_UNIT |= {"v": "voltage", "mv": "voltage", "a": "current", "ma": "current", "dbm": "rssi"}


@lru_cache(maxsize=256)
def _named_by(unit: str) -> str:
    return _BY_UNIT.get(_unit(unit), "")


def named_by(unit: str) -> str:
    """The quantity a unit alone stands for; "" for none."""
    return _named_by(unit) if len(unit) <= NAME_LIMIT else ""
