"""Havoc: what may happen to a running program, planned from a seed and then done to it.

Roles are killed (`kill -9`) again and again, also in the middle of their start, while a fire is on its way through
them, and the dispatcher while a team's webhook has a page and has not answered. Now and then one is asked to stop
instead, so that the next start goes on from a checkpoint. PostgreSQL is down for 20 s, the broker is restarted, each
shard's log runs into its quota, and hours pass in it, so that it begins new files and drops old ones.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil
import psycopg

from ingest.broker import Broker, start_broker
from ingest.embedded import EmbeddedServer, running_postmaster
from ingest.journal_sqlite import STREAMS
from ingest.readings import HOUR
from tests.support.collector import Behaviour, Collector
from tests.support.program import Program

ROLES = ("receiver", "writer", "evaluator", "recorder", "dispatcher")
DATABASE_AWAY_S = 20.0
QUOTA_BYTES, RESERVE_BYTES = 512 << 20, 1 << 20
#: The supervisor starts a role at once again that lived so long, and later and later one that did not.
_STEADY_S = 10.5
#: The evaluator saves its memory after 30 s of life: once it shall live long enough to be killed around that.
_PAST_A_CHECKPOINT_S = (30.0, 38.0)
_HOUR_S = 12.0  #: about so often an hour passes in the log of each shard
_WORK_SOON_S = 0.4  #: how long a kill waits for its victim to be at work
_ANSWER_S = 0.4  #: how long the webhook takes to answer, so that a kill can fall in between


class Life(NamedTuple):
    """How long one process of a role lives, and how it ends."""

    seconds: float
    polite: bool  #: by SIGTERM: not counted as a kill
    work: float  #: it ends so many seconds after it was next seen at work


class Event(NamedTuple):
    """Something that happens at a time of the run, in s since its start."""

    at: float
    what: str
    whom: str = ""  #: shard or role


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that is going to happen."""

    seed: int
    seconds: float
    kills: int  #: it goes on until there were so many
    lives: dict[str, list[Life]]
    events: list[Event]
    page: int  #: at the arrival of this one (0 = the first) the dispatcher is killed

    def lines(self) -> list[str]:
        """The plan for people, to be printed before and after."""
        lines = [
            f"havoc: EMBERWATCH_TEST_SEED={self.seed}, {self.seconds:.0f} s, dispatcher killed at page {self.page}"
        ]
        for role, lives in self.lives.items():
            told = " ".join(f"{life.seconds:.1f}{'t' if life.polite else ''}" for life in lives)
            lines.append(f"  {role} lives (s; t = asked to stop): {told}")
        return lines + [f"  at {event.at:5.1f} s {event.what} {event.whom}".rstrip() for event in self.events]


def plan(seed: int, *, seconds: float, shards: Sequence[str], fires: int, kills: int = 0) -> Plan:
    """The plan of a seed; the same arguments give the same plan."""
    chance = random.Random(seed)
    lives = {role: _lives(chance, seconds) for role in ROLES}
    lives["evaluator"].insert(chance.randrange(4), Life(chance.uniform(*_PAST_A_CHECKPOINT_S), False, 0.0))
    events = []
    for what, away, shard in (
        (chance.choice(("database", "database by a crash")), DATABASE_AWAY_S, ""),
        ("broker", chance.uniform(1, 4), ""),
        *(("quota", chance.uniform(4, 8), shard) for shard in shards),
    ):
        begins = chance.uniform(0.1, 0.9) * (seconds - away)
        events += [Event(begins, f"{what} away", shard), Event(begins + away, f"{what} back", shard)]
    for shard in shards:
        events += [Event(chance.uniform(0, seconds), "an hour passes", shard) for _ in range(int(seconds / _HOUR_S))]
    for number in range(1, fires + 1):  # as the replay spreads them, a little after its start
        burns = seconds * number / (fires + 1) + 1.0
        events += [Event(burns + chance.uniform(0, 3), "kill", role) for role in chance.sample(ROLES, 2)]
    page = chance.randrange(fires)
    return Plan(seed=seed, seconds=seconds, kills=kills, lives=lives, events=sorted(events), page=page)


def _lives(chance: random.Random, seconds: float) -> list[Life]:
    """One life long enough to make the supervisor quick, then three short ones, and so on."""
    lives: list[Life] = []
    while sum(life.seconds for life in lives) < 2 * seconds:
        lives.append(Life(chance.uniform(_STEADY_S, _STEADY_S + 2), chance.random() < 0.35, _work(chance)))
        lives += [Life(chance.uniform(0.1, 4.5), False, _work(chance)) for _ in range(3)]
    return lives


def _work(chance: random.Random) -> float:
    return chance.choice((0.0, 0.001, 0.01, 0.03)) * chance.random()


