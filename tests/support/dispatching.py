"""A dispatcher over a real log, as a thread or (run as a module) as a process that can be killed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alerts.alert import AlertState, Severity, SignalClass, Transition
from alerts.decisions import Progress, decode, entry
from alerts.dispatcher import Dispatcher
from alerts.incident import Audience, IncidentChange, IncidentState, Tell, TellReason, tell_id
from alerts.outbox import Page, Receipt
from alerts.teams import load_teams
from ingest.journal import BEGINNING, Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, Tick, encode
from ingest.processes import stop_on_signals
from ingest.sources import Clock

SHARD = "main"


def wall() -> int:
    return time.time_ns() // 1000


def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Poll until the condition holds; AssertionError at the deadline."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


class Rig:
    """A folder with a log, a teams.yaml and an outbox, and the words a dispatcher is fed with."""

    def __init__(self, folder: Path, teams: str) -> None:
        self.folder = folder
        self.teams_path = folder / "teams.yaml"
        self.outbox_path = folder / "outbox" / f"{SHARD}.db"
        self.teams_path.write_text(teams, encoding="utf-8")
        self.journal = open_journal(folder)

    def close(self) -> None:
        self.journal.close()

    def dispatcher(
        self, *, now: Callable[[], int] = wall, clock: Clock = Clock.RECEIVED, look_every_s: float = 0.02
    ) -> Dispatcher:
        return Dispatcher(
            journal=self.journal,
            shard=SHARD,
            clock=clock,
            teams=load_teams(self.teams_path),
            folder=self.folder,
            outbox=self.outbox_path,
            now=now,
            public_url="http://127.0.0.1:8080/",
            look_every_s=look_every_s,
        )

    @contextmanager
    def running(
        self, *, now: Callable[[], int] = wall, clock: Clock = Clock.RECEIVED, look_every_s: float = 0.02
    ) -> Iterator[Dispatcher]:
        """A dispatcher on a thread; what it raised is raised at the end."""
        dispatcher = self.dispatcher(now=now, clock=clock, look_every_s=look_every_s)
        stop = threading.Event()
        raised: list[BaseException] = []

        def run() -> None:
            try:
                dispatcher.run(stop)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield dispatcher
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive(), "the dispatcher did not stop"
        if raised:
            raise raised[0]

    def decide(self, *words: Transition | IncidentChange | Tell) -> None:
        self.journal.decisions.append([entry(word, Progress(cursor=0)) for word in words], now=wall())

    def control(self, kind: Kind, value: bytes) -> None:
        self.journal.messages.append([Entry(kind, value=value)], now=wall())

    def tick(self, at: int) -> None:
        self.journal.messages.append([Entry(Kind.TICK, value=encode(Tick(listened=1)))], now=at)

    def copied(self) -> tuple[list[Page], list[Receipt]]:
        """What the decisions log holds of pages and receipts, one for each id, in order."""
        words: dict[str, Page | Receipt] = {}
        after = BEGINNING
        while records := self.journal.decisions.read(after, 1000):
            for record in records:
                word = decode(record)
                if isinstance(word, Page | Receipt):
                    words.setdefault(word.id, word)
            after = records[-1].offset
        return (
            [word for word in words.values() if isinstance(word, Page)],
            [word for word in words.values() if isinstance(word, Receipt)],
        )


def open_journal(folder: Path) -> SqliteJournal:
    return SqliteJournal(folder / "journal", SHARD, quota_bytes=0, reserve_bytes=0)


def tell(
    incident: str,
    *,
    site: str = "shed-1",
    at: int = 0,
    reason: TellReason = TellReason.OPENED,
    signal_class: SignalClass = SignalClass.FIRE,
    audience: Audience = Audience.TEAM,
    alerts: tuple[str, ...] = (),
) -> Tell:
    at = at or wall()
    return Tell(
        id=tell_id(incident, reason, at),
        incident=incident,
        site=site,
        signal_class=signal_class,
        severity=Severity.CRITICAL,
        reason=reason,
        audience=audience,
        at=at,
        opened_at=at,
        alerts=alerts,
        text=f"{signal_class} at {site}",
    )


def change(incident: str, state: IncidentState = IncidentState.OPEN, *, site: str = "shed-1") -> IncidentChange:
    return IncidentChange(
        id=incident,
        site=site,
        state=state,
        signal_class=SignalClass.FIRE,
        severity=Severity.CRITICAL,
        opened_at=wall(),
        changed_at=wall(),
        alerts=(),
        reason="test",
    )


def firing(alert: str, incident: str, *, at: int, value: float = 61.0) -> Transition:
    return Transition(
        at=at,
        rule="heat-fixed",
        signal_class=SignalClass.FIRE,
        severity=Severity.CRITICAL,
        site="shed-1",
        device="d1",
        before=None,
        after=AlertState.FIRING,
        value=value,
        reason=f"temperature {value} above 57",
        alert_id=alert,
        rule_version="1",
        incident_id=incident,
    )


def main(folder: Path) -> None:
    """Run one dispatcher over this folder until SIGTERM."""
    stop = stop_on_signals()
    rig = Rig(folder, (folder / "teams.yaml").read_text(encoding="utf-8"))
    rig.dispatcher(look_every_s=1.0).run(stop)
    rig.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
