"""What LoRaWAN servers' own decoders write, in our words. Pure.

The keys are those of the makers' published decoders (Milesight, Dragino, TG563A, YOBIIQ) and of Cayenne LPP, and
what many home-made ones call the same things, in any case of letters. A source's `fields` name more, {our name: its
key}, in any object inside, or as a path with dots. What a usual key holds is taken only where it can be meant; what
the source maps must be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from ingest.codecs.contract import ITEM_LIMIT
from ingest.codecs.frames.contract import Report
from ingest.codecs.frames.milesight_gs524n import STATES_OF_EVENT
from ingest.codecs.free_keys import note
from ingest.codecs.json_text import shown
from ingest.codecs.times import from_number
from ingest.codecs.usual_names import meaning
from ingest.codecs.values import mapped_quantity, mapped_state
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES, QUANTITIES

if TYPE_CHECKING:
    from ingest.sources import Source

#: How to read the value of a usual key; None = not reported.
_Reader = Callable[[object, str], float | bool | None]
_NOT_REPORTED = ("", "-", "null", "none", "undefined", "nan", "n/a", "na", "unknown")
_YES = frozenset(
    {"true", "1", "on", "yes", "alarm", "alarming", "alert", "detected", "triggered", "fire", "smoke", "pushed"}
)
_NO = frozenset(
    {"false", "0", "off", "no", "none", "normal", "ok", "clear", "cleared", "no alarm", "no_alarm", "idle", "safe"}
    | {"not detected", "not_detected", "undetected", "no smoke", "good"}
)
_UNINSTALLED = {"uninstalled": True, "installed": False, "removed": True, "dismantled": True}
#: Dragino's battery states, as text or number: below 2.55 V is low.
_BATTERY_STATES = {"ultra low": True, "low": True, "ok": False, "good": False, "normal": False}
_BATTERY_STATES |= {"0": True, "1": True, "2": False, "3": False}


def _number(value: object) -> float | None:
    """A number, or one written as text (older Dragino decoders); None for words such as "collection_err"."""
    try:
        return None if value is None else mapped_quantity(value, "")
    except Undecodable:
        return None


def _celsius(value: object, path: str) -> float | None:
    """Without what stands for "no probe": 327.67 and ten times that, and what nothing can have."""
    number = _number(value)
    return None if number is None or not -273.15 < number < 2000 or 327.6 < abs(number) < 327.7 else number


def _between(low: float, high: float) -> _Reader:
    def read(value: object, path: str) -> float | None:
        number = _number(value)
        return number if number is not None and low <= number <= high else None

    return read


def _volts(value: object, path: str) -> float | None:
    """Of a battery: volts, or millivolts when no battery has so many volts."""
    number = _number(value)
    if number is None or number <= 0:
        return None
    return number / 1000 if number > 100 else number


def _flag(value: object, path: str) -> bool | None:
    """Yes or no in the words decoders use; None for what is neither."""
    if value is True or value is False:
        return value
    word = str(value).strip().lower() if type(value) in (str, int, float) else ""
    word = word.removesuffix(".0")
    return True if word in _YES else False if word in _NO else None


def _fire(value: object, path: str) -> bool | None:
    """As `_flag`, but what is neither must not pass unseen."""
    found = _flag(value, path)
    if found is None and value is not None and (type(value) is not str or value.strip().lower() not in _NOT_REPORTED):
        help_ = "true or false would be; map it in the source's fields where it is a quantity"
        raise Undecodable(f"{path}: {shown(value)} is no state of a detector; {help_}")
    return found


def _tamper(value: object, path: str) -> bool | None:
    return _UNINSTALLED.get(value.strip().lower(), _flag(value, path)) if type(value) is str else _flag(value, path)


def _unmounted(value: object, path: str) -> bool | None:
    mounted = _flag(value, path)
    return None if mounted is None else not mounted


def _mains(value: object, path: str) -> bool | None:
    return {"ac power off": True, "ac power on": False}.get(value.lower()) if type(value) is str else None


def _battery_state(value: object, path: str) -> bool | None:
    word = str(value).strip().lower() if type(value) in (str, int, float) else ""
    return _BATTERY_STATES.get(word.removesuffix(".0"))


def _battery_word(value: object, path: str) -> bool | None:
    return None if type(value) is not str or value.isdecimal() else _battery_state(value, path)


_PERCENT, _WET, _ANY = _between(0, 100), _between(0, 110), _between(0, 1e9)


def _table(rows: tuple[tuple[str, _Reader, str], ...]) -> dict[str, tuple[str, _Reader]]:
    return {key: (name, read) for name, read, keys in rows for key in keys.split()}


#: Usual keys in small letters → our name and how to read it.
_USUAL = _table(
    (
        (
            "temperature",
            _celsius,
            "temperature temp tempc temp_c tempc_sht temp_sht temperature_sht tempc1 temperature1",
        ),
        ("temperature", _celsius, "air_temperature airtemperature ambient_temperature temperature_1 temperature_chn1"),
        ("temperature_2", _celsius, "temperature_2 temperature2 temperature_chn2 tempc2 tempc_ds temp_ds tempc_tmp117"),
        ("temperature_2", _celsius, "ext_tempc_sht temperature_ds ext_temperature external_temperature"),
        ("temperature_2", _celsius, "externaltemperature"),
        ("device_temperature", _celsius, "device_temperature devicetemperature internal_temperature mcu_temperature"),
        ("device_temperature", _celsius, "internaltemperature chip_temperature board_temperature"),
        ("humidity", _WET, "humidity hum humi hum_sht humidity_sht rh relative_humidity relativehumidity"),
        ("humidity", _WET, "air_humidity airhumidity humidity_chn1 humidity_1 relative_humidity_1 relative_humidity_2"),
        ("co", _ANY, "co co_ppm"),
        (
            "smoke_raw",
            _ANY,
            "concentration smoke_raw smoke_concentration smokeconcentration smoke_density smokedensity",
        ),
        ("smoke_raw", _ANY, "smoke_level smokelevel"),
        ("battery", _PERCENT, "battery battery_level batterylevel battery_percent battery_percentage"),
        ("battery", _PERCENT, "batterylevelinpercentage"),
        ("battery", _PERCENT, "batterypercentage batterypercent battery_pct"),
        ("voltage", _volts, "batv bat_v bat battv vbat vbatt volt battery_voltage batteryvoltage battery_mv batterymv"),
        ("voltage", _volts, "batt_volt batt_v battery_volt batteryvolt"),
        ("voltage", _between(0, 1000), "voltage"),
        ("smoke_alarm", _fire, "smoke_alarm smokealarm smoke smoke_detected smokedetected fire_alarm firealarm fire"),
        ("smoke_alarm", _fire, "alarm_smoke interconnectalarm smoke_status smokestatus smoke_state smokestate"),
        ("smoke_alarm", _fire, "smoke_detection smokedetection fire_status firestatus fire_detected firedetected"),
        ("smoke_alarm", _fire, "smoke_alarm_status smokealarmstatus fire_alarm_status firealarmstatus"),
        ("heat_alarm", _fire, "heat_alarm heatalarm high_temp_alarm hightempalarm"),
        ("manual_alarm", _fire, "manual_alarm manualalarm"),
        ("tamper", _tamper, "tamper tamper_status tamper_alarm tamperalarm tampered tamperstatus"),
        ("tamper", _unmounted, "mounted"),
        ("fault", _flag, "fault fault_alarm faultalarm failure device_fault smokechamberfailure"),
        ("low_battery", _flag, "low_battery lowbattery battery_low batterylow low_bat lowbat lowbatteryalarm"),
        ("low_battery", _battery_state, "bat_status"),
        ("low_battery", _battery_word, "battery_status batterystatus"),
        ("test", _flag, "test test_alarm testalarm self_test selftest testing smoke_test testbuttonpressed"),
        ("muted", _flag, "muted mute silent silence silenced hush"),
        ("mains_lost", _flag, "mains_lost ac_lost power_outage poweroutage power_off_alarm poweroffalarm"),
        ("mains_lost", _mains, "powerevent"),
    )
)
#: Objects inside whose keys are usual ones too.
_INSIDE = frozenset(
    {"data", "status", "temperature_threshold_alarm", "temperature_mutation_alarm", "decoded", "decoded_payload"}
    | {"payload", "values", "measurements", "readings", "sensors", "sensor", "state", "message", "result", "bytes"}
)
_LOOKED_AT = 300  #: keys of other objects inside
#: What is wrong with a TG563A, in its decoder's `status`.
_TG563A_FAULTS = (
    *("smokeChamberFailure", "fouledSmokeChamber", "ultrasonicSensorFailure", "infraredSensorFailure"),
    *("buzzerFailure", "obstacleDetected", "airInletCovered", "tooLongInactivity", "tooLongUnmounted"),
)
#: Cayenne LPP as ChirpStack writes it: an object of values by channel; the second channel is a second probe.
_CAYENNE = {"temperatureSensor": ("temperature", "temperature_2"), "humiditySensor": ("humidity",)}


def reports_of(tree: object, path: str, source: Source) -> tuple[Report, ...]:
    """What a server's decoder made of an uplink; empty when it says nothing we know."""
    if type(tree) is not dict:
        return ()
    taken_out = source.fields
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    _usual(tree, path, taken_out, values, states)
    for key, inner in tree.items():  # in their order: of two that say the same, all readers take the same one
        if key in _INSIDE and type(inner) is dict:
            _usual(inner, f"{path}.{key}", taken_out, values, states)
    _inside(tree, path, taken_out, values, states)
    _products(tree, taken_out, values, states)
    if taken_out:
        _mapped(tree, path, taken_out, values, states)
    if states.get("test"):  # a head under test says alarm and means the test
        states = {name: value for name, value in states.items() if name not in FIRE_STATES}
    now = (Report(values=values, states=states),) if values or states else ()
    return now + _history(tree, path, taken_out)


