"""May they? What routes depend on: the caller, and the right that is needed. Who it is was found out by the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.metrics import FORBIDDEN
from api.people import PUSH, Caller, who_may
from api.people_store import centres_of
from api.problems import Problem


async def caller(request: Request) -> Caller:
    """Whom this request comes from."""
    found: Caller = request.state.caller
    return found


Known = Annotated[Caller, Depends(caller)]


def needs(right: str) -> Callable[[Caller], Awaitable[None]]:
    """A dependency for routes and routers: 403 unless the caller has this right."""

    async def check(caller: Known) -> None:  # async alone spares a thread a request
        require(caller, right)

    return check


async def may_push(caller: Known, source: str) -> None:
    """A dependency for `push/{source}`: 403 unless the caller may push for this source."""
    require(caller, PUSH + source)


def require(caller: Caller, right: str) -> None:
    """Problem 403, saying which role or scope would do."""
    if not caller.may(right):
        FORBIDDEN.inc()
        raise Problem(
            403,
            f"this needs {who_may(right)}; {caller.described}",
            {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{right}"'},
        )


async def require_centre(connection: AsyncConnection[DictRow], caller: Caller, site: str) -> None:
    """Problem 403 when none of the centres responsible for this site is one the caller works for."""
    if not caller.centres:
        return
    responsible = await centres_of(connection, site)
    if not caller.works_for(responsible):
        FORBIDDEN.inc()
        whose = f"belongs to {_centres(responsible)}" if responsible else "belongs to no centre"
        raise Problem(
            403, f"site {site} {whose}, and {caller.author} works for {_centres(sorted(caller.centres))} only"
        )


def _centres(ids: list[str]) -> str:
    return f"centre {' and '.join(ids)}"
