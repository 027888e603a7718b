"""Sparkplug B's payload: metrics with their values, and the request for a rebirth. Pure.

Field numbers and types: org.eclipse.tahu.protobuf of the Sparkplug 3.0 specification, chapter 6.
"""

from __future__ import annotations

from struct import Struct

import msgspec

from ingest.codecs.protobuf import BYTES, FIXED32, FIXED64, VARINT, Budget, bytes_field, fields, tag, varint_field
from ingest.errors import Undecodable

#: Deeper than templates are nested in practice.
_DEPTH = 4
_TIME, _METRIC, _SEQ, _UUID = tag(1, VARINT), tag(2, BYTES), tag(3, VARINT), tag(4, BYTES)
_NAME, _ALIAS, _METRIC_TIME, _DATATYPE = tag(1, BYTES), tag(2, VARINT), tag(3, VARINT), tag(4, VARINT)
_HISTORICAL, _NULL, _PROPERTIES = tag(5, VARINT), tag(7, VARINT), tag(9, BYTES)
_INT, _LONG, _FLOAT, _DOUBLE = tag(10, VARINT), tag(11, VARINT), tag(12, FIXED32), tag(13, FIXED64)
_BOOLEAN, _STRING, _TEMPLATE = tag(14, VARINT), tag(15, BYTES), tag(18, BYTES)
_TEMPLATE_METRIC, _IS_DEFINITION = tag(2, BYTES), tag(5, VARINT)
_KEY, _PROPERTY = tag(1, BYTES), tag(2, BYTES)
_PROPERTY_INT, _PROPERTY_LONG, _PROPERTY_STRING = tag(3, VARINT), tag(4, VARINT), tag(8, BYTES)
_NUMBERS, _PROPERTY_NUMBERS = frozenset({_INT, _LONG}), frozenset({_PROPERTY_INT, _PROPERTY_LONG})
_read_float, _read_double = Struct("<f").unpack, Struct("<d").unpack
#: Bits of the signed data types Int8 … Int64, which travel as unsigned numbers.
_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED = {5: 8, 6: 16, 7: 32}
_BOOLEAN_TYPE = 11
_UNIT_KEYS = frozenset({b"engunit", b"unit", b"units", b"engineeringunits", b"engunits"})
#: Quality codes of the specification that mean: do not use this value.
_BAD, _STALE = 0, 500
_BAD_BIT = 1 << 31  #: set in every bad code of Ignition, which sends its own codes
_COMPRESSED = b"SPBV1.0_COMPRESSED"


class Metric(msgspec.Struct, gc=False):
    """One metric as it was sent; `value` None: null, of bad quality, or of a kind that is no value."""

    name: str = ""
    alias: int | None = None
    timestamp: int = 0
    datatype: int = 0
    historical: bool = False
    unit: str = ""
    value: float | bool | str | None = None
    unsigned: bool = False  #: `value` is a number as it travelled, to be read by the data type
    wide: bool = False  #: it came in the field of 64 bits


class Payload(msgspec.Struct, gc=False):
    """One message; `timestamp` in ms, 0 = none."""

    timestamp: int = 0
    seq: int | None = None
    metrics: list[Metric] = []


def read(data: bytes) -> Payload:
    """The payload; Undecodable where it is none."""
    payload = Payload()
    budget = Budget()
    for key, value in fields(data, budget):
        if key == _METRIC:
            _metric(value, "", budget, payload.metrics, 0)  # type: ignore[arg-type]
        elif key == _TIME:
            payload.timestamp = value  # type: ignore[assignment]
        elif key == _SEQ:
            payload.seq = value  # type: ignore[assignment]
        elif key == _UUID and value == _COMPRESSED:
            raise Undecodable("compressed Sparkplug payload; switch compression off at the edge node")
    return payload


