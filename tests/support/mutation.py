"""Payloads changed so that they still reach deep into a decoder: trees of JSON stay trees, frames keep their sums."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, cast

import msgspec

from ingest.codecs import cbor
from ingest.codecs.contract import PAYLOAD_LIMIT
from ingest.errors import Undecodable
from tests.support.cbor import written

#: What breaks decoders when it stands where something else was.
PIECES = (
    *(b"", b"\0", b"{}", b"[]", b"null", b"true", b"-1", b"1e999", b'""', b'"smoke"', b"{", b"\xff", b"9" * 400),
    *(
        b"@@",
        b"##",
        b"\x80" * 10,
        b"\xff\xff\xff\xff\x0f",
        b"\xe6\xb8\xa9",
        b"\\ud800",
        b"/",
        b":",
        b",",
        b"NaN",
        b"1" + b"0" * 40,
    ),
)
ODD: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, 255, 65_535, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 10**17),
    *(1e-300, 1e300, -0.0, 327.67, 1_777_593_600, 1_777_593_600_000, "", " ", "0", "-1", "1", "1e999", "NaN", "on"),
    *("OFF", "true", "null", "unknown", "alarm", "test", "温度", "\u202e", "\n", "²", "a" * 300, "9" * 300, "0x1A2B"),
    *("2026-05-01T00:00:00Z", "0001-01-01", "2026-05-01 00:00", "AAAA", "q80=", [], {}, [[]], [1, "a"], {"a": {}}),
)
_ODD_BYTES = bytes((0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, 0x23, 0x40))


class Words(msgspec.Struct, frozen=True):
    """What stands in a format's samples: to be put where it may not belong."""

    payloads: tuple[bytes, ...]
    keys: tuple[str, ...]
    values: tuple[object, ...]

    @classmethod
    def of(cls, payloads: Iterable[bytes]) -> Words:
        told = tuple(dict.fromkeys(payloads)) or (b"{}",)
        keys: dict[str, None] = {}
        values: dict[bytes, object] = {}
        for payload in told:
            for key, value in _members(_tree(payload)):
                if isinstance(key, str):
                    keys[key] = None
                values[msgspec.json.encode(str(value))] = value
        return cls(told, tuple(keys) or ("a",), (*ODD, *values.values()))


def mutated(random: Random, payload: bytes, words: Words) -> bytes:
    """This payload with one to three changes, at most PAYLOAD_LIMIT long."""
    for _ in range(1 + int(random.random() * random.random() * 4)):
        payload = _changed(random, payload, words)
    return payload[:PAYLOAD_LIMIT]


def _changed(random: Random, payload: bytes, words: Words) -> bytes:
    if random.random() < 0.8:
        tree = _tree(payload)
        if isinstance(tree, dict | list) and tree:
            _change_tree(random, tree, words)
            return _written(tree, payload)
    return cast(bytes, _one(random, _BYTES)(random, payload, words))


def _tree(payload: bytes) -> object:
    """The array or object that this is in JSON or CBOR; None for anything else."""
    try:
        if payload[:1] in (b"{", b"["):
            return msgspec.json.decode(payload)
        return cbor.parse(payload) if _is_cbor(payload) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Undecodable):
        return None


def _is_cbor(payload: bytes) -> bool:
    return bool(payload) and payload[0] >> 5 in (4, 5)


def _written(tree: Any, payload: bytes) -> bytes:
    """The tree as this payload was written; the payload itself where a tree cannot be."""
    try:
        return written(tree) if _is_cbor(payload) else msgspec.json.encode(tree)
    except (UnicodeEncodeError, OverflowError, msgspec.EncodeError):
        return payload


def _members(tree: object) -> Iterable[tuple[object, object]]:
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(tree, dict):
        inner = tree.items()
    elif isinstance(tree, list):
        inner = enumerate(tree)
    for key, value in inner:
        yield key, value
        yield from _members(value)


def _one(random: Random, things: Sequence[Any]) -> Any:
    return things[int(random.random() * len(things))]


def _change_tree(random: Random, tree: Any, words: Words) -> None:
    """Change one member, anywhere in the tree."""
    while True:
        key = _one(random, list(tree)) if isinstance(tree, dict) else int(random.random() * len(tree))
        value = tree[key]
        if not (isinstance(value, dict | list) and value) or random.random() < 0.25:
            break
        tree = value
    _one(random, _MEMBERS)(random, tree, key, words)


def _odd_value(random: Random, tree: Any, key: Any, words: Words) -> None:
    tree[key] = _one(random, ODD)


def _value_of_another(random: Random, tree: Any, key: Any, words: Words) -> None:
    tree[key] = _one(random, words.values)


def _nudged(random: Random, tree: Any, key: Any, words: Words) -> None:
    value = tree[key]
    if isinstance(value, bool):
        tree[key] = not value
    elif isinstance(value, int | float):
        tree[key] = -value if abs(value) > 2**60 else _one(random, (-value, value + 1, value * 1000, value / 1000))
    elif value is None:
        tree[key] = 1
    elif isinstance(value, str):
        tree[key] = _nudged_text(random, value)
    else:
        tree[key] = _one(random, (msgspec.json.encode(value).decode(), [value], None, len(value)))


