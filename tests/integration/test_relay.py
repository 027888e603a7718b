"""The relay against a real PostgreSQL: what people wrote reaches the log, whatever fails in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from alerts import relay_store as store
from alerts.relay import Relay
from ingest.database import open_pool
from ingest.errors import LogFull, Unavailable
from ingest.inventory import InventoryDelta, Site
from ingest.message import Act, ActKind, Kind, encode
from ingest.role import announce
from tests.support.acts import insert_act
from tests.support.decisions import NOON, uid
from tests.support.memory_log import MemoryJournal

Pool = ConnectionPool[Connection[TupleRow]]
pytestmark = pytest.mark.integration


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    with open_pool(database, name="relay test") as pool:
        yield pool


def now() -> int:
    return NOON


def an_act(name: str, kind: ActKind = ActKind.ACKNOWLEDGE, **changes: Any) -> Act:
    values: dict[str, Any] = {"id": uid(name), "kind": kind, "author": "李", "at": NOON, "incident": uid("i1")}
    return Act(**(values | changes))


def write(pool: Pool, *acts: Act, shard: str = "main") -> None:
    with pool.connection() as connection:
        for act in acts:
            insert_act(connection, shard=shard, act=act)


def write_delta(pool: Pool, site: str) -> bytes:
    delta = encode(InventoryDelta(sites=[Site(id=site)]))
    with pool.connection() as connection:
        connection.execute("INSERT INTO inventory_changes (delta) VALUES (%s)", (delta,))
    return delta


def turn(relay: Relay, pool: Pool) -> int:
    with pool.connection() as connection:
        return relay.turn(connection)


def acts_in(journal: MemoryJournal) -> list[Act]:
    found = [record.value for record in journal.messages.records if record.kind == Kind.ACT]
    return [msgspec.msgpack.decode(value, type=Act) for value in found]


def states(pool: Pool) -> dict[str, str]:
    with pool.connection() as connection:
        return dict(connection.execute("SELECT id::text, state FROM acts").fetchall())


def test_an_act_reaches_the_log_of_its_shard_whole_and_once(pool: Pool) -> None:
    journals = {"main": MemoryJournal(), "north": MemoryJournal()}
    act = an_act(
        "c1", ActKind.CLOSE, comment="锅", body={"verdict": "test"}, seen={uid("a1"): 2}, alert=uid("a1"), at=NOON + 123
    )
    write(pool, act, shard="north")
    relay = Relay(journals, pool, now)
    assert turn(relay, pool) == 1
    assert turn(relay, pool) == 0
    assert acts_in(journals["north"]) == [act]
    assert acts_in(journals["main"]) == []
    assert states(pool) == {uid("c1"): "relayed"}


def test_acts_that_commit_late_are_not_overlooked(pool: Pool) -> None:
    journal = MemoryJournal()
    relay = Relay({"main": journal}, pool, now)
    with pool.connection() as slow:
        insert_act(slow, shard="main", act=an_act("c1", at=NOON - 9))
        write(pool, an_act("c2"))
        assert turn(relay, pool) == 1
    assert turn(relay, pool) == 1
    assert [act.id for act in acts_in(journal)] == [uid("c2"), uid("c1")]


def test_a_crash_between_append_and_mark_repeats_the_act_and_loses_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = MemoryJournal()
    relay = Relay({"main": journal}, pool, now)
    write(pool, an_act("c1"))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "mark_relayed", die)
        with pytest.raises(KeyboardInterrupt):
            turn(relay, pool)
    assert states(pool) == {uid("c1"): "pending"}
    turn(Relay({"main": journal}, pool, now), pool)
    assert [act.id for act in acts_in(journal)] == [uid("c1"), uid("c1")]
    assert states(pool) == {uid("c1"): "relayed"}


def test_an_act_in_the_hands_of_another_relay_is_left_alone(pool: Pool) -> None:
    journal = MemoryJournal()
    write(pool, an_act("c1"), an_act("c2"))
    with pool.connection() as other:
        assert len(store.waiting_acts(other, ["main"], 1)) == 1
        turn(Relay({"main": journal}, pool, now), pool)
    assert len(acts_in(journal)) == 1


def test_a_full_log_keeps_acts_waiting_and_other_shards_going(pool: Pool) -> None:
    full, sound = MemoryJournal(), MemoryJournal()
    full.messages.refusal = LogFull("full")
    write(pool, an_act("c1"), shard="full")
    write(pool, an_act("c2"), shard="sound")
    relay = Relay({"full": full, "sound": sound}, pool, now)
    with pytest.raises(LogFull):
        turn(relay, pool)
    assert states(pool) == {uid("c1"): "pending", uid("c2"): "relayed"}
    full.messages.refusal = None
    turn(relay, pool)
    assert (len(acts_in(full)), len(acts_in(sound))) == (1, 1)


def test_an_act_nobody_can_read_is_refused_with_the_reason(pool: Pool) -> None:
    journal = MemoryJournal()
    write(pool, an_act("c1"), an_act("c2"), an_act("c3"))
    with pool.connection() as connection:
        connection.execute("UPDATE acts SET kind = 'dance' WHERE id = %s", (uid("c1"),))
        connection.execute("UPDATE acts SET seen = '[1]' WHERE id = %s", (uid("c2"),))
    turn(Relay({"main": journal}, pool, now), pool)
    assert states(pool) == {uid("c1"): "refused", uid("c2"): "refused", uid("c3"): "relayed"}
    with pool.connection() as connection:
        reasons = [row[0] for row in connection.execute("SELECT refusal FROM acts ORDER BY refusal DESC").fetchall()]
    assert reasons[0].startswith("unknown act; known: acknowledge, dispatch")
    assert "Expected `object`" in reasons[1]


def test_inventory_changes_reach_every_shard_in_order_and_byte_for_byte(pool: Pool) -> None:
    journals = {"main": MemoryJournal(), "north": MemoryJournal()}
    deltas = [write_delta(pool, f"s{number}") for number in range(45)]
    relay = Relay(journals, pool, now)
    while turn(relay, pool):
        pass
    for journal in journals.values():
        assert [record.value for record in journal.messages.records] == deltas
        assert {record.kind for record in journal.messages.records} == {Kind.INVENTORY}


def test_an_inventory_change_that_one_log_refuses_is_not_piled_up_in_the_others(pool: Pool) -> None:
    sound, full = MemoryJournal(), MemoryJournal()
    full.messages.refusal = Unavailable("disk")
    write_delta(pool, "s1")
    relay = Relay({"sound": sound, "full": full}, pool, now)
    for _ in range(3):
        with pytest.raises(Unavailable):
            turn(relay, pool)
    full.messages.refusal = None
    turn(relay, pool)
    assert (len(sound.messages.records), len(full.messages.records)) == (1, 1)


def test_the_relay_wakes_for_an_act_and_outlives_a_lost_connection(pool: Pool) -> None:
    journal = MemoryJournal()
    stop = threading.Event()
    thread = threading.Thread(target=Relay({"main": journal}, pool, now).run, args=(stop,))
    thread.start()
    try:
        write(pool, an_act("c1"))
        eventually(lambda: len(acts_in(journal)) == 1)
        with psycopg.connect(str(pool.conninfo), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            insert_act(admin, shard="main", act=an_act("c2"))
        eventually(lambda: [act.id for act in acts_in(journal)] == [uid("c1"), uid("c2")])
    finally:
        stop.set()
        thread.join(2)
    assert not thread.is_alive()


def eventually(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def test_a_text_is_announced_when_it_differs_from_what_the_log_says() -> None:
    journal = MemoryJournal()
    announced = [
        announce(journal.messages, Kind.RULEBOOK, text, now) for text in ("rules: []", "rules: []", "规则", "rules: []")
    ]
    assert announced == [True, False, True, True]
    assert announce(journal.messages, Kind.TEAMS, "rules: []", now)
    assert [record.value.decode() for record in journal.messages.records] == [
        "rules: []",
        "规则",
        "rules: []",
        "rules: []",
    ]
