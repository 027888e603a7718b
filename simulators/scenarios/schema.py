"""Mappings of a YAML file as structs, by the structs' own types: every problem with its file, line and what is right.

Understood types of fields: the words below, bool, int, float and str (bounds by msgspec.Meta), Literal, StrEnum, dict
of them, Struct, and unions of these.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import msgspec

from ingest.configfile import ConfigFile
from ingest.file_rows import parse_time
from ingest.readings import QUANTITIES, STATES

Seconds = NewType("Seconds", float)  #: written as 250ms, 10s, 5m, 2h, 1d
Moment = NewType("Moment", int)  #: µs; written as a time with its zone
Quantity = NewType("Quantity", str)  #: a name of ingest.readings.QUANTITIES
State = NewType("State", str)  #: a name of ingest.readings.STATES
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]

S = TypeVar("S", bound=msgspec.Struct)
#: What a value is not, so that nothing else can be mistaken for it.
NO = object()

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Beyond these neither times nor sums of readings can be told: a year, 2100-01-01, and of any number.
_LONGEST_S, _LAST_MOMENT, _LARGEST = 366 * 86400.0, 4_102_444_800_000_000, 1e9
_CLOSED: dict[object, tuple[str, ...]] = {Quantity: tuple(QUANTITIES), State: STATES}
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def read_struct(file: ConfigFile, cls: type[S], row: object, *path: str | int, but: tuple[str, ...] = ()) -> S | None:
    """`row`, which stands at `path`, as a struct; None when a problem with it was noted. Keys of `but` are others'."""
    if not isinstance(row, dict):
        file.problem(f"{path[-1]}: {row!r} is no mapping; write keys such as {cls.__struct_fields__[0]}:", *path)
        return None
    fields = msgspec.structs.fields(cls)
    hints = {field.name: field.type for field in fields}
    before, given = len(file.problems), {}
    for key, raw in row.items():
        if key in hints:
            given[key] = read_value(file, hints[key], raw, *path, key)
        elif key not in but:
            file.problem(f"unknown key {key}{suggest(key, [*but, *hints])}", *path, key)
    for field in fields:
        if field.required and field.name not in row:
            file.problem(f"{field.name} is missing; give {expected(field.type)}", *path)
    return cls(**given) if len(file.problems) == before else None


def read_value(file: ConfigFile, hint: Any, raw: object, *path: str | int) -> Any:
    """`raw` as a value of this type; a problem is noted when it is none."""
    for member in _members(hint):
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            return read_struct(file, member, raw, *path)
        value = _fits(member, raw)
        if value is not NO:
            return value
    words = [word for member in _members(hint) for word in _words(member)]
    hinted = difflib.get_close_matches(str(raw), words, n=1, cutoff=0.5)
    near = f"; did you mean {hinted[0]}?" if hinted else ""
    file.problem(f"{path[-1]}: {raw!r} is not right; give {expected(hint)}{near}", *path)
    return None


def suggest(word: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word."""
    words = list(known)
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(words)}"


def expected(hint: Any) -> str:
    """What values of this type look like, in words."""
    return " or ".join(_expected(member) for member in _members(hint) if member is not type(None))


def parse_duration(text: object) -> Seconds | None:
    """Seconds of `10s`, `1.5m`, `2h`, `1d`, `250ms`; None when it is none of these, or more than a year."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    seconds = float(match[1]) * _UNITS[match[2]] if match else math.inf
    return Seconds(seconds) if seconds <= _LONGEST_S else None


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _words(hint: Any) -> list[str]:
    """The words of a closed set, none for other types."""
    if get_origin(hint) is Literal:
        return [str(word) for word in get_args(hint)]
    if hint in _CLOSED:
        return list(_CLOSED[hint])
    return [str(word) for word in hint] if isinstance(hint, type) and issubclass(hint, Enum) else []


def _fits(hint: Any, raw: object) -> Any:
    """The value, or NO."""
    if hint is Seconds:
        seconds = parse_duration(raw)
        return NO if seconds is None else seconds
    if hint is Moment:
        try:
            moment = parse_time(raw if isinstance(raw, str) else "")
        except ValueError:
            return NO
        return moment if 0 <= moment < _LAST_MOMENT else NO
    if hint in _CLOSED:
        return raw if raw in _CLOSED[hint] else NO
    if get_origin(hint) is dict:
        keys, values = get_args(hint)
        return _fits_mapping(keys, values, raw)
    try:
        value = msgspec.convert(raw, hint)
    except msgspec.ValidationError:
        return NO
    return NO if isinstance(value, float) and not abs(value) <= _LARGEST else value


def _fits_mapping(keys: Any, values: Any, raw: object) -> Any:
    pairs = raw.items() if isinstance(raw, dict) else [(NO, NO)]
    fitting = {_fits(keys, key): _fits(values, value) for key, value in pairs}
    return NO if NO in fitting or NO in fitting.values() else fitting


def _expected(hint: Any) -> str:
    if hint is Seconds:
        return "a duration such as 10s, 5m, 2h or 1d, at most 366d"
    if hint is Moment:
        return 'a time before 2100 with its zone, quoted, such as "2026-05-12T14:00:00+08:00"'
    if _words(hint):
        return " or ".join(_words(hint))
    if get_origin(hint) is Annotated:
        plain, meta = get_args(hint)
        return _PLAIN[plain] + _bounds(meta)
    if get_origin(hint) is dict:
        keys, values = get_args(hint)
        return f"a mapping of {expected(keys)} to {expected(values)}"
    return _PLAIN[hint]


def _bounds(meta: msgspec.Meta) -> str:
    if meta.gt is not None:
        return f" above {meta.gt:g}"
    low, high = meta.ge, meta.le
    return ("" if low is None else f" from {low:g}") + ("" if high is None else f" to {high:g}")
