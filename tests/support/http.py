"""The API served for real: uvicorn in a thread, on a free port, over the database of a test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI

from alerts.rulebook import load_rulebook
from alerts.teams import load_teams
from api.__main__ import Server, bind
from api.app import NO_PROBES, NO_PUSHES, create_app
from api.liveness import Watch
from api.pushes import Pushes

TOKEN = "the-token-of-the-tests"
BOOKS = {"messages": {}, "readings": {}, "alerts": {}, "deliveries": {}, "balanced": True}


class Served(NamedTuple):
    """A running API: its address, and a client that carries the token."""

    url: str
    client: httpx.Client


def clock() -> int:
    return time.time_ns() // 1000


@contextmanager
def served(
    database_url: str,
    *,
    now: Callable[[], int] = clock,
    read_ledger: Callable[[], dict[str, Any]] = lambda: BOOKS,
    public_url: str = "",
    pushes: Pushes = NO_PUSHES,
    watch: Watch = NO_PROBES,
    panel_shard: str = "",
    data: Path | None = None,
    sources: Sequence[str] = (),
) -> Iterator[Served]:
    """The API over this database until the context ends; then its thread is gone. `data`: its folder, if one is to
    be kept."""
    with TemporaryDirectory(prefix="emberwatch-api-") as folder:
        app = create_app(
            database_url=database_url,
            token=TOKEN,
            key=b"a key that signs",
            now=now,
            teams=load_teams(None),
            rulebook=load_rulebook(None),
            read_ledger=read_ledger,
            public_url=public_url,
            pushes=pushes,
            watch=watch,
            panel_shard=panel_shard,
            data=data or Path(folder),
            sources=sources,
        )
        with _serving(app) as running:
            yield running


@contextmanager
def _serving(app: FastAPI) -> Iterator[Served]:
    listener = bind("127.0.0.1:0")
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        deadline = time.monotonic() + 20
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started, "the API did not start"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
            yield Served(url, client)
    finally:
        server.handle_exit(15, None)
        thread.join(10)
        listener.close()
        assert not thread.is_alive(), "the API did not stop"


class StreamedEvent(NamedTuple):
    """One server-sent event as a client sees it."""

    kind: str
    id: int
    body: Any


@contextmanager
def event_stream(client: httpx.Client, last: int | None = None) -> Iterator[Iterator[StreamedEvent]]:
    """The events of a stream that is open until the context ends; the first one read is `hello`."""
    headers = {"Last-Event-ID": str(last)} if last is not None else {}
    with client.stream("GET", "/api/v1/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parse(answer.iter_lines())


def _parse(lines: Iterator[str]) -> Iterator[StreamedEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield StreamedEvent(fields["event"], int(fields["id"]), json.loads(fields["data"]))
            fields = {}