def _nudged_text(random: Random, text: str) -> object:
    inner = _bytes_in(text)
    if inner is not None and random.random() < 0.7:
        raw, write = inner
        return write(_bytes_changed(random, raw))
    at = int(random.random() * (len(text) + 1))
    return _one(
        random, (text[:at], text[at:] + text[:at], text.upper(), text + "0", text[:at] + "é" + text[at:], [text])
    )


def _bytes_in(text: str) -> tuple[bytes, Callable[[bytes], str]] | None:
    """The bytes that a text writes in hexadecimal or base64, and how to write others so."""
    if len(text) < 4 or len(text) % 2:
        return None
    try:
        return bytes.fromhex(text), bytes.hex
    except ValueError:
        pass
    try:
        return binascii.a2b_base64(text, strict_mode=True), lambda raw: binascii.b2a_base64(raw, newline=False).decode()
    except ValueError:
        return None


def _removed(random: Random, tree: Any, key: Any, words: Words) -> None:
    del tree[key]


def _renamed(random: Random, tree: Any, key: Any, words: Words) -> None:
    value = tree.pop(key)
    if isinstance(tree, dict):
        tree[_one(random, words.keys)] = value
    else:
        tree.insert(0, value)


def _added(random: Random, tree: Any, key: Any, words: Words) -> None:
    value = _one(random, words.values)
    if isinstance(tree, dict):
        tree[_one(random, words.keys)] = value
    else:
        tree.append(value)


def _nested(random: Random, tree: Any, key: Any, words: Words) -> None:
    value = tree[key]
    for _ in range(1 if random.random() < 0.9 else 80):
        value = [value] if random.random() < 0.5 else {_one(random, words.keys): value}
    tree[key] = value


def _repeated(random: Random, tree: Any, key: Any, words: Words) -> None:
    """Some times over; once in a while as often as a payload has room for."""
    value = tree[key]
    size = len(msgspec.json.encode(value)) + 8
    room = PAYLOAD_LIMIT // size if random.random() < 0.002 else 3
    if isinstance(tree, list):
        tree.extend([value] * room)
    elif room > 3:
        tree |= {f"{key}{number}"[:40]: value for number in range(PAYLOAD_LIMIT // (size + len(str(key)) + 8))}
    else:
        tree[key] = [value] * room


_MEMBERS = (
    *(_odd_value, _odd_value, _value_of_another, _value_of_another, _nudged, _nudged, _nudged),
    *(_removed, _renamed, _added, _nested, _repeated),
)


def _bytes_changed(random: Random, raw: bytes) -> bytes:
    """One small change to bytes."""
    at = int(random.random() * (len(raw) + 1))
    way = random.random()
    if way < 0.35 and at < len(raw):
        return raw[:at] + bytes((raw[at] ^ (1 << int(random.random() * 8)),)) + raw[at + 1 :]
    if way < 0.7 and at < len(raw):
        other = _one(random, _ODD_BYTES) if random.random() < 0.5 else int(random.random() * 256)
        return raw[:at] + bytes((other,)) + raw[at + 1 :]
    end = at + int(random.random() * 9)
    if way < 0.8:
        return raw[:at] + raw[end:]
    return raw[:end] + raw[at:] if way < 0.9 else raw[:at] + random.randbytes(int(random.random() * 4)) + raw[at:]


def _change_bytes(random: Random, payload: bytes, words: Words) -> bytes:
    return _bytes_changed(random, payload)


def _piece(random: Random, payload: bytes, words: Words) -> bytes:
    at = int(random.random() * (len(payload) + 1))
    return payload[:at] + cast(bytes, _one(random, PIECES)) + payload[at + int(random.random() * 5) :]


def _spliced(random: Random, payload: bytes, words: Words) -> bytes:
    other: bytes = _one(random, words.payloads)
    return payload[: int(random.random() * len(payload))] + other[int(random.random() * len(other)) :]


def _cut(random: Random, payload: bytes, words: Words) -> bytes:
    return payload[: int(random.random() * len(payload))]


def _key_twice(random: Random, payload: bytes, words: Words) -> bytes:
    key = cast(str, _one(random, words.keys)).encode("utf-8", "replace")
    return payload.replace(b"{", b'{"' + key + b'":1,', 1)


def _inflated(random: Random, payload: bytes, words: Words) -> bytes:
    """A piece of it, seldom as often as a payload has room for."""
    at = int(random.random() * (len(payload) + 1))
    piece = payload[at : at + 1 + int(random.random() * 30)]
    times = PAYLOAD_LIMIT // (len(piece) + 1) if random.random() < 0.005 else 2
    return payload[:at] + piece * times + payload[at:]


_BYTES = (_change_bytes,) * 8 + (_piece, _piece, _spliced, _cut, _key_twice, _inflated)
