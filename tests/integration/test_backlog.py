"""A long absence: what is published now goes first, what the broker kept comes beside it as backlog."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from alerts.alert import AlertState, Transition
from alerts.decisions import Decision
from alerts.incident import Tell, TellReason
from alerts.judge import Judge
from alerts.rulebook import load_rulebook
from ingest.broker import Broker, start_broker
from ingest.errors import LogFull
from ingest.inventory import Device, DeviceClass, InventoryDelta, Site
from ingest.journal import BEGINNING, Entry, Record
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, decode_message, encode
from ingest.sources import Clock, Sources
from ingest.sources_file import parse_sources
from ingest.subscriptions import SessionMemory
from tests.support.broker import publisher, unique, wait_until
from tests.support.intaking import Intaker, numbered, start_child
from tests.support.memory_log import MemoryStream

pytestmark = pytest.mark.integration

HOUR = 3_600_000_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.old_session.QUIET_S", 0.3)


class Watched(MemoryStream):
    """Calls `then` once, in the middle of the receiver's pass: behind the first append with what `when` looks for."""

    def __init__(self, when: Callable[[Record], bool], then: Callable[[], None]) -> None:
        super().__init__()
        self._when, self._then = when, then
        self._done = False

    def append(self, entries: Sequence[Entry], *, now: int, urgent: bool = False) -> list[int]:
        offsets = super().append(entries, now=now, urgent=urgent)
        if not self._done and any(self._when(record) for record in self.records[-len(entries) :]):
            self._done = True
            self._then()
        return offsets


def is_backlog(record: Record) -> bool:
    return record.kind == Kind.MESSAGE and decode_message(record.meta).backlog


def away_for_long(intaker: Intaker, url: str, waiting: list[tuple[str, bytes]]) -> None:
    """The receiver listened once; then this was published, and an hour passed."""
    with intaker.running(url):
        intaker.wait_listening()
    with publisher(url) as client:
        client.publish_all(waiting)
    intaker.ahead += HOUR


def over(intaker: Intaker) -> bool:
    return sorted(intaker.sessions()) == ["main.2", "urgent.2"]


def test_what_is_published_now_overtakes_a_queue_of_twenty_thousand(
    mosquitto: Broker, intaker: Intaker, topic: str
) -> None:
    waiting = numbered(topic, 20_000)
    away_for_long(intaker, mosquitto.url, waiting)
    with publisher(mosquitto.url) as client:
        now = [(f"{topic}/alarm/x", b"fire now"), (f"{topic}/a/x", b"reading now"), waiting[-1]]
        intaker.watch(Watched(is_backlog, partial(client.publish_all, now)))
        with intaker.running(mosquitto.url):
            wait_until(lambda: over(intaker), seconds=60, what="the queue is taken in and its session ended")
    found = intaker.stream.received()
    assert Counter(payload for _, payload in found) == Counter(payload for _, payload in waiting + now)
    places = [place for place, (message, _) in enumerate(found) if not message.backlog]
    assert len(places) == len(now), "one of them said once more what is still in the queue: both are kept"
    assert max(places) <= 1_500, "behind the batch that was being appended, and at most one more of each lane"
    assert [payload for message, payload in found if message.backlog] == [payload for _, payload in waiting]
    stamps = [message.held_until for message, _ in found if message.backlog]
    intake = next(record for record in intaker.stream.records if record.kind == Kind.INTAKE)
    assert stamps == sorted(set(stamps))
    assert stamps[-1] < intake.at < min(message.received_at for message, _ in found if not message.backlog)


def test_what_both_sessions_bring_is_in_the_log_once(mosquitto: Broker, intaker: Intaker, topic: str) -> None:
    """It is published when the new session is subscribed and the old one is not unsubscribed yet."""
    same = (f"{topic}/a/x", b'{"smoke_alarm": true}')
    away_for_long(intaker, mosquitto.url, [*numbered(topic, 30), same, same])
    both = [*[(f"{topic}/a/y", b"both %d" % number) for number in range(40)], same, same, same]
    with publisher(mosquitto.url) as client:
        intaker.watch(Watched(lambda record: record.kind == Kind.INTAKE, partial(client.publish_all, both)))
        before = doubles()
        with intaker.running(mosquitto.url):
            wait_until(lambda: over(intaker))
            client.publish(*same)
            wait_until(lambda: len(intaker.payloads()) >= 30 + 2 + 43 + 1)
    assert Counter(intaker.payloads())[same[1]] == 6
    assert len(intaker.payloads()) == 30 + 2 + 43 + 1
    assert doubles() - before == 43
    assert sum(message.backlog for message, _ in intaker.stream.received()) == 32


