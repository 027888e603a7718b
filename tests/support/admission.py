"""Messages for admit, said in one line: `Desk().hear("ember/v1/shed/d1/telemetry", {"temperature": 20}, at=10)`."""

from __future__ import annotations

from typing import Any

import msgspec

from ingest.admission import Admission
from ingest.admit import admit
from ingest.inventory import Device, Inventory, InventoryDelta
from ingest.journal import Record
from ingest.memory import Memory
from ingest.message import Kind, Message, encode
from ingest.readings import SECOND
from ingest.sources import Source, Sources
from ingest.sources_file import load_sources, parse_sources
from ingest.topics import Matcher

#: All times of a desk are seconds after this (µs): 2026-05-01T00:00:00Z.
START = 1_777_593_600 * SECOND
TELEMETRY = "ember/v1/shed/d1/telemetry"
ALARM = "ember/v1/shed/d1/alarm"


def record(message: Message, payload: bytes, at: int, offset: int = 0) -> Record:
    return Record(offset, at, int(Kind.MESSAGE), encode(message), payload)


class Desk:
    """A memory that hears messages. Devices d1 and d2 of `shed` and d1 of `barn` are registered."""

    def __init__(self, sources: str | None = None) -> None:
        self.sources: Sources = load_sources(None) if sources is None else parse_sources(sources, "sources.yaml")
        inventory = Inventory()
        rows = [("shed", "d1"), ("shed", "d2"), ("barn", "d1"), ("barn", "b1")]
        inventory.apply(InventoryDelta(devices=[Device(id=device, site=site) for site, device in rows]))
        self.memory = Memory(self.sources, inventory)
        self.records: list[Record] = []

    def source_of(self, topic: str) -> str:
        filters: list[str] = [source.filter for source in self.sources.sources]
        return Matcher(filters).match(topic) or "none"

    def hear(self, topic: str, body: object, *, at: float, **headers: Any) -> Admission:
        payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
        received = START + round(at * SECOND)
        headers.setdefault("source", self.source_of(topic))
        message = Message(topic=topic, received_at=received, **headers)
        self.records.append(record(message, payload, received, len(self.records)))
        return admit(self.records[-1], self.memory)


def stamp(at: float) -> float:
    """Device time in epoch seconds of a desk's second."""
    return START / SECOND + at


def micros(at: float) -> int:
    return START + round(at * SECOND)


def seconds(micros_: int) -> float:
    """A corrected time as a desk's second."""
    return (micros_ - START) / SECOND


__all__ = ["ALARM", "START", "TELEMETRY", "Desk", "Source", "micros", "record", "seconds", "stamp"]
