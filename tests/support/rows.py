"""Rows for the tables that the recorder and the writer fill, written straight by tests of their readers."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

OPENED = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Rows:
    """Inserts rows with sensible values for all that a test does not care about."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._offset = 0

    def close(self) -> None:
        self._connection.close()

    def insert(self, table: str, **columns: Any) -> dict[str, Any]:
        """One row; its values."""
        names = ", ".join(f'"{name}"' for name in columns)
        places = ", ".join(["%s"] * len(columns))
        values = [Jsonb(value) if isinstance(value, dict) else value for value in columns.values()]
        self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})".encode(), values)
        return columns

    def execute(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Any statement; its rows."""
        cursor = self._connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def wait(self, text: str, seconds: float = 10) -> tuple[Any, ...]:
        """The first row of a query, once there is one."""
        deadline = time.monotonic() + seconds
        while not (found := self.execute(text)):
            assert time.monotonic() < deadline, f"no row: {text}"
            time.sleep(0.02)
        return found[0]

    def offset(self) -> int:
        """A log offset nobody had before."""
        self._offset += 1
        return self._offset

    def site(self, site: str, name: str = "", area: str = "") -> None:
        self.insert("sites", id=site, name=name, parent=area)

    def device(self, site: str, device: str) -> int:
        """A device; its key."""
        self.insert("devices", site=site, id=device)
        return int(self.execute("SELECT key FROM devices WHERE site = %s AND id = %s", site, device)[0][0])

    def incident(self, site: str = "shed-1", **columns: Any) -> uuid.UUID:
        row = {
            "id": uuid.uuid4(),
            "shard": "main",
            "site": site,
            "state": "open",
            "signal_class": "fire",
            "severity": "critical",
            "opened_at": OPENED,
            "changed_at": OPENED,
            "reason": "temperature 61 °C is at or above 57 °C",
            "version": self.offset(),
        } | columns
        return uuid.UUID(str(self.insert("incidents", **row)["id"]))

    def alert(self, incident: uuid.UUID | None = None, **columns: Any) -> uuid.UUID:
        row = {
            "id": uuid.uuid4(),
            "shard": "main",
            "rule": "heat-fixed",
            "rule_version": "abc",
            "signal_class": "fire",
            "severity": "critical",
            "site": "shed-1",
            "device": "head-1",
            "state": "firing",
            "started_at": OPENED,
            "fired_at": OPENED,
            "value": "61.5",
            "limit": 57.0,
            "reason": "temperature 61.5 °C is at or above 57 °C",
            "incident": incident,
            "log_offset": self.offset(),
        } | columns
        return uuid.UUID(str(self.insert("alerts", **row)["id"]))

    def page(self, incident: uuid.UUID, outcome: str = "accepted", **columns: Any) -> uuid.UUID:
        """A page with one final receipt."""
        row = {
            "id": uuid.uuid4(),
            "shard": "main",
            "tell": uuid.uuid4(),
            "incident": incident,
            "site": "shed-1",
            "step": 1,
            "target": "north",
            "channel": "hook",
            "signal_class": "fire",
            "reason": "opened",
            "due_at": OPENED,
            "created_at": OPENED,
            "state": "accepted" if outcome == "accepted" else "failed",
        } | columns
        page = uuid.UUID(str(self.insert("pages", **row)["id"]))
        self.insert(
            "receipts",
            id=uuid.uuid4(),
            shard="main",
            page=page,
            attempt=1,
            outcome=outcome,
            final=True,
            at=OPENED + timedelta(milliseconds=40),
            detail="HTTP 200",
        )
        return page

    def event(self, kind: str, **body: Any) -> int:
        """An event, announced; its number."""
        self.insert("events", shard="main", log_offset=self.offset(), kind=kind, body=body)
        number = int(self.execute("SELECT max(seq) FROM events")[0][0])
        self.execute("SELECT pg_notify('emberwatch_events', %s)", str(number))
        return number
