"""The words every room shares: quantities, states, readings. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

#: A point in time or a span: whole microseconds; points count from 1970-01-01T00:00:00Z.
#: The log, the engine and the wire between processes use this; people and the database get datetimes.
Micros = int
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: Quantities and their units. A value outside these names is kept with the raw message, never judged.
QUANTITIES: dict[str, str] = {
    "temperature": "°C",
    "temperature_2": "°C, a second probe",
    "device_temperature": "°C, the chip itself",
    "smoke": "dB/m, obscuration",
    "smoke_raw": "the vendor's own scale, never compared with dB/m",
    "humidity": "%RH",
    "co": "ppm",
    "battery": "%",
    "voltage": "V",
    "current": "A",
    "rssi": "dBm",
}

#: States are true or false.
STATES: tuple[str, ...] = (
    "smoke_alarm",
    "heat_alarm",
    "manual_alarm",
    "tamper",
    "fault",
    "low_battery",
    "test",
    "muted",
    "mains_lost",
    "online",
)

#: One of these true is a fire at once, whoever says it.
FIRE_STATES: frozenset[str] = frozenset({"smoke_alarm", "heat_alarm", "manual_alarm"})


class Lateness(StrEnum):
    """Why a reading is history rather than news."""

    BACK_FILL = "back_fill"  #: a device or gateway sent buffered readings together
    RETAINED = "retained"  #: the broker repeated the last value it keeps
    BACKLOG = "backlog"  #: it waited in the broker while our receiver was away
    HISTORICAL = "historical"  #: the payload itself says so


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a codec understood of one device at one time, before anything is believed about it.

    `observed_at` is the device's own clock in microseconds, None where it stated none. `site` is None where
    neither topic nor payload names one. `values` by name of QUANTITIES (finite floats), `states` by STATES.
    """

    device: str
    site: str | None = None
    observed_at: int | None = None
    seq: int | None = None
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    historical: bool = False


class Reading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One observation of one registered device at one time, admitted.

    `at` is the corrected time everything judges by; `received_at` the log time of its message; `device_at`
    what the device itself said (None: nothing). All three in microseconds since 1970 UTC.
    """

    site: str
    device: str
    at: int
    received_at: int
    device_at: int | None = None
    seq: int | None = None
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    late: Lateness | None = None


def finite(name: str, value: float) -> float:
    """`value` as a float; ValueError that names the quantity when it is NaN, infinite or too large for one."""
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value}, not a finite number")
    return number


def to_datetime(micros: int) -> datetime:
    """Aware UTC datetime of a point in time; ValueError outside the years 1 to 9999."""
    seconds, rest = divmod(micros, SECOND)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"{micros} µs is no date between the years 1 and 9999") from None


def from_datetime(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime; ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def iso(micros: int) -> str:
    """ISO 8601, UTC, milliseconds, `Z`: the form of every exported time."""
    return to_datetime(micros).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
