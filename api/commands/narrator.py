"""What the demo tells as it happens, in words a newcomer understands; read from the live feed's table."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol

import psycopg

from ingest.database import Connection, connect
from ingest.errors import Unavailable

_POLL_SECONDS = 0.3
_EVENTS = "SELECT seq, kind, body FROM events WHERE seq > %s ORDER BY seq LIMIT 500"
_SITE = "SELECT coalesce(nullif(max(name), ''), %(site)s) FROM sites WHERE id = %(site)s"
_PAGE = """SELECT target, channel, pages.signal_class, pages.site, extract(epoch FROM %s::timestamptz - tells.at)::float
    FROM pages LEFT JOIN tells ON tells.id = pages.tell WHERE pages.id = %s"""
_CLASSES = {"fire": "FIRE", "pre_alarm": "PRE-ALARM"}
_SIGNS = {"acknowledged": "IN HAND", "closed": "CLOSED"}


class Say(Protocol):
    """Puts a line before the person."""

    def __call__(self, text: str, *, stamped: bool = False) -> None: ...


class Narrator:
    """Tells each piece of news once."""

    def __init__(self, url: str, teams: Mapping[str, str], say: Say) -> None:
        self._url, self._teams, self._say = url, teams, say
        self._seq = 0
        self._known: dict[str, tuple[str, str]] = {}  # incident → class and state last told

    def run(self, stop: threading.Event) -> None:
        """Tell until `stop`; a database that is away is waited for."""
        while not stop.wait(_POLL_SECONDS):
            try:
                with closing(connect(self._url, name="narrator", autocommit=True)) as connection:
                    while not stop.wait(_POLL_SECONDS):
                        self.tell(connection)
            except (Unavailable, psycopg.Error):
                continue

    def tell(self, connection: Connection) -> None:
        """Everything new."""
        for seq, kind, body in connection.execute(_EVENTS, (self._seq,)).fetchall():
            self._seq = seq
            line = None
            if kind == "incident":
                line = self._incident(connection, body)
            elif kind == "receipt":
                line = self._receipt(connection, body)
            elif kind == "notice":
                line = f"NOTICE     {body['text']}"
            if line:
                self._say(line, stamped=True)

    def _incident(self, connection: Connection, body: dict[str, Any]) -> str | None:
        now = (body["class"], body["state"])
        before, self._known[body["id"]] = self._known.get(body["id"]), now
        if before == now:
            return None
        where = _site(connection, body["site"])
        if body["state"] in _SIGNS:
            author = f" by {body['author']}" if body.get("author") else ""
            return f"{_SIGNS[body['state']]:<10} {where}{author}"
        sign = _CLASSES.get(body["class"], body["class"].upper())
        return f"{sign:<10} {where}: {body['reason']}"

    def _receipt(self, connection: Connection, body: dict[str, Any]) -> str | None:
        page = connection.execute(_PAGE, (body["at"], body["page"])).fetchone()
        if page is None or body["outcome"] == "retry":
            return None
        target, channel, signal_class, site, seconds = page
        who = f"team {self._teams[target]}" if target in self._teams else target
        where = _site(connection, site)
        if body["outcome"] != "accepted":
            return f"NOT TOLD   {who} of {signal_class} at {where} by {channel}: {body['outcome']}"
        after = f", {seconds:.1f} s after the sign" if seconds is not None and 0 <= seconds < 600 else ""
        return f"TOLD       {who} of {signal_class} at {where} by {channel}{after}"


def _site(connection: Connection, site: str) -> str:
    row = connection.execute(_SITE, {"site": site}).fetchone()
    name = row[0] if row else site
    return site if name == site else f"{name} ({site})"
