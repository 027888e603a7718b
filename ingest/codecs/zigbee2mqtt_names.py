"""Who is behind which Zigbee2MQTT bridge: friendly name → IEEE address, bounded. Pure.

Kept in the codec's memory as plain values: {base topic: {"ids": {friendly name: address or ""}, "down": …}}, and
beside them the number of names kept in all. Beyond the bounds a new name is not remembered: its messages
are still read, by the address in them or by the friendly name.
"""

from __future__ import annotations

import re
from typing import cast

from ingest.codecs.contract import CodecMemory

#: More than any one Zigbee network carries.
OF_ONE_BRIDGE = 2_000
#: Names of all bridges of a shard; about 100 bytes each.
OF_ALL = 100_000
_LONGEST = 200
_COUNT = "\x00count"  # no topic contains it
_IEEE = re.compile(r"0x[0-9a-f]{16}", re.ASCII)


def ieee_of(value: object) -> str:
    """An IEEE address in small letters, "" for anything else."""
    text = value.lower() if type(value) is str and len(value) == 18 else ""
    return text if _IEEE.fullmatch(text) else ""


class Names:
    """The devices behind one bridge, kept in the codec's memory."""

    __slots__ = ("_base", "_bridge", "_memory")

    def __init__(self, memory: CodecMemory, base: str) -> None:
        self._memory = memory
        self._base = base
        self._bridge = cast("dict[str, object] | None", memory.get(base))

    def id_of(self, friendly: str, ieee: str) -> str:
        """The stable id as far as it is known; `ieee` is what the message itself says, "" when nothing."""
        ids = self._ids()
        known = ids.get(friendly)
        if known is None or (ieee and ieee != known):
            if known is None and ieee:
                ids = self._without(ieee)
            self._keep(friendly, ieee or ieee_of(friendly))  # whom nobody named is called by the address
            known = self._ids().get(friendly)
        return ieee or known or friendly

    def __contains__(self, friendly: str) -> bool:
        return friendly in self._ids()

    def known(self, friendly: str) -> str:
        return self._ids().get(friendly, "")

    def forget(self, friendly: str) -> None:
        if self._ids().pop(friendly, None) is not None:
            self._count(-1)
            self._drop_when_empty()

    def rename(self, old: str, new: str) -> None:
        ieee = self._ids().get(old)
        if ieee is not None:
            self.forget(old)
            self._keep(new, ieee)

    def replace(self, known: dict[str, str]) -> None:
        """Keep exactly these; what the bridge does not list is gone from its network."""
        self._count(-len(self._ids()))
        self._ids().clear()
        for friendly, ieee in known.items():
            self._keep(friendly, ieee)
        self._drop_when_empty()

    def bridge_is(self, online: bool) -> list[str]:
        """Whom the bridge's state is news about: everybody when it dies, and again when it is back after that."""
        bridge = self._bridge
        if bridge is None or (online and not bridge["down"]):
            return []
        bridge["down"] = not online
        return list(dict.fromkeys(ieee or friendly for friendly, ieee in self._ids().items()))

    def _ids(self) -> dict[str, str]:
        return cast("dict[str, str]", self._bridge["ids"]) if self._bridge is not None else {}

    def _without(self, ieee: str) -> dict[str, str]:
        """Without the name this device had before it was renamed."""
        ids = self._ids()
        for old in [name for name, known in ids.items() if known == ieee]:
            self.forget(old)
        return ids

    def _keep(self, friendly: str, ieee: str) -> None:
        ids = self._ids()
        if friendly not in ids:
            total = cast(int, self._memory.get(_COUNT, 0))
            if total >= OF_ALL or len(ids) >= OF_ONE_BRIDGE or len(friendly) > _LONGEST or len(self._base) > _LONGEST:
                return
            if self._bridge is None:
                self._bridge = {"ids": {}, "down": False}
                self._memory[self._base] = self._bridge
                ids = self._ids()
            self._count(1)
        ids[friendly] = ieee

    def _drop_when_empty(self) -> None:
        if self._bridge is not None and not self._ids():
            self._memory.pop(self._base, None)
            self._bridge = None

    def _count(self, change: int) -> None:
        self._memory[_COUNT] = cast(int, self._memory.get(_COUNT, 0)) + change
