"""Protocol Buffers' wire format, as much of it as Sparkplug needs; no schema, no copy of the payload kept. Pure."""

from __future__ import annotations

from ingest.errors import Undecodable

#: Of one message with all that is nested in it: a birth of some 2,300 metrics, and what a core judges in some 20 ms.
FIELD_LIMIT = 10_000
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WITH_NUMBER = frozenset({VARINT, BYTES})
_SIZES = {FIXED64: 8, FIXED32: 4}
_MASK = 2**64 - 1


class Budget:
    """How many fields may still be read of one payload."""

    __slots__ = ("left",)

    def __init__(self, left: int = FIELD_LIMIT) -> None:
        self.left = left


def tag(number: int, wire: int) -> int:
    """A field's key: its number and how it is written."""
    return number << 3 | wire


def fields(data: bytes, budget: Budget) -> list[tuple[int, int | bytes]]:
    """Each field as its `tag` and value: a varint as an unsigned number, anything else as its bytes.

    A field written in another way than the schema says thus has another tag, and is as unknown as its schema demands.
    """
    found: list[tuple[int, int | bytes]] = []
    position, end = 0, len(data)
    while position < end:
        budget.left -= 1
        if budget.left < 0:
            raise Undecodable(f"more than {FIELD_LIMIT} protobuf fields; send fewer metrics at once")
        key = data[position]
        position += 1
        if key > 127:
            key, position = _varint(data, position - 1)
        wire = key & 7
        if wire in _WITH_NUMBER:
            if position < end and data[position] < 128:
                size = data[position]
                position += 1
            else:
                size, position = _varint(data, position)
            if wire == VARINT:
                found.append((key, size))
                continue
        else:
            size = _SIZES.get(wire, -1)
            if size < 0:
                raise Undecodable(f"no protobuf: wire type {wire} at byte {position - 1}; send a Sparkplug B payload")
        if size > end - position:
            raise Undecodable(f"protobuf cut off: {size} bytes announced at byte {position}, {end - position} there")
        found.append((key, data[position : position + size]))
        position += size
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned number of at most ten bytes, cut to 64 bits, and where it ends."""
    number = shift = 0
    for byte in data[position : position + 10]:
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & _MASK, position
        shift += 7
    raise Undecodable(f"no protobuf: a number without an end before byte {position}; send a Sparkplug B payload")


def varint_field(number: int, value: int) -> bytes:
    """A field with an unsigned number."""
    return _written(tag(number, VARINT)) + _written(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field with text, bytes or a message."""
    return _written(tag(number, BYTES)) + _written(len(value)) + value


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
