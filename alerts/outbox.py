"""Pages and deliveries: the words, and the dispatcher's local outbox (SQLite)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from alerts.alert import SignalClass, derived_id
from alerts.incident import IncidentChange, IncidentState
from ingest.message import Kind, encode


class DeliveryOutcome(StrEnum):
    """How one attempt to deliver a page ended."""

    ACCEPTED = "accepted"  #: the channel took it
    REFUSED = "refused"  #: the channel said no for good: not sent again
    RETRY = "retry"  #: it failed before anything was sent, or the channel asked to come again
    UNKNOWN = "unknown"  #: sent, and no answer seen: sent again under the same idempotency key, and counted
    DROPPED = "dropped"  #: not sent, or not again, because there was no need any more; the detail says why


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target by one channel for one step of one incident. `id` is its idempotency key."""

    id: str
    tell: str
    incident: str
    site: str
    step: int
    target: str  #: team or centre id
    channel: str
    signal_class: SignalClass
    reason: str
    due_at: int
    created_at: int
    alerts: tuple[str, ...] = ()


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to. `id` is derived from page and attempt number, so a copy is never counted twice."""

    id: str
    page: str
    attempt: int
    outcome: DeliveryOutcome
    final: bool  #: no further attempt follows
    at: int
    detail: str


def page_id(tell: str, step: int, target: str, channel: str) -> str:
    """Idempotency key of one page."""
    return derived_id("page", tell, step, target, channel)


def receipt_id(page: str, attempt: int) -> str:
    """Id of the receipt of one attempt."""
    return derived_id("receipt", page, attempt)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A page that is still to be sent."""

    page: str
    channel: str
    signal_class: SignalClass
    due_at: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is on disk and may now be made. `facts` is what the page says, as `Outbox.create` got it."""

    page: Page
    number: int
    facts: bytes
    told_at: int  #: the time its tell speaks of
    incident: IncidentChange | None  #: as it is now


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A page or receipt that is to be copied into the decisions log."""

    seq: int
    kind: Kind
    word: bytes


_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY, seen_at INTEGER NOT NULL, position INTEGER NOT NULL, closed INTEGER NOT NULL,
    word BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT PRIMARY KEY, incident TEXT NOT NULL, seen_at INTEGER NOT NULL, facts BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tells (id TEXT PRIMARY KEY, seen_at INTEGER NOT NULL) WITHOUT ROWID;
