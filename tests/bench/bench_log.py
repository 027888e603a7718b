"""How fast the log is on this machine: `python -m tests.bench.bench_log [RECORDS]`. Prints figures, asserts none."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.journal import BEGINNING, Entry
from ingest.journal_sqlite import SqliteJournal, SqliteStream
from ingest.message import Kind

BATCH = 500
META = os.urandom(90)
VALUE = os.urandom(160)


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Print `count` per second of wall and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:32} {count / wall:12,.0f}/s wall {count / cpu:12,.0f}/s CPU {wall / count * 1e6:9.1f} µs each")


def append(stream: SqliteStream, records: int, batch: int) -> None:
    """Append so many records in batches."""
    entries = [Entry(Kind.MESSAGE, META, VALUE) for _ in range(batch)]
    for step in range(records // batch):
        stream.append(entries, now=step * 1000)


def read(stream: SqliteStream, batch: int) -> int:
    """Read all from the beginning."""
    after, count = BEGINNING, 0
    while records := stream.read(after, batch):
        after = records[-1].offset
        count += len(records)
    return count


def main(records: int) -> None:
    """Append, read, append one by one; in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder), "bench")
        with timed(f"append, batches of {BATCH}", records):
            append(journal.messages, records, BATCH)
        with timed(f"read, batches of {BATCH}", records):
            assert read(journal.messages, BATCH) == records
        with timed("append one by one", 2_000):
            append(journal.messages, 2_000, 1)
        with timed("head", 2_000):
            for _ in range(2_000):
                journal.messages.head()
        journal.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
