"""Sparkplug B payloads, written field by field; independent of the codec's own writer."""

from __future__ import annotations

import struct

Value = bool | int | float | str | None
TYPES = {"Int8": 1, "Int16": 2, "Int32": 3, "Int64": 4, "UInt8": 5, "UInt16": 6, "UInt32": 7, "UInt64": 8}
TYPES |= {"Float": 9, "Double": 10, "Boolean": 11, "String": 12, "DateTime": 13, "Template": 19}


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = b""
    while number > 127:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def number(field: int, value: int) -> bytes:
    """A varint field; negative numbers as 64 bits."""
    return varint(field * 8) + varint(value % 2**64)


def block(field: int, value: bytes) -> bytes:
    """A field of a length."""
    return varint(field * 8 + 2) + varint(len(value)) + value


def properties(**values: int | str) -> bytes:
    """A property set."""
    keys = b"".join(block(1, key.encode()) for key in values)
    told = b"".join(
        block(
            2, number(1, 3) + number(3, value) if isinstance(value, int) else number(1, 12) + block(8, value.encode())
        )
        for value in values.values()
    )
    return keys + told


def metric(
    name: str = "",
    value: Value = None,
    *,
    kind: str = "",
    alias: int | None = None,
    at: int = 0,
    typed: bool = True,
    historical: bool = False,
    props: bytes = b"",
    template: list[bytes] | None = None,
) -> bytes:
    """One metric; `kind` is a name of TYPES, by default that of the value; `typed` writes it into the metric."""
    kind = kind or _kind(value)
    out = block(1, name.encode()) if name else b""
    out += number(2, alias) if alias is not None else b""
    out += number(3, at) if at else b""
    out += number(4, TYPES[kind]) if typed and kind else b""
    out += number(5, 1) if historical else b""
    out += block(9, props) if props else b""
    if template is not None:
        return out + block(18, b"".join(block(2, each) for each in template))
    return out + (number(7, 1) if value is None else _value(kind, value))


def _kind(value: Value) -> str:
    return {bool: "Boolean", int: "Int32", float: "Float", str: "String"}.get(type(value), "")


def _value(kind: str, value: Value) -> bytes:
    if isinstance(value, str):
        return block(15, value.encode())
    if kind == "Boolean":
        return number(14, int(bool(value)))
    if kind == "Float":
        return varint(12 * 8 + 5) + struct.pack("<f", value)
    if kind == "Double":
        return varint(13 * 8 + 1) + struct.pack("<d", value)
    bits = {"Int8": 8, "Int16": 16}.get(kind, 32)
    wide = kind in ("Int64", "UInt64", "DateTime")
    return number(11 if wide else 10, int(value or 0) % 2 ** (64 if wide else bits))


def payload(*metrics: bytes, seq: int | None = None, at: int = 0) -> bytes:
    """A whole message."""
    head = number(1, at) if at else b""
    return head + b"".join(block(2, each) for each in metrics) + (b"" if seq is None else number(3, seq))
