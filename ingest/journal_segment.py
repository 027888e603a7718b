"""One segment of the log: one SQLite file that holds the records of one stream for a while.

A file is complete before it gets its name, knows where its records begin and carries the counts from its
predecessor. Sealing writes the first offset of the next segment into it; a file that no sealed predecessor points
to is what a crash left behind.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ingest.errors import EmberwatchError, LogFull, OperatorError, Unavailable
from ingest.journal import Entry, Record
from ingest.message import MESSAGE, Kind

APPLICATION_ID = 0x454D4257  #: "EMBW" in the header of every file of ours
FORMAT = 1  #: user_version; a newer program may read older ones, never the other way round
BUSY_SECONDS = 5.0
_PAGE_BYTES = 8192  # measured: the best of 4 to 32 KB over both big batches and single records
_CHECKPOINT_PAGES = 1000
_NAME = re.compile(r"(\d{20})\.db")

_SCHEMA = (
    """CREATE TABLE records (
        "offset" INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind INTEGER NOT NULL,
        meta BLOB NOT NULL, value BLOB NOT NULL)""",
    # control records are read and searched without walking over the messages between them
    f'CREATE INDEX controls ON records ("offset", kind) WHERE kind <> {int(Kind.MESSAGE)}',
    """CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1), stream TEXT NOT NULL, first INTEGER NOT NULL,
        carried INTEGER NOT NULL, head INTEGER NOT NULL, at INTEGER, messages INTEGER NOT NULL,
        bytes INTEGER NOT NULL, opened_at INTEGER, next INTEGER)""",
)
_STATE = "SELECT head, at, messages, bytes, opened_at, next, carried FROM state"
_INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?)"
_MOVE = "UPDATE state SET head = ?, at = ?, messages = ?, bytes = ?, opened_at = ?"
_READ = 'SELECT "offset", at, kind, meta, value FROM records WHERE "offset" > ? ORDER BY "offset" LIMIT ?'
_CONTROL = f"kind <> {int(Kind.MESSAGE)}"
_READ_CONTROL = (
    'SELECT "offset", at, kind, meta, value FROM records INDEXED BY controls '
    f'WHERE {_CONTROL} AND "offset" > ? ORDER BY "offset" LIMIT ?'
)
_LAST_MESSAGE = (
    'SELECT "offset", at, kind, meta, value FROM records '
    f'WHERE kind = {int(Kind.MESSAGE)} ORDER BY "offset" DESC LIMIT 1'
)
_LAST_CONTROL = (
    'SELECT "offset", at, kind, meta, value FROM records INDEXED BY controls '
    f'WHERE {_CONTROL} AND kind = ? ORDER BY "offset" DESC LIMIT 1'
)
_COUNT = (
    f'SELECT count(*) FILTER (WHERE kind = {int(Kind.MESSAGE)}), max("offset") FROM '
    '(SELECT "offset", kind FROM records WHERE "offset" > ? AND "offset" <= ? ORDER BY "offset" LIMIT ?)'
)


class Missing(Exception):
    """This segment's file is not there (any more)."""


class State(NamedTuple):
    """Where a segment stands. `at` and `opened_at` are None while nothing was ever appended to it or before it."""

    head: int  #: its newest offset, first - 1 while it is empty
    at: int | None
    messages: int  #: MESSAGE records ever appended to the stream up to `head`
    bytes: int  #: what was appended to this segment
    opened_at: int | None  #: log time of its first record
    next: int | None  #: first offset of the next segment; None = this one is still appended to
    carried: int  #: MESSAGE records before this segment


def path_of(folder: Path, first: int) -> Path:
    """The file of the segment that begins with this offset."""
    return folder / f"{first:020d}.db"


def listed(folder: Path) -> list[int]:
    """First offsets of all segment files, in order; the last may be what a crash left behind."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        raise OperatorError(f"{folder}: the log's folder is gone; put it back, then start again") from None
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def remove(path: Path) -> None:
    """Remove a segment's files, the database first: without it nobody can open the rest."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
        name.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable: a file created or renamed in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as ours, for what the caller does next, naming the file."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) is None:
            raise
        raise _translated(path, error) from error
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        where = error.filename or path
        raise OperatorError(f"{where}: {error.strerror}; the log needs a folder it may write to") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (LogFull if full else Unavailable)(f"{path}: {error.strerror or error}") from error


def _translated(path: Path, error: sqlite3.Error) -> EmberwatchError:
    match error.sqlite_errorcode & 0xFF:
        case sqlite3.SQLITE_FULL:
            return LogFull(f"{path}: the disk is full; free some space")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return OperatorError(
                f"{path}: damaged, or no segment of the log ({error}); move it away or restore it from a backup"
            )
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISUSE | sqlite3.SQLITE_CONSTRAINT:
            return OperatorError(f"{path}: not what this program writes ({error}); restore it from a backup")
        case _:
            return Unavailable(f"{path}: {error}")


def create(folder: Path, first: int, *, stream: str, at: int | None, messages: int) -> None:
    """Create the segment that begins at `first`, whole and durable before it has its name."""
    path = path_of(folder, first)
    draft = folder / f"{first:020d}.new"
    remove(draft)
    with named(path):
        try:
            _write_empty(draft, first, stream=stream, at=at, messages=messages)
            os.rename(draft, path)
            sync_folder(folder)
        except BaseException:
            remove(draft)
            raise


def _write_empty(draft: Path, first: int, *, stream: str, at: int | None, messages: int) -> None:
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        values = (stream, first, messages, first - 1, at, messages)
        connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, ?, 0, NULL, NULL)", values)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
        # last, so that all of the above is in the file itself and no second file has to be renamed with it
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise OperatorError(f"{draft}: this disk cannot share memory between processes; use a local disk")
    finally:
        connection.close()


