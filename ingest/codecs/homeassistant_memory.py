"""What Home Assistant's discovery told us, bounded: who reports what on which topic. Pure.

Plain values in the codec's memory: "configs" {config topic: [devices]}, "devices" {device: {"entries", "mode",
"down"}}, "topics" {topic: {device: entries}} and the number of entries in all. Beyond the bounds a new configuration
is refused; those known go on working, so that invented names cannot push real devices out.
"""

from __future__ import annotations

from typing import Any, cast

from ingest.codecs.contract import CodecMemory
from ingest.codecs.homeassistant_config import Entry
from ingest.errors import Undecodable
from ingest.readings import FIRE_STATES, STATES

#: Some 300 bytes each.
OF_ALL = 50_000
OF_ONE_DEVICE = 256
#: Devices that speak on one topic, such as the availability of their gateway.
OF_ONE_TOPIC = 2_000


class Book:
    """The entries kept in the codec's memory."""

    __slots__ = ("_configs", "_devices", "_memory", "_topics")

    def __init__(self, memory: CodecMemory) -> None:
        self._memory = memory
        self._configs = cast("dict[str, list[str]]", memory.setdefault("configs", {}))
        self._devices = cast("dict[str, dict[str, Any]]", memory.setdefault("devices", {}))
        self._topics = cast("dict[str, dict[str, int]]", memory.setdefault("topics", {}))

    def knows(self, topic: str) -> bool:
        return topic in self._topics

    def on(self, topic: str) -> list[tuple[str, list[Entry]]]:
        """The devices that speak on this topic, each with its entries there."""
        devices = self._devices
        return [
            (device, [entry for entry in devices[device]["entries"] if entry[1] == topic])
            for device in self._topics.get(topic, ())
        ]

    def remove(self, config: str) -> None:
        """Forget what this configuration said."""
        for device in self._configs.pop(config, ()):
            kept = self._devices[device]
            for entry in kept["entries"]:
                if entry[0] == config:
                    self._leave(entry[1], device)
            kept["entries"] = [entry for entry in kept["entries"] if entry[0] != config]
            left = {entry[1] for entry in kept["entries"]}
            kept["down"] = [topic for topic in kept["down"] if topic in left]
            if not left:
                del self._devices[device]

    def add(self, device: str, key: str, entry: Entry, mode: str) -> None:
        """Keep an entry; a second fire state or third probe of a device becomes a device of its own."""
        device, name = self._place(device, key, entry)
        topic = entry[1]
        kept = self._devices.get(device) or {"entries": [], "mode": "latest", "down": []}
        speakers = self._topics.get(topic, {})
        kept_entry = [entry[0], topic, name, *entry[3:]]
        if name in ("", "online") and kept_entry in kept["entries"]:
            return  # the entities of a device share their availability
        if (
            self._total() >= OF_ALL
            or len(kept["entries"]) >= OF_ONE_DEVICE
            or (device not in speakers and len(speakers) >= OF_ONE_TOPIC)
        ):
            raise Undecodable(f"too many entities are remembered already: at most {OF_ALL}, {OF_ONE_DEVICE} a device")
        self._devices[device] = kept
        kept["entries"].append(kept_entry)
        if name == "online":
            kept["mode"] = mode or "latest"
        self._topics[topic] = speakers
        speakers[device] = speakers.get(device, 0) + 1
        devices = self._configs.setdefault(entry[0], [])
        if device not in devices:
            devices.append(device)
        self._memory["count"] = self._total() + 1

    def online(self, device: str, topic: str, up: bool) -> bool:
        """Whether the device is online, now that one of its availability topics says `up`."""
        kept = self._devices[device]
        down = kept["down"]
        if up and topic in down:
            down.remove(topic)
        elif not up and topic not in down:
            down.append(topic)
        if kept["mode"] == "all":
            return not down
        if kept["mode"] == "any":
            return len(down) < len({entry[1] for entry in kept["entries"] if entry[2] == "online"})
        return up

    def _place(self, device: str, key: str, entry: Entry) -> tuple[str, str]:
        """Whose and which quantity or state this is, as the device may have one of that name already."""
        name = entry[2]
        kept = self._devices.get(device)
        others = [other for other in kept["entries"] if other[2] == name] if kept and name else []
        if not others or name == "online":
            return device, name
        if name in STATES and all(other[1] == entry[1] for other in others):
            return device, name  # two causes in one message: true when one of them is
        if name == "temperature":
            if not any(other[2] == "temperature_2" for other in kept["entries"]) if kept else True:
                return device, "temperature_2"
            return f"{device}:{key}", name
        return (f"{device}:{key}", name) if name in FIRE_STATES else (device, "")

    def _leave(self, topic: str, device: str) -> None:
        speakers = self._topics[topic]
        speakers[device] -= 1
        if not speakers[device]:
            del speakers[device]
        if not speakers:
            del self._topics[topic]
        self._memory["count"] = self._total() - 1

    def _total(self) -> int:
        return cast(int, self._memory.get("count", 0))
