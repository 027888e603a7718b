"""What the dispatcher must know to find a team, without a database: inventory, teams and acts from the log."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from alerts.outbox import Outbox
from alerts.teams import Teams
from ingest.errors import BelowFloor, ConfigError
from ingest.inventory import Inventory, InventoryDelta
from ingest.journal import Record, Stream
from ingest.message import Act, Kind, encode

CURSOR = "messages"
_INVENTORY = "inventory"
_BATCH = 500

log = structlog.get_logger()


class Surroundings:
    """Areas, sites and teams as of the log's head, with a compact copy in the outbox for the next start.

    `read_teams` understands the text of a TEAMS record, secrets included.
    """

    def __init__(
        self, *, shard: str, messages: Stream, outbox: Outbox, teams: Teams, read_teams: Callable[[str], Teams]
    ) -> None:
        self.inventory = Inventory()
        self.teams = teams
        self._shard = shard
        self._messages = messages
        self._outbox = outbox
        self._read_teams = read_teams
        kept = outbox.kept(_INVENTORY)
        if kept is not None:
            self.inventory.apply(msgspec.msgpack.decode(kept, type=InventoryDelta))
        cursor = outbox.cursor(CURSOR)
        self._cursor = messages.floor() if cursor is None else cursor

    def learn(self) -> list[Act]:
        """Take over what is new up to the log's head; the acts among it, in order."""
        acts: list[Act] = []
        places, teams = False, ""
        while records := self._read():
            for record in records:
                if record.kind == Kind.INVENTORY:
                    places |= self._take_over(record)
                elif record.kind == Kind.TEAMS:
                    teams = record.value.decode(errors="replace")
                elif record.kind == Kind.ACT:
                    acts.append(msgspec.msgpack.decode(record.value, type=Act))
            self._cursor = records[-1].offset
        if places:
            self._keep_inventory()
        if teams and teams != self.teams.text:
            self._change_teams(teams)
        return acts

    def save(self) -> None:
        """Remember how far the log was read; nothing at or below it is needed again."""
        if self._outbox.cursor(CURSOR) != self._cursor:
            self._outbox.move(CURSOR, self._cursor)
        self._messages.hold("dispatcher", self._cursor)

    def _read(self) -> list[Record]:
        try:
            return self._messages.read(self._cursor, _BATCH, control_only=True)
        except BelowFloor as error:
            log.error("the log was trimmed before the dispatcher read it", shard=self._shard, error=str(error))
            self._cursor = self._messages.floor()
            return self._messages.read(self._cursor, _BATCH, control_only=True)

    def _take_over(self, record: Record) -> bool:
        delta = msgspec.msgpack.decode(record.value, type=InventoryDelta)
        places = msgspec.structs.replace(delta, devices=[], removed_devices=[])
        self.inventory.apply(places)
        return bool(places.areas or places.centres or places.sites)

    def _keep_inventory(self) -> None:
        with self._outbox.transaction():
            self._outbox.keep(_INVENTORY, encode(self.inventory.snapshot()))
            self._outbox.move(CURSOR, self._cursor)

    def _change_teams(self, text: str) -> None:
        try:
            self.teams = self._read_teams(text)
        except ConfigError as error:
            log.error("teams in the log cannot be used, the ones before stay", shard=self._shard, error=str(error))
        else:
            log.info("teams changed", shard=self._shard, teams=[team.id for team in self.teams.teams])