def _metric(data: bytes, above: str, budget: Budget, found: list[Metric], depth: int) -> None:
    """Reads a metric into `found`; of a template the metrics in it, with its name before theirs."""
    metric = Metric()
    usable = True
    template = None
    for key, value in fields(data, budget):
        if type(value) is int:
            if key == _ALIAS:
                metric.alias = value
            elif key == _METRIC_TIME:
                metric.timestamp = value
            elif key == _DATATYPE:
                metric.datatype = value
            elif key in _NUMBERS:
                metric.value, metric.unsigned, metric.wide = value, True, key == _LONG
            elif key == _BOOLEAN:
                metric.value = value != 0
            elif key == _HISTORICAL:
                metric.historical = value != 0
            elif key == _NULL:
                usable = usable and value == 0
        elif key == _FLOAT:
            metric.value = _single(_read_float(value)[0])  # type: ignore[arg-type]
        elif key == _DOUBLE:
            metric.value = _read_double(value)[0]  # type: ignore[arg-type]
        elif key == _NAME:
            metric.name = _text(value, "name")  # type: ignore[arg-type]
        elif key == _STRING:
            metric.value = _text(value, "string_value")  # type: ignore[arg-type]
        elif key == _PROPERTIES:
            good, metric.unit = _properties(value, budget)  # type: ignore[arg-type]
            usable = usable and good
        elif key == _TEMPLATE:
            template = value
    if not usable:
        metric.value = None
    if above and metric.name:
        metric.name = f"{above}/{metric.name}"
    found.append(metric)
    if template is not None and usable:
        _template(template, metric.name, budget, found, depth + 1)  # type: ignore[arg-type]


def _template(data: bytes, above: str, budget: Budget, found: list[Metric], depth: int) -> None:
    if depth > _DEPTH:
        raise Undecodable(f"templates nested deeper than {_DEPTH}; send flat metrics")
    inside = fields(data, budget)
    if any(key == _IS_DEFINITION and value for key, value in inside):
        return
    for key, value in inside:
        if key == _TEMPLATE_METRIC:
            _metric(value, above[:200], budget, found, depth)  # type: ignore[arg-type]


def _properties(data: bytes, budget: Budget) -> tuple[bool, str]:
    """Whether the value may be used, and its unit; "" for none."""
    keys: list[bytes] = []
    values: list[bytes] = []
    for key, value in fields(data, budget):
        if key == _KEY:
            keys.append(value)  # type: ignore[arg-type]
        elif key == _PROPERTY:
            values.append(value)  # type: ignore[arg-type]
    good, unit = True, ""
    for name, body in zip(keys, values, strict=False):
        name = name.lower()
        if name == b"quality":
            good = _is_good(body, budget)
        elif name in _UNIT_KEYS:
            unit = next((_text(v, "unit") for k, v in fields(body, budget) if k == _PROPERTY_STRING), "")  # type: ignore[arg-type]
    return good, unit


def _is_good(body: bytes, budget: Budget) -> bool:
    for key, value in fields(body, budget):
        if key in _PROPERTY_NUMBERS and type(value) is int:
            return value != _BAD and value & 0xFFFF != _STALE and not value & _BAD_BIT
    return True


def _text(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise Undecodable(f"a metric's {where} is not UTF-8; send UTF-8") from None


def _single(value: float) -> float:
    """The shortest number that is this one in single precision: 12.1 was sent, not 12.100000381."""
    return float(f"{value:.7g}") if value == value and abs(value) < 1e30 else value


def number(metric: Metric, datatype: int) -> float | bool | str | None:
    """The metric's value, read as its data type (0 = not known) says."""
    value = metric.value
    if not metric.unsigned or type(value) is not int:
        return value
    if datatype == _BOOLEAN_TYPE:
        return value != 0
    bits = _SIGNED.get(datatype)
    if bits is None:
        if datatype in _UNSIGNED:
            return value & (1 << _UNSIGNED[datatype]) - 1
        # no birth told the type: no quantity of ours is so large, so that it is a negative number
        bits = 0 if datatype else 64 if metric.wide else 32
        if not bits:
            return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def rebirth_request(at: int) -> bytes:
    """The payload of the NCMD that asks an edge node for its births; `at` in ms."""
    name = bytes_field(1, b"Node Control/Rebirth")
    metric = name + varint_field(3, at) + varint_field(4, _BOOLEAN_TYPE) + varint_field(14, 1)
    return varint_field(1, at) + bytes_field(2, metric)
