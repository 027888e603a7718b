"""Appends numbered records as a process of its own, printing each number once its append has returned.

`python -m tests.support.log_appender FOLDER NAME BATCHES BATCH SEGMENT_BYTES`; BATCHES 0 = until killed.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind

ROOT = Path(__file__).resolve().parents[2]


def start(
    folder: Path, name: str, *, batches: int = 0, batch: int = 7, segment_bytes: int = 3_000
) -> subprocess.Popen[str]:
    """Start an appender; its lines come on stdout."""
    words = [str(folder), name, str(batches), str(batch), str(segment_bytes)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.log_appender", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def main(folder: str, name: str, batches: int, batch: int, segment_bytes: int) -> None:
    """Append batches of MESSAGE and TICK records whose values are `name:number`."""
    journal = SqliteJournal(Path(folder), "shard", segment_bytes=segment_bytes)
    for step in range(batches) if batches else itertools.count():
        numbers = range(step * batch, (step + 1) * batch)
        entries = [Entry(Kind.TICK if n % 5 == 0 else Kind.MESSAGE, b"", f"{name}:{n}".encode()) for n in numbers]
        journal.messages.append(entries, now=time.time_ns() // 1000)
        print(numbers[-1], flush=True)
    journal.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
