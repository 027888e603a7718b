"""Quantities, states and names out of decoded payloads; Undecodable names the path of what is wrong. Pure."""

from __future__ import annotations

import math
import re

from ingest.codecs.json_text import shown
from ingest.errors import Undecodable
from ingest.readings import finite

NAME_LIMIT = 200
_NUMBER = re.compile(r"\s*[+-]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,3})?\s*", re.ASCII)
_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


def quantity(value: object, path: str) -> float:
    """A JSON number as a finite float."""
    if type(value) is float:
        return value
    if type(value) is not int:
        raise Undecodable(f"{path}: {shown(value)} is not a number")
    try:
        return finite(path, value)
    except ValueError:
        raise Undecodable(f"{path}: {shown(value)} is too large for a number") from None


def state(value: object, path: str) -> bool:
    """true, false, 1 or 0 as a boolean."""
    if value is True or value is False:
        return value
    if type(value) is int and (value == 0 or value == 1):
        return value == 1
    raise Undecodable(f"{path}: {shown(value)} is neither true nor false")


def mapped_quantity(value: object, path: str) -> float:
    """As `quantity`, and also a number written as text: an operator mapped this very path to a quantity."""
    if type(value) is str and _NUMBER.fullmatch(value):
        try:
            return finite(path, float(value))
        except ValueError:
            raise Undecodable(f"{path}: {shown(value)} is too large for a number") from None
    return quantity(value, path)


def mapped_state(value: object, path: str) -> bool:
    """As `state`, and also on/off, yes/no, true/false or 1/0 as text in any case."""
    if type(value) is str:
        known = _WORDS.get(value.strip().lower())
        if known is None:
            raise Undecodable(f"{path}: {shown(value)} is no state; true/false, on/off, yes/no or 1/0 would be")
        return known
    return state(value, path)


def name(value: object, path: str) -> str:
    """The id of a device or site: short printable text, or a whole number."""
    text = str(value) if type(value) is int and abs(value) < 10**18 else value
    if type(text) is not str or not text:
        what = "absent" if value is None else f"{shown(value)} is no id"
        raise Undecodable(f"{path}: {what}; give the id as a text")
    if len(text) > NAME_LIMIT or not text.isprintable():
        raise Undecodable(
            f"{path}: {shown(text)} is no id; give at most {NAME_LIMIT} characters, no control characters"
        )
    return text


def db_per_metre(percent: float, path: str) -> float:
    """Obscuration of smoke in %/m as dB/m: −10·log10(1 − x/100); Undecodable outside 0 to below 100."""
    if not 0 <= percent < 100:
        raise Undecodable(f"{path}: {percent:g} %/m is no obscuration; 0 to below 100 would be")
    return -10 * math.log10(1 - percent / 100) + 0.0


def celsius(fahrenheit: float) -> float:
    """°F as °C."""
    return (fahrenheit - 32) / 1.8
