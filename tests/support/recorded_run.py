"""The recording of real sensors with fires mixed in, through the whole program, in peace or under havoc."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from alerts.decisions import KINDS, progress_of
from ingest.broker import start_broker
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.readings import QUANTITIES, STATES
from tests.support.collector import Collector
from tests.support.data import RECORDING, recorded
from tests.support.database import fresh_database
from tests.support.havoc import QUOTA_BYTES, RESERVE_BYTES, Database, Havoc, Plan
from tests.support.program import ROOT, Program

RECORDED_S = 86_646  #: how long it is
SHARDS = ("fires", "recording")
_LEDGER_EVERY_S = 3.0
_EVALUATOR = [kind for kind in (*KINDS.values(), Kind.PROGRESS) if kind not in (Kind.PAGE, Kind.RECEIPT)]
_COLUMNS = ", ".join(f"readings.{name}" for name in (*QUANTITIES, *STATES))
_ROWS = {
    "readings": f"SELECT site, id, time, {_COLUMNS} FROM readings JOIN devices ON key = device",
    "state changes": "SELECT site, id, time, state, value FROM state_changes JOIN devices ON key = device",
    "incidents": "SELECT id, site, state, signal_class, severity, opened_at, alerts, reason FROM incidents",
    "alerts": "SELECT id, site, rule, signal_class, state, fired_at, told FROM alerts",
    "notices": "SELECT at, text FROM notices",
    "quarantine": "SELECT topic, payload, reason, detail FROM quarantine",
}


def recording_sources(quiet: str, fires: str, *, shard_of_fires: str = "recording") -> str:
    """sources.yaml for the recording at `quiet`/+ and the fires that replay mixes into it at `fires`/+/+."""
    return f"""
sources:
  - filter: "{quiet}/+"
    codec: json-map
    clock: observed
    enrol: true
    site: lab
    device: "$.device_id"
    time: "$.ts"
    fields: {{temperature: "$.data.temp", humidity: "$.data.humidity", co: null}}
  - filter: "{fires}/+/+"
    shard: {shard_of_fires}
    codec: json-map
    clock: observed
    enrol: true
    site: "$.site"
    device: "$.device_id"
    time: "$.ts"
    fields:
      temperature: "$.data.temp"
      humidity: "$.data.humidity"
      smoke: "$.data.smoke_dbm"
      smoke_alarm: "$.data.smoke_alarm"
      heat_alarm: "$.data.heat_alarm"
"""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    rows: dict[str, Counter[str]]  #: by table: what must be the same in every run
    transitions: list[str]  #: the lines of `emberwatch alerts export`
    pages: Counter[str]  #: accepted arrivals at the webhook by idempotency key
    unknown: Counter[str]  #: by page: attempts of which nobody knows whether they arrived
    books: dict[str, Any]
    ledgers: int  #: how often the books were looked at on the way
    problems: list[str]  #: those looks that did not balance, and what never came to an end

    def doubles(self) -> int:
        """Arrivals beyond the first of each page."""
        return self.pages.total() - len(self.pages)


def differences(calm: Outcome, rough: Outcome) -> list[str]:
    """Everything in which the second is not what it must be, a line each; none when all is well."""
    lines = []
    for table, rows in calm.rows.items():
        lines += _unlike(table, rows, rough.rows[table])
    if rough.transitions != calm.transitions:
        lines += _unlike("transitions", Counter(calm.transitions), Counter(rough.transitions)) or [
            "transitions: the same lines in another order"
        ]
    lines += _unlike("pages", Counter(set(calm.pages)), Counter(set(rough.pages)))
    for page, count in rough.pages.items():
        if count - 1 > rough.unknown[page]:
            lines.append(f"page {page}: accepted {count} times with {rough.unknown[page]} unknown outcomes")
    if not rough.books["balanced"]:
        lines.append(f"the books at the end do not balance: {rough.books['imbalances']}")
    return lines + rough.problems


def _unlike(what: str, wanted: Counter[str], found: Counter[str]) -> list[str]:
    lines = []
    for word, some in (("missing", wanted - found), ("too many", found - wanted)):
        if some:
            lines.append(f"{what}: {some.total()} {word}, such as:")
            lines += [f"    {row}" for row in list(some)[:5]]
    return lines


@contextmanager
def own_database() -> Iterator[Database]:
    """A server in a folder that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="emberwatch-test-"))
    folder.chmod(0o755)
    try:
        with Database(folder) as database:
            yield database
    finally:
        shutil.rmtree(folder)


