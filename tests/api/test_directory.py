"""Tokens in memory: how fresh, how few questions, what holds while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from api.directory import COARSE, Directory
from api.tokens import Token
from ingest.errors import Unavailable

NOW = 1_772_352_000_000_000


class Table:
    """Stands for the database."""

    def __init__(self, *ids: str) -> None:
        self.rows = {id: Token(id=id, name=id, digest=b"", scopes=()) for id in ids}
        self.away = False
        self.reads = 0
        self.loaded = asyncio.Event()
        self.uses: dict[str, int] = {}

    async def load(self) -> dict[str, Token]:
        self.reads += 1
        self.loaded.set()
        await asyncio.sleep(0)  # as a question to the database lets others run
        if self.away:
            raise Unavailable("PostgreSQL: no")
        return dict(self.rows)

    async def read_again(self) -> None:
        """Wait until the directory has asked once more."""
        self.loaded.clear()
        await asyncio.wait_for(self.loaded.wait(), 10)

    async def note_use(self, used: Mapping[str, int]) -> None:
        if self.away:
            raise Unavailable("PostgreSQL: no")
        self.uses |= used

    def directory(self) -> Directory:
        return Directory(load=self.load, note_use=self.note_use)


def test_a_token_made_a_moment_ago_is_found_and_callers_together_ask_once() -> None:
    table = Table()
    directory = table.directory()

    async def ask() -> None:
        assert await directory.look_again("new") is None
        table.rows = Table("new").rows
        assert directory.known("new") is None
        found = await asyncio.gather(*(directory.look_again("new") for _ in range(50)))
        assert all(token is not None for token in found)

    asyncio.run(ask())
    assert table.reads <= 3


def test_what_was_known_goes_on_while_the_database_is_away_and_the_rest_cannot_be_said() -> None:
    table = Table("old")
    directory = table.directory()

    async def ask() -> None:
        assert await directory.look_again("old")
        table.away = True
        with pytest.raises(Unavailable, match="database is away"):
            await directory.look_again("new")
        assert directory.known("old")
        table.away, table.rows = False, {}
        assert await directory.look_again("new") is None
        assert directory.known("old") is None

    asyncio.run(ask())


def test_the_last_use_is_written_coarsely_and_survives_a_database_away() -> None:
    table = Table("a")
    directory = table.directory()
    token = table.rows["a"]

    async def use() -> None:
        directory.start()
        await table.read_again()
        for at in (NOW, NOW + 1, NOW + COARSE - 1):
            directory.note(token, at)
        table.away = True
        await directory.stop()
        assert table.uses == {}
        table.away = False
        directory.start()
        await table.read_again()
        await directory.stop()

    asyncio.run(use())
    assert table.uses == {"a": NOW}
