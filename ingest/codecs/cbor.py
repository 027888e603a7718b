"""Concise Binary Object Representation (RFC 8949), as much of it as sensors send. Pure.

Of tags only decimal fractions (4), which SenML allows; of map keys only whole numbers and texts, each once. Own
code, because a general reader understands tags nobody here sends (regular expressions, shared references, huge
rationals) and takes seconds over keys made to collide.
"""

from __future__ import annotations

from struct import Struct
from typing import NoReturn

from ingest.errors import Undecodable

#: Items of one payload, with all that is nested in it: what one core reads in some 15 ms.
ITEMS = 20_000
DEPTH_LIMIT = 8
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_KEYS = frozenset({_UNSIGNED, _NEGATIVE, _TEXT})
_STRINGS = frozenset({_BYTES, _TEXT})
_DECIMAL_FRACTION = 4
_INDEFINITE = 31
_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS = {25: Struct(">e"), 26: Struct(">f"), 27: Struct(">d")}
_SIMPLES = {20: False, 21: True, 22: None, 23: None}
_BREAK = 0xFF


def parse(payload: bytes) -> object:
    """The one value of a CBOR payload, with null and undefined as None; Undecodable for anything else."""
    if not payload:
        raise Undecodable("empty payload; send a CBOR array")
    reader = _Reader(payload)
    try:
        value = reader.item(DEPTH_LIMIT)
    except IndexError:
        raise Undecodable(f"CBOR cut off at byte {len(payload)}") from None
    if reader.at < len(payload):
        raise Undecodable(f"more bytes after the CBOR value, from byte {reader.at}; send one value")
    return value


class _Reader:
    __slots__ = ("at", "data", "left")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.left = ITEMS

    def item(self, depth: int) -> object:
        """The value here; IndexError where the payload ends before it does."""
        head = self.data[self.at]
        self.at += 1
        self.left -= 1
        if self.left < 0:
            raise Undecodable(f"more than {ITEMS} CBOR items; send fewer at once")
        kind, info = head >> 5, head & 31
        if kind == _SIMPLE:
            return self._simple(info)
        argument = info if info < 24 else self._argument(info)
        if kind == _UNSIGNED:
            return argument
        if kind == _NEGATIVE:
            return -1 - argument
        if kind in _STRINGS:
            return self._string(argument, kind)
        if depth == 0:
            raise Undecodable(f"CBOR nested deeper than {DEPTH_LIMIT} levels; send a flat array of maps")
        if kind == _ARRAY:
            return self._array(argument, depth - 1)
        return self._map(argument, depth - 1) if kind == _MAP else self._decimal(argument, depth - 1)

    def _argument(self, info: int) -> int:
        """The number after the head; −1 for a length that is told by a break."""
        size = _SIZES.get(info)
        if size is None:
            if info == _INDEFINITE and self.data[self.at - 1] >> 5 in (_ARRAY, _MAP):
                return -1
            self._refuse("is no head that is understood here")
        return int.from_bytes(self._take(size), "big")

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise IndexError
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def _string(self, size: int, kind: int) -> str | bytes:
        taken = self._take(size)
        if kind == _BYTES:
            return taken
        try:
            return taken.decode("utf-8")
        except UnicodeDecodeError:
            raise Undecodable(f"CBOR text before byte {self.at} is not UTF-8; send UTF-8") from None

    def _array(self, size: int, depth: int) -> list[object]:
        found: list[object] = []
        while len(found) != size and not (size < 0 and self._ended()):
            found.append(self.item(depth))
        return found

    def _map(self, size: int, depth: int) -> dict[object, object]:
        found: dict[object, object] = {}
        while len(found) != size and not (size < 0 and self._ended()):
            if self.data[self.at] >> 5 not in _KEYS:
                raise Undecodable(f"CBOR byte {self.at} begins a map key that is neither a whole number nor a text")
            key = self.item(0)
            if key in found:
                self._refuse("ends a map key that stands twice in one map")
            found[key] = self.item(depth)
        return found

    def _ended(self) -> bool:
        if self.data[self.at] != _BREAK:
            return False
        self.at += 1
        return True

    def _simple(self, info: int) -> object:
        number = _FLOATS.get(info)
        if number is not None:
            value: float = number.unpack(self._take(number.size))[0]
            return value
        if info not in _SIMPLES:
            self._refuse("is no value that is understood here")
        return _SIMPLES[info]

    def _decimal(self, tag: int, depth: int) -> float:
        """A decimal fraction [exponent, mantissa], as the float nearest to it."""
        parts = self.item(depth) if tag == _DECIMAL_FRACTION else None
        if type(parts) is list and len(parts) == 2 and type(parts[0]) is type(parts[1]) is int:
            return float(f"{parts[1]}e{parts[0]}")
        self._refuse(f"ends tag {tag}; only decimal fractions of whole numbers are understood")

    def _refuse(self, why: str) -> NoReturn:
        raise Undecodable(f"CBOR byte {self.at - 1} {why}")
