"""Device times as devices write them, in microseconds. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.codecs.json_text import shown
from ingest.errors import Undecodable
from ingest.readings import SECOND

#: Numbers from here on are milliseconds: 1e11 s is the year 5138, 1e11 ms the year 1973.
FIRST_MILLISECONDS = 100_000_000_000
_FIRST = -62_135_596_800 * SECOND  # year 1
_END = 253_402_300_800 * SECOND  # year 10000
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d{9,15}(\.\d{1,12})?", re.ASCII)
_DATE = re.compile(r"\d{4}-?\d\d-?\d\d([T ]\d\d:?\d\d(:?\d\d([.,]\d+)?)?)?", re.ASCII | re.IGNORECASE)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
HELP = "give ISO 8601, or seconds or milliseconds since 1970"


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """The zone of a name such as `Asia/Shanghai` or `+08:00`; ValueError when there is none."""
    if name in ("UTC", "Z", "utc"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    try:
        if offset:
            minutes = int(offset[2]) * 60 + int(offset[3])
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}; write one such as Asia/Shanghai, UTC or +08:00") from None


def micros(value: object, zone: str, path: str) -> int | None:
    """Microseconds since 1970 of a stated time.

    None where the device states no usable one: null, a date that cannot be (a clock never set), or years outside
    1 to 9999. Undecodable, naming `path`, where the value is no time at all.
    """
    kind = type(value)
    if kind is str:
        return _from_text(value, zone, path)  # type: ignore[arg-type]
    if kind is int or kind is float:
        return from_number(value)  # type: ignore[arg-type]
    if value is None:
        return None
    raise Undecodable(f"{path}: {shown(value)} is no time; {HELP}")


def from_number(number: int | float) -> int | None:
    """As `micros`, of a number."""
    milliseconds = not -FIRST_MILLISECONDS < number < FIRST_MILLISECONDS
    scale = 1000 if milliseconds else SECOND
    if not _FIRST <= number * scale < _END:
        return None
    if type(number) is int:
        return number * scale
    # by its digits, as a readings file is read: a product of floats is a microsecond off now and then
    return int((Decimal(repr(number)) * scale).to_integral_value())


def _from_text(text: str, zone: str, path: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _from_odd_text(text, zone, path)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone_of(zone))
    since = (moment - _EPOCH) // _MICROSECOND
    return since if _FIRST <= since < _END else None


def _from_odd_text(text: str, zone: str, path: str) -> int | None:
    text = text.strip()
    if text.endswith("z"):  # RFC 3339 allows it, Python does not
        return _from_text(text[:-1] + "Z", zone, path)
    if _NUMBER.fullmatch(text):
        return from_number(float(text) if "." in text else int(text))
    if _DATE.match(text):
        return None
    raise Undecodable(f"{path}: {shown(text)} is no time; {HELP}")
