"""`python -m alerts [evaluator|recorder|dispatcher]`: one role for every shard, or all roles as children."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
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
from ingest.errors import ConfigError, EmberwatchError, OperatorError
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.processes import GIVE_UP, Supervisor, stop_on_signals
from ingest.role import (
    Part,
    announce_patiently,
    give_way,
    open_journal,
    run_parts,
    serve_metrics,
    spare_the_collector,
    wall,
)
from ingest.settings import Settings, load_settings
from ingest.sources import Clock
from ingest.sources_file import load_sources
from ingest.telemetry import set_up_logging

#: The roles of this room, in the order they are started, and which of the metrics ports is theirs.
ROLES = {"evaluator": 2, "recorder": 3, "dispatcher": 4}

Journals = Mapping[str, SqliteJournal]

log = structlog.get_logger()


def main(argv: list[str]) -> int:
    """Run until a signal; the exit code: 0 stopped, 1 to be started again, 2 a person must help."""
    try:
        if argv and argv not in [[role] for role in ROLES]:
            raise OperatorError(f"usage: python -m alerts [{'|'.join(ROLES)}]; found {' '.join(argv)}")
        stop = stop_on_signals()
        settings = load_settings()
        if not argv:
            return supervise(settings, stop)
        return run_role(argv[0], settings, stop)
    except OperatorError as error:
        for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
            print(problem, file=sys.stderr)
        return GIVE_UP
    except EmberwatchError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception:  # a slip of ours: kept in the log, and the supervisor starts the role again
        log.exception("the role broke")
        return 1


def supervise(settings: Settings, stop: threading.Event) -> int:
    """All roles of this room as children of this process."""
    set_up_logging("alerts", settings.log_format)
    supervisor = Supervisor(settings.data / "run")
    for role in ROLES:
        supervisor.add(role, [sys.executable, "-m", "alerts", role])
    return supervisor.run(stop)


def run_role(role: str, settings: Settings, stop: threading.Event) -> int:
    """One role for all shards, a thread each."""
    set_up_logging(role, settings.log_format)
    spare_the_collector()
    if role == "recorder":
        give_way()
    shards = load_sources(_path(settings.sources)).shards()
    with contextlib.ExitStack() as stack:
        journals = stack.enter_context(open_journals(settings, shards))
        parts = PARTS[role](settings, shards, journals, stack)
        serve_metrics(settings.metrics_address(ROLES[role]))
        log.info("running", shards=list(shards))
        run_parts(parts, stop)
    return 0


def evaluator(
    settings: Settings, shards: Mapping[str, Clock], journals: Journals, stack: contextlib.ExitStack
) -> dict[str, Part]:
    """An evaluator a shard; the rulebook stands in the log before anything is judged by it."""
    text = load_rulebook(_path(settings.rules)).text

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
    path = _path(settings.teams)
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


@contextlib.contextmanager
def open_journals(settings: Settings, shards: Mapping[str, Clock]) -> Iterator[Journals]:
    """The log of every shard."""
    with contextlib.ExitStack() as stack:
        yield {shard: stack.enter_context(contextlib.closing(open_journal(settings, shard))) for shard in shards}


def _path(setting: str) -> Path | None:
    return Path(setting).expanduser() if setting else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