def _usual(
    tree: dict[str, object],
    path: str,
    stated: Mapping[str, str | None],
    values: dict[str, float],
    states: dict[str, bool],
) -> None:
    for key, value in tree.items():
        usual = _USUAL.get(key) or _USUAL.get(key.lower())
        if usual is None or usual[0] in stated:
            continue
        name, read = usual
        if type(value) is dict:  # with its unit beside it
            value = value.get("value", value)
        found = read(value, f"{path}.{key}")
        if found is None:
            continue
        if name in QUANTITIES:
            values.setdefault(name, found)
        else:
            states[name] = bool(found) or states.get(name, False)


def _inside(
    tree: dict[str, object],
    path: str,
    stated: Mapping[str, str | None],
    values: dict[str, float],
    states: dict[str, bool],
) -> None:
    """Of any other object inside only what says fire is read: what else it holds are settings as often as values."""
    inner = ((key, name, each) for key, value in tree.items() if type(value) is dict for name, each in value.items())
    for key, name, value in islice(inner, _LOOKED_AT):
        what = meaning(f"{key}/{name}") if key not in _INSIDE else None
        if what is not None and (what.either or what.name in FIRE_STATES):
            note(what, value, f"{path}.{shown(key)}.{shown(name)}", stated, values, states)


def _products(
    tree: dict[str, object], stated: Mapping[str, str | None], values: dict[str, float], states: dict[str, bool]
) -> None:
    """What single decoders say in a way of their own."""
    event = tree.get("event")
    if type(event) is str and (said := STATES_OF_EVENT.get(event.lower())) is not None:
        states.update({name: value for name, value in said.items() if name not in stated})
    elif tree.get("type") == "smoke sensor" and event is not None:
        raise Undecodable(f"event: {shown(event)} is no event of a GS524N; {', '.join(STATES_OF_EVENT)} are")
    status = tree.get("status")
    if type(status) is dict and "smokeAlarm" in status:
        _tg563a(tree, status, stated, values, states)
    volts = tree.get("Volt")
    if type(volts) is str and volts.endswith("(low battery)"):  # Netvox
        _usual({"battery_low": True, "voltage": volts.partition("(")[0]}, "", stated, values, states)
    if tree.get("No_connect"):
        values.pop("temperature_2", None)
    for key, names in _CAYENNE.items():
        channels = tree.get(key)
        if type(channels) is dict:
            readers = zip(names, (channels[channel] for channel in sorted(channels)), strict=False)
            values |= {name: number for name, value in readers if (number := _celsius(value, key)) is not None}


