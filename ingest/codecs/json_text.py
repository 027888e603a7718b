"""Strict JSON for codecs: one clear reason for whatever is wrong, in bounded time. Pure."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from itertools import accumulate, islice

import msgspec

from ingest.errors import Undecodable

#: Deeper than any device nests, and far below the interpreter's own limit, which depends on who calls: writer and
#: evaluator must refuse the same payloads.
DEPTH_LIMIT = 64
#: Numbers with an exponent of two digits or more in one text: the parser takes 20 µs over one such as 1e300.
_POWERS = 300
_POWER = re.compile(rb"[0-9][eE][+-]?0*[1-9][0-9]")
_SMALL = 1_500  #: bytes that cannot hold as many
#: Objects and arrays in one text: ten thousand buffered readings have fewer.
_PARTS = 12_000
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def parse(payload: bytes, members: int = 0) -> object:
    """The plain Python value of a JSON text; Undecodable for anything but one well-formed, unambiguous value.

    `members`: more keys than this, in all objects together, are refused; 0 = as many as there are.
    """
    if members and payload.count(b":") > members:
        raise Undecodable(f"more than {members} keys; send fewer at once")
    opened = payload.count(b"{") + payload.count(b"[") if len(payload) > 2 * DEPTH_LIMIT else 0
    if opened > _PARTS:
        raise Undecodable(f"more than {_PARTS} objects and arrays; send fewer at once")
    if len(payload) > _SMALL:
        _refuse_powers(payload)
    try:
        tree: object = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(_reason(payload, error)) from None
    if opened > DEPTH_LIMIT and _depth(payload) > DEPTH_LIMIT and _depth(_without_texts(payload)) > DEPTH_LIMIT:
        raise Undecodable(_TOO_DEEP)
    if type(tree) is dict and payload.count(b":") == len(tree):
        return tree  # every key has a colon of its own: with no more colons than keys, none is nested and none twice
    # A key that stands twice is lost in `tree`, and its colon with it; escapes could hide a colon.
    if payload.find(b"\\") >= 0 or payload.count(b":") != _encode(tree).count(b":"):
        _refuse_double_keys(payload)
    return tree


def shown(value: object) -> str:
    """A value of the payload on one line, short enough for a reason."""
    if type(value) is str and len(value) <= 38 and value.isalnum():
        return f'"{value}"'
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    text = json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())
    return text if len(text) <= 40 else f"{text[:36]} …"


def _reason(payload: bytes, error: Exception) -> str:
    if not payload.strip():
        return "empty payload; send a JSON object"
    if payload.startswith(_BOM):
        return "not JSON: starts with a byte order mark; send UTF-8 without one"
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "not JSON: a text in it is not UTF-8; send UTF-8"
    return f"not JSON: {_said(payload, str(error))}"


def _said(payload: bytes, error: str) -> str:
    """The parser's words, and what stands at the byte it names (NaN, a quote that closes nothing …)."""
    error = error.removeprefix("JSON is malformed: ").partition(" - at ")[0].lower()
    at = _AT_BYTE.search(error)
    there = payload[int(at[1]) :][:10].decode("utf-8", "replace") if at else ""
    return f"{error}: {shown(there)}" if there else error


_TOO_DEEP = f"nested deeper than {DEPTH_LIMIT} levels; send a flat object"


def _refuse_powers(payload: bytes) -> None:
    if payload.count(b"e") + payload.count(b"E") <= _POWERS:
        return
    bare = _without_texts(payload)
    if bare.count(b"e") + bare.count(b"E") - bare.count(b"true") - bare.count(b"false") <= _POWERS:
        return
    if next(islice(_POWER.finditer(bare), _POWERS, None), None) is not None:
        raise Undecodable(f"more than {_POWERS} numbers such as 1e20; write them out, or send fewer at once")


def _without_texts(payload: bytes) -> bytes:
    """What stands outside of quotes."""
    return b"".join(payload.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _depth(payload: bytes) -> int:
    """How deep it nests, brackets in texts taken for nesting."""
    return max(accumulate(array("b", payload.translate(_STEPS, _NO_BRACKETS))), default=0)


def _refuse_double_keys(payload: bytes) -> None:
    def keep(pairs: list[tuple[str, object]]) -> None:
        if len(dict(pairs)) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise Undecodable(f"key {shown(twice)} stands twice in one object; send it once")

    try:
        json.loads(payload, object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:  # what the first parser let pass
        raise Undecodable(f"not JSON: {error}") from None
