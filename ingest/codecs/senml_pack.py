"""SenML's packs (RFC 8428): records with their base values taken in. Pure."""

from __future__ import annotations

import base64
import binascii
import math
from typing import NamedTuple

from ingest.codecs.json_text import shown
from ingest.codecs.values import quantity
from ingest.errors import Undecodable

#: Of one pack: a day of readings each minute; more take longer to judge than one message may.
RECORD_LIMIT = 2_000
#: Times below this many seconds count from now.
RELATIVE = 2**28
VERSION = 10
_EXACT = 2**53  #: whole numbers below it are summed as such
_NAME_LIMIT = 400
#: RFC 8428, table 4: the labels of CBOR.
_LABELS: dict[object, str] = {
    **{-1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs"},
    **{0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd"},
}
_VALUES = ("v", "vb", "vs", "vd")


class Entry(NamedTuple):
    """A record resolved. `time` in seconds: since 1970 from RELATIVE on, below it from now."""

    name: str
    unit: str
    time: float
    value: float | bool | str | None  #: None: data, or no value


def resolve(pack: object, *, cbor: bool = False) -> list[Entry]:
    """The records that have a value or a sum, by `time`. Undecodable where RFC 8428 refuses."""
    if type(pack) is not list:
        raise Undecodable(f"$: {shown_any(pack)} is no SenML pack; send an array of records")
    if len(pack) > RECORD_LIMIT:
        raise Undecodable(f"$: a pack of {len(pack)} records; send at most {RECORD_LIMIT} at once")
    base = _Base()
    found = [entry for index, record in enumerate(pack) if (entry := _entry(record, index, base, cbor)) is not None]
    return sorted(found, key=_time)


class _Base:
    """What holds from a record on until another says otherwise."""

    __slots__ = ("name", "time", "unit", "value", "version")

    def __init__(self) -> None:
        self.name = self.unit = ""
        self.time = self.value = 0.0
        self.version: int | None = None


def _entry(record: object, index: int, base: _Base, cbor: bool) -> Entry | None:
    path = f"$[{index}]"
    if type(record) is not dict:
        raise Undecodable(f"{path}: {shown_any(record)} is no SenML record; send an object")
    fields = {_LABELS.get(key, key): value for key, value in record.items()} if cbor else record
    if cbor and len(fields) != len(record):
        raise Undecodable(f"{path}: a label stands twice, as a number and as a text; send it once")
    for key in fields:
        if type(key) is str and key.endswith("_"):
            raise Undecodable(f"{path}: a field that must be understood and is not (its label ends in _)")
    _take_base(fields, base, path)
    present = [key for key in _VALUES if key in fields]
    if len(present) > 1:
        raise Undecodable(f"{path}: {' and '.join(present)}; one value a record")
    if not present and "s" not in fields:
        return None
    name = base.name + _text(fields, "n", path)
    if not name or len(name) > _NAME_LIMIT or not name.isprintable():
        raise Undecodable(f"{path}: {shown(name)} is no name; give bn, n or both")
    time = base.time + _number(fields, "t", path)
    if not math.isfinite(time):
        raise Undecodable(f"{path}.t: the time is not finite; give seconds")
    unit = _text(fields, "u", path) or base.unit
    return Entry(name, unit, time, _value(fields, present[0], base, path) if present else None)


def _take_base(fields: dict[object, object], base: _Base, path: str) -> None:
    if "bn" in fields:
        base.name = _text(fields, "bn", path)
    if "bt" in fields:
        base.time = _number(fields, "bt", path)
    if "bu" in fields:
        base.unit = _text(fields, "bu", path)
    if "bv" in fields:
        base.value = _number(fields, "bv", path)
    if "bver" in fields:
        _check_version(fields["bver"], base, path)


def _check_version(version: object, base: _Base, path: str) -> None:
    if type(version) is not int or not 1 <= version <= VERSION:
        raise Undecodable(f"{path}.bver: {shown_any(version)} is no version known here; 1 to {VERSION} are")
    if base.version not in (None, version):
        raise Undecodable(f"{path}.bver: {version} after {base.version}; one version a pack")
    base.version = version


def _value(fields: dict[object, object], key: str, base: _Base, path: str) -> float | bool | str | None:
    value = fields[key]
    if value is None:
        return None
    if key == "v":
        return _sum(base.value, _number(fields, "v", path))
    if key == "vb":
        if type(value) is not bool:
            raise Undecodable(f"{path}.vb: {shown_any(value)} is neither true nor false")
        return value
    if key == "vs":
        return _text(fields, "vs", path)
    if type(value) is not bytes:  # JSON has none
        _check_data(_text(fields, "vd", path), path)
    return None


def _sum(base: float, value: float) -> float | None:
    """None where it is no finite number: CBOR can say NaN, which is a probe without a value."""
    if not base:
        return value if math.isfinite(value) else None
    total = base + value
    return total if math.isfinite(total) else None


def _check_data(text: str, path: str) -> None:
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Undecodable(f"{path}.vd: {shown(text)} is no base64url") from None


def _number(fields: dict[object, object], key: str, path: str) -> float:
    value = fields.get(key, 0)
    if value is None:
        return 0
    if type(value) is not int and type(value) is not float:
        raise Undecodable(f"{path}.{key}: {shown_any(value)} is not a number")
    return quantity(value, f"{path}.{key}") if abs(value) >= _EXACT else value


def _text(fields: dict[object, object], key: str, path: str) -> str:
    value = fields.get(key, "")
    if value is None:
        return ""
    if type(value) is not str:
        raise Undecodable(f"{path}.{key}: {shown_any(value)} is not a text")
    return value


def _time(entry: Entry) -> float:
    return entry.time


def shown_any(value: object) -> str:
    """As `shown`, and also for what only CBOR has."""
    return "a byte string" if type(value) is bytes else shown(value)
