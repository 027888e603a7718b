"""The books of an installation: its database and the logs of its shards."""

from __future__ import annotations

from contextlib import ExitStack, closing

from alerts.ledger import Ledger, ledger
from ingest.database import connect
from ingest.journal_sqlite import SqliteJournal, shards_of
from ingest.settings import Settings


def read_books(settings: Settings, url: str) -> Ledger:
    """The ledger of all shards that have a log here; Unavailable without a database."""
    with ExitStack() as stack:
        journals = {
            shard: stack.enter_context(closing(SqliteJournal(settings.journal_dir, shard)))
            for shard in shards_of(settings.journal_dir)
        }
        connection = stack.enter_context(connect(url, name="ledger", autocommit=True))
        return ledger(journals, connection)