-- position: where in the decisions log its tell stands; busy: an attempt has begun and not ended
CREATE TABLE IF NOT EXISTS pages (
    id TEXT PRIMARY KEY, incident TEXT NOT NULL, step INTEGER NOT NULL, channel TEXT NOT NULL, class TEXT NOT NULL,
    position INTEGER NOT NULL, told_at INTEGER NOT NULL, created_at INTEGER NOT NULL, due_at INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'accepted', 'failed')),
    busy INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, word BLOB NOT NULL, facts BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pages_waiting ON pages (created_at) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS pages_waiting_of ON pages (incident) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS attempts (
    page TEXT NOT NULL, number INTEGER NOT NULL, begun_at INTEGER NOT NULL, ended_at INTEGER, outcome TEXT,
    final INTEGER, detail TEXT, PRIMARY KEY (page, number)
) WITHOUT ROWID;
-- what is still to be copied into the decisions log, in order; a row goes when its copy is durable
CREATE TABLE IF NOT EXISTS copies (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, word BLOB NOT NULL);
"""

INTERRUPTED = "the dispatcher ended before it saw an answer"


class Outbox:
    """What the dispatcher of one shard has to send and has sent. Safe to use from several threads.

    Every method is durable on return; several share one transaction inside `with outbox.transaction():`. Times in µs.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside; nests into the outermost."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                if self._depth == 1 and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self._commit()
            finally:
                self._depth -= 1

    # ---- what is known ----------------------------------------------------------------------------------------------

    def cursor(self, name: str) -> int | None:
        """How far this log was read; None when never."""
        row = self.one("SELECT position FROM cursors WHERE name = ?", name)
        return None if row is None else int(row[0])

    def move(self, name: str, position: int) -> None:
        self.do("INSERT OR REPLACE INTO cursors VALUES (?, ?)", name, position)

    def kept(self, name: str) -> bytes | None:
        row = self.one("SELECT body FROM kept WHERE name = ?", name)
        return None if row is None else bytes(row[0])

    def keep(self, name: str, body: bytes) -> None:
        self.do("INSERT OR REPLACE INTO kept VALUES (?, ?)", name, body)

    def incident(self, incident: str) -> IncidentChange | None:
        """The newest seen of this incident."""
        row = self.one("SELECT word FROM incidents WHERE id = ?", incident)
        return None if row is None else msgspec.msgpack.decode(row[0], type=IncidentChange)

    def note_incident(self, change: IncidentChange, *, position: int, now: int) -> list[Receipt]:
        """Keep an incident as it is now; when it is closed, what was still to be sent for it is dropped."""
        closed = change.state is IncidentState.CLOSED
        with self.transaction():
            self.do(
                """INSERT INTO incidents VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
                seen_at = excluded.seen_at, position = excluded.position, closed = excluded.closed, word = excluded.word
                WHERE excluded.position > incidents.position""",
                *(change.id, now, position, closed, encode(change)),
            )
            if not closed:
                return []
            rows = self.all(
                "SELECT id FROM pages WHERE incident = ? AND state = 'waiting' AND NOT busy AND position < ?",
                *(change.id, position),
            )
            return self._drop((row[0] for row in rows), "its incident was closed first", now)

    def drop_later_steps(self, incident: str, reason: str, *, now: int) -> list[Receipt]:
        """Drop what waits beyond the first step of an incident: somebody has it in hand."""
        with self.transaction():
            rows = self.all(
                "SELECT id FROM pages WHERE incident = ? AND state = 'waiting' AND NOT busy AND step > 0", incident
            )
            return self._drop((row[0] for row in rows), reason, now)

    def alert(self, alert: str) -> bytes | None:
        row = self.one("SELECT facts FROM alerts WHERE id = ?", alert)
        return None if row is None else bytes(row[0])

    def note_alert(self, alert: str, incident: str, facts: bytes, *, now: int) -> None:
        """Keep what a page says about an alert."""
        self.do("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?)", alert, incident, now, facts)

    # ---- pages ------------------------------------------------------------------------------------------------------

    def note_tell(self, tell: str, *, now: int) -> bool:
        """True the first time this tell is seen: only then pages are to be made of it."""
        return self.do("INSERT OR IGNORE INTO tells VALUES (?, ?)", tell, now) == 1

    def create(self, page: Page, facts: bytes, *, position: int, told_at: int, attempts: int = 0) -> bool:
        """The intent to send a page; False when it was there before. `attempts` made by an earlier outbox count on."""
        with self.transaction():
            made = self.do(
                """INSERT OR IGNORE INTO pages
                (id, incident, step, channel, class, position, told_at, created_at, due_at, attempts, word, facts)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                *(page.id, page.incident, page.step, page.channel, page.signal_class, position, told_at),
                *(page.created_at, page.due_at, attempts, encode(page), facts),
            )
            if made:
                self.to_copy(Kind.PAGE, page)
            return made == 1

    def settled_before(self, page: Page, *, accepted: bool, now: int) -> None:
        """A page that the decisions log shows as settled, from before this outbox existed: never to be sent again."""
        self.do(
            """INSERT OR IGNORE INTO pages
            (id, incident, step, channel, class, position, told_at, created_at, due_at, state, word, facts)
            VALUES (?, ?, ?, ?, ?, -1, 0, ?, ?, ?, ?, x'')""",
            *(page.id, page.incident, page.step, page.channel, page.signal_class, now, page.due_at),
            *("accepted" if accepted else "failed", encode(page)),
        )

    def on_its_way(self, page: str) -> bool:
        """Whether this page was accepted, or is still to be sent."""
        return self.one("SELECT 1 FROM pages WHERE id = ? AND state <> 'failed'", page) is not None

    def rehome(self, pages_of: str, incident: str) -> None:
        """What waits of this incident belongs to that one: closing it drops them."""
        self.do("UPDATE pages SET incident = ? WHERE incident = ? AND state = 'waiting'", incident, pages_of)

    def waiting(self) -> list[Waiting]:
        """Every page still to be sent that no attempt is being made for, oldest first."""
        rows = self.all(
            "SELECT id, channel, class, due_at FROM pages WHERE state = 'waiting' AND NOT busy ORDER BY created_at, id"
        )
        return [
            Waiting(page=page, channel=channel, signal_class=SignalClass(signal_class), due_at=due_at)
            for page, channel, signal_class, due_at in rows
        ]

    def backlog(self) -> tuple[int, int | None]:
        """How many pages wait, and since when the oldest does."""
        row = self.one("SELECT count(*), min(created_at) FROM pages WHERE state = 'waiting'")
        return (int(row[0]), row[1]) if row else (0, None)

    def begin(self, page: str, *, now: int) -> Attempt | None:
        """Put an attempt on disk before it is made; None when this page is not to be sent (any more)."""
        with self.transaction():
            claimed = self.do(
                "UPDATE pages SET busy = 1, attempts = attempts + 1 WHERE id = ? AND state = 'waiting' AND NOT busy",
                page,
            )
            if not claimed:
                return None
            row = self.one("SELECT word, facts, attempts, told_at FROM pages WHERE id = ?", page)
            assert row is not None
            word = msgspec.msgpack.decode(row[0], type=Page)
            self.do("INSERT INTO attempts (page, number, begun_at) VALUES (?, ?, ?)", page, row[2], now)
            incident = self.incident(word.incident)
            return Attempt(page=word, number=row[2], facts=bytes(row[1]), told_at=row[3], incident=incident)

    def finish(
        self, page: str, *, number: int, outcome: DeliveryOutcome, final: bool, detail: str, due_at: int, now: int
    ) -> Receipt:
        """Note how an attempt ended; without `final` the page is due again then, unless its incident was closed."""
        with self.transaction():
            if not final and self._moot(page):
                final, detail = True, f"{detail}; not sent again: its incident was closed"
            receipt = Receipt(
                id=receipt_id(page, number),
                page=page,
                attempt=number,
                outcome=outcome,
                final=final,
                at=now,
                detail=detail,
            )
            self._settle(receipt, due_at)
            return receipt

    def recover(self, *, now: int) -> list[Receipt]:
        """End the attempts that a crash cut off: nobody knows whether they arrived, so they are due again at once."""
        with self.transaction():
            rows = self.all("SELECT page, number FROM attempts WHERE outcome IS NULL ORDER BY page, number")
            return [
                self.finish(
                    page,
                    number=number,
                    outcome=DeliveryOutcome.UNKNOWN,
                    final=False,
                    detail=INTERRUPTED,
                    due_at=now,
                    now=now,
                )
                for page, number in rows
            ]

    # ---- copies into the decisions log ------------------------------------------------------------------------------

    def copies(self, limit: int) -> list[Copy]:
        """What is to be copied next, in order."""
        rows = self.all("SELECT seq, kind, word FROM copies ORDER BY seq LIMIT ?", limit)
        return [Copy(seq=seq, kind=Kind(kind), word=bytes(word)) for seq, kind, word in rows]

    def copied(self, seq: int) -> None:
        """Everything up to this copy is durable in the log."""
        self.do("DELETE FROM copies WHERE seq <= ?", seq)

    def prune(self, *, before: int) -> None:
        """Forget what was settled, and last seen, before this time; what waits or is open stays."""
        with self.transaction():
            self.do("DELETE FROM pages WHERE state <> 'waiting' AND created_at < ?", before)
            self.do("DELETE FROM attempts WHERE begun_at < ? AND page NOT IN (SELECT id FROM pages)", before)
            self.do("DELETE FROM tells WHERE seen_at < ?", before)
            self.do("DELETE FROM incidents WHERE closed AND seen_at < ?", before)
            self.do("DELETE FROM alerts WHERE seen_at < ? AND incident NOT IN (SELECT id FROM incidents)", before)

    # ---- inside a transaction ---------------------------------------------------------------------------------------

    def _drop(self, pages: Iterable[str], why: str, now: int) -> list[Receipt]:
        receipts = []
        for page in list(pages):
            row = self.one("SELECT attempts + 1 FROM pages WHERE id = ?", page)
            number = int(row[0]) if row else 1
            self.do("INSERT INTO attempts (page, number, begun_at) VALUES (?, ?, ?)", page, number, now)
            receipt = Receipt(
                id=receipt_id(page, number),
                page=page,
                attempt=number,
                outcome=DeliveryOutcome.DROPPED,
                final=True,
                at=now,
                detail=why,
            )
            self._settle(receipt, now)
            receipts.append(receipt)
        return receipts

    def _settle(self, receipt: Receipt, due_at: int) -> None:
        state = "waiting"
        if receipt.final or receipt.outcome is DeliveryOutcome.ACCEPTED:
            state = "accepted" if receipt.outcome is DeliveryOutcome.ACCEPTED else "failed"
        self.do(
            "UPDATE attempts SET ended_at = ?, outcome = ?, final = ?, detail = ? WHERE page = ? AND number = ?",
            *(receipt.at, receipt.outcome, receipt.final, receipt.detail, receipt.page, receipt.attempt),
        )
        self.do(
            "UPDATE pages SET busy = 0, attempts = ?, state = ?, due_at = ? WHERE id = ?",
            *(receipt.attempt, state, due_at, receipt.page),
        )
        self.to_copy(Kind.RECEIPT, receipt)

    def _moot(self, page: str) -> bool:
        row = self.one(
            """SELECT 1 FROM pages JOIN incidents ON incidents.id = pages.incident
            WHERE pages.id = ? AND incidents.closed AND incidents.position > pages.position""",
            page,
        )
        return row is not None

    def to_copy(self, kind: Kind, word: msgspec.Struct) -> None:
        """Have this word copied into the decisions log."""
        self.do("INSERT INTO copies (kind, word) VALUES (?, ?)", kind, encode(word))

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # ---- for whoever keeps a table beside these ---------------------------------------------------------------------

    def do(self, sql: str, *values: object) -> int:
        with self._lock:
            return self._db.execute(sql, values).rowcount

    def one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()
