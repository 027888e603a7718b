"""The HTTP application put together: what it is handed, which routes it has, how it describes itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from alerts.rulebook import Rulebook
from alerts.teams import Teams
from api import people_store
from api.access import needs
from api.auth import COOKIE, OPEN_PATHS, Doorkeeper
from api.brokers_desk import Desk
from api.brokers_refusals import Refusals, Refused
from api.brokers_snapshot import DEVICES, TOKENS, MachineTokens
from api.brokers_store import keep_refusals
from api.brokers_upkeep import Upkeep
from api.directory import Directory
from api.doors import Doors
from api.entrance import Entrance
from api.failures import Failures
from api.guard import Guard
from api.live import Feed
from api.liveness import Watch
from api.people import Right
from api.problems import MEDIA_TYPE, answer_problems
from api.pushes import Pushes
from api.routes import acts, books, broker, duty, events, health, incidents, inventory, pages, push, readings
from api.shapes import ProblemShape, RuleShape, TeamShape
from api.tokens import Token
from ingest.database import connect, open_async_pool, pending
from ingest.errors import OperatorError, Unavailable

NO_PROBES = Watch()
NO_PUSHES = Pushes({}, [])

#: Rooms whose schema must be applied, in this order.
SCHEMAS = ("ingest", "alerts", "api")

_ABOUT = """Lists answer `{"items": […], "next": …}`; give `next` as `after` for the page behind. Times are ISO 8601,
UTC. Every error is a problem document after RFC 9457 whose `detail` says what is wrong. Acts are answered with 202
and are `pending` until the engine has applied or refused them; ask `/api/v1/acts/{id}`."""


def create_app(
    *,
    database_url: str,
    token: str,
    key: bytes,
    now: Callable[[], int],
    teams: Teams,
    rulebook: Rulebook,
    read_ledger: Callable[[], dict[str, Any]],
    public_url: str = "",
    pushes: Pushes = NO_PUSHES,
    watch: Watch = NO_PROBES,
    panel_shard: str = "",
    data: Path,
    sources: Sequence[str] = (),
) -> FastAPI:
    """The application. It starts without a database and says so until there is one.

    `data`: the folder for what it keeps beside the database; `sources`: the filters our own roles may subscribe to.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = await open_async_pool(database_url, name="api", size=12)
        feed = Feed(database_url)
        app.state.doors = Doors(
            database=pool,
            feed=feed,
            doorkeeper=doorkeeper,
            entrance=entrance,
            now=now,
            teams=_team_shapes(teams),
            rules=_rule_shapes(rulebook),
            read_ledger=read_ledger,
            not_migrated=lambda: not_migrated(database_url),
            pushes=pushes,
            watch=watch,
            panel_shard=panel_shard,
            desk=desk,
            secure=public_url.startswith("https://"),
        )
        parts = (feed, directory, pushes, upkeep)
        for part in parts:
            part.start()
        yield
        for part in reversed(parts):
            await part.stop()
        await pool.close()

    doorkeeper = Doorkeeper(token=token, key=key)
    directory = _directory(lambda: doors_of(app), MachineTokens(data / TOKENS))
    entrance = Entrance(doorkeeper=doorkeeper, directory=directory, failures=Failures())
    refusals = Refusals()
    desk = Desk(
        is_ours=lambda password: entrance.knows(password, Right.BROKER, now()),
        sources=sources,
        note=lambda user, what, topic, reason: refusals.note(user, what, topic, reason, now()),
    )
    app = FastAPI(
        title="Emberwatch",
        version=version("emberwatch"),
        description=_ABOUT,
        docs_url=None,  # the usual page loads its script from elsewhere; ours is api/page/docs.html
        redoc_url=None,
        lifespan=lifespan,
        responses=_PROBLEMS,
    )
    upkeep = _upkeep(lambda: doors_of(app), desk, refusals, database_url, data / DEVICES)
    _add_routes(app, pushes)
    answer_problems(app)
    app.add_middleware(Guard, entrance=entrance, now=now, public_url=public_url)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI, pushes: Pushes) -> None:
    for module in (inventory, readings, incidents, books, events):
        app.include_router(module.router, prefix="/api/v1", dependencies=[Depends(needs(Right.READ))])
    app.include_router(acts.router, prefix="/api/v1")  # each of its routes says what it needs
    app.include_router(broker.router, prefix="/api/v1")
    app.include_router(duty.router, prefix="/api/v1")
    app.include_router(push.router, prefix="/api/v1")  # its senders prove themselves in ways of their own
    push.make_labels(pushes.names)
    app.include_router(health.router)
    app.include_router(pages.router)
    app.router.routes[:0] = [broker.ANSWER_BROKER, push.ANSWER_PUSH]


