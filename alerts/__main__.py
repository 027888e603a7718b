"""`python -m alerts [evaluator|recorder|dispatcher]`: one role for every shard, or all roles as children."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from alerts.dispatcher import Dispatcher
from alerts.evaluator import Evaluator
from alerts.recorder import Recorder
from alerts.relay import Relay
from alerts.rulebook import load_rulebook
from alerts.teams import Teams, load_teams
from ingest.database import database_url, open_pool
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.role import (
    Part,
    announce_patiently,
    give_way,
    open_journals,
    run_parts,
    run_room,
    serve_metrics,
    spare_the_collector,
    wall,
)
from ingest.settings import Settings
from ingest.sources import Clock
from ingest.sources_file import load_sources

#: The roles of this room, in the order they are started, and which of the metrics ports is theirs.
ROLES = {"evaluator": 2, "recorder": 3, "dispatcher": 4}

Journals = Mapping[str, SqliteJournal]

log = structlog.get_logger()


def run_role(role: str, settings: Settings, stop: threading.Event) -> None:
    """One role for all shards, a thread each."""
    spare_the_collector()
    if role == "recorder":
        give_way()
    shards = load_sources(settings.file("sources")).shards()
    with contextlib.ExitStack() as stack:
        journals = stack.enter_context(open_journals(settings, shards))
        parts = PARTS[role](settings, shards, journals, stack)
        serve_metrics(settings.metrics_address(ROLES[role]))
        log.info("running", shards=list(shards))
        run_parts(parts, stop)


def evaluator(
    settings: Settings, shards: Mapping[str, Clock], journals: Journals, stack: contextlib.ExitStack
) -> dict[str, Part]:
    """An evaluator a shard; the rulebook stands in the log before anything is judged by it."""
    text = load_rulebook(settings.file("rules")).text

    def evaluate(shard: str, stop: threading.Event) -> None:
        announce_patiently(journals[shard], Kind.RULEBOOK, text, stop)
        if not stop.is_set():
            Evaluator(journals[shard], shard, shards[shard], text, wall).run(stop)

    return {f"evaluator of {shard}": partial(evaluate, shard) for shard in shards}


def recorder(
    settings: Settings, shards: Mapping[str, Clock], journals: Journals, stack: contextlib.ExitStack
) -> dict[str, Part]:
    """A recorder a shard, and the relay of them all."""
    url = stack.enter_context(database_url(settings.database_url, settings.data))
    pool = stack.enter_context(contextlib.closing(open_pool(url, name="recorder", size=len(shards) + 2)))
    parts: dict[str, Part] = {
        f"recorder of {shard}": Recorder(journals[shard], shard, pool, wall).run for shard in shards
    }
    return {**parts, "relay": Relay(journals, pool, wall).run}


def dispatcher(
    settings: Settings, shards: Mapping[str, Clock], journals: Journals, stack: contextlib.ExitStack
) -> dict[str, Part]:
    """A dispatcher a shard; teams.yaml is put into the log beside it, because a full log must not hold up a page."""
    path = settings.file("teams")
    teams = load_teams(path)
    parts: dict[str, Part] = {
        f"dispatcher of {shard}": one_dispatcher(settings, shard, clock, journals[shard], teams, path).run
        for shard, clock in shards.items()
    }

    def announce_teams(stop: threading.Event) -> None:
        for journal in journals.values():
            announce_patiently(journal, Kind.TEAMS, teams.text, stop)

    return {**parts, "teams into the log": announce_teams}


def one_dispatcher(
    settings: Settings, shard: str, clock: Clock, journal: SqliteJournal, teams: Teams, path: Path | None
) -> Dispatcher:
    """The dispatcher of a shard, by these settings."""
    return Dispatcher(
        journal=journal,
        shard=shard,
        clock=clock,
        teams=teams,
        folder=path.parent if path else Path(),
        outbox=settings.data / "outbox" / f"{shard}.db",
        now=wall,
        public_url=settings.public_url or f"http://{settings.http_bind}",
    )


PARTS: dict[str, Callable[[Settings, Mapping[str, Clock], Journals, contextlib.ExitStack], dict[str, Part]]] = {
    "evaluator": evaluator,
    "recorder": recorder,
    "dispatcher": dispatcher,
}


if __name__ == "__main__":
    sys.exit(run_room("alerts", ROLES, run_role, sys.argv[1:]))