def _tg563a(
    tree: dict[str, object],
    status: dict[str, object],
    stated: Mapping[str, str | None],
    values: dict[str, float],
    states: dict[str, bool],
) -> None:
    """Its batteryLevel is volts, and it names its faults one by one."""
    if "battery" not in stated:
        values.pop("battery", None)
    if "voltage" not in stated and (volts := _volts(tree.get("batteryLevel"), "")) is not None:
        values["voltage"] = volts
    if "fault" not in stated:
        states["fault"] = any(_flag(status.get(key), "") for key in _TG563A_FAULTS)
    if tree.get("messageType") == "Smoke Alarm Event" and "smoke_alarm" not in stated:
        states["smoke_alarm"] = True


def _history(tree: dict[str, object], path: str, stated: Mapping[str, str | None]) -> tuple[Report, ...]:
    """Milesight's stored measurements: a list of objects, each with its time in seconds."""
    items = tree.get("history")
    if type(items) is not list:
        return ()
    if len(items) > ITEM_LIMIT:
        raise Undecodable(f"{path}.history: {len(items)} measurements; send at most {ITEM_LIMIT} at once")
    reports = []
    for index, item in enumerate(items):
        time = item.get("timestamp") if type(item) is dict else None
        if type(time) is not int and type(time) is not float:
            continue
        values: dict[str, float] = {}
        states: dict[str, bool] = {}
        _usual(item, f"{path}.history[{index}]", stated, values, states)
        if values or states:
            reports.append(Report(values=values, states=states, at=from_number(time), historical=True))
    return tuple(reports)


