"""Application data units of GB/T 26875.3-2011 (clauses 7 and 8) as our quantities and states. Pure.

A unit is a type flag, a count and as many objects: a body of a fixed size and the time label of the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ingest.errors import Undecodable
from ingest.readings import QUANTITIES

LABEL = 6
#: Only these keys are known without a source's `fields`: the number of the analog type (table 6) → our name.
USUAL_ANALOG = {"3": "temperature", "8": "voltage", "9": "current"}
#: Analog type → lowest and highest raw value, and raw values in one unit. Outside: no probe, not reported.
_ANALOG = {
    2: (0, 32_000, 100),
    3: (-2_730, 32_000, 10),
    4: (0, 32_000, 10),
    5: (0, 32_000, 10),
    6: (0, 1_000, 10),
    8: (0, 32_000, 10),
    9: (0, 32_000, 10),
    10: (0, 32_000, 10),
    11: (0, 32_000, 10),
}
_AS_SENT = (-32_768, 32_767, 1)

#: Component type (table 5) → what its fire bit means. Whatever is not here says fire as a smoke head does: the
#: standard tells no more, and any of the three states is a fire.
_HEAT = dict.fromkeys((16, 17, 18, *range(30, 40), 52, 61, 62, 69), "heat_alarm")  #: flames and hot wires too
_FIRE_OF = _HEAT | {23: "manual_alarm", 24: "manual_alarm"}
_FIRE = "smoke_alarm"

_NORMAL, _FIRE_BIT = 1 << 0, 1 << 1


class Item(NamedTuple):
    """One object: whose it is ("" the transmitter itself), its time label, what it says."""

    part: str
    label: bytes
    values: dict[str, float]
    states: dict[str, bool]


Said = tuple[str, dict[str, float], dict[str, bool]]


def items(unit: bytes, sent: bytes, analog: Mapping[str, str]) -> Iterator[Item]:
    """The objects of an uploaded unit, in order; Undecodable at the first that cannot be read.

    `sent` is the frame's own time label, for objects that came without one.
    """
    if len(unit) < 2:  # vendors' keep-alive: one byte or none, where the standard knows of no such message
        yield Item("", sent, {}, {"online": True})
        return
    flag, count = unit[0], unit[1]
    if flag in _WITHOUT_READING:
        return
    if flag not in _BODIES:
        raise Undecodable(f"type flag {flag} is {_kind(flag)}; 1 to 8, 21, 24 to 26 or 28 would be known")
    size, read = _BODIES[flag]
    there = len(unit) - 2
    step = size if there == count * size else size + LABEL
    for at in range(2, 2 + min(count, there // step) * step, step):
        part, values, states = read(unit[at : at + size], analog)
        yield Item(part, unit[at + size : at + step] or sent, values, states)
    if not count or there != count * step:
        raise Undecodable(f"type flag {flag}: {count} objects in {there} bytes; each takes {size + LABEL}")


def _kind(flag: int) -> str:
    return "of the vendor's own" if flag > 127 else "no upload of the standard"


def _system(body: bytes, _: Mapping[str, str]) -> Said:
    word = body[2] | body[3] << 8
    states = _status(word, _FIRE, shielded=1 << 3, fault=1 << 2 | 1 << 9 | 1 << 10)
    states["mains_lost"] = word & 1 << 8 != 0
    return f"-{body[0]}.{body[1]}", {}, states


def _component(body: bytes, _: Mapping[str, str]) -> Said:
    word = body[7] | body[8] << 8
    kind = _FIRE_OF.get(body[2], _FIRE)
    return _component_part(body), {}, _status(word, kind, shielded=1 << 3, fault=1 << 2 | 1 << 8)


def _transmitter(body: bytes, _: Mapping[str, str]) -> Said:
    states = _status(body[0], _FIRE, shielded=0, fault=1 << 2 | 1 << 4 | 1 << 5 | 1 << 6)
    states["mains_lost"] = body[0] & 1 << 3 != 0
    return "", {}, states


def _status(word: int, kind: str, *, shielded: int, fault: int) -> dict[str, bool]:
    """What the bits say. Fire comes first: panels in the field leave bit 0 clear ("test") in any event."""
    fire = word & _FIRE_BIT != 0
    states = {kind: fire, "fault": word & fault != 0}
    if shielded and not fire:
        states["muted"] = word & shielded != 0
    if word & _NORMAL:
        states["test"] = False
    elif not word:  # no event whose sender may just not keep bit 0
        states["test"] = True
    return states


def _component_part(body: bytes) -> str:
    """Without the component's type, which not every message of it states alike."""
    return f"-{body[0]}.{body[1]}-{body[3] | body[4] << 8}.{body[5] | body[6] << 8}"


def _analog(body: bytes, analog: Mapping[str, str]) -> Said:
    number = body[7]
    name = analog.get(str(number))
    raw = int.from_bytes(body[8:10], "little", signed=True)
    low, high, scale = _ANALOG.get(number, _AS_SENT)
    known = name in QUANTITIES and low <= raw <= high
    return _component_part(body), {name: raw / scale} if known and name else {}, {}


def _operation(body: bytes, _: Mapping[str, str]) -> Said:
    return f"-{body[0]}.{body[1]}", {}, _acts(body[2])


def _transmitter_operation(body: bytes, _: Mapping[str, str]) -> Said:
    return "", {}, _acts(body[0])


def _acts(bits: int) -> dict[str, bool]:
    """What somebody did at the panel or the transmitter: a record of an act, not of what holds since then.

    A call that is marked as a test is one; a reset and a cleared alarm end a call, so that the next one is new.
    """
    reset, mute, call, cleared = bits & 1, bits & 2, bits & 4, bits & 8
    if bits & (1 << 4 | 1 << 6):
        return {"test": True}
    if call:
        return {"manual_alarm": True}
    states = {"manual_alarm": False} if reset or cleared else {}
    return states | ({"muted": bool(mute)} if mute or reset else {})


_Read = Callable[[bytes, Mapping[str, str]], Said]
#: Type flag → bytes of a body, and who reads it.
_BODIES: dict[int, tuple[int, _Read]] = {
    1: (4, _system),
    2: (40, _component),
    3: (10, _analog),
    4: (4, _operation),
    21: (1, _transmitter),
    24: (2, _transmitter_operation),
}
#: Versions, configurations and clocks.
_WITHOUT_READING = frozenset((5, 6, 7, 8, 25, 26, 28))
#: First byte of a unit with records of operations; a centre that asks for them gets history.
OPERATIONS = frozenset((b"\x04", b"\x18"))
