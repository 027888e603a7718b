"""`python -m ingest [receiver|writer]`: one role for every shard, or both roles as children."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import structlog

from ingest.database import database_url, open_pool
from ingest.errors import ConfigError, EmberwatchError, OperatorError
from ingest.journal_sqlite import SqliteJournal
from ingest.maintenance import Maintenance
from ingest.message import Kind
from ingest.processes import GIVE_UP, Supervisor, stop_on_signals
from ingest.receiver import Receiver
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
from ingest.sources import Sources
from ingest.sources_file import load_sources
from ingest.telemetry import set_up_logging
from ingest.writer import Writer

#: The roles of this room, in the order they are started, and which of the metrics ports is theirs.
ROLES = {"receiver": 0, "writer": 1}

log = structlog.get_logger()


def main(argv: list[str]) -> int:
    """Run until a signal; the exit code: 0 stopped, 1 to be started again, 2 a person must help."""
    try:
        if argv and argv not in [[role] for role in ROLES]:
            raise OperatorError(f"usage: python -m ingest [{'|'.join(ROLES)}]; found {' '.join(argv)}")
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


def supervise(settings: Settings, stop: threading.Event) -> int:
    """Both roles as children of this process."""
    set_up_logging("ingest", settings.log_format)
    supervisor = Supervisor(settings.data / "run")
    for role in ROLES:
        supervisor.add(role, [sys.executable, "-m", "ingest", role])
    return supervisor.run(stop)


def run_role(role: str, settings: Settings, stop: threading.Event) -> int:
    """One role for all shards, a thread each."""
    set_up_logging(role, settings.log_format)
    spare_the_collector()
    if role == "writer":
        give_way()
    sources = load_sources(Path(settings.sources).expanduser() if settings.sources else None)
    with contextlib.ExitStack() as stack:
        journals = [
            stack.enter_context(contextlib.closing(open_journal(settings, shard))) for shard in sources.shards()
        ]
        make = receivers if role == "receiver" else writers
        parts = make(settings, sources, {journal.shard: journal for journal in journals}, stack)
        serve_metrics(settings.metrics_address(ROLES[role]))
        log.info("running", shards=list(sources.shards()))
        run_parts(parts, stop)
    return 0


def receivers(
    settings: Settings, sources: Sources, journals: Mapping[str, SqliteJournal], stack: contextlib.ExitStack
) -> dict[str, Part]:
    """A receiver a shard; the sources stand in the log before the first message that came by them."""

    def receive(journal: SqliteJournal, receiver: Receiver, stop: threading.Event) -> None:
        announce_patiently(journal, Kind.SOURCES, sources.text, stop)
        receiver.run(stop)

    parts: dict[str, Part] = {}
    for shard, journal in journals.items():
        receiver = Receiver(
            journal=journal,
            sources=sources.of(shard),
            mqtt_url=settings.mqtt_url,
            client_id=settings.mqtt_client_id,
            now=wall,
        )
        parts[f"receiver of {shard}"] = partial(receive, journal, receiver)
    return parts


def writers(
    settings: Settings, sources: Sources, journals: Mapping[str, SqliteJournal], stack: contextlib.ExitStack
) -> dict[str, Part]:
    """A writer a shard, and the maintenance of them all. What the sources are, the log alone tells the writer."""
    # a memory of many devices is walked by the collector again and again; the hot loop makes no cycles
    gc.set_threshold(50_000, 20, 50)
    url = stack.enter_context(database_url(settings.database_url, settings.data))
    pool = stack.enter_context(contextlib.closing(open_pool(url, name="writer", size=len(journals) + 1)))
    empty = Sources(sources=(), text="")
    parts: dict[str, Part] = {
        f"writer of {shard}": Writer(journal, shard, pool, empty, wall).run for shard, journal in journals.items()
    }
    return {**parts, "maintenance": Maintenance(pool, list(journals.values()), wall).run}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
