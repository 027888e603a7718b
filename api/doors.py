"""What every route is handed: the database, the clock, and what was loaded at the start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, cast

from fastapi import Depends, Request
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from api.auth import Doorkeeper
from api.brokers_desk import Desk
from api.entrance import Entrance
from api.live import Feed
from api.liveness import Watch
from api.pushes import Pushes
from api.shapes import RuleShape, TeamShape

#: How long a request waits for the database before it says so.
PATIENCE = 3.0


class Pool(Protocol):
    """Hands out connections; Unavailable when there is none to be had in `timeout` seconds."""

    def connection(self, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConnection[Any]]: ...


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Everything a route may use; made once by api.app."""

    database: Pool
    feed: Feed
    doorkeeper: Doorkeeper
    entrance: Entrance
    now: Callable[[], int]
    teams: Sequence[TeamShape]
    rules: Sequence[RuleShape]
    read_ledger: Callable[[], dict[str, Any]]  #: blocking: called in a thread
    not_migrated: Callable[[], list[str]]  #: blocking, too: why the schema is not the one this program needs
    pushes: Pushes
    watch: Watch  #: how our own probes come through
    desk: Desk  #: answers brokers
    panel_shard: str = ""  #: whose log takes duty checks of fire panels; "": none report to us
    secure: bool = False  #: browsers reach us by https alone: cookies say so

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection in a transaction of its own."""
        async with self.database.connection(timeout=PATIENCE) as opened:
            opened.row_factory = dict_row
            yield cast(AsyncConnection[DictRow], opened)


def doors(request: Request) -> Doors:
    """The application's Doors."""
    found: Doors = request.app.state.doors
    return found


async def connection(request: Request) -> AsyncIterator[AsyncConnection[DictRow]]:
    """A connection in a transaction of its own, committed before the answer goes out."""
    async with doors(request).transaction() as opened:
        yield opened


Here = Annotated[Doors, Depends(doors)]
Database = Annotated[AsyncConnection[DictRow], Depends(connection, scope="function")]
