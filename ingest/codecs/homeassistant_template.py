"""The templates of Home Assistant that are plain look-ups: `{{ value_json.a['b'][0] | float | round(1) }}`. Pure.

A template from the wire is a program; nothing beyond a path and a few filters is read, and nothing is run.
"""

from __future__ import annotations

import re

from ingest.codecs.json_text import shown
from ingest.codecs.values import mapped_quantity
from ingest.errors import Undecodable
from ingest.readings import finite

_LONGEST = 300
_ROOT = re.compile(r"(value_json|value)(?![\w])", re.ASCII)
_STEP = re.compile(
    r"""\.get\(\s?'(?P<got>[^']+)'\s?\)|\.(?P<name>\w+)|\[\s?(?P<index>\d{1,6})\s?\]"""
    r"""|\[\s?'(?P<single>[^']+)'\s?\]|\[\s?"(?P<double>[^"]+)"\s?\]"""
)
_FILTER = re.compile(r"\s*\|\s*(?P<name>\w+)\s*(\((?P<with>[^()]{0,40})\))?")
#: They change nothing that we look at: what is absent is not reported, and texts are compared in any case.
_IDLE = frozenset({"is_defined", "default", "d", "lower", "upper", "trim", "string"})

#: What a template was read as: whether it looks into JSON, the way down, and filters with their argument.
Look = tuple[bool, list[str | int], list[list[str | int]]]


def parse_template(text: str) -> Look:
    """ValueError for anything but a plain look-up."""
    inner = text.strip()
    if len(inner) > _LONGEST or not (inner.startswith("{{") and inner.endswith("}}")):
        raise ValueError(f"{shown(text)} is no plain look-up")
    inner = inner[2:-2].strip("-").strip()
    root = _ROOT.match(inner)
    if root is None:
        raise ValueError(f"{shown(text)} is no plain look-up")
    steps, end = _steps(inner, root.end())
    filters, end = _filters(inner, end)
    if end != len(inner) or (steps and root[1] == "value"):
        raise ValueError(f"{shown(text)} is no plain look-up")
    return root[1] == "value_json", steps, filters


def _steps(inner: str, at: int) -> tuple[list[str | int], int]:
    steps: list[str | int] = []
    while step := _STEP.match(inner, at):
        name = step["got"] or step["name"] or step["single"] or step["double"]
        steps.append(int(step["index"]) if name is None else name)
        at = step.end()
    return steps, at


def _filters(inner: str, at: int) -> tuple[list[list[str | int]], int]:
    filters: list[list[str | int]] = []
    while found := _FILTER.match(inner, at):
        name, argument = found["name"], (found["with"] or "").strip()
        if name == "round":
            filters.append([name, _digits(argument)])
        elif name in ("int", "float"):  # their argument is what to say instead of a number: not reported
            filters.append([name, 0])
        elif name not in _IDLE:
            break
        at = found.end()
    return filters, at


def _digits(argument: str) -> int:
    if argument and not (argument.isascii() and argument.isdigit() and len(argument) < 3):
        raise ValueError(f"round({argument}) is no plain rounding")
    return int(argument or 0)


def found(tree: object, steps: list[str | int]) -> object:
    """What stands there; None where the way down ends."""
    node = tree
    for step in steps:
        if type(node) is dict and type(step) is str:
            node = node.get(step)
        elif type(node) is list and type(step) is int and step < len(node):
            node = node[step]
        else:
            return None
    return node


def filtered(value: object, filters: list[list[str | int]], path: str) -> object:
    """The value after its filters; what is no number passes them unchanged and fails where it is used."""
    for name, digits in filters:
        number = _number(value, path)
        if number is None:
            return value
        value = int(number) if name == "int" else number if name == "float" else round(number, int(digits))
    return value


def _number(value: object, path: str) -> float | None:
    if value is True or value is False:
        return float(value)
    if type(value) is str and len(value) > _LONGEST:
        return None
    try:
        return finite(path, mapped_quantity(value, path))
    except (Undecodable, ValueError):
        return None


def rendered(value: object) -> str:
    """The text Home Assistant compares with payload_on and payload_off: JSON true reads `True`."""
    if isinstance(value, dict | list):
        raise Undecodable(f"{shown(value)} stands where a state should be")
    if type(value) is int and abs(value) >= 10**30:
        return "a large number"
    return value if type(value) is str else str(value)
