"""`emberwatch check`: everything that can be wrong, told at once; and what is good."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO, TypeVar

from alerts.rulebook import load_rulebook
from alerts.teams import load_teams
from api.app import SCHEMAS
from api.pushes import secrets_of
from ingest.brokercheck import check_broker
from ingest.brokerfinding import BAD
from ingest.database import AWAY, Connection, connect, database_url, pending
from ingest.errors import ConfigError, EmberwatchError
from ingest.gb26875_server import server_source
from ingest.settings import Settings, load_settings
from ingest.sources import Sources
from ingest.sources_file import load_sources

T = TypeVar("T")

#: Below this the log has hardly room for the reserve and an hour of a district.
LEAST_FREE_BYTES = 5 << 30
LEAST_POSTGRES = 160000


class Report:
    """Prints what is good as it is found, and collects what is not."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.problems: list[str] = []

    def good(self, what: str, found: str) -> None:
        print(f"ok       {what}: {found}", file=self._out, flush=True)

    def bad(self, what: str, problem: str) -> None:
        print(f"PROBLEM  {what}: {problem}", file=self._out, flush=True)
        self.problems.append(problem)

    def tried(self, what: str, load: Callable[[], T]) -> T | None:
        """What `load` gives, or None after noting every problem it raised."""
        try:
            return load()
        except ConfigError as error:
            for problem in error.problems:
                self.bad(what, problem)
        except EmberwatchError as error:
            self.bad(what, str(error))
        return None


def check(out: TextIO) -> int:
    """Exit code 1 when there is any problem."""
    report = Report(out)
    settings = report.tried("settings", load_settings)
    if settings is not None:
        report.good("settings", f"data folder {settings.data}")
        sources = _files(report, settings)
        _disk(report, settings)
        rate = _database(report, settings)
        _broker(report, settings, sources, rate)
    count = len(report.problems)
    print(f"{count} problem{'' if count == 1 else 's'}" if count else "all good", file=out)
    return 1 if count else 0


def _files(report: Report, settings: Settings) -> Sources | None:
    if sources := report.tried("sources", lambda: load_sources(settings.file("sources"))):
        shards = ", ".join(sources.shards())
        report.good("sources", f"{len(sources.sources)} filters, shards {shards}{_origin(settings.sources)}")
        if settings.gb26875_bind:
            taken_in = report.tried("gb26875", lambda: server_source(sources))
            if taken_in is not None:
                report.good("gb26875", f"transmitters report to {settings.gb26875_bind}, into shard {taken_in.shard}")
        _pushes(report, settings, sources)
    if rulebook := report.tried("rules", lambda: load_rulebook(settings.file("rules"))):
        report.good("rules", f"{len(rulebook.rules)} rules, version {rulebook.version}{_origin(settings.rules)}")
    if teams := report.tried("teams", lambda: load_teams(settings.file("teams"))):
        channels = ", ".join(f"{name} ({channel.type})" for name, channel in teams.channels.items())
        report.good("teams", f"{len(teams.teams)} teams, channels {channels}{_origin(settings.teams)}")
    return sources


def _pushes(report: Report, settings: Settings, sources: Sources) -> None:
    """The platforms that push, and whether their secrets are there."""
    pushed = [source.pushed for source in sources.sources if source.pushed]
    secrets = report.tried("push", lambda: secrets_of(sources, Path(settings.sources).expanduser().parent))
    if pushed and secrets is not None:
        named = [name if name in secrets else f"{name} (by API token alone)" for name in pushed]
        report.good("push", f"platforms push {', '.join(named)}")


def _origin(path: str) -> str:
    return "" if path else " (the packaged file)"


def _disk(report: Report, settings: Settings) -> None:
    folder = _existing(settings.journal_dir)
    free = shutil.disk_usage(folder).free
    needed = settings.journal_reserve_bytes + LEAST_FREE_BYTES
    found = f"{free / 2**30:.1f} GiB free for the log under {folder}"
    if free < needed:
        report.bad("disk", f"{found}; the log wants at least {needed / 2**30:.1f} GiB")
    else:
        report.good("disk", found)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _database(report: Report, settings: Settings) -> float | None:
    """How many messages a second the registered devices send at least; None when nobody can say."""

    def look() -> float | None:
        with (
            database_url(settings.database_url, settings.data) as url,
            closing(connect(url, name="check", autocommit=True)) as connection,
        ):
            for good, finding in _findings(connection):
                (report.good if good else report.bad)("database", finding)
            return None if pending(connection, SCHEMAS) else _expected_rate(connection)

    try:
        return report.tried("database", look)
    except AWAY as error:
        report.bad("database", " ".join(str(error).split()))
        return None


def _expected_rate(connection: Connection) -> float | None:
    (rate,) = connection.execute("SELECT sum(1 / expected_interval_s)::float8 FROM devices").fetchone() or (None,)
    return float(rate) if rate else None


def _findings(connection: Connection) -> Iterator[tuple[bool, str]]:
    """Each finding, and whether it is good."""
    modern = connection.info.server_version >= LEAST_POSTGRES
    version = connection.info.parameter_status("server_version")
    yield modern, f"PostgreSQL {version}" + ("" if modern else "; 16 or newer is needed")
    installed = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    yield True, f"TimescaleDB {installed[0]}" if installed else "without TimescaleDB: plain partitions, kept by us"
    outstanding = pending(connection, SCHEMAS)
    if outstanding:
        yield False, f"migrations not applied: {', '.join(outstanding)}; run `emberwatch migrate`"
        return
    yield True, "schema up to date"
    counts = connection.execute("SELECT (SELECT count(*) FROM sites), (SELECT count(*) FROM devices)").fetchone()
    sites, devices = counts or (0, 0)
    advice = "" if devices else "; load it with `emberwatch inventory import FILE.csv`"
    yield bool(devices), f"inventory: {sites} sites, {devices} devices{advice}"


def _broker(report: Report, settings: Settings, sources: Sources | None, rate: float | None) -> None:
    for finding in check_broker(settings.mqtt_url, sources.sources if sources else (), inventory_rate=rate):
        bad = finding.grade in BAD
        text = f"{finding.about}: {finding.seen}" + (f"; {finding.change}" if finding.change else "")
        (report.bad if bad else report.good)("broker", " ".join(text.split()))
