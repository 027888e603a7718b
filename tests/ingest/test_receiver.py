"""The receiver against a broker that does what it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.errors import EmberwatchError, LogFull
from ingest.message import Kind
from ingest.receiver import Receiver, run_receivers
from ingest.sources import Source
from tests.support.broker import wait_until
from tests.support.memory_log import MemoryJournal
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


@contextmanager
def running(*receivers: Receiver) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_receivers, args=(receivers, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


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
