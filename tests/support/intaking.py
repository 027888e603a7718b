"""A receiver in this process, or in one of its own, with everything that stays the same from one run to the next."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ingest.message import Kind
from ingest.receiver import Receiver
from ingest.sources import Source
from ingest.subscriptions import Kept
from tests.support.broker import unique, wait_until
from tests.support.memory_log import MemoryJournal, MemoryStream

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """A receiver in a thread of this process."""

    def __init__(self, receiver: Receiver) -> None:
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(receiver,))
        self._thread.start()

    def _run(self, receiver: Receiver) -> None:
        try:
            receiver.run(self._stop)
        except BaseException as error:
            self._errors.append(error)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the receiver did not stop"
        assert not self._errors, self._errors


class Intaker:
    """Everything that stays the same from one run of a receiver to the next."""

    def __init__(self, folder: Path, sources: tuple[Source, ...]) -> None:
        self.journal = MemoryJournal(folder)
        self.client_id = unique("rx")
        self.sources = sources
        self.ahead = 0  #: µs that the wall clock is ahead, to be away for long in no time

    @property
    def stream(self) -> MemoryStream:
        return self.journal.messages

    def watch(self, stream: MemoryStream) -> None:
        """Go on with another stream, behind what the log holds."""
        stream.records = self.journal.messages.records
        self.journal.messages = stream

    @contextmanager
    def running(self, url: str) -> Iterator[Running]:
        running = Running(
            Receiver(
                journal=self.journal,
                sources=self.sources,
                mqtt_url=url,
                client_id=self.client_id,
                now=lambda: time.time_ns() // 1000 + self.ahead,
            )
        )
        try:
            yield running
        finally:
            running.stop()

    def kinds(self) -> list[int]:
        return [record.kind for record in self.stream.records]

    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.stream.received()]

    def sessions(self) -> dict[str, list[str]]:
        """What the receiver believes that the broker holds: filters by session."""
        path = self.journal.folder / "receiver.json"
        return msgspec.json.decode(path.read_bytes(), type=Kept).filters if path.exists() else {}

    def wait_listening(self, *, ticks: int = 1) -> None:
        wait_until(lambda: self.kinds().count(Kind.TICK) >= ticks, what="a tick")


def source(filter_: str, *, urgent: bool = False) -> Source:
    return Source(filter=filter_, codec="ember-json", shard="main", urgent=urgent)


def numbered(topic: str, count: int) -> list[tuple[str, bytes]]:
    return [(f"{topic}/a/{number % 7}", b"%d" % number) for number in range(count)]


def start_child(url: str, client_id: str, filter_: str, folder: Path, *, ahead: int = 0) -> subprocess.Popen[bytes]:
    """A receiver in a process of its own, whose clock is `ahead` (µs)."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.receiver_child", url, client_id, filter_, str(folder), str(ahead)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
