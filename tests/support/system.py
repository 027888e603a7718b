"""A log with everything that reads it: relay, writer and evaluator on one thread, against a real database."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from alerts.decisions import decode
from alerts.evaluator import Evaluator
from alerts.incident import Tell
from alerts.ledger import ledger
from alerts.relay import Relay
from alerts.rulebook import load_rulebook
from ingest.database import connect, open_pool
from ingest.journal import BEGINNING
from ingest.sources import Clock
from tests.support.writing import SOURCES, Log, books, wall, write_all


class System:
    """A log with everything that reads it."""

    def __init__(self, url: str, folder: Path, stack: ExitStack, *, sources: str = SOURCES) -> None:
        self.url = url
        self.log = Log(folder, sources=sources)
        stack.callback(self.log.close)
        self.log.register("d1")
        self.connection = stack.enter_context(connect(url))
        self.connection.autocommit = True
        pool = stack.enter_context(open_pool(url, name="redrive test"))
        self.relay = Relay({"main": self.log.journal}, pool, wall)

    def settle(self) -> dict[str, int]:
        """Relay, write and evaluate all there is; the books, on which writer and evaluator agree."""
        while self.relay.turn(self.connection):
            pass
        write_all(self.log, self.url)
        self.evaluator = Evaluator(self.log.journal, "main", Clock.RECEIVED, load_rulebook(None).text, wall)
        while self.evaluator.turn():
            pass
        counted = {name: count for name, count in books(self.url).items() if count and name != "readings"}
        assert {name: count for name, count in self.evaluator.judge.counts.items() if count} == counted
        assert not [line for line in ledger({"main": self.log.journal}, self.connection).imbalances if "says" in line]
        return counted

    def decisions(self) -> list[object]:
        """What the evaluator decided so far."""
        return [word for record in self.log.journal.decisions.read(BEGINNING, 10_000) if (word := decode(record))]

    def tells(self) -> list[Tell]:
        return [word for word in self.decisions() if isinstance(word, Tell)]
