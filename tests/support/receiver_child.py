"""A receiver as a process of its own, to be killed.

python -m tests.support.receiver_child URL CLIENT FILTER FOLDER [AHEAD]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ingest.journal_sqlite import SqliteJournal
from ingest.processes import stop_on_signals
from ingest.receiver import Receiver
from ingest.sources import Source


def main(url: str, client_id: str, filter_: str, folder: Path, ahead: int = 0) -> None:
    """`ahead`: µs of its clock before ours, to have been away for long in no time."""
    receiver = Receiver(
        journal=SqliteJournal(folder, "main"),
        sources=(Source(filter=filter_, codec="ember-json", shard="main"),),
        mqtt_url=url,
        client_id=client_id,
        now=lambda: time.time_ns() // 1000 + ahead,
    )
    receiver.run(stop_on_signals())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), *map(int, sys.argv[5:]))
