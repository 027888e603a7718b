"""`python -m api`: settings → application → server, a straight line."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import structlog
import uvicorn
from fastapi import FastAPI

from alerts.rulebook import load_rulebook
from alerts.teams import load_teams
from api.app import create_app, end_streams
from api.commands.books import read_books
from api.liveness import Watch
from api.push_log import PushLog
from api.pushes import Pushes, make_pushes, push_shards
from ingest.database import database_url
from ingest.errors import ConfigError, OperatorError, Unavailable
from ingest.gb26875_server import server_source
from ingest.loopback import newest_probe, probed_shards
from ingest.role import open_journals, wall
from ingest.settings import Settings, kept_secret, load_settings, secret_key, split_bind
from ingest.sources_file import load_sources
from ingest.telemetry import set_up_logging


def main() -> int:
    """Serve until told to stop; the exit code."""
    try:
        settings = load_settings()
        set_up_logging("api", settings.log_format)
        listener = bind(settings.http_bind)
        with (
            pushes_of(settings) as pushes,
            watch_of(settings) as watch,
            database_url(settings.database_url, settings.data) as url,
        ):
            serve(application(settings, url, pushes, watch), listener)
    except (OperatorError, Unavailable) as error:
        for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
            print(problem, file=sys.stderr)
        return 1
    return 0


def application(settings: Settings, url: str, pushes: Pushes, watch: Watch) -> FastAPI:
    """The application of these settings; ConfigError with everything wrong in rulebook and teams."""
    return create_app(
        database_url=url,
        token=kept_secret(settings.data / "api.token"),
        key=secret_key(settings),
        now=wall,
        teams=load_teams(settings.file("teams")),
        rulebook=load_rulebook(settings.file("rules")),
        read_ledger=lambda: msgspec.to_builtins(read_books(settings, url)),
        public_url=settings.public_url,
        pushes=pushes,
        watch=watch,
        panel_shard=panel_shard(settings),
        data=settings.data,
        sources=[source.filter for source in load_sources(settings.file("sources")).sources],
    )


def panel_shard(settings: Settings) -> str:
    """The shard whose log the receiver takes duty checks of fire panels from; "" when it listens to none."""
    sources = load_sources(settings.file("sources"))
    return server_source(sources).shard if settings.gb26875_bind else ""


@contextlib.contextmanager
def pushes_of(settings: Settings) -> Iterator[Pushes]:
    """What sources.yaml lets platforms push, with the logs it goes into; ConfigError when a secret is missing."""
    path = settings.file("sources")
    sources = load_sources(path)
    with open_journals(settings, sorted(push_shards(sources))) as journals:
        logs = {
            shard: PushLog(journal.messages, shard=shard, sources=sources, now=wall)
            for shard, journal in journals.items()
        }
        yield make_pushes(sources, path.parent if path else Path(), logs)


@contextlib.contextmanager
def watch_of(settings: Settings) -> Iterator[Watch]:
    """How our own probes come through, with the logs that say which of them came back."""
    shards = probed_shards(load_sources(settings.file("sources"))) if settings.probe_seconds else []
    with open_journals(settings, shards) as journals:
        yield Watch(
            shards=shards,
            every=settings.probe_seconds,
            since=wall(),
            logged=lambda: {shard: newest_probe(journal.messages) for shard, journal in journals.items()},
        )


def bind(address: str) -> socket.socket:
    """A listening socket; OperatorError when the address is taken or not ours."""
    host, port = split_bind(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where it is told that this is TCP: else answers take 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"EMBERWATCH_HTTP_BIND: cannot listen at {address}: {(error.strerror or str(error)).lower()}; "
            "stop what listens there or choose another port"
        ) from None
    return listener


class Server(uvicorn.Server):
    """Ends event streams as soon as it is told to stop; uvicorn alone would wait for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        app: Any = self.config.app
        end_streams(app)


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve on this socket until SIGINT or SIGTERM."""
    host, port = listener.getsockname()[:2]
    structlog.get_logger().info("serving", address=f"http://{host}:{port}")
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # a log-in link carries the token
        server_header=False,
        timeout_graceful_shutdown=2,
        lifespan="on",
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
