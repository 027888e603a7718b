"""Keeps what brokers are answered from up to date, and what they were told to refuse in the database.

Every REFRESH seconds the database is asked for one number, that of the newest change of the inventory; only what is
new is read, in a thread. The first reading is of everything. Until then the file kept by the run before answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import structlog

from api.brokers_desk import Desk
from api.brokers_index import BrokerIndex
from api.brokers_refusals import Herald, Refusals, Refused
from api.brokers_snapshot import read_devices, write_devices
from api.metrics import BROKER_DEVICES
from api.recurring import Recurring
from ingest.credential_store import Connection, changes_since, devices_for_brokers, newest_change

#: The file is written this often at most: a district's takes seconds of a core.
FILE_EVERY = 60.0
PATIENCE = 5.0  #: seconds for one statement beside the reading of the inventory

_log = structlog.get_logger()


class Upkeep(Recurring):
    """Changes `desk.index`, and empties `refusals`."""

    def __init__(
        self,
        *,
        desk: Desk,
        refusals: Refusals,
        file: Path,
        connect: Callable[[], AbstractContextManager[Connection]],
        keep_refusals: Callable[[Sequence[Refused]], Awaitable[None]],
        now: Callable[[], int],
    ) -> None:
        super().__init__()
        self._desk, self._refusals, self._file = desk, refusals, file
        self._connect, self._keep_refusals, self._now = connect, keep_refusals, now
        self._herald = Herald()
        self._seen: int | None = None  #: the newest change of the inventory that the index has
        self._unwritten = False  #: the index has what the file has not
        self._written_at = -FILE_EVERY  #: monotonic
        self._away = {"inventory": False, "refusals": False}  #: said once, not every three seconds

    async def _first(self) -> None:
        await self._tried("file", asyncio.to_thread(self._from_file))

    async def _round(self) -> None:
        await self._tried("inventory", asyncio.to_thread(self._refresh))
        await self._tried("refusals", self._flush())

    async def _last(self) -> None:
        await self._tried("refusals", self._flush())
        await self._tried("file", asyncio.to_thread(self._to_file))

    async def _tried(self, what: str, work: Awaitable[None]) -> None:
        """Whatever goes wrong: a task that ended would never again notice a new device."""
        try:
            await work
        except Exception as error:
            if not self._away.get(what):
                line = " ".join(f"{type(error).__name__} {error}".split())
                _log.warning(_TROUBLE[what], error=line[:300])
            self._away[what] = True
        else:
            self._away[what] = False

    # in a thread, one at a time

    def _from_file(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._show(BrokerIndex(read_devices(self._file)))

    def _refresh(self) -> None:
        with self._connect() as connection:
            newest = newest_change(connection)
            if self._seen is None or self._desk.index is None or newest < self._seen:
                self._show(BrokerIndex(devices_for_brokers(connection)))
            elif newest > self._seen:
                for delta in changes_since(connection, self._seen):
                    self._desk.index.apply(delta)
                self._show(self._desk.index)
        self._unwritten = self._unwritten or newest != self._seen
        self._seen = newest
        if time.monotonic() - self._written_at >= FILE_EVERY:
            self._to_file()

    def _to_file(self) -> None:
        index = self._desk.index
        if self._unwritten and index is not None:
            write_devices(self._file, index.devices(), len(index))
            self._unwritten, self._written_at = False, time.monotonic()

    def _show(self, index: BrokerIndex) -> None:
        self._desk.index = index
        BROKER_DEVICES.set(len(index))

    # in the loop

    async def _flush(self) -> None:
        rows = self._refusals.take()
        for row in self._herald.worth_telling(rows, self._now()):
            _log.warning(
                "broker was told to refuse",
                user=row.user,
                what=row.what.value,
                topic=row.topic,
                reason=row.reason.value,
                times=row.count,
            )
        if not rows:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._keep_refusals(rows)
        except BaseException:
            self._refusals.give_back(rows)
            raise


_TROUBLE = {
    "file": "the file that lets devices connect while the database is away cannot be used; it is written anew",
    "inventory": "the inventory cannot be read; brokers are answered as of before",
    "refusals": "what brokers were told to refuse is not in the database yet",
}
