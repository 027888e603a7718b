"""The dispatcher: from a decision to tell somebody to the proof that they were told.

Intent on disk → send → receipt on disk; both are copied into the decisions log, from where the recorder takes them.
Nothing here needs the database. The only way to a double is an attempt whose outcome nobody knows (a crash, a
time-out after bytes were sent): it is made again under the same idempotency key, and counted.

Acts of people are read at the log's head. An act stops later steps of its incident at once (somebody has it in
hand), never the first page to a target: the engine may still refuse the act, and a target that was never told is
forgotten by nobody. A page of any step is dropped when the engine has closed its incident.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from alerts import dispatcher_metrics as metrics
from alerts.alert import Transition
from alerts.blind import BlindWatch
from alerts.channels import Sender, open_senders
from alerts.copier import Copier
from alerts.decisions import decode
from alerts.delivery import Delivery
from alerts.incident import IncidentChange, Tell
from alerts.outbox import DeliveryOutcome, Outbox, Page, Receipt, Waiting
from alerts.pager import Pager
from alerts.payload import moment
from alerts.scanner import Scanner, judged_by, newest_judged
from alerts.surroundings import Surroundings
from alerts.suspects import Suspects
from alerts.teams import Channel, Teams, parse_teams
from ingest.errors import BelowFloor, Unavailable
from ingest.journal import Record, Stream
from ingest.message import Act, ActKind, Kind
from ingest.patience import Patience
from ingest.readings import DAY, HOUR, SECOND
from ingest.sources import Clock

KEEP_SETTLED = 30 * DAY
CURSOR = "decisions"
#: Where the scanner began to run ahead of the evaluator, and how far it came.
STRETCH, SCANNED = "stretch", "scanned"
_BATCH = 500
#: Batches taken before pages are handed to the lanes, so that in a backlog a closed incident overtakes its page.
_BATCHES_AHEAD = 20
_RELEVANT = frozenset({Kind.TRANSITION, Kind.INCIDENT, Kind.TELL})
_LONGEST_WAIT_S = 0.1

log = structlog.get_logger()


class Ownership(Protocol):
    """The right to be the one dispatcher of a shard."""

    def release(self) -> None: ...


class Journal(Protocol):
    """The two streams of a shard, and who owns what."""

    @property
    def folder(self) -> Path: ...
    @property
    def messages(self) -> Stream: ...
    @property
    def decisions(self) -> Stream: ...
    def own(self, role: str) -> Ownership: ...


class Dispatcher:
    """One shard's dispatcher. `now` is the wall clock in µs.

    `outbox` is the file of its outbox, `folder` what secret files in teams.yaml are relative to, `public_url` where
    people find the console. `senders` opens the channels; a test may open others.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        shard: str,
        clock: Clock,
        teams: Teams,
        folder: Path,
        outbox: Path,
        now: Callable[[], int],
        public_url: str = "",
        senders: Callable[[Mapping[str, Channel]], dict[str, Sender]] = open_senders,
        look_every_s: float = 1.0,
    ) -> None:
        self.journal = journal
        self.shard = shard
        self.clock = clock
        self.now = now
        self._teams = teams
        self._folder = folder
        self._outbox_path = outbox
        self._public_url = public_url
        self._open_senders = senders
        self._look_every_s = look_every_s
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Tell people until `stop`; OperatorError when another dispatcher owns the shard."""
        owned = self.journal.own("dispatcher")
        try:
            self._stop = stop
            self._start()
            self.copier.start(stop)
            self._scanning.start()
            self._work_until_stop()
            self._end()
        finally:
            owned.release()

    # ---- beginning and end ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.outbox = Outbox(self._outbox_path)
        self.copier = Copier(self.shard, self.outbox, self.journal.decisions, self.now)
        self.delivery = Delivery(
            shard=self.shard,
            clock=self.clock,
            outbox=self.outbox,
            now=self.now,
            stop=self._stop,
            changed=self.copier.wake,
            open_senders=self._open_senders,
        )
        self.known = Surroundings(
            shard=self.shard,
            messages=self.journal.messages,
            outbox=self.outbox,
            teams=self._teams,
            read_teams=lambda text: parse_teams(text, "teams in the log", self._folder),
        )
        metrics.start_dispatcher_metrics(self.shard, self.known.teams.channels)
        self._attempts_before: dict[str, int] = {}
        self.pager = Pager(
            outbox=self.outbox,
            known=self.known,
            now=self.now,
            public_url=self._public_url,
            attempts_before=self._attempts_before,
        )
        self.suspects = Suspects(shard=self.shard, outbox=self.outbox, known=self.known, pager=self.pager, now=self.now)
        cursor = self.outbox.cursor(CURSOR)
        self._cursor = self._learn_from_log() if cursor is None else cursor
        self._saved_cursor = self._cursor
        first_start = self._first_start()
        self._watch = BlindWatch(self.shard, first_start)
        self._scanner = self._open_scanner(first_start)
        self._judged = self._scanner.judged
        self._looked_at = self._tidied_at = float("-inf")
        self._scanning = threading.Thread(target=self._scan, name=f"scanner-{self.shard}", daemon=True)
        self.delivery.use(self.known.teams.channels)
        self.delivery.resume()
        log.info("dispatching", shard=self.shard, cursor=self._cursor, waiting=self.outbox.backlog()[0])

    def _open_scanner(self, first_start: int) -> Scanner:
        judged = newest_judged(self.journal.decisions)
        position = self.outbox.cursor(SCANNED)
        return Scanner(
            shard=self.shard,
            messages=self.journal.messages,
            folder=self.journal.folder,
            now=self.now,
            judged=judged,
            stretch=self.outbox.cursor(STRETCH) or 0,
            position=judged.cursor if position is None else position,
            since=first_start,
        )

    def _end(self) -> None:
        self._scanning.join()
        self.delivery.stop()
        self.copier.finish()
        self._save()
        self.outbox.close()

    def _first_start(self) -> int:
        kept = self.outbox.kept("first start")
        if kept is not None:
            return int(kept)
        now = self.now()
        self.outbox.keep("first start", str(now).encode())
        return now

    def _learn_from_log(self) -> int:
        """With a new outbox: which pages the log shows as sent, so that a lost outbox tells nobody twice."""
        pages: dict[str, Page] = {}
        settled: dict[str, bool] = {}
        after = floor = self.journal.decisions.floor()
        while records := self.journal.decisions.read(after, _BATCH):
            for word in (self._word(record) for record in records if record.kind in (Kind.PAGE, Kind.RECEIPT)):
                if isinstance(word, Page):
                    pages[word.id] = word
                elif isinstance(word, Receipt):
                    self._attempts_before[word.page] = max(word.attempt, self._attempts_before.get(word.page, 0))
                    if word.final:
                        settled[word.page] = word.outcome is DeliveryOutcome.ACCEPTED
            after = records[-1].offset
        open_tells = {page.tell for page in pages.values() if page.id not in settled}
        with self.outbox.transaction():
            for page in pages.values():
                if page.id in settled:
                    self.outbox.settled_before(page, accepted=settled[page.id], now=self.now())
                if page.tell not in open_tells:
                    self.outbox.note_tell(page.tell, now=self.now())
            self.outbox.move(CURSOR, floor)
        return floor

    # ---- from decisions to pages ------------------------------------------------------------------------------------

    def _work_until_stop(self) -> None:
        patience = Patience(f"dispatcher of {self.shard}")
        while not self._stop.is_set():
            try:
                self.turn()
            except (Unavailable, sqlite3.Error, OSError) as error:
                metrics.TROUBLES.labels(self.shard).inc()
                patience.failed(error, self._stop)
            else:
                patience.worked()
                if not self._stop.is_set():
                    self.journal.decisions.wait(self._cursor, _LONGEST_WAIT_S)

    def _scan(self) -> None:
        if self.clock is Clock.RECEIVED:  # a recording makes nobody wait
            self._scanner.run(self._stop)

    def turn(self) -> None:
        """Everything that is to be done now, but for the sending, which is the lanes' work."""
        for act in self.known.learn():
            self._heed(act)
        self.delivery.use(self.known.teams.channels)
        made: list[Waiting] = []
        try:
            for _ in range(_BATCHES_AHEAD):
                more, pages = self._take_batch()
                made += pages
                if not more:
                    self._passed()
                    break
            self._take_found(made)
            made += self._look()
        finally:  # what is on disk is sent, whatever broke after it
            for page in made:
                self.delivery.hand_over(page)
            if made:
                self.copier.wake()

    def _take_batch(self) -> tuple[bool, list[Waiting]]:
        records = self._read()
        if not records:
            return False, []
        relevant = [record for record in records if record.kind in _RELEVANT]
        made: list[Waiting] = []
        dropped: list[Receipt] = []
        if relevant:
            with self.outbox.transaction():
                for record in relevant:
                    self._take(record, made, dropped)
                self.outbox.move(CURSOR, records[-1].offset)
            self._saved_cursor = records[-1].offset
        self._cursor = records[-1].offset
        self._count(made)
        for receipt in dropped:
            self.delivery.count(receipt)
        self._judged = judged_by(records, self._judged)
        return len(records) == _BATCH, made

    def _count(self, made: list[Waiting]) -> None:
        for page in made:
            metrics.PAGES_CREATED.labels(self.shard, page.signal_class).inc()

    def _passed(self) -> None:
        """Every tell that the evaluator made up to its cursor was taken."""
        if self._judged.cursor > self._scanner.judged.cursor:
            with self.outbox.transaction():
                self.suspects.passed(self._judged.cursor)
            self._scanner.judged = self._judged

    def _take_found(self, made: list[Waiting]) -> None:
        """Page what the scanner found."""
        while self._scanner.found:
            finding = self._scanner.found[0]
            with self.outbox.transaction():
                pages = self.suspects.take(finding, judged=self._judged.cursor)
                self.outbox.move(STRETCH, finding.stretch)
                self.outbox.move(SCANNED, finding.until)
            self._scanner.found.popleft()
            self._count(pages)
            made += pages

    def _read(self) -> list[Record]:
        try:
            return self.journal.decisions.read(self._cursor, _BATCH)
        except BelowFloor as error:
            log.error("decisions were trimmed before they were read", shard=self.shard, error=str(error))
            metrics.UNREADABLE.labels(self.shard).inc()
            self._cursor = self.journal.decisions.floor()
            return self.journal.decisions.read(self._cursor, _BATCH)

    def _take(self, record: Record, made: list[Waiting], dropped: list[Receipt]) -> None:
        word = self._word(record)
        if isinstance(word, Transition):
            self.pager.note(word)
        elif isinstance(word, IncidentChange):
            dropped += self.outbox.note_incident(word, position=record.offset, now=self.now())
        elif isinstance(word, Tell):
            made += self._tell(word, record.offset)

    def _word(self, record: Record) -> object:
        try:
            return decode(record)
        except msgspec.DecodeError as error:
            metrics.UNREADABLE.labels(self.shard).inc()
            log.error("a decision cannot be read", shard=self.shard, offset=record.offset, error=str(error))
            return None

    def _tell(self, tell: Tell, position: int) -> list[Waiting]:
        """The pages of a tell, none when it was seen before."""
        return self.suspects.pages(tell, position) if self.outbox.note_tell(tell.id, now=self.now()) else []

    def _heed(self, act: Act) -> None:
        if act.incident and act.kind in (ActKind.ACKNOWLEDGE, ActKind.CLOSE):
            said = f"{act.author} said {act.kind.name.lower()} first"
            for receipt in self.outbox.drop_later_steps(act.incident, said, now=self.now()):
                self.delivery.count(receipt)

    # ---- once a second ----------------------------------------------------------------------------------------------

    def _look(self) -> list[Waiting]:
        """Watch the ticks, say how the books stand, and tidy up; the pages this makes."""
        if time.monotonic() - self._looked_at < self._look_every_s:
            return []
        self._looked_at = time.monotonic()
        made: list[Waiting] = []
        if self.clock is Clock.RECEIVED:
            now = self.now()  # before the look at the log: a tick that comes meanwhile can only calm us
            tell = self._watch.look(self.journal.messages, now)
            if tell is not None:
                log.error("blind", shard=self.shard, since=moment(tell.at))
                with self.outbox.transaction():
                    made = self._tell(tell, -1)
                self._count(made)
            metrics.BLIND.labels(self.shard).set(self._watch.blind)
        self._save()
        return made

    def _save(self) -> None:
        if self._saved_cursor != self._cursor:
            self.outbox.move(CURSOR, self._cursor)
            self._saved_cursor = self._cursor
        self.journal.decisions.hold("dispatcher", self._saved_cursor)
        self.known.save()
        waiting, oldest = self.outbox.backlog()
        metrics.WAITING.labels(self.shard).set(waiting)
        metrics.OLDEST_WAITING.labels(self.shard).set(0 if oldest is None else max(0, self.now() - oldest) / SECOND)
        if time.monotonic() - self._tidied_at > HOUR / SECOND:
            self._tidied_at = time.monotonic()
            self.outbox.prune(before=self.now() - KEEP_SETTLED)
            self.suspects.forget(before=self.now() - KEEP_SETTLED)
