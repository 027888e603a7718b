"""The receiver against real brokers: mosquitto (MQTT 5) and amqtt (3.1.1)."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from ingest.broker import SETTINGS, Broker, start_broker
from ingest.errors import ConfigError, LogFull
from ingest.journal import BEGINNING, Record
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Intake, Kind, Tick, decode_message
from tests.support.broker import make_certificates, publisher, unique, wait_until
from tests.support.intaking import Intaker, numbered, source, start_child

pytestmark = pytest.mark.integration


def test_messages_reach_the_log_as_they_were_published(broker: Broker, intaker: Intaker, topic: str) -> None:
    with intaker.running(broker.url), publisher(broker.url) as client:
        intaker.wait_listening()
        client.publish_all(numbered(topic, 300))
        client.publish(f"{topic}/alarm/x", b"\x00\xff fire", qos=1)
        client.publish(f"{topic}/a/火", b"", qos=0)
        wait_until(lambda: len(intaker.payloads()) == 302)
    found = intaker.stream.received()
    ordinary = [(message.topic, payload) for message, payload in found if message.source == f"{topic}/a/#"]
    assert ordinary == [*numbered(topic, 300), (f"{topic}/a/火", b"")]
    assert [(m.topic, p) for m, p in found if m.source != f"{topic}/a/#"] == [(f"{topic}/alarm/x", b"\x00\xff fire")]
    if broker.kind == "mosquitto":  # amqtt raises every message to the QoS of the subscription
        assert [message.qos for message, _ in found].count(0) == 1
    assert len({message.connection for message, _ in found}) == 2
    assert not any(message.backlog or message.dup for message, _ in found)
    assert intaker.journal.owned == ["receiver"]


def test_what_was_published_while_away_arrives(broker: Broker, intaker: Intaker, topic: str) -> None:
    with intaker.running(broker.url):
        intaker.wait_listening()
    with publisher(broker.url) as client:
        client.publish_all(numbered(topic, 250))
    with intaker.running(broker.url):
        wait_until(lambda: len(intaker.payloads()) == 250)
    assert [(message.topic, payload) for message, payload in intaker.stream.received()] == numbered(topic, 250)
    assert not any(message.backlog for message, _ in intaker.stream.received()), "away for less than 10 s"


def test_a_long_absence_is_an_intake_record_and_its_messages_are_backlog(
    broker: Broker, intaker: Intaker, topic: str
) -> None:
    with intaker.running(broker.url):
        intaker.wait_listening()
    last_tick = intaker.stream.records[-1].at
    with publisher(broker.url) as client:
        client.publish_all(numbered(topic, 120))
        intaker.ahead = 3_600_000_000
        before = len(intaker.stream.records)
        with intaker.running(broker.url):
            wait_until(lambda: len(intaker.payloads()) == 120)
            wait_until(lambda: intaker.sessions()["main"] == [], what="the old session is unsubscribed")
            client.publish(f"{topic}/a/x", b"new")
            wait_until(lambda: len(intaker.payloads()) == 121)
    first = intaker.stream.records[before]
    assert first.kind == Kind.INTAKE, "the absence is stated before anything that was heard after it"
    intake = msgspec.msgpack.decode(first.value, type=Intake)
    assert (intake.down_at, intake.reason) == (last_tick, "started")
    assert intake.up_at - intake.down_at >= 3_600_000_000
    flags = [message.backlog for message, _ in intaker.stream.received()]
    assert flags == [True] * 120 + [False]


def test_ticks_carry_the_listening_time(mosquitto: Broker, intaker: Intaker) -> None:
    started = time.monotonic()
    with intaker.running(mosquitto.url):
        intaker.wait_listening(ticks=4)
        took = time.monotonic() - started
    assert set(intaker.kinds()) == {Kind.TICK}
    listened = [msgspec.msgpack.decode(record.value, type=Tick).listened for record in intaker.stream.records]
    assert listened[0] == 0
    assert all(1_000_000 <= each <= 2_000_000 for each in listened[1:])
    assert sum(listened) <= took * 1_000_000 + 100_000


def test_without_a_broker_there_are_no_ticks_and_stopping_is_prompt(intaker: Intaker) -> None:
    started = time.monotonic()
    with intaker.running("mqtt://127.0.0.1:1"):
        time.sleep(1.2)  # longer than a tick
    assert intaker.kinds() == []
    assert time.monotonic() - started < 3.5


def test_nothing_is_acknowledged_before_it_is_in_the_log(mosquitto: Broker, intaker: Intaker, topic: str) -> None:
    with publisher(mosquitto.url) as client:
        with intaker.running(mosquitto.url):
            intaker.wait_listening()
            intaker.stream.refusal, intaker.stream.spares_urgent = LogFull("full"), True
            client.publish_all(numbered(topic, 60))
            client.publish(f"{topic}/alarm/1", b"fire")
            wait_until(lambda: intaker.payloads() == [b"fire"], what="the urgent message in the reserve")
            ticks, refused = intaker.kinds().count(Kind.TICK), intaker.stream.refused
            wait_until(lambda: intaker.stream.refused >= refused + 3, what="more attempts to append")
            assert intaker.kinds().count(Kind.TICK) == ticks, "who cannot append does not listen"
        assert intaker.payloads() == [b"fire"]
        intaker.stream.refusal = None
        with intaker.running(mosquitto.url):
            wait_until(lambda: len(intaker.payloads()) >= 61)
    assert [payload for payload in intaker.payloads() if payload != b"fire"] == [p for _, p in numbered(topic, 60)]


def test_when_the_log_takes_messages_again_the_receiver_goes_on(broker: Broker, intaker: Intaker, topic: str) -> None:
    with intaker.running(broker.url), publisher(broker.url) as client:
        intaker.wait_listening()
        intaker.stream.refusal, intaker.stream.spares_urgent = LogFull("full"), True
        client.publish_all(numbered(topic, 1200))
        wait_until(lambda: intaker.stream.refused >= 3)
        intaker.stream.refusal = None
        wait_until(lambda: len(intaker.payloads()) == 1200)
        wait_until(lambda: Kind.INTAKE in intaker.kinds())
    assert intaker.payloads() == [payload for _, payload in numbered(topic, 1200)]


def test_filters_that_are_no_longer_configured_are_dropped(broker: Broker, tmp_path: Path, topic: str) -> None:
    intaker = Intaker(tmp_path, (source(f"{topic}/a/#"), source(f"{topic}/old/#")))
    with intaker.running(broker.url):
        intaker.wait_listening()
    with publisher(broker.url) as client:
        client.publish(f"{topic}/old/1", b"queued under the old configuration")
        intaker.sources = (source(f"{topic}/a/#"),)
        with intaker.running(broker.url):
            wait_until(lambda: len(intaker.payloads()) == 1)
            intaker.wait_listening(ticks=2)
            client.publish(f"{topic}/old/2", b"nobody wants it")
            client.publish(f"{topic}/a/1", b"wanted")
            wait_until(lambda: b"wanted" in intaker.payloads())
    assert intaker.payloads() == [b"queued under the old configuration", b"wanted"]
    assert intaker.stream.received()[0][0].source == "", "no source claims it, and it is kept"


def test_filters_of_two_connections_that_overlap_are_refused_at_the_start(tmp_path: Path, topic: str) -> None:
    intaker = Intaker(tmp_path, (source(f"{topic}/#"), source(f"{topic}/alarm", urgent=True)))
    with pytest.raises(ConfigError, match="can match the same topic"), intaker.running("mqtt://127.0.0.1:1"):
        pass


def test_after_a_restart_of_the_broker_it_subscribes_again(
    mosquitto: Broker, tmp_path_factory: pytest.TempPathFactory, intaker: Intaker, topic: str
) -> None:
    """Even when the broker has forgotten the session."""
    del mosquitto  # it is installed
    with ExitStack() as stack:
        first = stack.enter_context(start_broker(tmp_path_factory.mktemp("broker"), kind="mosquitto"))
        stack.enter_context(intaker.running(first.url))
        intaker.wait_listening()
        with publisher(first.url) as client:
            client.publish(f"{topic}/a/1", b"round 0")
        wait_until(lambda: intaker.payloads() == [b"round 0"])
        first.kill()
        second = start_broker(tmp_path_factory.mktemp("broker"), first.port, kind="mosquitto")
        stack.callback(second.stop)
        wait_until(lambda: Kind.INTAKE in intaker.kinds())
        with publisher(second.url) as client:
            client.publish(f"{topic}/a/1", b"round 1")
        wait_until(lambda: len(intaker.payloads()) == 2)
    assert intaker.payloads() == [b"round 0", b"round 1"]
    intake = next(record for record in intaker.stream.records if record.kind == Kind.INTAKE)
    assert "started" not in msgspec.msgpack.decode(intake.value, type=Intake).reason


def test_what_the_broker_queued_outlives_its_restart(
    mosquitto: Broker, tmp_path: Path, intaker: Intaker, topic: str
) -> None:
    with start_broker(tmp_path / "broker", kind="mosquitto") as first, intaker.running(first.url):
        intaker.wait_listening()
    with start_broker(tmp_path / "broker", first.port, kind="mosquitto") as second, publisher(second.url) as client:
        client.publish_all(numbered(topic, 1500))
    with start_broker(tmp_path / "broker", first.port, kind="mosquitto") as third, intaker.running(third.url):
        wait_until(lambda: len(intaker.payloads()) == 1500)
    assert intaker.payloads() == [payload for _, payload in numbered(topic, 1500)]


def test_a_large_message_arrives_whole_among_small_ones(mosquitto: Broker, intaker: Intaker, topic: str) -> None:
    large = os.urandom(5 << 20)
    with intaker.running(mosquitto.url), publisher(mosquitto.url) as client:
        intaker.wait_listening()
        client.publish_all([(f"{topic}/a/1", payload) for payload in (b"before", large, b"after")])
        wait_until(lambda: len(intaker.payloads()) == 3)
    assert intaker.payloads() == [b"before", large, b"after"]


def test_over_tls_nothing_waits_where_poll_cannot_see_it(
    mosquitto: Broker, tmp_path: Path, intaker: Intaker, topic: str
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    make_certificates(folder)
    settings = SETTINGS | {"certfile": "cert.pem", "keyfile": "key.pem"}
    with start_broker(folder, kind="mosquitto", settings=settings) as broker:
        url = broker.url.replace("mqtt:", "mqtts:") + f"?ca={folder / 'cert.pem'}"
        with intaker.running(url), publisher(url) as client:
            intaker.wait_listening()
            client.publish_all(numbered(topic, 2500))
            wait_until(lambda: len(intaker.payloads()) == 2500)
    assert intaker.payloads() == [payload for _, payload in numbered(topic, 2500)]


def test_the_metrics_count_what_is_in_the_log(mosquitto: Broker, intaker: Intaker, topic: str) -> None:
    with intaker.running(mosquitto.url), publisher(mosquitto.url) as client:
        wait_until(lambda: REGISTRY.get_sample_value("emberwatch_ingest_listening", {"shard": "main"}) == 1)
        assert received(f"{topic}/a/#") == received(f"{topic}/alarm/#") == 0, "every label value is there at the start"
        client.publish_all(numbered(topic, 40))
        wait_until(lambda: received(f"{topic}/a/#") == 40)
    assert received(f"{topic}/alarm/#") == 0


def received(source_: str) -> float | None:
    return REGISTRY.get_sample_value("emberwatch_ingest_received_total", {"shard": "main", "source": source_})


def test_nothing_is_lost_when_the_receiver_is_killed_in_mid_stream(
    mosquitto: Broker, tmp_path: Path, topic: str
) -> None:
    """amqtt drops what is in flight when a client goes away, so this is asked of mosquitto alone."""
    count, client_id = 6000, unique("rx")
    journal = SqliteJournal(tmp_path, "main")
    child = start_child(mosquitto.url, client_id, f"{topic}/#", tmp_path)
    try:
        wait_until(lambda: journal.messages.last(Kind.TICK), what="a first tick")
        with publisher(mosquitto.url) as client:
            messages = numbered(topic, count)
            sender = threading.Thread(target=client.publish_all, args=(messages,))
            sender.start()
            for enough in (count // 6, count // 3):
                wait_until(partial(_more_than, enough, journal), what="some messages")
                child.send_signal(signal.SIGKILL)
                child.wait()
                child = start_child(mosquitto.url, client_id, f"{topic}/#", tmp_path)
            sender.join()
            wait_until(lambda: {payload for _, payload in messages} <= set(_payloads(journal)), seconds=30)
    finally:
        child.terminate()
        child.wait()
    assert child.returncode == 0
    first_seen: dict[str, list[int]] = {}
    for record in _messages(journal):
        numbers = first_seen.setdefault(decode_message(record.meta).topic, [])
        if int(record.value) not in numbers:
            numbers.append(int(record.value))
    assert all(numbers == sorted(numbers) for numbers in first_seen.values()), "in order for each device"
    assert sum(map(len, first_seen.values())) == count
    assert (
        len(
            [record for record in journal.messages.read(BEGINNING, 99, control_only=True) if record.kind == Kind.INTAKE]
        )
        == 2
    )
    journal.close()


def _more_than(enough: int, journal: SqliteJournal) -> bool:
    return journal.messages.messages_appended() > enough


def _messages(journal: SqliteJournal) -> list[Record]:
    return [record for record in journal.messages.read(BEGINNING, 100_000) if record.kind == Kind.MESSAGE]


def _payloads(journal: SqliteJournal) -> list[bytes]:
    return [record.value for record in _messages(journal)]
