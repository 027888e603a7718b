"""What is remembered of Homie devices: state, root, and what their descriptions add to the ids. Bounded. Pure.

Kept by the topic up to the device, so that domains do not mix: {"s": state, "l": lost before, "r": root, "p":
{"node/property": what homie_names keeps}}, each only where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from ingest.codecs.contract import CodecMemory
from ingest.codecs.homie_names import kept_of
from ingest.codecs.json_text import parse, shown
from ingest.codecs.usual_names import Fields
from ingest.codecs.values import NAME_LIMIT
from ingest.errors import Undecodable

#: Devices remembered; the one that has been silent about itself longest is forgotten for a new one.
DEVICE_LIMIT = 5_000
#: Properties kept of one device; a head has a handful.
PROPERTY_LIMIT = 32
#: Properties of one description looked at; looking one up takes microseconds.
_LOOKED_AT = 500


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one device; `lost` until a lost root is ready again."""

    state: str = ""
    lost: bool = False
    root: str = ""
    properties: dict[str, str] = {}

    def now(self, state: str) -> Known:
        """The same device in another state."""
        lost = state == "lost" or (self.lost and state not in ("ready", "sleeping"))
        return msgspec.structs.replace(self, state=state, lost=lost)

    def described(self, prefix: str, payload: bytes, fields: Fields) -> Known:
        """The same device by a new description; Undecodable where it is none. An empty payload takes it away."""
        body = parse(payload) if payload else {}
        if type(body) is not dict:
            raise Undecodable(f"$description: {shown(body)} is none; an object with homie, version and nodes would be")
        root = body.get("root")
        parent = prefix.rpartition("/")[0]
        root = f"{parent}/{root}" if type(root) is str and 0 < len(root) <= NAME_LIMIT else ""
        return msgspec.structs.replace(self, root=root if root != prefix else "", properties=_properties(body, fields))


_NOBODY = Known()


def known_of(memory: CodecMemory, prefix: str) -> Known:
    """What is remembered of a device."""
    entry = memory.get(prefix)
    if not isinstance(entry, dict):
        return _NOBODY
    return Known(
        state=entry.get("s", ""), lost=bool(entry.get("l")), root=entry.get("r", ""), properties=entry.get("p", {})
    )


def kept_text(memory: CodecMemory, prefix: str, path: str) -> str:
    """What a device's description adds to the ids of this property."""
    entry = memory.get(prefix)
    properties = entry.get("p") if isinstance(entry, dict) else None
    return properties.get(path, "") if properties else ""


def learn(memory: CodecMemory, prefix: str, known: Known) -> None:
    """Remember a device, as the one heard of last."""
    if memory.pop(prefix, None) is None and len(memory) >= DEVICE_LIMIT:
        del memory[next(iter(memory))]
    entry = {"s": known.state, "l": known.lost, "r": known.root, "p": known.properties}
    memory[prefix] = {key: value for key, value in entry.items() if value}


def forget(memory: CodecMemory, prefix: str) -> None:
    """A device was removed."""
    memory.pop(prefix, None)


def tree_of(memory: CodecMemory, root: str) -> list[tuple[str, Known]]:
    """The devices whose root this is."""
    below = [prefix for prefix, entry in memory.items() if isinstance(entry, dict) and entry.get("r") == root]
    return [(prefix, known_of(memory, prefix)) for prefix in below]


def _properties(body: dict[str, object], fields: Fields) -> dict[str, str]:
    kept: dict[str, str] = {}
    for node, id_, described in islice(_described(body.get("nodes")), _LOOKED_AT):
        text = kept_of(node, id_, described, fields)
        if text:
            kept[f"{node}/{id_}"] = text
            if len(kept) == PROPERTY_LIMIT:
                break
    return kept


def _described(nodes: object) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Node id, property id and description of each property."""
    for node, inner in nodes.items() if isinstance(nodes, dict) else ():
        properties = inner.get("properties") if isinstance(inner, dict) else None
        for id_, described in properties.items() if isinstance(properties, dict) else ():
            if isinstance(described, dict):
                yield node, id_, described
