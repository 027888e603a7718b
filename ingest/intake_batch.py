"""What a connection of the receiver has read and the log has not got yet."""

from __future__ import annotations

from ingest.journal import Entry

BATCH_MESSAGES = 500
BATCH_BYTES = 8 << 20


class Batch:
    """What was read and is not appended yet. `acks` are whole packets, in order, for connection `number`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.acks: list[bytes] = []
        self.bytes = 0
        self.counts: dict[str, int] = {}
        self.probes: list[int] = []  #: when those among the entries were sent
        self.strays = 0  #: what came on our probes' topics and is no probe of ours
        self.doubles = 0  #: what is acknowledged and no more: another session brought it
        self.prints: list[int] = []  #: of what another session may bring too

    def full(self) -> bool:
        return len(self.entries) >= BATCH_MESSAGES or self.bytes >= BATCH_BYTES

    def clear(self) -> None:
        self.entries.clear()
        self.acks.clear()
        self.bytes = 0
        self.counts.clear()
        self.probes.clear()
        self.strays = self.doubles = 0
        self.prints.clear()
