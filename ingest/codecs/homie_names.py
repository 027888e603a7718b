"""What a Homie property is, by its ids and what its device's description says of it. Pure.

Of a description one short text a property is kept: "" nothing, "!" not measured, else an alias and a unit with a tab
between them; either may be empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ingest.codecs.usual_names import Fields, Meaning, meaning

NOT_MEASURED = "!"
#: Of a node's and a property's id together; longer ones are no sensor's.
LONGEST_PATH = 80
#: Property ids that say nothing of their own: the node's id says what it is.
_GENERIC = frozenset({"value", "state", "status", "detected", "level", "degrees", "reading", "measurement"})
#: `alarm/state` is a siren, not a detector.
_NO_SENSORS = frozenset({"alarm", "siren"})
#: What a device may be told without being an actuator.
_SETTABLE = frozenset({"test", "muted"})
_WORDS = frozenset({"boolean", "enum"})
_NUMBERS = frozenset({"integer", "float"})


def meaning_of(node: str, id_: str, stored: str, fields: Fields) -> Meaning | None:
    """What a property's values are; None where they are nothing of ours."""
    return _meaning_of(node, id_, stored, fields) if len(node) + len(id_) <= LONGEST_PATH else None


@lru_cache(maxsize=2048)
def _meaning_of(node: str, id_: str, stored: str, fields: Fields) -> Meaning | None:
    alias, _, unit = stored.rpartition("\t")
    unit = "" if stored == NOT_MEASURED else unit
    what = meaning(f"{node}/{id_}", unit, fields)
    if what is not None and what.mapped:
        return what
    if stored == NOT_MEASURED:
        return None
    return _by_node(node, id_, unit, fields) or what or (meaning(alias, unit, fields) if alias else None)


def _by_node(node: str, id_: str, unit: str, fields: Fields) -> Meaning | None:
    if id_ == "reachable":
        return meaning("online", unit, fields)
    return meaning(node, unit, fields) if id_ in _GENERIC and node not in _NO_SENSORS else None


def kept_of(node: str, id_: str, body: Mapping[str, object], fields: Fields) -> str:
    """The text to keep of a property's description; "" where its ids say as much."""
    unit, label = body.get("unit"), body.get("name")
    unit = unit if type(unit) is str and len(unit) <= 16 and "\t" not in unit else ""
    alias = ""
    if len(node) + len(id_) > LONGEST_PATH:
        return ""
    usual = _meaning_of(node, id_, f"\t{unit}", fields)
    if usual is None and type(label) is str and len(label) <= 64 and "\t" not in label:
        usual = meaning(label, unit, fields) if label.strip().lower() not in _NO_SENSORS else None
        alias = label if usual is not None else ""
    if usual is None:
        return f"\t{unit}" if unit and f"{node}/{id_}" in dict(fields).values() else ""
    if not usual.mapped and not _is_measured(usual, body):
        return "" if alias else NOT_MEASURED
    return f"{alias}\t{unit}" if alias or unit else ""


def _is_measured(what: Meaning, body: Mapping[str, object]) -> bool:
    """Whether a property reports, rather than sets, a value of the kind its name promises."""
    if body.get("settable") is True and what.name not in _SETTABLE:
        return False
    datatype = str(body.get("datatype", "string"))
    if datatype == "string":
        return True
    if what.either:
        return datatype in _WORDS or datatype in _NUMBERS
    return datatype in (_WORDS if what.state else _NUMBERS)
