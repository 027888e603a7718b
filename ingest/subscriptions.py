"""Which connection subscribes to what, and what a broker may still hold for us from an earlier run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import msgspec
import structlog

from ingest.sources import Source
from ingest.topics import overlap, valid_filter

MAIN = "main"
URGENT = "urgent"
SECOND = ".2"  #: ends the name and the client id of a connection's second session

log = structlog.get_logger()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One connection of a shard: `name` is MAIN or URGENT.

    It has two sessions in turn: `name`, and `name` with SECOND behind. No shard's name has a dot in it.
    """

    shard: str
    name: str
    filters: tuple[str, ...]

    @property
    def urgent(self) -> bool:
        """Whether this connection may use the part of the log that is kept for urgent sources."""
        return self.name == URGENT

    def client_id(self, prefix: str, session: str) -> str:
        """The fixed client id, by which the broker knows a session again."""
        own = f"-{URGENT}" if self.urgent else ""
        return f"{prefix}-{self.shard}{own}{session.removeprefix(self.name)}"


def plans(sources: Iterable[Source]) -> list[Plan]:
    """The connections these sources need, urgent ones first within a shard."""
    filters: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        filters.setdefault((source.shard, URGENT if source.urgent else MAIN), []).append(source.filter)
    return [
        Plan(shard=shard, name=name, filters=tuple(dict.fromkeys(wanted)))
        for (shard, name), wanted in sorted(filters.items(), key=lambda item: (item[0][0], item[0][1] != URGENT))
    ]


def connection_problems(sources: Iterable[Source]) -> list[str]:
    """Everything that keeps these sources from being subscribed to; each as `where: what; what would be right`.

    A topic that two connections subscribe to would be stored twice, and in one order on each.
    """
    connections = plans(sources)
    every = [(connection, filter_) for connection in connections for filter_ in connection.filters]
    problems = [f"sources: {wrong}" for _, filter_ in every if (wrong := valid_filter(filter_))]
    for (one, a), (other, b) in combinations(every, 2):
        if one != other and overlap(a, b):
            problems.append(
                f"sources: filter {a!r} ({_named(one)}) and filter {b!r} ({_named(other)}) can match the same topic; "
                "let the filters of different shards, and of urgent and other sources, share no topic"
            )
    problems += [
        f"sources: shard {shard!r} ends in -{URGENT}, which is kept for urgent connections; choose another name"
        for shard in sorted({plan.shard for plan in connections})
        if shard.endswith(f"-{URGENT}")
    ]
    return problems


def _named(plan: Plan) -> str:
    return f"shard {plan.shard}, {'urgent' if plan.urgent else 'not urgent'}"


class Kept(msgspec.Struct, kw_only=True):
    """What is on disk. Every session that a broker may hold is a key of `filters`, with what it may be subscribed to.

    `current`: the session a connection goes on with, where it is not the first. `stamps`: for a session that was
    left, the first unused of the times that its messages get (see Message.held_until).
    """

    connections: int = 0
    filters: dict[str, list[str]] = {}
    current: dict[str, str] = {}
    stamps: dict[str, int] = {}


class SessionMemory:
    """What one shard's receiver must know of its earlier runs, in a small file beside the log.

    `lost`: there was no file, or it was damaged. Then the first session of each connection is gone on with, and
    filters that were taken out of sources.yaml stay in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lost = True
        self._guessed: set[str] = set()
        self._kept = Kept()
        try:
            self._kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            self.lost = False
        except FileNotFoundError:
            pass
        except (msgspec.DecodeError, OSError) as error:
            log.warning("cannot read what was subscribed to before", path=str(path), error=str(error))

    def current(self, name: str) -> str:
        """The session a connection goes on with."""
        return self._kept.current.get(name, name)

    def other(self, name: str) -> str:
        """The session this connection left and a broker may still hold; "" when there is none."""
        other = _other(name, self.current(name))
        return other if other in self._kept.filters else ""

    def left(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """(connection, session) of all that a broker may hold, but for the current ones of these connections."""
        current = {self.current(name) for name in names}
        return [(session.removesuffix(SECOND), session) for session in self._kept.filters if session not in current]

    def filters(self, session: str) -> frozenset[str]:
        """The filters a broker may hold for this session."""
        return frozenset(self._kept.filters.get(session, ()))

    def remember(self, session: str, filters: Iterable[str]) -> None:
        """The broker may hold these filters, and no others, for this session."""
        wanted = sorted(set(filters))
        if wanted != self._kept.filters.get(session):
            self._kept.filters[session] = wanted
            self._save()

    def guess(self, name: str, filters: Iterable[str]) -> None:
        """Nobody knows any more whether a broker holds the second session of this connection: look."""
        session = _other(name, self.current(name))
        self._guessed.add(session)
        self.remember(session, filters)

    def is_guessed(self, session: str) -> bool:
        """Whether it would be no loss when there is no such session."""
        return session in self._guessed

    def change(self, name: str) -> None:
        """The connection goes on with its other session."""
        self._kept.current[name] = _other(name, self.current(name))
        self._save()

    def forget(self, session: str) -> None:
        """The broker holds this session no more."""
        self._kept.filters.pop(session, None)
        self._kept.stamps.pop(session, None)
        self._save()

    def stamp(self, session: str) -> int:
        """The first unused of the times for messages of a session that was left; 0 when none was ever used."""
        return self._kept.stamps.get(session, 0)

    def keep_stamp(self, session: str, stamp: int) -> None:
        self._kept.stamps[session] = stamp
        self._save()

    def next_connection(self) -> int:
        """A number no connection of this shard had before."""
        self._kept.connections += 1
        self._save()
        return self._kept.connections

    def _save(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.draft")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(msgspec.json.encode(self._kept))
            os.replace(draft, self._path)
        except OSError as error:
            log.warning("cannot keep what is subscribed to", path=str(self._path), error=str(error))


def _other(name: str, session: str) -> str:
    return name + SECOND if session == name else name
