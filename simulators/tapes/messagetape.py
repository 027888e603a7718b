"""Tapes as what can be replayed: each message on its own topic, byte for byte where nothing is to be changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc

from ingest.errors import OperatorError
from ingest.topics import valid_topic
from simulators.tapes.fields import Fields
from simulators.tapes.tapefile import Taped, read_batches, read_tape
from simulators.tapes.times import TimeMap
from simulators.wire.messages import Outgoing


class MessageTape:
    """A tape made by `record` or `--sent`."""

    def __init__(self, path: Path, *, ids: dict[str, str], fields: Fields) -> None:
        self._path, self._ids, self._fields = path, ids, fields
        self._count = 0
        ends = []
        for batch in read_batches(path):
            self._count += batch.num_rows
            ends.append(pc.min_max(batch["at"]).as_py())
        if not ends:
            raise OperatorError(f"{path}: no messages in it; nothing to replay")
        self._span = min(end["min"] for end in ends), max(end["max"] for end in ends)

    def __len__(self) -> int:
        return self._count

    def span(self) -> tuple[int, int]:
        return self._span

    def messages(self, times: TimeMap) -> Iterator[Outgoing]:
        taped = read_tape(self._path, tell=lambda _: None)  # it was told when it was counted
        for number, message in enumerate(taped, start=1):
            outgoing = self._outgoing(message, times)
            if wrong := valid_topic(outgoing.topic) or (message.qos not in (0, 1, 2) and f"QoS {message.qos}"):
                raise OperatorError(f"{self._path}: message {number}: cannot be published: {wrong}")
            yield outgoing

    def _outgoing(self, message: Taped, times: TimeMap) -> Outgoing:
        topic, payload = message.topic, message.payload
        if times.changes:  # a reading that was late when it came stays as late
            payload = self._fields.moved(topic, payload, times.stated(message.at) - message.at)
        if self._ids:
            topic, payload = self._fields.renamed(topic, payload, self._ids)
        return Outgoing(
            at=times.due(message.at),
            topic=topic,
            payload=payload,
            site="",
            device="",
            qos=message.qos,
            retain=message.retain,
            properties=message.properties,
        )
