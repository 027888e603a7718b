"""The event stream: what changes, as it changes, resumed by number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.doors import Doors, doors
from api.live import Event, Watcher, events_after, newest_event
from api.problems import Problem

router = APIRouter(tags=["live"])


class Subscription:
    """A stream that has joined the feed and knows after which number it goes on."""

    def __init__(self, here: Doors, watcher: Watcher, after: int, resumed: bool) -> None:
        self.here, self.watcher, self.after, self.resumed = here, watcher, after, resumed

    async def events(self) -> AsyncIterator[Event]:
        """What the table has behind our number, then what the feed hands out; ends when the feed ends it."""
        last = self.after
        while self.resumed and (batch := await self._stored(last)):
            last = batch[-1].seq
            for event in batch:
                yield event
        while (fresh := await self.watcher.take()) is not None:
            if fresh.seq > last:
                last = fresh.seq
                yield fresh

    async def _stored(self, last: int) -> list[Event]:
        async with self.here.transaction() as connection:
            return await events_after(connection, last)


async def subscription(
    request: Request,
    last_event_id: Annotated[
        str | None, Header(description="go on behind this event; without it the stream begins now")
    ] = None,
) -> AsyncIterator[Subscription]:
    """Join the feed before the first byte goes out, so that a database away is a 503 and not a silent stream."""
    here = doors(request)
    if last_event_id and not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
        raise Problem(422, "header last-event-id: must be the id of an event of this stream")
    watcher = here.feed.join()
    try:
        async with here.transaction() as connection:
            newest = await newest_event(connection)
        if not here.feed.listening:
            raise Problem(503, "the event feed is starting; try again in a second", {"Retry-After": "1"})
        resumed = bool(last_event_id)
        yield Subscription(here, watcher, int(last_event_id) if last_event_id else newest, resumed)
    finally:
        here.feed.leave(watcher)


@router.get("/events", response_class=EventSourceResponse)
async def events(joined: Annotated[Subscription, Depends(subscription)]) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events `incident`, `alert`, `page`, `receipt`, `refusal`, `notice`; first `hello`, which
    carries the number to resume by. No snapshot: read the lists after `hello`. A comment every 15 s shows life."""
    yield ServerSentEvent(event="hello", id=str(joined.after), data={"after": joined.after}, retry=1000)
    async for event in joined.events():
        yield ServerSentEvent(event=event.kind, id=str(event.seq), data=event.body)