def _mapped(
    tree: dict[str, object],
    path: str,
    fields: Mapping[str, str | None],
    values: dict[str, float],
    states: dict[str, bool],
) -> None:
    """The source's own keys; each where it stands first: outermost, then by its dots, then in any object inside."""
    deeper: dict[str, object] | None = None
    for name, key in fields.items():
        if key is None:
            continue
        value = tree.get(key)
        if value is None and "." in key:
            value = _dotted(tree, key)
        if value is None:
            deeper = _deeper(tree) if deeper is None else deeper
            value = deeper.get(key)
        if value is None or (type(value) is str and value.strip().lower() in _NOT_REPORTED):
            continue
        if name in QUANTITIES:
            values[name] = mapped_quantity(value, f"{path}: {key}")
        else:
            states[name] = mapped_state(value, f"{path}: {key}")


def _dotted(tree: object, key: str) -> object:
    for step in key.split("."):
        tree = tree.get(step) if type(tree) is dict else None
    return tree


def _deeper(tree: dict[str, object]) -> dict[str, object]:
    """Every key of the objects inside; of two the outer or earlier one."""
    found: dict[str, object] = {}
    level = [item for item in tree.values() if type(item) is dict]
    while level:
        for item in level:
            for key, value in item.items():
                found.setdefault(key, value)
        level = [inner for item in level for inner in item.values() if type(inner) is dict]
    return found