class Segment:
    """A connection to one segment. Not for two threads at once: its stream locks."""

    def __init__(self, folder: Path, first: int, *, stream: str, writing: bool = False) -> None:
        self.first = first
        self.path = path_of(folder, first)
        self.sealed: State | None = None  #: set once it is seen sealed: nothing in it changes after that
        with named(self.path):
            try:
                self._connection = self._connect(writing=writing)
            except sqlite3.OperationalError:
                if writing or not self._is_all_in_file():
                    raise
                self._connection = self._connect_unchanging()
            try:
                self._check(stream)
            except BaseException:
                self._connection.close()
                raise

    def _connect(self, *, writing: bool) -> sqlite3.Connection:
        connection = self._opened("mode=rw")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # Only appenders move the write-ahead log into the file, and the stream lets one append at a time:
            # SQLite before 3.51.3 can lose pages when a commit and a checkpoint of two connections meet.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES if writing else 0}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_all_in_file(self) -> bool:
        log = Path(f"{self.path}-wal")
        return not log.exists() or log.stat().st_size == 0

    def _connect_unchanging(self) -> sqlite3.Connection:
        """Read a sealed segment on a disk too full for SQLite's helper files: else nothing could be drained."""
        connection = self._opened("mode=ro&immutable=1")
        row = connection.execute(_STATE).fetchone()
        if row is None or State(*row).next is None:
            connection.close()
            raise Unavailable(f"{self.path}: cannot be opened while the disk is full; free some space")
        return connection

    def _opened(self, mode: str) -> sqlite3.Connection:
        try:
            self._inode = self.path.stat().st_ino
        except FileNotFoundError:
            raise Missing(self.path) from None
        try:
            return sqlite3.connect(
                f"file:{quote(str(self.path))}?{mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_SECONDS,
            )
        except sqlite3.OperationalError:
            if self.path.exists():
                raise
            raise Missing(self.path) from None

    def _check(self, stream: str) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise OperatorError(f"{self.path}: no segment of the log; move this file out of the log's folder")
        if not 1 <= version <= FORMAT:
            raise OperatorError(
                f"{self.path}: written in format {version}, this program knows 1 to {FORMAT};"
                " run the newer release that wrote it"
            )
        row = self._connection.execute("SELECT stream, first FROM state").fetchone()
        if row != (stream, self.first):
            raise OperatorError(f"{self.path}: belongs to {row}, not to {stream} at {self.first}; move it back")

    def in_place(self) -> bool:
        """Whether the file we have open is still the one in the folder."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def state(self) -> State:
        """Where this segment stands now."""
        if self.sealed is not None:
            return self.sealed
        with named(self.path):
            row = self._connection.execute(_STATE).fetchone()
        if row is None:
            raise OperatorError(f"{self.path}: its state is missing; restore the file from a backup")
        state = State(*row)
        if state.next is not None and not self._connection.in_transaction:
            self.sealed = state
        return state

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, after: int, limit: int, *, control_only: bool) -> tuple[list[Record], State]:
        """Records behind `after` and the segment's state, both as of one moment."""
        statement = _READ_CONTROL if control_only else _READ
        with named(self.path):
            if self.sealed is None:
                self._connection.execute("BEGIN")
            try:
                rows = self._connection.execute(statement, (after, limit)).fetchall()
                state = self.state()
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        if state.next is not None:
            self.sealed = state
        return list(starmap(Record, rows)), state

    def last(self, kind: Kind) -> Record | None:
        """Its newest record of this kind."""
        with named(self.path):
            if kind is Kind.MESSAGE:
                row = self._connection.execute(_LAST_MESSAGE).fetchone()
            else:
                row = self._connection.execute(_LAST_CONTROL, (int(kind),)).fetchone()
        return Record(*row) if row else None

    def count(self, after: int, until: int, limit: int) -> tuple[int, int | None]:
        """How many of the next `limit` records are messages, and the last offset looked at; None = no more."""
        with named(self.path):
            messages, last = self._connection.execute(_COUNT, (after, until, limit)).fetchone()
        return messages, last

    # -- writing: only under the stream's append lock --------------------------------------------------------------

    def begin(self) -> State:
        """Begin to write; the state that holds until commit or rollback."""
        with named(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
        return self.state()

    def insert(self, entries: Sequence[Entry], state: State, *, at: int, size: int) -> None:
        """Add these records behind the state's head, all at log time `at`."""
        first = state.head + 1
        rows = [(offset, at, entry.kind, entry.meta, entry.value) for offset, entry in enumerate(entries, start=first)]
        messages = sum(entry.kind is MESSAGE for entry in entries)
        opened_at = at if state.opened_at is None else state.opened_at
        with named(self.path):
            self._connection.executemany(_INSERT, rows)
            moved = (state.head + len(rows), at, state.messages + messages, state.bytes + size, opened_at)
            self._connection.execute(_MOVE, moved)

    def seal(self, following: int) -> None:
        """From here on the stream goes on in the segment that begins at `following`."""
        with named(self.path):
            self._connection.execute("UPDATE state SET next = ?", (following,))

    def commit(self) -> None:
        """Make what was written since begin() durable."""
        with named(self.path):
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Give up what was written since begin()."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def flush(self, *, wait: bool) -> bool:
        """Move the write-ahead log into the file; False when not all of it, as somebody still reads there.

        Without `wait` it is only a try that raises nothing: the last one to close the file does it again.
        """
        try:
            (busy, _, _) = self._connection.execute(
                f"PRAGMA wal_checkpoint({'TRUNCATE' if wait else 'PASSIVE'})"
            ).fetchone()
        except sqlite3.Error as error:
            if wait:
                raise _translated(self.path, error) from error
            return False
        return not busy

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