def _directory(doors: Callable[[], Doors], kept: MachineTokens) -> Directory:
    """The tokens in the database that the application has while it runs; until they are read, the machines'."""

    async def load() -> dict[str, Token]:
        async with doors().transaction() as connection:
            tokens = await people_store.live_tokens(connection)
        kept.write(tokens)
        return tokens

    async def note_use(used: Mapping[str, int]) -> None:
        async with doors().transaction() as connection:
            await people_store.note_use(connection, used)

    return Directory(load=load, note_use=note_use, known=kept.read())


def _upkeep(doors: Callable[[], Doors], desk: Desk, refusals: Refusals, url: str, file: Path) -> Upkeep:
    """What keeps `desk` up to date."""

    async def keep(rows: Sequence[Refused]) -> None:
        async with doors().transaction() as connection:
            await keep_refusals(connection, rows)

    return Upkeep(
        desk=desk,
        refusals=refusals,
        file=file,
        connect=lambda: connect(url, name="api brokers"),
        keep_refusals=keep,
        now=lambda: doors().now(),
    )


def doors_of(app: FastAPI) -> Doors:
    """What the running application's routes are handed."""
    here: Doors = app.state.doors
    return here


def end_streams(app: FastAPI) -> None:
    """End every event stream, so that the server can stop; their readers come back."""
    here: Doors | None = getattr(app.state, "doors", None)
    if here is not None:
        here.feed.end_streams()


def not_migrated(url: str) -> list[str]:
    """Why the schema is not the one this program needs; empty when it is. Unavailable without a database."""
    try:
        with connect(url, name="api readiness") as connection:
            names = pending(connection, SCHEMAS)
    except Unavailable:
        raise
    except OperatorError as error:
        return [str(error)]
    return [f"migrations not applied: {', '.join(names)}; run `emberwatch migrate`"] if names else []


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": what,
        "model": ProblemShape,
    }
    for status, what in (
        (401, "no token, or none that is good"),
        (403, "the role or the scopes do not allow it"),
        (404, "no such thing"),
        (422, "a parameter or body that is wrong"),
        (503, "the database is away"),
    )
}


def _describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI: problems under their own media type, and how one gets in."""
    if app.openapi_schema:
        return app.openapi_schema
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for path, methods in described["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {})
                if status >= "400" and "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
            if path in OPEN_PATHS:
                operation["security"] = []
    described["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    described["security"] = [{"token": []}, {"session": []}]
    for unused in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(unused, None)
    app.openapi_schema = described
    return described


def _team_shapes(teams: Teams) -> list[TeamShape]:
    return [
        TeamShape(
            id=team.id,
            name=team.name,
            kind=team.kind,
            areas=list(team.areas),
            channels=list(team.channels),
            default=team.id == teams.default_team,
        )
        for team in teams.teams
    ]


def _rule_shapes(rulebook: Rulebook) -> Sequence[RuleShape]:
    return [_rule_shape(msgspec.to_builtins(rule)) for rule in rulebook.rules]


def _rule_shape(rule: dict[str, Any]) -> RuleShape:
    named = ("id", "type", "signal_class", "severity", "version", "reason")
    return RuleShape(
        id=rule["id"],
        kind=rule["type"],
        **{"class": rule["signal_class"]},
        severity=rule["severity"],
        version=rule["version"],
        reason=rule["reason"],
        definition={key: value for key, value in rule.items() if key not in named},
    )
