"""The live feed: rows of the table `events`, read once and handed to every open stream.

One task listens for NOTIFY emberwatch_events and reads what is new; a stream first catches up from the table
behind its Last-Event-ID, then takes what the task hands out. When the database goes away every stream ends, so
that browsers see it and come back to resume.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from api.metrics import EVENTS, LAGGARDS, WATCHERS

CHANNEL = "emberwatch_events"
BATCH = 500
#: Read even without a notice after so many seconds.
PATROL = 5.0
QUEUE = 2000

_log = structlog.get_logger()


class Event(NamedTuple):
    """One row of the feed."""

    seq: int
    kind: str
    body: Any


async def newest_event(connection: AsyncConnection[DictRow]) -> int:
    """The number of the newest event, 0 when there is none."""
    row = await (await connection.execute("SELECT max(seq) AS seq FROM events")).fetchone()
    return (row and row["seq"]) or 0


async def events_after(connection: AsyncConnection[DictRow], seq: int) -> list[Event]:
    """Up to BATCH events behind `seq`, in order."""
    rows = await connection.execute(
        "SELECT seq, kind, body FROM events WHERE seq > %s ORDER BY seq LIMIT %s", (seq, BATCH)
    )
    return [Event(row["seq"], row["kind"], row["body"]) for row in await rows.fetchall()]


class Watcher:
    """One open stream: takes events from the feed until it ends."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE)

    def offer(self, event: Event) -> bool:
        """Hand over an event; False when this stream reads too slowly."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            return False
        return True

    def end(self) -> None:
        """No more events come; what waits is dropped, the reader resumes by number."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def take(self) -> Event | None:
        """The next event, None at the end."""
        return await self._queue.get()


class Feed:
    """Reads the events once for all streams."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.listening = False

    def start(self) -> None:
        """Begin to listen; called in the running loop."""
        self._task = asyncio.create_task(self._run(), name="event feed")

    async def stop(self) -> None:
        """End every stream and the task."""
        self.end_streams()
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def end_streams(self) -> None:
        """End every stream; readers come back by themselves and resume."""
        for watcher in list(self._watchers):
            watcher.end()
        self._watchers.clear()

    def join(self) -> Watcher:
        """A new watcher; it hears everything from now on."""
        watcher = Watcher()
        self._watchers.add(watcher)
        WATCHERS.set(len(self._watchers))
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """This stream is closed."""
        self._watchers.discard(watcher)
        WATCHERS.set(len(self._watchers))

    async def _run(self) -> None:
        pause, told = 0.1, ""
        while not self._stopped:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                said = " ".join(str(error).split())
                if said != told:
                    _log.warning("event feed cannot reach the database", error=said)
                    told = said
            if self.listening:
                pause, told = 0.1, ""
            self.listening = False
            self.end_streams()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _listen(self) -> None:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, row_factory=dict_row, connect_timeout=5
                )
            )
            await connection.execute(f"LISTEN {CHANNEL}")
            newest = await newest_event(connection)
            self.listening = True
            while True:
                async for _ in connection.notifies(timeout=PATROL, stop_after=1):
                    pass
                while batch := await events_after(connection, newest):
                    newest = batch[-1].seq
                    for event in batch:
                        self._hand_out(event)

    def _hand_out(self, event: Event) -> None:
        EVENTS.inc()
        for watcher in list(self._watchers):
            if not watcher.offer(event):
                LAGGARDS.inc()
                self.leave(watcher)
                watcher.end()
