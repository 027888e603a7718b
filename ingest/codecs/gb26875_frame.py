"""Frames of GB/T 26875.3-2011 (clause 6.6): found in bytes, read, built. Pure.

Two bytes `@@`, serial (2, low byte first), version (2), time label (6), source address (6), destination address (6),
length of the application data unit (2, low byte first), command (1), the unit, the low byte of the sum of everything
behind `@@`, two bytes `##`. Nothing is escaped: `@@` and `##` may stand in the data, so a frame is found by its length.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from ingest.codecs.times import zone_of
from ingest.readings import from_datetime, to_datetime

START, END = b"@@", b"##"
HEAD = 27  #: bytes before the application data unit
TAIL = 3  #: checksum and end
UNIT_LIMIT = 1024
FRAME_LIMIT = HEAD + UNIT_LIMIT + TAIL
NO_ADDRESS = bytes(6)

CONTROL, SEND, CONFIRM, REQUEST, RESPONSE, DENY = range(1, 7)

#: A start with the high byte of a possible length in its place; C looks for it, whatever the bytes.
_PLAUSIBLE = re.compile(rb"@@(?=.{23}[\x00-\x04])", re.DOTALL)
_LENGTH_AT = 24


class Frame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One frame. Addresses are six opaque bytes as sent: vendors put numbers, texts and IP addresses there."""

    serial: int
    sent: bytes  #: time label
    source: bytes
    destination: bytes
    command: int
    unit: bytes = b""
    version: bytes = b"\x01\x01"
    sum_ok: bool = True  #: whether the checksum is right


def next_span(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Start and end of the first frame from `at` on; an end behind the data's = it has not arrived whole.

    None where no frame can begin, but for one of which less than the head is there (see `head_begins`).
    """
    size = len(data)
    while (found := _PLAUSIBLE.search(data, at)) is not None:
        start = found.start()
        end = start + HEAD + TAIL + data[start + _LENGTH_AT] + (data[start + _LENGTH_AT + 1] << 8)
        if end - start <= FRAME_LIMIT and (end > size or data[end - 2 : end] == END):
            return start, end
        at = start + 1
    return None


def intact_span(data: bytes | bytearray, at: int, before: int) -> tuple[int, int] | None:
    """As `next_span`: the first whole frame with a right checksum that starts before `before`."""
    while (span := next_span(data, at)) is not None and span[0] < before:
        if span[1] <= len(data) and sum_ok(data, *span):
            return span
        at = span[0] + 1
    return None


def head_begins(data: bytes | bytearray, at: int) -> int:
    """Where, behind `at`, a frame may begin of which less than the head is there; the data's length if nowhere."""
    size = len(data)
    found = data.find(START, max(at, size - _LENGTH_AT - 1))
    if found >= 0:
        return found
    return size - 1 if size > at and data[size - 1] == START[0] else size


def checksum(data: bytes | bytearray) -> int:
    """Low byte of the sum."""
    return sum(data) & 0xFF


def sum_ok(data: bytes | bytearray, start: int, end: int) -> bool:
    """Whether the frame from `start` to `end` has a right checksum."""
    return checksum(data[start + 2 : end - TAIL]) == data[end - TAIL]


def read_frame(data: bytes | bytearray, start: int, end: int) -> Frame:
    """The whole frame that next_span found there."""
    head = bytes(data[start : start + HEAD])
    return Frame(
        serial=head[2] | head[3] << 8,
        version=head[4:6],
        sent=head[6:12],
        source=head[12:18],
        destination=head[18:24],
        command=head[26],
        unit=bytes(data[start + HEAD : end - TAIL]),
        sum_ok=sum_ok(data, start, end),
    )


def build(frame: Frame) -> bytes:
    """The bytes of a frame, with a right checksum."""
    summed = b"".join(
        (
            frame.serial.to_bytes(2, "little"),
            frame.version,
            frame.sent,
            frame.source,
            frame.destination,
            len(frame.unit).to_bytes(2, "little"),
            bytes((frame.command,)),
            frame.unit,
        )
    )
    return START + summed + bytes((checksum(summed),)) + END


def moment(label: bytes, zone: str) -> int | None:
    """Microseconds of a time label (s, min, h, day, month, year of the century); None where it is no date."""
    second, minute, hour, day, month, year = label
    if year > 99:
        return None
    try:
        return from_datetime(datetime(2000 + year, month, day, hour, minute, second, tzinfo=zone_of(zone)))
    except ValueError:
        return None  # a clock that was never set


def time_label(micros: int, zone: str) -> bytes:
    """The time label of a moment."""
    local = to_datetime(micros).astimezone(zone_of(zone))
    return bytes((local.second, local.minute, local.hour, local.day, local.month, local.year % 100))
