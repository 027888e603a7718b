"""The receiver against a broker that does what it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from ingest.errors import EmberwatchError, LogFull
from ingest.journal import Entry
from ingest.message import Kind, Tick, encode
from ingest.receiver import Receiver, run_receivers
from ingest.sources import Clock, Source
from ingest.subscriptions import SessionMemory
from tests.support.broker import wait_until
from tests.support.memory_log import MemoryJournal
from tests.support.receiving import running
from tests.support.scripted_broker import ScriptedBroker, publish

SOURCES = (Source(filter="a/#", codec="ember-json", shard="main"),)


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    scripted = ScriptedBroker()
    yield scripted
    scripted.close()


@pytest.fixture
def journal(tmp_path: Path) -> MemoryJournal:
    return MemoryJournal(tmp_path)


def receiver(journal: MemoryJournal, url: str, now: Callable[[], int] = lambda: time.time_ns() // 1000) -> Receiver:
    return Receiver(journal=journal, sources=SOURCES, mqtt_url=url, client_id="test", now=now)


def listening(journal: MemoryJournal) -> bool:
    return any(record.kind in (Kind.TICK, Kind.INTAKE) for record in journal.messages.records)


def test_messages_are_acknowledged_in_the_order_in_which_they_came(
    broker: ScriptedBroker, journal: MemoryJournal
) -> None:
    ids = [7, 3, 65_535, 1, 4]
    broker.publishes = [publish("a/1", b"%d" % number, number, v5=True) for number in ids]
    with running(receiver(journal, broker.url)):
        wait_until(lambda: len(broker.acknowledged) == 5)
    assert broker.acknowledged == ids
    assert [payload for _, payload in journal.messages.received()] == [b"%d" % number for number in ids]
    assert [message.packet_id for message, _ in journal.messages.received()] == ids


def test_a_log_that_refuses_gets_no_acknowledgement_out_of_us(broker: ScriptedBroker, journal: MemoryJournal) -> None:
    broker.publishes = [publish("a/1", b"x", 1, v5=True)]
    journal.messages.refusal = LogFull("full")
    with running(receiver(journal, broker.url)):
        wait_until(lambda: broker.subscribed)
        wait_until(lambda: journal.messages.refused >= 3)
        assert broker.acknowledged == []
        journal.messages.refusal = None
        wait_until(lambda: broker.acknowledged == [1])


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""], ids=["3.1.1", "5", "closes"])
def test_a_broker_that_does_not_know_mqtt_5_is_spoken_to_in_3_1_1(
    broker: ScriptedBroker, journal: MemoryJournal, refusal: bytes
) -> None:
    broker.accepts, broker.refusal = {4}, refusal
    broker.publishes = [publish("a/1", b"x", 9, v5=False)]
    with running(receiver(journal, broker.url)):
        wait_until(lambda: broker.acknowledged == [9])
        wait_until(lambda: listening(journal))
    assert broker.levels == [5, 4]


@pytest.mark.parametrize("level", [4, 5])
def test_who_is_refused_a_filter_does_not_listen_and_asks_again(
    broker: ScriptedBroker, journal: MemoryJournal, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.listener.ANSWER_S", 0.5)
    broker.accepts, broker.grant = {level}, 0x80 if level == 4 else 0x87
    with running(receiver(journal, broker.url)):
        wait_until(lambda: broker.subscribed >= 2)
        assert not listening(journal)
        broker.grant = 1
        wait_until(lambda: listening(journal))


def test_ticks_follow_the_messages_that_were_read_before_them(broker: ScriptedBroker, journal: MemoryJournal) -> None:
    broker.publishes = [publish("a/1", b"%d" % number, number, v5=True) for number in range(1, 1201)]
    with running(receiver(journal, broker.url)):
        wait_until(lambda: [record.kind for record in journal.messages.records].count(Kind.TICK) == 2)
    kinds = [record.kind for record in journal.messages.records]
    assert kinds == [Kind.TICK] + [Kind.MESSAGE] * 1200 + [Kind.TICK]


def test_when_one_shard_fails_all_stop_and_its_error_is_raised(
    broker: ScriptedBroker, journal: MemoryJournal, tmp_path: Path
) -> None:
    class Owned(MemoryJournal):
        def own(self, role: str) -> object:  # type: ignore[override]
            raise EmberwatchError("somebody else has it")

    stop = threading.Event()
    receivers = [receiver(journal, broker.url), receiver(Owned(tmp_path, "other"), broker.url)]
    with pytest.raises(EmberwatchError, match="somebody else has it"):
        run_receivers(receivers, stop)
    assert stop.is_set()


LONG_AGO = 1_000_000


def left_long_ago(journal: MemoryJournal) -> SessionMemory:
    """A journal whose receiver listened once, and what it remembers of its session."""
    journal.messages.append([Entry(Kind.TICK, value=encode(Tick(listened=0)))], now=LONG_AGO)
    memory = SessionMemory(journal.folder / "receiver.json")
    memory.remember("main", ["a/#"])
    return memory


def sessions(journal: MemoryJournal) -> list[str]:
    return [session for _, session in SessionMemory(journal.folder / "receiver.json").left([])]


def test_the_old_session_is_unsubscribed_only_when_the_new_one_is_subscribed(
    broker: ScriptedBroker, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.old_session.QUIET_S", 0.1)
    left_long_ago(journal)
    broker.holds = {"test-main"}
    with running(receiver(journal, broker.url)):
        wait_until(lambda: sessions(journal) == ["main.2"], what="the old session is over")
    told = [step for step in broker.heard if step[1] != "PROBE"]
    assert told[:4] == [
        ("test-main.2", "CONNECT"),
        ("test-main.2", "SUBSCRIBE"),
        ("test-main", "CONNECT"),
        ("test-main", "UNSUBSCRIBE"),
    ]
    assert told[-1] == ("test-main", "CONNECT"), "once more, to have it dropped"


def test_as_long_as_the_new_session_s_subscriptions_are_not_answered_the_old_one_goes_on(
    broker: ScriptedBroker, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.listener.ANSWER_S", 2.5)
    left_long_ago(journal)
    broker.holds, broker.silent = {"test-main"}, True
    with running(receiver(journal, broker.url)):
        wait_until(lambda: broker.subscribed == 2)
        assert ("test-main", "CONNECT") not in broker.heard
        broker.silent = False
        wait_until(lambda: ("test-main", "UNSUBSCRIBE") in broker.heard)


@pytest.mark.parametrize("subscribed", [True, False], ids=["subscribed", "not subscribed yet"])
def test_killed_on_the_way_to_a_new_session_both_are_gone_on_with(
    broker: ScriptedBroker, journal: MemoryJournal, subscribed: bool
) -> None:
    memory = left_long_ago(journal)
    memory.change("main")
    if subscribed:
        memory.remember("main.2", ["a/#"])
    broker.holds = {"test-main", "test-main.2"} if subscribed else {"test-main"}
    with running(receiver(journal, broker.url)):
        wait_until(lambda: ("test-main", "UNSUBSCRIBE") in broker.heard)
    connects = [client for client, what in broker.heard if what == "CONNECT"]
    assert connects == ["test-main.2", "test-main"]
    assert broker.heard.index(("test-main.2", "SUBSCRIBE")) < broker.heard.index(("test-main", "UNSUBSCRIBE"))
    assert sorted(sessions(journal)) == ["main", "main.2"]


def test_a_broker_that_lets_no_new_session_in_is_asked_for_the_old_one(
    broker: ScriptedBroker, journal: MemoryJournal
) -> None:
    left_long_ago(journal)
    broker.holds, broker.strangers = {"test-main"}, {"test-main.2"}
    broker.publishes = [publish("a/1", b"x", 9, v5=True)]
    with structlog.testing.capture_logs() as said, running(receiver(journal, broker.url)):
        wait_until(lambda: broker.acknowledged == [9])
    assert {client for client, what in broker.heard if what == "SUBSCRIBE"} == {"test-main"}
    assert [line["client_id"] for line in said if "does not let a new session" in line["event"]] == ["test-main.2"]
    assert sessions(journal) == ["main"]


def test_what_the_broker_did_not_keep_is_said_once_and_its_retained_messages_are_asked_for(
    broker: ScriptedBroker, journal: MemoryJournal
) -> None:
    left_long_ago(journal)
    with structlog.testing.capture_logs() as said, running(receiver(journal, broker.url)):
        wait_until(lambda: broker.subscribed == 2)
        wait_until(lambda: sessions(journal) == ["main.2"])
    assert [line["log_level"] for line in said if "has not kept our session" in line["event"]] == ["error"]


def test_a_recording_keeps_its_order_however_long_we_were_away(broker: ScriptedBroker, journal: MemoryJournal) -> None:
    left_long_ago(journal)
    broker.holds = {"test-main"}
    recording = (Source(filter="a/#", codec="json-map", shard="main", clock=Clock.OBSERVED),)
    now = time.time_ns() // 1000
    observed = Receiver(journal=journal, sources=recording, mqtt_url=broker.url, client_id="test", now=lambda: now)
    with running(observed):
        wait_until(lambda: broker.subscribed)
        wait_until(lambda: journal.messages.last(Kind.INTAKE))
    assert {client for client, _ in broker.heard} == {"test-main"}


def test_what_waited_only_because_the_log_was_full_keeps_its_order(
    broker: ScriptedBroker, journal: MemoryJournal
) -> None:
    ahead = 0
    broker.publishes = [publish("a/1", b"x", 9, v5=True)]
    with running(receiver(journal, broker.url, lambda: time.time_ns() // 1000 + ahead)):
        wait_until(lambda: broker.acknowledged == [9])
        wait_until(lambda: listening(journal))
        broker.holds = {"test-main"}
        journal.messages.refusal = LogFull("full")
        broker.send(publish("a/1", b"y", 10, v5=True))
        wait_until(lambda: journal.messages.refused)
        ahead = 3_600_000_000
        broker.hang_up()
        journal.messages.refusal = None
        wait_until(lambda: len(broker.levels) == 2, what="connected again")
        wait_until(lambda: journal.messages.last(Kind.INTAKE))
    assert {client for client, _ in broker.heard} == {"test-main"}


def test_a_session_whose_connection_is_configured_no_more_is_taken_in_and_ended(
    broker: ScriptedBroker, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.old_session.QUIET_S", 0.1)
    memory = left_long_ago(journal)
    memory.forget("main")
    memory.remember("urgent", ["b/#"])
    broker.holds = {"test-main-urgent"}
    with running(receiver(journal, broker.url)):
        wait_until(lambda: sessions(journal) == ["main"])
    assert ("test-main-urgent", "UNSUBSCRIBE") in broker.heard