class Database:
    """An embedded PostgreSQL that is ours to stop and start; at the same address every time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = EmbeddedServer(folder)
        self.url = self._server.url
        self.up = True
        self.changes = 0  #: how often it went away or came back

    def stop(self, *, crash: bool = False) -> None:
        """Fast shutdown, as `systemctl stop` does it, or as a power cut would."""
        self.up = False
        self.changes += 1
        if crash:
            with psycopg.connect(self.url) as connection:
                [[folder]] = connection.execute("SHOW data_directory").fetchall()
            pid = running_postmaster(Path(folder))
            assert pid
            os.kill(pid, signal.SIGQUIT)
        self._server.close()

    def start(self) -> None:
        self._server = EmbeddedServer(self._folder)
        if self._server.url != self.url:
            raise AssertionError(f"PostgreSQL came back at another address: somebody took its port ({self.url})")
        self.changes += 1
        self.up = True

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()


class Havoc:
    """Does a plan to a program. To be used from the main thread, because Linux ends a broker with its thread."""

    def __init__(
        self, plan: Plan, *, program: Program, database: Database, broker: Broker, collector: Collector
    ) -> None:
        self.plan = plan
        self.broker = broker
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.done: list[str] = []  #: what happened when, for people
        self._program = program
        self._database = database
        self._collector = collector
        self._began = time.monotonic()
        self._lives = {role: list(reversed(lives)) for role, lives in plan.lives.items()}
        self._events = list(reversed(plan.events))
        self._seen: dict[str, tuple[int, float]] = {}  # role → pid, and since when we know it
        self._ended: set[int] = set()  # pids; one may take a moment to die
        self._page_came = False
        collector.otherwise = Behaviour(delay_s=_ANSWER_S)

    def until(self, ended: Callable[[], bool]) -> None:
        """Go on until the plan's time and kills are over and `ended()` holds; then everything is given back."""
        try:
            while not (ended() and self.elapsed >= self.plan.seconds and self.kills.total() >= self.plan.kills):
                self._step()
                time.sleep(0.01)
        finally:
            while self._events:
                self._happen(self._events.pop())

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def _step(self) -> None:
        if not self._page_came and len({arrival.key for arrival in self._collector.arrivals()}) > self.plan.page:
            self._page_came = True
            self._end("dispatcher", polite=False, why="a page is on its way")
        for role in ROLES:
            self._look_after(role)
        while self._events and self.elapsed >= self._events[-1].at:
            self._happen(self._events.pop())

    def _look_after(self, role: str) -> None:
        """End the role's process when its life is over; a role whose lives are used up lives on."""
        pid = self._living(role)
        known, since = self._seen.get(role, (0, 0.0))
        if pid != known:
            self._seen[role] = (pid, time.monotonic())
        elif pid in self._ended:
            return
        elif pid and self._lives[role] and time.monotonic() - since >= self._lives[role][-1].seconds:
            life = self._lives[role].pop()
            _await_work(pid, life.work)
            self._end(role, polite=life.polite, why=f"after {life.seconds:.1f} s")

    def _living(self, role: str) -> int:
        """The role's process id, 0 while it has none that is alive."""
        try:
            process = psutil.Process(self._program.pid(role))
            return process.pid if process.status() != psutil.STATUS_ZOMBIE else 0
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return 0

    def _end(self, role: str, *, polite: bool, why: str) -> None:
        """End a live process; only such count."""
        pid = self._living(role)
        if not pid or pid in self._ended:
            return
        self._ended.add(pid)
        os.kill(pid, signal.SIGTERM if polite else signal.SIGKILL)
        (self.stops if polite else self.kills)[role] += 1
        self._say(f"{'stop' if polite else 'kill -9'} {role} {pid} {why}")

    def _happen(self, event: Event) -> None:
        match event.what:
            case "kill":
                self._end(event.whom, polite=False, why="during a fire")
                return
            case "database away":
                self._database.stop()
            case "database by a crash away":
                self._database.stop(crash=True)
            case "database back" | "database by a crash back":
                self._database.start()
            case "broker away":
                self.broker.stop()
            case "broker back":
                self.broker = start_broker(self.broker.folder, self.broker.port, kind="mosquitto")
            case "quota away":
                with self._ballast(event.whom).open("wb") as file:
                    file.truncate(QUOTA_BYTES)  # takes no space on the disk, but all of the quota
            case "quota back":
                self._ballast(event.whom).unlink(missing_ok=True)
            case "an hour passes":
                for stream in STREAMS:
                    make_older(self._program.data / "journal" / event.whom / stream)
            case _:
                raise ValueError(event.what)
        self._say(f"{event.what} {event.whom}".rstrip())

    def _ballast(self, shard: str) -> Path:
        return self._program.data / "journal" / shard / "ballast"

    def _say(self, what: str) -> None:
        self.done.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {self.elapsed:6.2f} s {what}")


def _await_work(pid: int, more: float) -> None:
    """Wait until one of the process's threads computes or waits for the disk, for a moment at most, and a bit more.

    Otherwise most kills would hit a process that waits for something to do.
    """
    deadline = time.monotonic() + _WORK_SOON_S
    while time.monotonic() < deadline:
        try:
            states = {path.read_text().rpartition(")")[2][1] for path in Path(f"/proc/{pid}/task").glob("*/stat")}
        except OSError:  # a thread or the process ended
            continue
        if states & set("RD"):
            break
        time.sleep(0.0002)
    time.sleep(more)


def make_older(stream: Path) -> None:
    """Let the newest file of a stream have been begun an hour earlier, so that the next append begins another."""
    newest = max(stream.glob("*.db"), key=lambda path: int(path.stem))
    with closing(sqlite3.connect(f"{newest.as_uri()}?mode=rw", uri=True, timeout=30)) as file, file:
        file.execute("UPDATE state SET opened_at = opened_at - ?", (HOUR,))
