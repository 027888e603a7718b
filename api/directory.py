"""All tokens in force, in memory: a request costs no query, and tokens go on working while the database is away.

What was revoked is noticed within REFRESH seconds. While the database is away nothing can be revoked, so what was known
last is good; a token still runs out on its day.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from api.recurring import Recurring
from api.tokens import Token
from ingest.errors import Unavailable
from ingest.readings import MINUTE

PATIENCE = 5.0  #: seconds for one question to the database
#: How exactly the last use of a token is kept.
COARSE = 5 * MINUTE

_log = structlog.get_logger()


class Directory(Recurring):
    """Tokens by their public id, read anew every REFRESH seconds and when one is asked for that is not known."""

    def __init__(
        self,
        *,
        load: Callable[[], Awaitable[dict[str, Token]]],
        note_use: Callable[[Mapping[str, int]], Awaitable[None]],
        known: Mapping[str, Token] | None = None,
    ) -> None:
        super().__init__()
        self._load, self._note_use = load, note_use
        self._known = dict(known or {})  # those of machines, kept by the run before
        self._used: dict[str, int] = {}
        self._trouble: str | None = "tokens were not read yet"
        self._begun = -1.0  # monotonic time of the newest attempt to read them
        self._reading = asyncio.Lock()

    def known(self, id: str) -> Token | None:
        """The token as it was some seconds ago."""
        return self._known.get(id)

    async def look_again(self, id: str) -> Token | None:
        """The token as it is now. Callers that ask together share one query. Unavailable when it cannot be known."""
        asked = time.monotonic()
        async with self._reading:
            if self._begun < asked:
                await self._read()
        if id not in self._known and self._trouble is not None:
            raise Unavailable(self._trouble)
        return self._known.get(id)

    def note(self, token: Token, now: int) -> None:
        """It was used; kept some time later, and not each time."""
        if now - max(token.last_used_at or 0, self._used.get(token.id, 0)) >= COARSE:
            self._used[token.id] = now

    async def _round(self) -> None:
        async with self._reading:
            await self._read()
        await self._write_uses()

    async def _last(self) -> None:
        await self._write_uses()

    async def _read(self) -> None:
        self._begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                self._known = await self._load()
        except Exception as error:  # whatever it is: a task that ended would never again notice what was revoked
            if self._trouble is None:
                _log.warning("tokens cannot be read; those known go on working", error=_line(error))
            self._trouble = "tokens cannot be checked now, because the database is away or its schema is not applied"
        else:
            self._trouble = None

    async def _write_uses(self) -> None:
        used, self._used = self._used, {}
        if not used or self._trouble is not None:
            self._used = used
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._note_use(used)
        except Exception as error:
            _log.warning("the last use of tokens was not kept yet", error=_line(error))
            self._used = used | self._used


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
