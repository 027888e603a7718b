"""Locks between the processes of one machine: who owns a role of a shard, and whose turn it is to append."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.errors import OperatorError, Unavailable
from ingest.journal_segment import sync_folder

_PATIENCE = 5.0  # seconds an append waits for its turn
_LONGEST_NAP = 0.001


class FileOwnership:
    """One role of a shard, held by this process until release(); the system releases it when the process dies."""

    def __init__(self, handle: int, epoch: int) -> None:
        self._handle: int | None = handle
        self.epoch = epoch

    def release(self) -> None:
        """Let the next owner in. Harmless when repeated."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def own(folder: Path, role: str) -> FileOwnership:
    """Take `<folder>/<role>.lock`, which keeps the epoch and the owner's pid; OperatorError while it is held."""
    path = folder / f"{role}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}; the log's folder must be writable") from None
    try:
        return FileOwnership(handle, _next_epoch(handle, path, role))
    except BaseException:
        os.close(handle)
        raise


def _next_epoch(handle: int, path: Path, role: str) -> int:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _, pid = _kept(handle, path)
        raise OperatorError(
            f"{path}: {role} of this shard already runs as process {pid}; stop that one first"
        ) from None
    epoch = _kept(handle, path)[0] + 1
    # in place, not by rename: the lock is on this very file. One short write inside one disk sector.
    os.pwrite(handle, f"{epoch:020d} {os.getpid():020d}\n".encode(), 0)
    os.fsync(handle)
    sync_folder(path.parent)
    return epoch


def _kept(handle: int, path: Path) -> tuple[int, int]:
    """Epoch and pid in the file; zeros in a new one."""
    text = os.pread(handle, 100, 0)
    if not text:
        return 0, 0
    words = text.split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        raise OperatorError(f"{path}: {text[:40]!r} is no epoch and process; write the last epoch and 0 there")
    return int(words[0]), int(words[1])


class Turn:
    """Whose turn it is, between threads and processes, in order of asking.

    Two locks: whoever waits for the work lock holds the queue lock meanwhile, so that a process that appends
    without pause cannot starve one that comes now and then. Polled, because a lock wait cannot time out, and
    because a stopped process must not stop its neighbours for good.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._what = folder / name
        self._threads = threading.Lock()
        self._closed = False
        self._queue = os.open(folder / f"{name}.queue", os.O_RDWR | os.O_CREAT, 0o644)
        self._work = os.open(folder / f"{name}.work", os.O_RDWR | os.O_CREAT, 0o644)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The caller's turn; Unavailable when it does not come within some seconds."""
        if not self._threads.acquire(timeout=_PATIENCE):
            raise Unavailable(f"{self._what}: another thread has been writing for {_PATIENCE:g} s")
        try:
            if self._closed:
                raise Unavailable(f"{self._what}: closed")
            self._lock(self._queue)
            try:
                self._lock(self._work)
            finally:
                fcntl.flock(self._queue, fcntl.LOCK_UN)
            try:
                yield
            finally:
                fcntl.flock(self._work, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _lock(self, handle: int) -> None:
        deadline = 0.0
        nap = 0.0001
        while True:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                deadline = deadline or time.monotonic() + _PATIENCE
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._what}: another process has been writing for {_PATIENCE:g} s")
            time.sleep(nap)
            nap = min(nap * 2, _LONGEST_NAP)

    def close(self) -> None:
        """Let go of the lock files, after the turn under way."""
        with self._threads:
            self._closed = True
            os.close(self._queue)
            os.close(self._work)
