"""Packets of a load as messages of a tape, thousands at a time, without a step of Python for each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ingest.readings import SECOND
from simulators.load.forms import Form
from simulators.tapes.tapefile import TapeWriter
from simulators.wire.raw import Rows

#: What waits to be written: at most so many messages, and messages of so long (µs).
MOST_ROWS, LONGEST = 16_384, SECOND


class Taping:
    """Notes what was sent; at most a second of it is lost when the process is killed."""

    def __init__(self, tape: TapeWriter, form: Form) -> None:
        self._tape, self._form = tape, form
        self._rows: list[Rows] = []
        self._at: list[int] = []
        self._count = 0

    def note(self, rows: Rows, at: int) -> None:
        """Packets of the form, sent now (µs since 1970)."""
        self._rows.append(rows)
        self._at.append(at)
        self._count += len(rows)
        if self._count >= MOST_ROWS or at - self._at[0] >= LONGEST:
            self.flush()

    def note_one(self, topic: str, payload: bytes, at: int) -> None:
        """Another message, sent now."""
        self.flush()
        self._tape.add(at=at, topic=topic, payload=payload)

    def flush(self) -> None:
        """Write what waits."""
        if not self._rows:
            return
        rows = np.concatenate(self._rows)
        at = np.repeat(np.array(self._at), [len(some) for some in self._rows])
        self._rows, self._at, self._count = [], [], 0
        form = self._form
        topics, payloads = rows[:, form.topic], rows[:, form.payload_at :]
        self._tape.add_batch(at, _column(topics, pa.utf8()), _column(payloads, pa.binary()))


def _column(texts: Rows, kind: pa.DataType) -> pa.Array:
    count, width = texts.shape
    ends = np.arange(count + 1, dtype=np.int32) * width
    data = np.ascontiguousarray(texts)
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(ends), pa.py_buffer(data)])
