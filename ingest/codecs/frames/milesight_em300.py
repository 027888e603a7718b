"""Milesight EM300, EM320, EM400, TS101 and their kin: channel, type, value; again and again; little-endian. Pure.

A frame without a measurement (what a device says of itself when it starts, the answer to a setting) says only that
it is alive. Stored measurements (channels 20 and 21, type CE) have a length that depends on the model, which no
frame tells: it is the first known one after which the frame goes on, or ends, in a way it can.
"""

from __future__ import annotations

from struct import Struct

from ingest.codecs.frames.contract import Report, codec_of
from ingest.errors import Undecodable
from ingest.readings import SECOND

_U16 = Struct("<H").unpack_from
_HISTORY = Struct("<IH").unpack_from

#: (channel, type) → length of the value, what it is, how it is written. Type 67 is temperature, 68 and 9A humidity;
#: channels from 83 on are the same value with an alarm of a threshold (83, 84) or a jump (93, 94) behind it.
_T, _H, _H16, _BATTERY = range(4)
_MEASURES: dict[tuple[int, int], tuple[int, str, int]] = {
    (0x01, 0x75): (1, "battery", _BATTERY),
    (0x03, 0x67): (2, "temperature", _T),
    (0x83, 0x67): (3, "temperature", _T),
    (0x93, 0x67): (5, "temperature", _T),
    (0x93, 0xD7): (5, "temperature", _T),
    (0x04, 0x67): (2, "temperature_2", _T),
    (0x84, 0x67): (3, "temperature_2", _T),
    (0x94, 0x67): (5, "temperature_2", _T),
    (0x94, 0xD7): (5, "temperature_2", _T),
    (0x04, 0x68): (1, "humidity", _H),
    (0x84, 0x68): (2, "humidity", _H),
    (0x94, 0x68): (3, "humidity", _H),
    (0x04, 0x9A): (2, "humidity", _H16),
    (0x84, 0x9A): (3, "humidity", _H16),
    (0x94, 0x9A): (5, "humidity", _H16),
}
#: What says nothing of interest, and how long it is: the device itself (FF), contacts, leaks, pulses, distances,
#: positions, broken sensors.
_SKIPPED: dict[tuple[int, int], tuple[int, ...]] = {
    (0xFF, 0x01): (1,),
    (0xFF, 0x09): (2,),
    (0xFF, 0x0A): (2,),
    (0xFF, 0xFF): (2,),
    (0xFF, 0x0F): (1,),
    (0xFF, 0xFE): (1,),
    (0xFF, 0x0B): (1,),
    (0xFF, 0x16): (8, 6, 5),  # the serial number; the shorter ones are of older models
    (0x03, 0x00): (1,),
    (0x04, 0x00): (1,),
    (0x05, 0x00): (1,),
    (0x06, 0x00): (1,),
    (0x85, 0x00): (2,),
    (0x05, 0xC8): (4,),
    (0x05, 0xE1): (8,),
    (0x85, 0xE1): (9,),
    (0x03, 0x82): (2,),
    (0x04, 0x82): (2,),
    (0x83, 0x82): (3,),
    (0x84, 0x82): (3,),
    (0x03, 0xCF): (7,),
    (0x03, 0xED): (1,),
    (0x04, 0xEE): (1,),
    (0x83, 0xED): (2,),
    (0x05, 0x6B): (1,),
    (0x05, 0x9C): (1,),
    (0x06, 0x88): (9,),
    (0xB3, 0x67): (2, 1),
    (0xB4, 0x67): (2, 1),
    (0xB4, 0x68): (2, 1),
    (0xB4, 0x9A): (2, 1),
}
#: Time and temperature, then one byte of humidity (8, 13, 18: EM300; 7: EM320), two (9: EM320 V2) or none (6: TS101).
_STORED: dict[tuple[int, int], tuple[int, ...]] = {(0x20, 0xCE): (8, 13, 7, 9, 6), (0x21, 0xCE): (18,)}
_ANSWERS = frozenset({0xF8, 0xF9, 0xFE, 0xFF})  #: settings read back, of many lengths; nothing else comes behind them
_NO_TEMPERATURE = frozenset({0x7FFF, 0x8000, 0x8001, 0x8002, 0x8003})  #: not measured, below or above the range


def read(frame: bytes, port: int) -> tuple[Report, ...]:
    """The report of now, when there is one, and the stored ones; Undecodable where a value is cut off."""
    values: dict[str, float] = {}
    stored: list[Report] = []
    position = 0
    while position < len(frame):
        channel = (frame[position], frame[position + 1] if position + 1 < len(frame) else -1)
        start = position + 2
        if (measure := _MEASURES.get(channel)) is not None:
            length, name, form = measure
            _whole(frame, start, length)
            _measure(values, name, form, frame, start)
        elif (lengths := _STORED.get(channel)) is not None:
            length = _length(frame, start, lengths)
            _store(stored, frame, start, length)
        elif (lengths := _SKIPPED.get(channel)) is not None:
            length = _length(frame, start, lengths)
        elif (position and (values or stored)) or channel[0] in _ANSWERS:
            break  # a newer model says more than we know: what stands before it is right all the same
        else:
            raise Undecodable(f"byte {position}: channel {frame[position:start].hex(' ').upper()} is not known")
        position = start + length
    now = (Report(values=values),) if values else ()
    return (*now, *stored)


def _whole(frame: bytes, start: int, length: int) -> None:
    if start + length > len(frame):
        raise Undecodable(f"byte {start}: a value of {length} bytes is cut off after {len(frame) - start}")


def _length(frame: bytes, start: int, lengths: tuple[int, ...]) -> int:
    for length in lengths:
        end = start + length
        if end == len(frame) or (end + 1 < len(frame) and _begins(frame[end], frame[end + 1])):
            return length
    shortest = min(lengths)
    _whole(frame, start, shortest)
    return next(length for length in lengths if start + length <= len(frame))


def _begins(channel: int, kind: int) -> bool:
    pair = (channel, kind)
    return pair in _MEASURES or pair in _STORED or pair in _SKIPPED


def _measure(values: dict[str, float], name: str, form: int, frame: bytes, start: int) -> None:
    if form == _T:
        if (raw := _U16(frame, start)[0]) not in _NO_TEMPERATURE:
            values[name] = _signed(raw) / 10
    elif form == _H16:
        if (raw := _U16(frame, start)[0]) <= 1100:
            values[name] = raw / 10
    elif form == _H:
        if frame[start] <= 220:  # 0xFF: not measured
            values[name] = frame[start] / 2
    elif frame[start] <= 100:
        values[name] = float(frame[start])


def _store(stored: list[Report], frame: bytes, start: int, length: int) -> None:
    """A stored measurement; models without a thermometer fill the place of both values with zeros or ones."""
    time, raw = _HISTORY(frame, start)
    values: dict[str, float] = {}
    if length == 9:
        _measure(values, "humidity", _H16, frame, start + 6)
    elif length > 6:
        _measure(values, "humidity", _H, frame, start + 6)
    if raw in (0, 0xFFFF) and length > 6 and not values.get("humidity"):
        return
    if raw not in _NO_TEMPERATURE:
        values["temperature"] = _signed(raw) / 10
    if values:
        stored.append(Report(values=values, at=time * SECOND, historical=True))


def _signed(raw: int) -> int:
    return raw - 0x10000 if raw & 0x8000 else raw


decode = codec_of(read)
