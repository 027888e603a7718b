"""Floods and wrong clocks in a real database: the books balance, little is kept, a fire in it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alerts.incident import Notice
from ingest import quarantine
from ingest import writer as writer_module
from ingest.inventory import Device, InventoryDelta
from ingest.journal import Entry
from ingest.message import Kind, Message, encode
from ingest.quarantine import KEPT_OF_A_FLOOD, Wanted, drop_old, group_quarantine, list_quarantine, request_redrive
from ingest.readings import HOUR, MINUTE, SECOND, to_datetime
from tests.support.system import System
from tests.support.writing import NATIVE, execute, wall

pytestmark = pytest.mark.integration

LIMIT = 10  #: readings of a device in ten seconds
SOURCES = f"sources:\n  - {{filter: {NATIVE}, codec: ember-json, rate_per_minute: {6 * LIMIT}}}\n"


class Town(System):
    """Devices d1 and d2 of `shed`; times are seconds after the beginning of an hour to come."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        super().__init__(url, folder, stack, sources=SOURCES)
        self.log.register("d2")
        self.start = (wall() // HOUR + 1) * HOUR
        self._seq = count()

    def say(self, device: str, body: dict[str, Any], *, at: float, number: int = 1) -> None:
        """The same `number` of times, each with a number and the time of its own."""
        now = self.start + round(at * SECOND)
        meta = encode(Message(topic=f"ember/v1/shed/{device}/telemetry", source=NATIVE, received_at=now))
        stated = body.get("ts", now / SECOND)
        bodies = [{**body, "ts": stated, "seq": next(self._seq)} for _ in range(number)]
        entries = [Entry(Kind.MESSAGE, meta, msgspec.json.encode(body)) for body in bodies]
        self.log.journal.messages.append(entries, now=now)


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(database, tmp_path, stack)


def test_the_books_of_a_flood_balance_and_few_of_its_messages_are_kept(town: Town) -> None:
    town.say("d1", {"temperature": 20}, at=0, number=300)
    town.say("d2", {"temperature": 20}, at=0, number=2)
    assert town.settle() == {"stored": LIMIT + 2, "quarantined": 300 - LIMIT}
    town.say("d1", {"temperature": 20}, at=20, number=300)
    assert town.settle() == {"stored": 2 * LIMIT + 2, "quarantined": 600 - 2 * LIMIT}
    assert execute(town.url, "SELECT count(*) FROM quarantine") == [(KEPT_OF_A_FLOOD,)]
    (group,) = group_quarantine(town.connection)
    assert (group.reason, group.site, group.device) == ("rate", "shed", "d1")
    assert (group.count, group.folded) == (600 - 2 * LIMIT, 600 - 2 * LIMIT - KEPT_OF_A_FLOOD)
    assert (group.first_seen, group.last_seen) == (town.start, town.start + 20 * SECOND)
    assert list_quarantine(town.connection).counts == {"rate": 600 - 2 * LIMIT}
    assert list_quarantine(town.connection, Wanted(device="d2")).counts == {}
    assert list_quarantine(town.connection, Wanted(offset=1)).counts == {}


@pytest.mark.parametrize("size", [1, 7])
def test_batches_of_the_writer_do_not_change_what_is_kept(
    town: Town, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(writer_module, "BATCH", size)
    monkeypatch.setattr(writer_module, "LINGER", 0.0)
    town.say("d1", {"temperature": 20}, at=0, number=40)
    assert town.settle() == {"stored": LIMIT, "quarantined": 40 - LIMIT}
    assert execute(town.url, "SELECT count(*) FROM quarantine") == [(KEPT_OF_A_FLOOD,)]
    assert execute(town.url, "SELECT messages, folded FROM quarantine_floods") == [(30, 20)]


def test_a_flood_is_told_once_an_hour_and_hides_no_fire(town: Town) -> None:
    for at in (0, 10, 3590):
        town.say("d1", {"temperature": 20}, at=at, number=3 * LIMIT)
    town.say("d1", {"temperature": 20, "smoke_alarm": True}, at=3591)
    town.say("d1", {"temperature": 20}, at=3601, number=3 * LIMIT)
    books = town.settle()
    assert books == {"stored": 4 * LIMIT + 1, "quarantined": 8 * LIMIT}
    assert [(tell.site, tell.signal_class) for tell in town.tells()] == [("shed", "fire")]
    notices = [word.text for word in town.decisions() if isinstance(word, Notice)]
    assert notices == 2 * [
        "shed/d1 floods: device d1 sent 10 readings within 10 s; what is beyond is set aside, fire states go on"
    ]


def test_what_was_kept_of_a_flood_can_be_judged_again_and_the_rest_is_said_to_be_gone(town: Town) -> None:
    town.say("d1", {"temperature": 20}, at=0, number=40)
    town.settle()
    assert request_redrive(town.connection, Wanted(reason="rate"), limit=100) == KEPT_OF_A_FLOOD
    assert town.settle() == {"stored": LIMIT + KEPT_OF_A_FLOOD, "quarantined": 30 - KEPT_OF_A_FLOOD}
    assert quarantine.only_counted(town.connection, Wanted(device="d1")) == 20
    assert quarantine.only_counted(town.connection, Wanted(reason="undecodable")) == 0


def test_retention_forgets_floods_and_the_books_do_not(town: Town) -> None:
    town.say("d1", {"temperature": 20}, at=0, number=40)
    town.settle()
    later = to_datetime(town.start + MINUTE)
    assert drop_old(town.connection, before=later - timedelta(days=1), settled_before=later) == 0
    assert drop_old(town.connection, before=later, settled_before=later) == KEPT_OF_A_FLOOD + 1
    assert town.settle() == {"stored": LIMIT, "quarantined": 30}
    assert execute(town.url, "SELECT dropped FROM quarantine_dropped") == [(30,)]
    assert group_quarantine(town.connection) == []


def test_a_wrong_clock_is_shown_while_it_is_wrong(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.skews.EVERY_SECONDS", 0.0)

    def shown() -> list[tuple[Any, ...]]:
        return execute(town.url, "SELECT id, ahead_s FROM device_clocks JOIN devices ON device = key ORDER BY 1")

    town.say("d1", {"temperature": 20, "ts": town.start / SECOND + 3600}, at=0)
    town.say("d2", {"temperature": 20, "ts": town.start / SECOND - 7000}, at=0)
    town.settle()
    assert shown() == [("d1", 3600), ("d2", -7000)]
    town.say("d1", {"temperature": 20, "ts": town.start / SECOND + 3668}, at=70)  # 2 s nearer: not worth a row
    town.settle()
    assert shown() == [("d1", 3600), ("d2", -7000)]
    town.say("d1", {"temperature": 20, "ts": town.start / SECOND + 9080}, at=80)
    town.say("d2", {"temperature": 20}, at=80)
    town.settle()
    assert shown() == [("d1", 9000)]
    town.log.control(Kind.INVENTORY, encode(InventoryDelta(removed_devices=["shed/d1"])))
    town.log.control(Kind.INVENTORY, encode(InventoryDelta(devices=[Device(id="d1", site="shed")])))
    town.settle()
    assert shown() == []
