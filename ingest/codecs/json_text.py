"""Strict JSON for codecs: one clear reason for whatever is wrong, in bounded time. Pure."""

from __future__ import annotations

import json
import re

import msgspec

from ingest.errors import Undecodable

#: Deeper than any device nests, and far below the interpreter's own limit, which depends on who calls: writer and
#: evaluator must refuse the same payloads.
DEPTH_LIMIT = 64
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def parse(payload: bytes) -> object:
    """The plain Python value of a JSON text; Undecodable for anything but one well-formed, unambiguous value."""
    try:
        tree: object = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(_reason(payload, error)) from None
    if len(payload) > 2 * DEPTH_LIMIT and payload.count(b"{") + payload.count(b"[") > DEPTH_LIMIT:
        _refuse_depth(tree)
    if type(tree) is dict and payload.count(b":") == len(tree):
        return tree  # every key has a colon of its own: with no more colons than keys, none is nested and none twice
    # A key that stands twice is lost in `tree`, and its colon with it; escapes could hide a colon.
    if payload.find(b"\\") >= 0 or payload.count(b":") != _encode(tree).count(b":"):
        _refuse_double_keys(payload)
    return tree


def shown(value: object) -> str:
    """A value of the payload on one line, short enough for a reason."""
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


def _refuse_depth(tree: object) -> None:
    level: list[object] = [tree]
    for _ in range(DEPTH_LIMIT):
        level = [part for node in level for part in _parts(node) if type(part) in (dict, list)]
        if not level:
            return
    raise Undecodable(_TOO_DEEP)


def _parts(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _refuse_double_keys(payload: bytes) -> None:
    def keep(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Undecodable(f"key {shown(key)} stands twice in one object; send it once")
            seen.add(key)

    try:
        json.loads(payload, object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:  # what the first parser let pass
        raise Undecodable(f"not JSON: {error}") from None
