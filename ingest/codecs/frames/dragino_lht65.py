"""Dragino LHT65, LHT65N and their kin: battery, temperature and humidity, an external probe; stored ones when polled.

Port 2 (11 bytes, big-endian): 2 bits of battery state and 14 of millivolts, temperature in 1/100 °C, humidity in
1/10 % in 12 bits, what is plugged in, and 4 bytes of that. The external probe is `temperature_2`. Pure.
"""

from __future__ import annotations

from struct import Struct

from ingest.codecs.frames.contract import Report, codec_of
from ingest.errors import Undecodable
from ingest.readings import SECOND

_LENGTH = 11
_SENSOR_LISTS, _DEVICE_INFO = 3, 5  #: ports: measurements without times, model and firmware
_FIELDS = Struct(">HhHB").unpack_from
_TEMPERATURE = Struct(">h").unpack_from
_TIME = Struct(">I").unpack_from
_NOT_CONNECTED, _POLLED = 0x80, 0x40  # bits of the byte that says what is plugged in
_PROBES = frozenset({1, 2, 11})  #: DS18B20, TMP117, SHT31: their temperature stands in bytes 7 and 8
_TIMED_PROBES = frozenset({9, 10})  #: the probe's temperature instead of the battery, a clock at the end
_IDS = frozenset({0x0E, 0x0F, 0x10, 0x20})  #: ids of sensors, or motion, instead of temperature and humidity
_NO_PROBE = 0x7FFF, -0x8000  #: 327.67 °C: nothing measured
_LOWEST_GOOD = 2  #: battery state: 0 ultra low, 1 low, 2 all right, 3 good


def read(frame: bytes, port: int) -> tuple[Report, ...]:
    """One report, or one for each stored measurement; Undecodable where the length fits no form."""
    if port == _DEVICE_INFO:
        return _power(frame, 5)
    if port == _SENSOR_LISTS and len(frame) > 2 and 1 <= frame[2] <= 4:
        return _power(frame, 0)
    if len(frame) < _LENGTH:
        raise Undecodable(f"a frame of {len(frame)} bytes; an LHT65 sends {_LENGTH}")
    if frame[6] & _POLLED:
        return _stored(frame)
    if len(frame) not in (_LENGTH, 15):
        raise Undecodable(f"a frame of {len(frame)} bytes; an LHT65 sends {_LENGTH}, or more of them when polled")
    return (_timed(frame) if frame[6] in _TIMED_PROBES else _live(frame),)


def _power(frame: bytes, start: int) -> tuple[Report, ...]:
    """The millivolts of a frame that has nothing else for us."""
    millivolts = int.from_bytes(frame[start : start + 2], "big") & 0x3FFF
    return (Report(values={"voltage": millivolts / 1000}),) if millivolts else ()


def _live(frame: bytes) -> Report:
    power, temperature, humidity, plugged = _FIELDS(frame)
    values = {"voltage": (power & 0x3FFF) / 1000}
    if plugged not in _IDS:
        _climate(values, temperature, humidity)
    probe = _TEMPERATURE(frame, 7)[0]
    if (
        (plugged & 0xF in _PROBES or plugged in (0x10, 0x20))
        and not plugged & _NOT_CONNECTED
        and probe not in _NO_PROBE
    ):
        values["temperature_2"] = probe / 100
    return Report(values=values, states={"low_battery": power >> 14 < _LOWEST_GOOD})


def _timed(frame: bytes) -> Report:
    """The battery's state stands above the humidity, because the probe took its place."""
    values, at = _measured(frame, 0)
    return Report(values=values, states={"low_battery": frame[4] >> 6 < _LOWEST_GOOD}, at=at)


def _stored(frame: bytes) -> tuple[Report, ...]:
    if len(frame) % _LENGTH:
        raise Undecodable(f"{len(frame)} bytes of stored measurements; each has {_LENGTH}")
    measured = [_measured(frame, start) for start in range(0, len(frame), _LENGTH)]
    return tuple(Report(values=values, at=at, historical=True) for values, at in measured if values)


def _measured(frame: bytes, start: int) -> tuple[dict[str, float], int]:
    """Values and time of 11 bytes that begin with what the external sensor said."""
    probe, plugged = _TEMPERATURE(frame, start)[0], frame[start + 6]
    _, temperature, humidity, _ = _FIELDS(frame, start)
    values: dict[str, float] = {}
    _climate(values, temperature, humidity)
    if plugged & 0xF in _PROBES | _TIMED_PROBES and not plugged & _NOT_CONNECTED and probe not in _NO_PROBE:
        values["temperature_2"] = probe / 100
    return values, _TIME(frame, start + 7)[0] * SECOND


def _climate(values: dict[str, float], temperature: int, humidity: int) -> None:
    if temperature not in _NO_PROBE:
        values["temperature"] = temperature / 100
    if humidity & 0xFFF <= 1100:  # sensors overshoot 100 % a little in wet air; 4095 is none
        values["humidity"] = (humidity & 0xFFF) / 10


decode = codec_of(read)
