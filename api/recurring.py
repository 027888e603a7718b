"""Work that an application does every few seconds beside its requests, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod

REFRESH = 3.0  #: seconds between two rounds
GRACE = 2.0  #: seconds for what is under way at the end


class Recurring(ABC):
    """A task that goes round every REFRESH seconds; its steps must not raise."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._stopping.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it; what is under way gets a moment, because cancelling a question to the database takes longer."""
        if self._task is None:
            return
        self._stopping.set()
        await asyncio.wait({self._task}, timeout=GRACE)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        await self._first()
        while not self._stopping.is_set():
            await self._round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await self._stopping.wait()
        await self._last()

    async def _first(self) -> None:
        """Before the first round."""
        return

    @abstractmethod
    async def _round(self) -> None: ...

    @abstractmethod
    async def _last(self) -> None: ...
