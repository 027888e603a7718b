"""A broker asks: may this client connect, publish, subscribe? And what was refused. Forms: api.brokers_dialects."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.routing import Route

from api.access import needs, require
from api.brokers_dialects import QUESTIONS, Answer, Unreadable, check_needs, read_fields
from api.doors import Database, doors
from api.paging import Key, at, read_page
from api.parameters import RefusalListing
from api.people import Right
from api.problems import Problem
from api.shapes import Items, RefusalShape

router = APIRouter(prefix="/broker", tags=["brokers"])

MAX_BODY = 400_000  #: a topic has up to 65,535 bytes, which a form writes in three times as many

_NEWEST = (Key("last_at", at, True), Key("id", int))
_SELECT = "SELECT id, user_name, what, topic, reason, count, first_at, last_at FROM broker_refusals"


async def answer_broker(request: Request) -> Response:
    """The answer to one question of a broker."""
    require(request.state.caller, Right.HOOK)
    question = QUESTIONS.get(request.path_params["question"])
    if question is None:
        raise Problem(404, f"no broker asks this here; there are {', '.join(QUESTIONS)}")
    desk = doors(request).desk
    if not desk.ready:
        raise Problem(503, "the inventory was not read yet; ask again in a few seconds", {"Retry-After": "3"})
    try:
        fields = read_fields(await _body(request), request.headers.get("content-type", ""))
        check_needs(question, fields)
        answer: Answer = question.answer(question.ask(desk, fields))
    except Unreadable as error:
        raise Problem(422, f"{error}; see deploy/config/brokers.md") from None
    return Response(answer.body, answer.status, media_type=answer.media_type)


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise Problem(413, f"the question is longer than {MAX_BODY} bytes")
    return body


#: To be matched before all others, and without what FastAPI does for a route: a district that reconnects asks
#: hundreds of thousands of times.
ANSWER_BROKER = Route("/api/v1/broker/{question:path}", answer_broker, methods=["POST"])


@router.get("/refusals", dependencies=[Depends(needs(Right.READ))])
async def refusals(database: Database, wanted: Annotated[RefusalListing, Query()]) -> Items[RefusalShape]:
    """What clients of the broker were refused, folded, newest first; it appears within seconds. User and topic are as
    the client gave them."""
    columns = {"user": "user_name", "what": "what", "reason": "reason"}
    values = {name: value for name in columns if (value := getattr(wanted, name)) is not None}
    page = await read_page(
        database,
        _SELECT,
        conditions=[f"{columns[name]} = %({name})s" for name in values],
        values=values,
        order=_NEWEST,
        limit=wanted.limit,
        after=wanted.after,
    )
    items = [RefusalShape(user=row.pop("user_name"), **row) for row in page.rows]
    return Items[RefusalShape](items=items, next=page.next)
