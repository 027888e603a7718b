"""CBOR, written; the codec only reads it."""

from __future__ import annotations

import math
import struct
from typing import Any


def written(value: Any) -> bytes:
    """CBOR of plain values, floats in the shortest form that is exact."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
            try:
                if math.isnan(value) or struct.unpack(form, struct.pack(form, value))[0] == value:
                    return first + struct.pack(form, value)
            except OverflowError:
                continue
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes | str):
        data = value if isinstance(value, bytes) else value.encode()
        return head(2 if isinstance(value, bytes) else 3, len(data)) + data
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(written, value))
    return head(5, len(value)) + b"".join(written(key) + written(each) for key, each in value.items())


def head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes([kind << 5 | number])
    sizes = ((24, 1), (25, 2), (26, 4), (27, 8))
    info, size = next(((info, size) for info, size in sizes if number < 256**size), sizes[-1])
    return bytes([kind << 5 | info]) + number.to_bytes(size, "big")
