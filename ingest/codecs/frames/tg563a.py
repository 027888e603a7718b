"""TG563A, a smoke alarm: 5 bytes on port 1, 35 with its counters once a week. Pure.

Message type, configuration, temperature as a signed byte, 16 flags; of the 30 further bytes the first is the battery
in hundredths of a volt above 1 V, the others are counters and dates of the device's life.
"""

from __future__ import annotations

from ingest.codecs.frames.contract import Report, codec_of
from ingest.errors import Undecodable

_PORT = 1
_SHORT, _LONG, _LONG_TYPE = 5, 35, 15
_MOUNTED = 0x01  # of byte 3
_OBSTRUCTED = 0x10 | 0x20 | 0x40 | 0x80  # byte 3: obstacle, air inlet covered, too long inactive, too long unmounted
_SMOKE, _LOW_BATTERY = 0x01, 0x02  # of byte 4
_FAILED = 0x04 | 0x08 | 0x10 | 0x20 | 0x40  # byte 4: chamber failed, chamber fouled, ultrasonic, infrared, buzzer
#: An event's own message type says it even where its flag fell back before the frame was built.
_SMOKE_EVENT, _BATTERY_EVENT = 1, 2
_FAULT_EVENTS = frozenset(range(3, 10))


def read(frame: bytes, port: int) -> tuple[Report, ...]:
    """One report; Undecodable on another port or with another length."""
    kind = frame[0] & 0xF
    if port not in (0, _PORT):
        raise Undecodable(f"port {port}: a TG563A reports on port {_PORT}")
    if len(frame) != _SHORT and (len(frame) != _LONG or kind != _LONG_TYPE):
        raise Undecodable(f"a frame of {len(frame)} bytes; a TG563A sends {_SHORT}, or {_LONG} of type {_LONG_TYPE}")
    values = {"temperature": float(frame[2] - ((frame[2] & 0x80) << 1))}
    if len(frame) == _LONG:
        values["voltage"] = (frame[5] + 100) / 100
    states = {
        "smoke_alarm": bool(frame[4] & _SMOKE) or kind == _SMOKE_EVENT,
        "low_battery": bool(frame[4] & _LOW_BATTERY) or kind == _BATTERY_EVENT,
        "fault": bool(frame[4] & _FAILED or frame[3] & _OBSTRUCTED) or kind in _FAULT_EVENTS,
        "tamper": not frame[3] & _MOUNTED,
    }
    return (Report(values=values, states=states),)


decode = codec_of(read)
