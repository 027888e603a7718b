"""`python -m ingest [receiver|writer]`: one role for every shard, or both roles as children."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Mapping
from functools import partial

import structlog

from ingest.asker import Asker
from ingest.codecs.gb26875 import zone_of_panels
from ingest.database import database_url, open_pool
from ingest.gb26875_duty import DutyChecks
from ingest.gb26875_server import Gb26875Server, server_source
from ingest.journal_sqlite import SqliteJournal
from ingest.loopback import Loopback, probed_shards
from ingest.maintenance import Maintenance
from ingest.message import Kind
from ingest.prober import Prober
from ingest.receiver import Receiver
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
from ingest.settings import Settings, split_bind
from ingest.sources import Sources
from ingest.sources_file import load_sources
from ingest.writer import Writer

#: The roles of this room, in the order they are started, and which of the metrics ports is theirs.
ROLES = {"receiver": 0, "writer": 1}

log = structlog.get_logger()


def run_role(role: str, settings: Settings, stop: threading.Event) -> None:
    """One role for all shards, a thread each."""
    spare_the_collector()
    if role == "writer":
        give_way()
    sources = load_sources(settings.file("sources"))
    with contextlib.ExitStack() as stack:
        journals = stack.enter_context(open_journals(settings, sources.shards()))
        make = receivers if role == "receiver" else writers
        parts = make(settings, sources, journals, stack)
        serve_metrics(settings.metrics_address(ROLES[role]))
        log.info("running", shards=list(sources.shards()))
        run_parts(parts, stop)


def receivers(
    settings: Settings, sources: Sources, journals: Mapping[str, SqliteJournal], stack: contextlib.ExitStack
) -> dict[str, Part]:
    """A receiver a shard; the sources stand in the log before the first message that came by them."""

    def receive(journal: SqliteJournal, receiver: Receiver, stop: threading.Event) -> None:
        announce_patiently(journal, Kind.SOURCES, sources.text, stop)
        receiver.run(stop)

    parts: dict[str, Part] = {}
    loopbacks = {shard: Loopback(shard) for shard in (probed_shards(sources) if settings.probe_seconds else ())}
    for shard, journal in journals.items():
        receiver = Receiver(
            journal=journal,
            sources=sources.of(shard),
            mqtt_url=settings.mqtt_url,
            client_id=settings.mqtt_client_id,
            now=wall,
            loopback=loopbacks.get(shard),
        )
        parts[f"receiver of {shard}"] = partial(receive, journal, receiver)
    if loopbacks:
        parts["prober"] = Prober(
            settings.mqtt_url,
            client_id=f"{settings.mqtt_client_id}-probes",
            loopbacks=list(loopbacks.values()),
            every=settings.probe_seconds,
            now=wall,
        ).run
    if settings.gb26875_bind:
        parts |= panels(settings.gb26875_bind, sources, journals)
    return parts


def panels(bind: str, sources: Sources, journals: Mapping[str, SqliteJournal]) -> dict[str, Part]:
    """What fire panels' transmitters report to, in the log of its source's shard, and the duty checks of that log."""
    source = server_source(sources)
    journal = journals[source.shard]
    host, port = split_bind(bind)
    checks = DutyChecks(
        messages=journal.messages,
        file=journal.folder / "duty-checks",
        ask=lambda address, minutes: server.duty_check(address, minutes),
        now=wall,
    )
    server = Gb26875Server(
        host=host,
        port=port,
        append=journal.messages.append,
        on_duty=checks.heard,
        shard=source.shard,
        now=wall,
        source=source.filter,
        zone=zone_of_panels(source),
    )
    log.info("listening to transmitters", host=host, port=server.port)
    return {"GB/T 26875.3 server": server.run, "duty checks": checks.run}


def writers(
    settings: Settings, sources: Sources, journals: Mapping[str, SqliteJournal], stack: contextlib.ExitStack
) -> dict[str, Part]:
    """A writer a shard, and the maintenance of them all. What the sources are, the log alone tells the writer."""
    # a memory of many devices is walked by the collector again and again; the hot loop makes no cycles
    gc.set_threshold(50_000, 20, 50)
    url = stack.enter_context(database_url(settings.database_url, settings.data))
    pool = stack.enter_context(contextlib.closing(open_pool(url, name="writer", size=len(journals) + 1)))
    asker = Asker(settings.mqtt_url, client_id=f"{settings.mqtt_client_id}-asks")
    stack.callback(asker.close)
    empty = Sources(sources=(), text="")
    parts: dict[str, Part] = {
        f"writer of {shard}": Writer(journal, shard, pool, empty, wall, asker.ask).run
        for shard, journal in journals.items()
    }
    return {**parts, "maintenance": Maintenance(pool, list(journals.values()), wall).run}


if __name__ == "__main__":
    sys.exit(run_room("ingest", ROLES, run_role, sys.argv[1:]))