def doubles() -> float:
    return REGISTRY.get_sample_value("emberwatch_ingest_doubles_total", {"shard": "main"}) or 0


def test_the_old_session_is_gone_from_the_broker_afterwards(broker: Broker, intaker: Intaker, topic: str) -> None:
    away_for_long(intaker, broker.url, numbered(topic, 20))
    with intaker.running(broker.url), publisher(broker.url) as client:
        wait_until(lambda: over(intaker))
        client.publish(f"{topic}/a/1", b"now")
        wait_until(lambda: len(intaker.payloads()) == 21)
    assert [message.backlog for message, _ in intaker.stream.received()] == [True] * 20 + [False]
    away_for_long(intaker, broker.url, numbered(topic, 10))
    with intaker.running(broker.url):
        wait_until(lambda: sorted(intaker.sessions()) == ["main", "urgent"], what="the first sessions are in use again")
    assert len(intaker.payloads()) == 31, "nothing of before was left in them"


def test_with_a_full_log_the_old_urgent_session_is_taken_in_all_the_same(
    mosquitto: Broker, intaker: Intaker, topic: str
) -> None:
    away_for_long(intaker, mosquitto.url, [*numbered(topic, 30), (f"{topic}/alarm/x", b"fire")])

    def fill() -> None:
        intaker.stream.refusal, intaker.stream.spares_urgent = LogFull("full"), True

    intaker.watch(Watched(lambda record: record.kind == Kind.INTAKE, fill))
    with intaker.running(mosquitto.url):
        wait_until(lambda: b"fire" in intaker.payloads(), what="the urgent message of the backlog")
        wait_until(lambda: intaker.stream.refused >= 3)
        assert intaker.payloads() == [b"fire"]
        intaker.stream.refusal = None
        wait_until(lambda: len(intaker.payloads()) == 31 and over(intaker))


def test_a_receiver_that_lost_its_memory_finds_its_second_session(
    mosquitto: Broker, intaker: Intaker, topic: str
) -> None:
    away_for_long(intaker, mosquitto.url, numbered(topic, 10))
    with intaker.running(mosquitto.url):
        wait_until(lambda: over(intaker))
    with publisher(mosquitto.url) as client:
        client.publish_all(numbered(topic, 20))
    (intaker.journal.folder / "receiver.json").unlink()
    with intaker.running(mosquitto.url):
        wait_until(lambda: sorted(intaker.sessions()) == ["main", "urgent"])
    assert len(intaker.payloads()) == 30


def test_a_running_receiver_goes_on_with_new_sessions_when_its_broker_was_away_for_long(
    mosquitto: Broker, tmp_path: Path, intaker: Intaker, topic: str
) -> None:
    with start_broker(tmp_path / "broker", kind="mosquitto") as first, intaker.running(first.url):
        intaker.wait_listening()
        with publisher(first.url) as client:
            client.publish_all(numbered(topic, 50))
        wait_until(lambda: len(intaker.payloads()) == 50)
        first.stop()
        intaker.ahead += HOUR
        with start_broker(tmp_path / "broker", first.port, kind="mosquitto") as second:
            wait_until(lambda: over(intaker), seconds=30)
            with publisher(second.url) as client:
                client.publish(f"{topic}/a/x", b"now")
            wait_until(lambda: b"now" in intaker.payloads())
    assert len(intaker.payloads()) == 51


def test_killed_again_and_again_while_the_queue_drains_nothing_is_lost(
    mosquitto: Broker, tmp_path: Path, topic: str
) -> None:
    """Soon, and late: then there are two sessions to be gone on with, and never a third."""
    client_id, count = unique("rx"), 12_000
    journal = SqliteJournal(tmp_path, "main")
    start = partial(start_child, mosquitto.url, client_id, f"{topic}/#", tmp_path)
    child = start()
    try:
        wait_until(lambda: journal.messages.last(Kind.TICK), what="a first tick")
        child.send_signal(signal.SIGKILL)
        child.wait()
        messages, news = numbered(topic, count), [(f"{topic}/now/1", b"now %d" % number) for number in range(4)]
        with publisher(mosquitto.url) as client:
            client.publish_all(messages)
            for life, hours in enumerate((1, 1, 2)):
                child = start(ahead=hours * HOUR)
                enough = journal.messages.messages_appended() + count // 6
                wait_until(partial(_more_than, enough, journal), seconds=30, what="some of the queue")
                client.publish(*news[life])
                child.send_signal(signal.SIGKILL)
                child.wait()
                assert sorted(session for _, session in sessions(tmp_path).left([])) == ["main", "main.2"]
            client.publish(*news[3])
            child = start(ahead=2 * HOUR)
            wait_until(lambda: set(news + messages) <= set(_said(journal)), seconds=60, what="all of it")
    finally:
        child.terminate()
        child.wait()
    first_seen: dict[str, list[int]] = {}
    for name, payload in dict.fromkeys(_said(journal)):
        if "/a/" in name:
            first_seen.setdefault(name, []).append(int(payload))
    assert all(numbers == sorted(numbers) for numbers in first_seen.values()), "in order for each device"
    stamps = [
        decode_message(record.meta).held_until
        for record in journal.messages.read(BEGINNING, 100_000)
        if is_backlog(record)
    ]
    assert len(set(stamps)) == len(stamps)
    journal.close()


