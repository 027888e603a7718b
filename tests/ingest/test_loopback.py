"""Our own probes: which are recognised, which are not, and what the receiver makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest.loopback import MOST_OUT, Loopback, newest_probe, probed_shards
from ingest.message import Kind, decode_probe
from ingest.receiver import Receiver
from ingest.sources import Clock, Source, Sources
from tests.support.broker import wait_until
from tests.support.memory_log import MemoryJournal
from tests.support.receiving import running
from tests.support.scripted_broker import ScriptedBroker, publish

NOW = 1_800_000_000_000_000


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    scripted = ScriptedBroker()
    yield scripted
    scripted.close()


@contextmanager
def received_by(broker: ScriptedBroker, journal: MemoryJournal, loopback: Loopback | None) -> Iterator[None]:
    """A receiver at this broker, of a shard that hears `a/#` on its ordinary connection."""
    sources = (Source(filter="a/#", codec="ember-json", shard="main"),)
    receiver = Receiver(
        journal=journal, sources=sources, mqtt_url=broker.url, client_id="t", now=_now, loopback=loopback
    )
    with running(receiver):
        yield


def _now() -> int:
    return NOW + 2_000_000


def received() -> float:
    return REGISTRY.get_sample_value("emberwatch_ingest_received_total", {"shard": "main", "source": "(none)"}) or 0.0


def strays() -> float:
    return REGISTRY.get_sample_value("emberwatch_ingest_probe_strays_total", {"shard": "main"}) or 0.0


def test_a_probe_counts_once_and_by_its_own_topic_alone() -> None:
    loopback = Loopback("main")
    payload = loopback.send(NOW)
    assert loopback.take("emberwatch/probe/other", payload) is None
    assert loopback.take(loopback.topic, payload) == NOW
    assert loopback.take(loopback.topic, payload) is None


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"0", lambda p: b"", bytes.upper])
def test_what_is_not_a_probe_byte_for_byte_is_none_of_ours(change: Callable[[bytes], bytes]) -> None:
    loopback = Loopback("main")
    payload = b""
    while payload == payload.upper():  # has a letter
        payload = loopback.send(NOW)
    assert loopback.take(loopback.topic, change(payload)) is None


def test_who_saw_a_probe_cannot_make_the_next() -> None:
    loopback = Loopback("main")
    sent = {loopback.send(NOW + number) for number in range(5)}
    assert len(sent) == 5 and all(len(payload) == 32 for payload in sent)


def test_a_probe_that_comes_behind_a_younger_one_says_nothing_new() -> None:
    loopback = Loopback("main")
    older, younger = loopback.send(NOW), loopback.send(NOW + 1)
    assert loopback.take(loopback.topic, younger) == NOW + 1
    assert loopback.take(loopback.topic, older) is None
    assert loopback.waiting_since() is None


def test_probes_that_never_come_back_are_forgotten_the_oldest_first() -> None:
    loopback = Loopback("main")
    sent = [loopback.send(NOW + number) for number in range(MOST_OUT + 3)]
    assert loopback.waiting_since() == NOW + 3
    assert loopback.take(loopback.topic, sent[2]) is None
    assert loopback.take(loopback.topic, sent[3]) == NOW + 3


def test_only_shards_that_hear_a_broker_by_the_clock_of_receipt_are_probed() -> None:
    sources = (
        Source(filter="a/#", codec="ember-json", shard="main"),
        Source(filter="b/#", codec="ember-json", shard="recording", clock=Clock.OBSERVED),
        Source(filter="gb26875/x", codec="gb26875", shard="panels"),
    )
    assert probed_shards(Sources(sources=sources, text="")) == ["main"]


def test_a_probe_stands_in_the_log_as_such_and_what_only_looks_like_one_does_not(
    broker: ScriptedBroker, tmp_path: Path
) -> None:
    journal, loopback, before, counted = MemoryJournal(tmp_path), Loopback("main"), strays(), received()
    probe = loopback.send(NOW)
    broker.publishes = [
        publish(loopback.topic, b"forged", 1, v5=True),
        publish(loopback.topic, probe, 2, v5=True),
        publish(loopback.topic, probe, 3, v5=True),
        publish("emberwatch/probe/other", b"of a broker check", 4, v5=True),
        publish("a/1", probe, 5, v5=True),
    ]
    with received_by(broker, journal, loopback):
        wait_until(lambda: broker.acknowledged == [1, 2, 3, 4, 5])
        wait_until(lambda: strays() == before + 3)
    messages = journal.messages
    assert newest_probe(messages) == NOW
    found = [record for record in messages.records if record.kind in (Kind.PROBE, Kind.MESSAGE)]
    assert [record.kind for record in found] == [Kind.PROBE, Kind.MESSAGE], "in the order in which they came"
    assert decode_probe(found[0].value).sent_at == NOW and found[1].value == probe
    assert messages.messages_appended() == 1, "a probe is in no books"
    assert received() == counted


def test_what_nobody_waits_for_is_acknowledged_though_nothing_is_appended(
    broker: ScriptedBroker, tmp_path: Path
) -> None:
    journal = MemoryJournal(tmp_path)
    broker.publishes = [publish("emberwatch/probe/main", b"x", number, v5=True) for number in range(1, 800)]
    with received_by(broker, journal, None):
        wait_until(lambda: len(broker.acknowledged) == 799)
    assert {record.kind for record in journal.messages.records} <= {Kind.TICK}


def test_a_broker_that_refuses_us_our_probes_does_not_make_us_deaf(broker: ScriptedBroker, tmp_path: Path) -> None:
    journal = MemoryJournal(tmp_path)
    broker.grants = {"emberwatch/probe/main": 0x87}
    with received_by(broker, journal, Loopback("main")):
        wait_until(lambda: journal.messages.last(Kind.TICK), what="listening all the same")
