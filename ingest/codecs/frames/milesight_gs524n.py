"""Milesight GS524N, a smoke head: six bytes, the last one makes their sum 0. Pure.

Versions, sensor type and message type (a nibble each), battery %, smoke concentration in % of its own scale (so
`smoke_raw`), temperature as a signed byte.
"""

from __future__ import annotations

from ingest.codecs.frames.contract import Report, codec_of
from ingest.errors import Undecodable

_LENGTH = 6
_SMOKE_SENSOR = 1
#: What the head says by its message type, and how the maker's server decoder writes it. A type tells one thing:
#: only `normal` denies the others, and a silenced alarm says nothing of the smoke.
_NORMAL = {"smoke_alarm": False, "muted": False, "low_battery": False, "fault": False, "test": False}
_EVENTS: dict[int, tuple[str, dict[str, bool]]] = {
    1: ("alarm", {"smoke_alarm": True, "muted": False, "test": False}),
    2: ("silent", {"muted": True, "test": False}),
    4: ("low battery", {"low_battery": True}),
    5: ("failover", {"fault": True}),
    7: ("normal", _NORMAL),
    10: ("removed", {"tamper": True}),
    11: ("installed", {"tamper": False}),
    14: ("testing alarm with normal battery", {"test": True, "low_battery": False}),
    15: ("testing alarm with low battery", {"test": True, "low_battery": True}),
}
_STATES = {number: states for number, (_, states) in _EVENTS.items()}
#: The states of each event as the maker's decoder names it.
STATES_OF_EVENT: dict[str, dict[str, bool]] = dict(_EVENTS.values())


def read(frame: bytes, port: int) -> tuple[Report, ...]:
    """One report; Undecodable unless length, sum, sensor and message type are all right."""
    if len(frame) != _LENGTH:
        raise Undecodable(f"a frame of {len(frame)} bytes; a GS524N sends {_LENGTH}")
    if sum(frame) & 0xFF:
        raise Undecodable(f"byte 5: 0x{frame[5]:02X} is a wrong sum; 0x{-sum(frame[:5]) & 0xFF:02X} would be right")
    if frame[1] >> 4 != _SMOKE_SENSOR:
        raise Undecodable(f"byte 1: sensor type {frame[1] >> 4} is no smoke sensor; {_SMOKE_SENSOR} would be")
    states = _STATES.get(frame[1] & 0xF)
    if states is None:
        raise Undecodable(f"byte 1: unknown message type {frame[1] & 0xF}; known: {', '.join(map(str, _STATES))}")
    values = {"smoke_raw": float(frame[3]), "temperature": float(frame[4] - ((frame[4] & 0x80) << 1))}
    if frame[2] <= 100:
        values["battery"] = float(frame[2])
    return (Report(values=values, states=states.copy()),)


decode = codec_of(read)
