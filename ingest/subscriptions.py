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

log = structlog.get_logger()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One connection of a shard: `name` is MAIN or URGENT."""

    shard: str
    name: str
    filters: tuple[str, ...]

    @property
    def urgent(self) -> bool:
        """Whether this connection may use the part of the log that is kept for urgent sources."""
        return self.name == URGENT

    def client_id(self, prefix: str) -> str:
        """The fixed client id, by which the broker knows our session again."""
        return f"{prefix}-{self.shard}" + (f"-{URGENT}" if self.urgent else "")


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
    """What is on disk: the number of connections so far, and per connection the filters a broker may hold."""

    connections: int = 0
    filters: dict[str, list[str]] = {}


class SessionMemory:
    """What one shard's receiver must know of its earlier runs, in a small file beside the log.

    A lost file costs nothing but this: filters that were taken out of sources.yaml stay in the broker's session.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except FileNotFoundError:
            self._kept = Kept()
        except (msgspec.DecodeError, OSError) as error:
            log.warning("cannot read what was subscribed to before", path=str(path), error=str(error))
            self._kept = Kept()

    def names(self) -> list[str]:
        """Connections for which a broker may hold filters."""
        return [name for name, filters in self._kept.filters.items() if filters]

    def filters(self, name: str) -> frozenset[str]:
        """The filters a broker may hold for this connection."""
        return frozenset(self._kept.filters.get(name, ()))

    def remember(self, name: str, filters: Iterable[str]) -> None:
        """The broker may hold these filters, and no others, for this connection."""
        wanted = sorted(set(filters))
        if wanted != self._kept.filters.get(name):
            self._kept.filters[name] = wanted
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
