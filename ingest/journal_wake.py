"""Waking readers: a reader that waits has a datagram socket in the shard's `wake` folder, appenders knock on all.

Only a hint: whoever waits looks at the log itself before it sleeps and at least every half second.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SLICE = 0.5  #: seconds a reader sleeps at most before it looks again
_SLICE_WITHOUT_SOCKET = 0.05
#: a listing is trusted once its folder was left alone for so long: file times are coarse, and a socket added in
#: the same tick would never be seen
_SETTLED_NS = 100_000_000


class Bell:
    """The sockets of all who wait for one stream. Safe between threads."""

    def __init__(self, folder: Path, stream: str) -> None:
        self._stream = stream
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._sender = _socket()
        self._listing: tuple[int, list[str]] = (-1, [])
        self._idle: list[tuple[socket.socket, str]] = []
        self._guard = threading.Lock()
        self._waiting = 0
        self._closed = False

    def ring(self) -> None:
        """Wake everybody who waits for this stream; never blocks, never fails: what was appended is appended."""
        try:
            names = self._names()
        except OSError:
            return  # the wake folder is gone: readers look by themselves
        for name in names:
            try:
                self._sender.sendto(b"!", self._address(name))
            except ConnectionRefusedError:
                self._forget(name)  # its owner died; names are never used twice
            except OSError:
                pass  # full: it is awake anyway; gone or not ours to knock on: it looks by itself

    def wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Sleep until `ready()` or `timeout` seconds."""
        if ready():
            return True
        deadline = time.monotonic() + timeout
        with self._listening() as ear:
            while True:
                if ear is not None:
                    _drain(ear)
                # after listening began, so that whatever is appended from here on knocks
                if ready():
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                _sleep(ear, left)

    def close(self) -> None:
        """Give up all sockets; a reader still waiting returns within its slice."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            for pair in self._idle:
                self._drop(*pair)
            self._idle.clear()
            self._sender.close()
            self._let_go()

    def _let_go(self) -> None:
        """The last one out closes the folder: a handle closed too early may soon name something else."""
        if self._closed and not self._waiting:
            folder, self._folder = self._folder, -1
            os.close(folder)

    def _names(self) -> list[str]:
        if self._closed:
            return []
        changed = os.stat(self._folder).st_mtime_ns
        seen, names = self._listing
        if seen == changed:
            return names
        names = [name for name in os.listdir(self._folder) if name.startswith(f"{self._stream}.")]
        if time.time_ns() - changed > _SETTLED_NS:
            self._listing = (changed, names)
        return names

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket | None]:
        with self._guard:
            pair = self._idle.pop() if self._idle else self._bind()
            self._waiting += 1
        try:
            yield pair[0] if pair else None
        finally:
            with self._guard:
                self._waiting -= 1
                if pair and self._closed:
                    self._drop(*pair)
                elif pair:
                    self._idle.append(pair)
                if self._folder >= 0:
                    self._let_go()

    def _bind(self) -> tuple[socket.socket, str] | None:
        if self._closed:
            return None
        name = f"{self._stream}.{os.getpid()}.{secrets.token_hex(4)}"
        ear = _socket()
        try:
            ear.bind(self._address(name))
        except OSError:  # a folder we may not write to: then looking more often has to do
            ear.close()
            return None
        return ear, name

    def _address(self, name: str) -> str:
        # a socket's path may have 107 bytes, a data folder's more
        return f"/proc/self/fd/{self._folder}/{name}"

    def _drop(self, ear: socket.socket, name: str) -> None:
        ear.close()
        self._forget(name)

    def _forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._folder)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _drain(ear: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            ear.recv(16)


def _sleep(ear: socket.socket | None, left: float) -> None:
    if ear is None:
        time.sleep(min(left, _SLICE_WITHOUT_SOCKET))
        return
    poll = select.poll()
    poll.register(ear, select.POLLIN)
    poll.poll(min(left, SLICE) * 1000)
