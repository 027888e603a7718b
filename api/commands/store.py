"""Commands on the database and on the log: migrate, inventory, ledger, exports, quarantine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from alerts import store
from alerts.backtest import begins_whole, export_extras
from alerts.export import json_lines
from alerts.ledger import as_json, as_text
from api.app import SCHEMAS, not_migrated
from api.commands.books import read_books
from ingest.database import AWAY, Connection, connect, database_url, migrate, unavailable
from ingest.errors import OperatorError
from ingest.inventory_file import export_inventory, import_inventory, parse_inventory, write_inventory
from ingest.journal_export import export_journal
from ingest.journal_sqlite import SqliteJournal, shards_of
from ingest.message import Kind
from ingest.quarantine import (
    Group,
    Quarantined,
    Wanted,
    group_quarantine,
    list_quarantine,
    only_counted,
    request_redrive,
)
from ingest.readings import iso
from ingest.redrive import REASONS
from ingest.settings import Settings, load_settings
from ingest.sources import Clock
from ingest.sources_file import parse_sources


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """URL of the database, while it is used; OperatorError where its schema is not the one this program needs."""
    with database_url(settings.database_url, settings.data) as url:
        if reasons := not_migrated(url):
            raise OperatorError("\n".join(reasons))
        yield url


@contextmanager
def connection(settings: Settings) -> Iterator[Connection]:
    """A connection to the migrated database; Unavailable in one line when it goes away on the way."""
    with database(settings) as url, closing(connect(url)) as opened:
        try:
            with opened:
                yield opened
        except AWAY as error:
            raise unavailable(error, url) from None


def migrate_command() -> int:
    """`emberwatch migrate`."""
    settings = load_settings()
    with database_url(settings.database_url, settings.data) as url, closing(connect(url)) as opened:
        applied = migrate(opened, SCHEMAS)
    for name in applied:
        print(f"applied {name}")
    print(f"the schema is up to date; {len(applied)} files applied")
    return 0


def inventory_import(file: Path) -> int:
    """`emberwatch inventory import`: all of the file or nothing."""
    settings = load_settings()
    if not file.is_file():  # said before a database is started for it
        raise OperatorError(f"{file}: no such file; name an existing CSV file")
    with connection(settings) as opened:
        delta = parse_inventory(file, known=export_inventory(opened))
        fresh = import_inventory(opened, delta)
    kinds = ("areas", "centres", "sites", "devices")
    counts = [f"{len(getattr(delta, kind))} {kind}, {len(getattr(fresh, kind))} new or changed" for kind in kinds]
    print(f"{file}: {'; '.join(counts)}")
    return 0


def inventory_export(file: Path | None) -> int:
    """`emberwatch inventory export`."""
    with connection(load_settings()) as opened:
        delta = export_inventory(opened)
    if file is not None:
        write_inventory(delta, file)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "inventory.csv"
        write_inventory(delta, draft)
        sys.stdout.write(draft.read_text(encoding="utf-8"))
    return 0


def ledger_command(*, as_json_object: bool) -> int:
    """`emberwatch ledger`; exit 1 when the books do not balance."""
    settings = load_settings()
    with database(settings) as url:
        try:
            books = read_books(settings, url)
        except AWAY as error:
            raise unavailable(error, url) from None
    print(as_json(books) if as_json_object else as_text(books))
    return 0 if books.balanced else 1


def journal_export(file: Path, shard: str) -> int:
    """`emberwatch journal export`."""
    settings = load_settings()
    shards = shards_of(settings.journal_dir)
    chosen = shard or (shards[0] if len(shards) == 1 else "")
    if chosen not in shards:
        there = f"there are {', '.join(shards)}" if shards else "there is none yet"
        what = f"no shard {shard} has a log" if shard else "say which shard with --shard S"
        raise OperatorError(f"{what} in {settings.journal_dir}; {there}")
    with closing(SqliteJournal(settings.journal_dir, chosen)) as journal:
        extras = export_extras(journal, _clock_of(journal))
        counts = export_journal(journal, file, extras=extras)
        if not begins_whole(journal, extras):
            file.unlink()
            raise OperatorError(f"{file}: the log was trimmed while it was exported; run it again")
    print(f"{file}: shard {chosen}, " + ", ".join(f"{count} records of {name}" for name, count in counts.items()))
    return 0


def _clock_of(journal: SqliteJournal) -> Clock:
    """The clock of a shard, as the sources in its log say."""
    record = journal.messages.last(Kind.SOURCES)
    if record is None:
        return Clock.RECEIVED
    return parse_sources(record.value.decode(), "sources in the log").shards().get(journal.shard, Clock.RECEIVED)


def alerts_export(out: Path | None) -> int:
    """`emberwatch alerts export`."""
    with connection(load_settings()) as opened, output(out) as file:
        file.writelines(json_lines(store.transitions(opened)))
    return 0


def quarantine_list(wanted: Wanted, *, by_device: bool, limit: int) -> int:
    """`emberwatch quarantine list`."""
    with connection(load_settings()) as opened:
        listing = list_quarantine(opened, wanted, limit=0 if by_device else limit)
        groups = group_quarantine(opened, wanted, limit=limit) if by_device else []
    for row in listing.rows:
        print(_quarantine_line(row))
    for group in groups:
        print(_group_line(group))
    total = sum(listing.counts.values())
    by_reason = ", ".join(f"{name} {count}" for name, count in sorted(listing.counts.items()))
    print(f"{total} in quarantine{': ' if by_reason else ''}{by_reason}")
    return 0


def quarantine_replay(wanted: Wanted, *, limit: int) -> int:
    """`emberwatch quarantine replay`."""
    with connection(load_settings()) as opened:
        asked = request_redrive(opened, wanted, limit=limit)
        lost = only_counted(opened, wanted)
    reasons = ", ".join(REASONS)
    print(f"{asked} will be judged once more by the running roles ({reasons}); `quarantine list` shows what stays")
    if lost:
        print(f"{lost} of floods were only counted: there is nothing of them to judge")
    return 0


def _group_line(group: Group) -> str:
    who = f"{group.site or '?'}/{group.device or '?'}"
    seen = f"{iso(group.first_seen)} to {iso(group.last_seen)}"
    counted = f" ({group.folded} only counted)" if group.folded else ""
    return f"{group.count:>7} {group.reason} {who}{counted}, {seen}: {' '.join(group.detail.split())}"


def _quarantine_line(row: Quarantined) -> str:
    payload = row.payload[:60].decode("utf-8", "backslashreplace")
    payload = msgspec.json.encode(payload).decode() + ("…" if len(row.payload) > 60 else "")
    detail = " ".join(row.detail.split())
    return f"{iso(row.received_at)} {row.shard}:{row.offset} {row.reason}: {detail} [{row.topic}] {payload}"


@contextmanager
def output(file: Path | None) -> Iterator[TextIO]:
    """The file, written whole or not at all; None: standard output."""
    if file is None:
        yield sys.stdout
        return
    draft = file.with_name(f".{file.name}.draft")
    try:
        with draft.open("w", encoding="utf-8", newline="") as opened:
            yield opened
        draft.replace(file)
    except OSError as error:
        raise OperatorError(
            f"{file}: {(error.strerror or str(error)).lower()}; name a file that can be written"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
