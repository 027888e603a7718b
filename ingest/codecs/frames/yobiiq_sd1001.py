"""YOBIIQ SD-1001, a smoke alarm on mains: channel, type, one byte; again and again. Pure.

A frame of FF channels tells versions and the serial number, a single byte answers a downlink: only signs of life.
An alarm of the heads it is linked to counts as its own, because they may have no radio.
"""

from __future__ import annotations

from ingest.codecs.frames.contract import Report, codec_of
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES

_INFORMATION, _INFORMATION_PORT = 0xFF, 50
_BATTERY, _POWER = 1, 2
_STATES = {3: "low_battery", 4: "fault", 5: "smoke_alarm", 6: "smoke_alarm", 7: "test"}


def read(frame: bytes, port: int) -> tuple[Report, ...]:
    """One report; Undecodable for an unknown channel or a value that is cut off."""
    if len(frame) == 1 or frame[0] == _INFORMATION or port == _INFORMATION_PORT:
        return ()
    if len(frame) % 3:
        raise Undecodable(f"a frame of {len(frame)} bytes; an SD-1001 sends three for each value")
    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    for start in range(0, len(frame), 3):
        channel, value = frame[start], frame[start + 2]
        if channel == _BATTERY:
            if value <= 100:
                values["battery"] = float(value)
        elif channel == _POWER:
            states["mains_lost"] = not value
        elif (name := _STATES.get(channel)) is not None:
            states[name] = states.get(name, False) or bool(value)
        else:
            raise Undecodable(f"byte {start}: channel {channel:02X} is not known; an SD-1001 has 01 to 07")
    if states.get("test"):  # the button makes it sound
        states = {name: value for name, value in states.items() if name not in FIRE_STATES}
    return (Report(values=values, states=states),)


decode = codec_of(read)
