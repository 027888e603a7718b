"""Which connection subscribes to what."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.sources import Source
from ingest.subscriptions import SessionMemory, connection_problems, plans


def source(filter_: str, *, shard: str = "main", urgent: bool = False) -> Source:
    return Source(filter=filter_, codec="ember-json", shard=shard, urgent=urgent)


def test_urgent_sources_have_a_connection_of_their_own_in_each_shard() -> None:
    found = plans([source("a/#"), source("b", urgent=True), source("c", shard="north"), source("d")])
    assert [(plan.shard, plan.name, plan.filters) for plan in found] == [
        ("main", "urgent", ("b",)),
        ("main", "main", ("a/#", "d")),
        ("north", "main", ("c",)),
    ]
    assert [plan.client_id("em", plan.name) for plan in found] == ["em-main-urgent", "em-main", "em-north"]


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        ([source("a/#"), source("a/+", urgent=True)], ["'a/#'", "'a/+'"]),
        ([source("a/#"), source("#", shard="north")], ["shard north", "'#'"]),
        ([source("a/#/b")], ["# must stand alone"]),
        ([source("a", shard="x-urgent")], ["-urgent"]),
    ],
)
def test_what_two_connections_would_both_store_is_a_problem(sources: list[Source], named: list[str]) -> None:
    problems = connection_problems(sources)
    assert len(problems) == 1
    assert all(name in problems[0] for name in named)


def test_overlap_within_one_connection_is_allowed() -> None:
    assert connection_problems([source("a/#"), source("a/+"), source("b/#", urgent=True)]) == []


def test_the_memory_of_sessions_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "receiver-main.json"
    memory = SessionMemory(path)
    assert memory.filters("main") == frozenset()
    memory.remember("main", ["b", "a", "a"])
    assert [memory.next_connection(), memory.next_connection()] == [1, 2]
    again = SessionMemory(path)
    assert again.filters("main") == {"a", "b"}
    assert again.left(["main"]) == []
    assert again.left([]) == [("main", "main")]
    assert again.next_connection() == 3


def test_a_damaged_memory_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "receiver-main.json"
    path.write_bytes(b"\x00{")
    assert SessionMemory(path).filters("main") == frozenset()


def test_a_connection_has_two_sessions_in_turn(tmp_path: Path) -> None:
    [plan] = plans([source("a/#", urgent=True)])
    memory = SessionMemory(tmp_path / "receiver.json")
    memory.remember("urgent", ["a/#"])
    assert (memory.current("urgent"), memory.other("urgent")) == ("urgent", "")
    memory.change("urgent")
    memory.keep_stamp("urgent", 7)
    again = SessionMemory(tmp_path / "receiver.json")
    assert (again.current("urgent"), again.other("urgent")) == ("urgent.2", "urgent")
    assert again.left(["urgent"]) == [("urgent", "urgent")]
    assert again.stamp("urgent") == 7
    assert [plan.client_id("em", session) for session in ("urgent", "urgent.2")] == [
        "em-main-urgent",
        "em-main-urgent.2",
    ]
    again.forget("urgent")
    assert (again.other("urgent"), again.left(["urgent"]), again.stamp("urgent")) == ("", [], 0)
    again.remember("urgent.2", ["a/#"])
    again.change("urgent")
    assert (again.current("urgent"), again.other("urgent")) == ("urgent", "urgent.2")


def test_a_memory_of_before_there_were_two_sessions_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "receiver.json"
    path.write_bytes(b'{"connections":4,"filters":{"main":["a/#"],"urgent":[]}}')
    memory = SessionMemory(path)
    assert not memory.lost
    assert (memory.current("main"), memory.next_connection()) == ("main", 5)
    assert memory.filters("main") == {"a/#"}
    assert memory.left(["main"]) == [("urgent", "urgent")], "its connection is not configured any more"


def test_when_the_memory_is_lost_the_second_session_is_looked_for(tmp_path: Path) -> None:
    memory = SessionMemory(tmp_path / "receiver.json")
    assert memory.lost
    memory.guess("main", ["a/#"])
    assert memory.left(["main"]) == [("main", "main.2")]
    assert memory.is_guessed("main.2")
    assert not memory.is_guessed("main")
