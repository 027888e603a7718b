"""From requests to the log: what many of them hand in at the same time is appended together.

One thread a shard appends; while it waits for the disk, the next pushes gather. So the event loop never waits for
the disk, and under load hundreds of pushes share one write.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ingest.errors import ConfigError, EmberwatchError, Unavailable
from ingest.journal import Entry, Stream
from ingest.message import Kind
from ingest.metrics import RECEIVED, RECEIVED_BYTES
from ingest.role import announce
from ingest.sources import Source, Sources
from ingest.sources_file import parse_sources

BATCH = 500
WAITING_BYTES = 32 << 20  #: handed in and not on disk yet; beyond it senders are asked to come again


class _Handed(NamedTuple):
    """One push on its way."""

    source: Source
    entry: Entry
    done: asyncio.Future[None]


class PushLog:
    """Appends to one shard's messages. `sources` is all of sources.yaml; `now` in µs.

    start and append are called in the event loop; `stop` ends the thread after what was handed in.
    """

    def __init__(self, messages: Stream, *, shard: str, sources: Sources, now: Callable[[], int]) -> None:
        self._messages, self._shard, self._sources, self._now = messages, shard, sources, now
        self._handed: queue.SimpleQueue[_Handed | None] = queue.SimpleQueue()
        self._waiting = 0  # bytes
        self._announced = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._received = {source.filter: RECEIVED.labels(shard, source.filter) for source in _pushed(sources, shard)}

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"pushes of {self._shard}", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        if self._thread is not None:
            self._handed.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def append(self, source: Source, entry: Entry) -> None:
        """It is on disk when this returns. Unavailable: nothing of it was kept."""
        size = len(entry.meta) + len(entry.value)
        if self._loop is None or self._thread is None or self._waiting + size > WAITING_BYTES:
            raise Unavailable("more pushes wait for the log than it takes")
        done = self._loop.create_future()
        self._waiting += size
        self._handed.put(_Handed(source, entry, done))
        try:
            await done
        finally:
            self._waiting -= size

    def _run(self) -> None:
        while (first := self._handed.get()) is not None:
            batch, last = [first], False
            while len(batch) < BATCH and not self._handed.empty():
                if (handed := self._handed.get()) is None:
                    last = True
                    break
                batch.append(handed)
            for urgent in (True, False):
                if together := [handed for handed in batch if handed.source.urgent is urgent]:
                    self._keep(together, urgent=urgent)
            if last:
                return

    def _keep(self, together: Sequence[_Handed], *, urgent: bool) -> None:
        error: Exception | None = None
        try:
            self._announce()
            self._messages.append([handed.entry for handed in together], now=self._now(), urgent=urgent)
        except Exception as trouble:  # whatever it is: those who wait must hear of it, and the next may do better
            error = trouble
        else:
            self._count(together)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_settle, together, error)

    def _count(self, together: Sequence[_Handed]) -> None:
        for handed in together:
            self._received[handed.source.filter].inc()
        RECEIVED_BYTES.labels(self._shard).inc(sum(len(handed.entry.value) for handed in together))

    def _announce(self) -> None:
        """See that the log knows our sources before the first message that came by them.

        The receiver says what the sources are. Only where the newest it said lacks one of ours, ours go in.
        """
        if self._announced:
            return
        newest = self._messages.last(Kind.SOURCES)
        known = _known(newest.value) if newest is not None else ()
        if any(source not in known for source in _pushed(self._sources, self._shard)):
            announce(self._messages, Kind.SOURCES, self._sources.text, self._now)
        self._announced = True


def _pushed(sources: Sources, shard: str) -> list[Source]:
    return [source for source in sources.of(shard) if source.pushed]


def _known(text: bytes) -> tuple[Source, ...]:
    """The sources of a record; none of a text that another release wrote."""
    try:
        return parse_sources(text.decode(), "the log").sources
    except (ConfigError, UnicodeDecodeError):
        return ()


def _settle(together: Sequence[_Handed], error: Exception | None) -> None:
    """Tell those who wait, in the event loop."""
    for handed in together:
        if handed.done.done():  # its request was given up
            continue
        if error is None:
            handed.done.set_result(None)
        else:
            # one each: a traceback grows with every place an error is raised at
            handed.done.set_exception(type(error)(*error.args) if isinstance(error, EmberwatchError) else error)
