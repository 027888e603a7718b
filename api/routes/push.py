"""What platforms push over HTTP. It is in the log, on disk, before it is answered; the database is not asked."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from urllib.parse import unquote

import structlog
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from api.access import require
from api.doors import Doors, doors
from api.entrance import Refusal
from api.metrics import PUSHES
from api.people import PUSH
from api.problems import Problem
from api.pushes import Pushed
from ingest.codecs.contract import PAYLOAD_LIMIT
from ingest.errors import Unavailable
from ingest.journal import Entry
from ingest.message import Kind, Message, encode
from ingest.push import Accepted, Refused, check, proven

router = APIRouter(tags=["what platforms push"])

PATIENCE = 30.0  #: seconds for a body to arrive
NO_SOURCE = "(none)"  #: label of pushes to an address that is none
_ATTRIBUTE = "ce-"  #: HTTP headers that are attributes of a CloudEvent in binary mode

_log = structlog.get_logger()


class Outcome(StrEnum):
    """What became of a push; also the label of the count."""

    KEPT = "kept"  #: in the log, and answered so
    ANSWERED = "answered"  #: a check of the address: nothing to log
    UNKNOWN = "unknown"  #: no source of this name
    REFUSED = "refused"  #: the sender did not prove himself
    COMPRESSED = "compressed"
    TOO_LARGE = "too_large"
    BROKEN = "broken"  #: the body ended early, or took too long
    NOT_KEPT = "not_kept"  #: the log is full or away: to be sent again


def make_labels(names: list[str]) -> None:
    """Every label value of the count exists from the start."""
    for outcome in Outcome:
        for name in [*names, NO_SOURCE]:
            PUSHES.labels(name, outcome.value)


@router.get("/push/{source}")
async def verify(source: str, request: Request) -> Response:
    """The platform's check of the address; nothing is logged."""
    return await _taken(source, request)


@router.post("/push/{source}")
async def push(source: str, request: Request) -> Response:
    """One push of the source with filter `push/{source}`, as the platform sends it. 200: it is on disk.

    The sender proves himself in the platform's own way by the source's secret, or, where the source names none,
    by a token with scope `push:{source}`. On 503 nothing was kept: send it again.
    """
    return await _taken(source, request)


async def answer_push(request: Request) -> Response:
    """Both of the above, for ANSWER_PUSH."""
    return await _taken(request.path_params["source"], request)


#: To be matched before all others, and without what FastAPI does for a route: that takes longer than all the rest.
ANSWER_PUSH = Route("/api/v1/push/{source}", answer_push, methods=["GET", "POST"])


async def _taken(name: str, request: Request) -> Response:
    here = doors(request)
    pushed = here.pushes.find(name)
    if pushed is None:
        PUSHES.labels(NO_SOURCE, Outcome.UNKNOWN.value).inc()
        raise Problem(404, f"there is no source with filter push/{name} in sources.yaml")
    if pushed.secret is None:
        await _check_token(name, request, here)
    body = await _body(name, request)
    said = _judged(name, pushed, request, body, here.now())
    if said.body is None or request.method == "GET":
        PUSHES.labels(name, Outcome.ANSWERED.value).inc()
    else:
        await _keep(name, pushed, request, said.body, here.now())
    return Response(said.answer, headers=said.headers, media_type="text/plain")


async def _check_token(name: str, request: Request, here: Doors) -> None:
    """Let in by a token of ours; the database is asked only for one that was never seen."""
    caller = await here.entrance.identify(request, here.now())
    if isinstance(caller, Refusal):
        PUSHES.labels(name, Outcome.REFUSED.value).inc()
        raise Problem(caller.status, caller.detail, caller.headers)
    if not caller.may(PUSH + name):
        PUSHES.labels(name, Outcome.REFUSED.value).inc()
    require(caller, PUSH + name)


def _judged(name: str, pushed: Pushed, request: Request, body: bytes, now: int) -> Accepted:
    kind, headers = pushed.source.codec, dict(request.headers)
    if pushed.secret is None:
        return proven(kind, headers=headers, body=body)
    query = dict(request.query_params)
    said = check(kind, secret=pushed.secret.secret(), headers=headers, query=query, body=body, now=now)
    if isinstance(said, Refused):
        PUSHES.labels(name, Outcome.REFUSED.value).inc()
        if pushed.trouble.is_news(said.reason, now):
            _log.warning("push refused; others like it are only counted for a minute", source=name, reason=said.reason)
        raise Problem(401, said.reason, {"WWW-Authenticate": "Bearer"})
    return said


async def _body(name: str, request: Request) -> bytes:
    """The body, of which no more than the limit is ever held."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        PUSHES.labels(name, Outcome.COMPRESSED.value).inc()
        raise Problem(415, "header content-encoding: send the body as it is, uncompressed", {"Accept-Encoding": ""})
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > PAYLOAD_LIMIT:
        raise _too_large(name)
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > PAYLOAD_LIMIT:
                    raise _too_large(name)
    except (TimeoutError, ClientDisconnect):
        PUSHES.labels(name, Outcome.BROKEN.value).inc()
        raise Problem(408, f"the body did not arrive whole within {PATIENCE:.0f} s", {"Connection": "close"}) from None
    return bytes(body)


def _too_large(name: str) -> Problem:
    PUSHES.labels(name, Outcome.TOO_LARGE.value).inc()
    return Problem(413, f"the body is larger than {PAYLOAD_LIMIT} bytes; push fewer messages at once")


async def _keep(name: str, pushed: Pushed, request: Request, body: bytes, now: int) -> None:
    meta = Message(
        topic=pushed.source.filter,
        source=pushed.source.filter,
        received_at=now,
        content_type=request.headers.get("content-type", ""),
        properties=_attributes(request),
    )
    try:
        await pushed.log.append(pushed.source, Entry(Kind.MESSAGE, encode(meta), body))
    except Unavailable as error:
        PUSHES.labels(name, Outcome.NOT_KEPT.value).inc()
        if pushed.trouble.is_news(Outcome.NOT_KEPT, now):
            _log.error("the log takes no pushes: senders are asked to repeat them", source=name, error=str(error))
        detail = "the log takes nothing now and nothing of this was kept; send it again in a few seconds"
        raise Problem(503, detail, {"Retry-After": "5"}) from None
    PUSHES.labels(name, Outcome.KEPT.value).inc()


def _attributes(request: Request) -> dict[str, str]:
    """Attributes of a CloudEvent whose payload is the body, as a broker hands them on in user properties."""
    return {
        key.removeprefix(_ATTRIBUTE): unquote(value)
        for key, value in request.headers.items()
        if key.startswith(_ATTRIBUTE)
    }