def sessions(folder: Path) -> SessionMemory:
    return SessionMemory(folder / "main" / "receiver.json")


def _more_than(enough: int, journal: SqliteJournal) -> bool:
    return journal.messages.messages_appended() > enough


def _said(journal: SqliteJournal) -> list[tuple[str, bytes]]:
    records = journal.messages.read(BEGINNING, 100_000)
    return [(decode_message(record.meta).topic, record.value) for record in records if is_message(record)]


SOURCES = """
sources:
  - {filter: "ember/v1/+/+/alarm", codec: ember-json}
"""


def test_the_backlog_is_judged_as_history_beside_the_news(mosquitto: Broker, tmp_path: Path) -> None:
    """A fire in it is told once, late; what is older than the news neither clears nor rings; undated, too."""
    sources, run = parse_sources(SOURCES, "sources.yaml"), unique("run")
    intaker = Intaker(tmp_path, sources.sources)

    def say(site: str, **states: object) -> tuple[str, bytes]:
        return f"ember/v1/{site}-{run}/d1/alarm", json.dumps(states).encode()

    ago = round(time.time() * 1000) - 600_000
    waiting = [
        say("burns", smoke_alarm=False),
        say("burns", smoke_alarm=True),
        say("dated", smoke_alarm=True, ts=ago),
        say("calm-now", smoke_alarm=True),
        say("burns-now", smoke_alarm=False),
        say("calm", smoke_alarm=False),
    ]
    news = [say("calm-now", smoke_alarm=False), say("burns-now", smoke_alarm=True)]
    with intaker.running(mosquitto.url):
        intaker.wait_listening()
    with publisher(mosquitto.url) as client:
        client.publish_all(waiting)
        intaker.watch(Watched(lambda record: record.kind == Kind.INTAKE, partial(client.publish_all, news)))
        intaker.ahead = 1_200_000_000
        with intaker.running(mosquitto.url):
            wait_until(lambda: sorted(intaker.sessions()) == ["main.2"])
    assert len(intaker.payloads()) == len(waiting) + len(news)
    decisions = judged(intaker.stream.records, sources)
    tells = Counter((line.site.removesuffix(f"-{run}"), line.reason) for line in decisions if isinstance(line, Tell))
    blind = [key for key in tells if key[1] is TellReason.BLIND]
    assert {key: count for key, count in tells.items() if key not in blind} == {
        ("burns", TellReason.LATE): 1,
        ("dated", TellReason.LATE): 1,
        ("burns-now", TellReason.OPENED): 1,
    }
    changes = [line for line in decisions if isinstance(line, Transition) and line.device]
    assert {line.after for line in changes} == {AlertState.FIRING}, "what is older than the news clears nothing"


def judged(records: Sequence[Record], sources: Sources) -> list[Decision]:
    """What admit and the engine make of these records, every device registered."""
    places = {topic[2] for record in records if is_message(record) and (topic := topic_of(record))}
    delta = InventoryDelta(
        sites=[Site(id=site) for site in places],
        devices=[Device(id="d1", site=site, device_class=DeviceClass.SMOKE_HEAD) for site in places],
    )
    judge = Judge(shard="main", clock=Clock.RECEIVED, rulebook=load_rulebook(None))
    told = [(Kind.SOURCES, sources.text.encode()), (Kind.INVENTORY, encode(delta))]
    first = records[0].at
    for offset, (kind, value) in enumerate(told, start=-1_000):
        judge.step(Record(offset, first, kind, b"", value))
    for record in records:
        assert judge.step(record) is None
    return judge.take()


def is_message(record: Record) -> bool:
    return record.kind == Kind.MESSAGE


def topic_of(record: Record) -> list[str]:
    return decode_message(record.meta).topic.split("/")