class Run:
    """One run of the recording in a folder of its own. `plan`: what is done to the program meanwhile."""

    def __init__(self, folder: Path, server: Database, *, fires: int, plan: Plan | None = None) -> None:
        self._folder = folder
        self._server = server
        self._fires = fires
        self._plan = plan
        self._problems: list[str] = []
        self._ledgers = 0
        self.havoc: Havoc | None = None

    def result(self, calm: Outcome | None = None) -> Outcome:
        """Run to the end. `calm` is the outcome of a run in peace: when as much is stored, everything has arrived."""
        with ExitStack() as stack:
            url = stack.enter_context(fresh_database(self._server.url, template="template0"))
            collector = stack.enter_context(Collector())
            broker = start_broker(self._folder / "broker", kind="mosquitto")
            stack.callback(lambda: (self.havoc.broker if self.havoc else broker).stop())
            program = Program(
                self._folder,
                mqtt=broker.url,
                database=url,
                hook=collector.url,
                sources=recording_sources("lab", "shed", shard_of_fires="fires"),
                more={
                    "EMBERWATCH_JOURNAL_QUOTA_BYTES": str(QUOTA_BYTES),
                    "EMBERWATCH_JOURNAL_RESERVE_BYTES": str(RESERVE_BYTES),
                },
            )
            with program:
                if self._plan:
                    self.havoc = Havoc(
                        self._plan, program=program, database=self._server, broker=broker, collector=collector
                    )
                published = self._replay(program, broker.url)
                stored = calm.books["messages"]["stored"] if calm else 0
                try:
                    self._drained(program, url, published, stored)
                except AssertionError as error:  # what there is says more
                    self._problems.append(str(error))
                return self._outcome(program, url, collector)

    # the recording and, beside it, what happens to the program

    def _replay(self, program: Program, broker: str) -> int:
        """Play the recording; how many messages that were."""
        speed = f"{RECORDED_S / self._plan.seconds:.0f}" if self._plan else "max"
        words = ["--topic", "lab/{device_id}", "--fire-topic", "shed/{site}/{device_id}", "--speed", speed]
        words += ["--fires", str(self._fires), "--broker", broker]
        command = [sys.executable, "-m", "simulators", "replay", str(recorded(RECORDING)), *words]
        with (self._folder / "replay.log").open("w+b") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            try:
                if self.havoc:
                    with self._looking_at_books(program):
                        self.havoc.until(lambda: process.poll() is not None)
                process.wait(120)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read().decode()
        found = re.search(r"published (\d+), acknowledged (\d+)", said)
        if process.returncode or not found or found[1] != found[2]:
            raise AssertionError(f"the replay ended with {process.returncode}: {said[-2000:]}")
        return int(found[1])

    @contextmanager
    def _looking_at_books(self, program: Program) -> Iterator[None]:
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(_LEDGER_EVERY_S):
                self._look_at_books(program)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _look_at_books(self, program: Program) -> None:
        """They balance whenever there is a database to look into."""
        before, up = self._server.changes, self._server.up
        done = program.call("ledger", "--json", check=False)
        answered = done.stdout.startswith("{")
        if answered:
            self._ledgers += 1
        if done.returncode and (answered or (up and self._server.changes == before)):
            said = json.loads(done.stdout)["imbalances"] if answered else done.stderr
            at = f"at {self.havoc.elapsed:.1f} s" if self.havoc else ""
            self._problems.append(f"ledger {at} exit {done.returncode}: {said}\n    {done.stdout}")

    # the end

    def _drained(self, program: Program, url: str, published: int, stored: int) -> None:
        """Wait until nothing is on its way any more: everything is written, judged, told and recorded."""

        def written() -> bool:
            books = json.loads(program.call("ledger", "--json", check=False).stdout or "{}")
            messages: Mapping[str, int] = books.get("messages", {})
            return (
                messages.get("received", 0) >= published
                and messages["waiting"] == 0
                and messages["stored"] >= stored
                and self._settled(program, url)
                and books["deliveries"]["waiting"] == 0
            )

        program.until(written, seconds=120, what=f"{published} messages written and {stored} of them stored")

    def _settled(self, program: Program, url: str) -> bool:
        """The evaluator has judged what the log holds now, and the recorder has copied all decisions."""
        with ExitStack() as stack:
            journals = [
                stack.enter_context(closing(SqliteJournal(program.data / "journal", shard))) for shard in SHARDS
            ]
            judged = [_judged(journal) >= _last_message(journal) for journal in journals]
            connection = stack.enter_context(psycopg.connect(url))
            found = connection.execute("SELECT shard, log_offset FROM cursors WHERE reader = 'recorder'").fetchall()
            recorded: dict[str, int] = dict(found)
            return all(judged) and all(_decided(journal) <= recorded.get(journal.shard, -1) for journal in journals)

    def _outcome(self, program: Program, url: str, collector: Collector) -> Outcome:
        books = json.loads(program.call("ledger", "--json", check=False).stdout)
        with psycopg.connect(url) as connection:
            rows = {
                table: Counter(str(row) for row in connection.execute(sql.encode())) for table, sql in _ROWS.items()
            }
            unknown = connection.execute(
                "SELECT page::text, count(*) FROM receipts WHERE outcome = 'unknown' GROUP BY page"
            ).fetchall()
        return Outcome(
            rows=rows,
            transitions=program.call("alerts", "export").stdout.splitlines(),
            pages=Counter(arrival.key for arrival in collector.arrivals() if arrival.accepted),
            unknown=Counter(dict(unknown)),
            books=books,
            ledgers=self._ledgers,
            problems=self._problems,
        )


def _last_message(journal: SqliteJournal) -> int:
    record = journal.messages.last(Kind.MESSAGE)
    return record.offset if record else -1


def _judged(journal: SqliteJournal) -> int:
    """Up to where the evaluator has made its decisions durable."""
    newest = [record for kind in _EVALUATOR if (record := journal.decisions.last(kind))]
    return max((progress.cursor for record in newest if (progress := progress_of(record))), default=-1)


def _decided(journal: SqliteJournal) -> int:
    """Offset of the newest decision that the recorder has something to do with."""
    newest = [record.offset for kind in KINDS.values() if (record := journal.decisions.last(kind))]
    return max(newest, default=-1)
