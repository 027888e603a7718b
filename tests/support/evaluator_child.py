"""An evaluator that dies at once when it judges a reading of the site "deadly"; run by test_crashes.py."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from alerts.evaluator import Evaluator
from ingest.admission import Admission
from ingest.journal_sqlite import SqliteJournal
from ingest.sources import Clock


def main(folder: str, rules: str, until: int) -> None:
    journal = SqliteJournal(Path(folder), "main")
    evaluator = Evaluator(journal, "main", Clock.RECEIVED, rules, lambda: time.time_ns() // 1000)
    admitted = evaluator.judge.engine.admitted

    def die(admission: Admission, *, offset: int, at: int) -> None:
        if any(reading.site == "deadly" for reading in admission.readings):
            os._exit(9)
        admitted(admission, offset=offset, at=at)

    evaluator.judge.engine.admitted = die  # type: ignore[method-assign]
    stop = threading.Event()
    thread = threading.Thread(target=evaluator.run, args=[stop])
    thread.start()
    while thread.is_alive() and evaluator.cursor < until:
        time.sleep(0.01)
    stop.set()
    thread.join()
    journal.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
