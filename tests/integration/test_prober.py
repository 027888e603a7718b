"""The prober and the receiver, each with a connection of its own to a real broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.broker import SETTINGS, Broker, start_broker
from ingest.loopback import Loopback, newest_probe
from ingest.message import Kind
from ingest.prober import Prober
from ingest.receiver import Receiver
from ingest.sources import Source
from tests.support.broker import make_certificates, publisher, unique, wait_until
from tests.support.memory_log import MemoryJournal

pytestmark = pytest.mark.integration


def wall() -> int:
    return time.time_ns() // 1000


class Probed:
    """A shard whose probes go through a broker, ten a second; `ahead`: µs by which the prober's clock is ahead."""

    def __init__(self, folder: Path, filter_: str) -> None:
        self.journal = MemoryJournal(folder, unique("shard"))
        self.loopback = Loopback(self.journal.shard)
        self.source = Source(filter=filter_, codec="ember-json", shard=self.journal.shard)
        self.ahead = 0

    @contextmanager
    def running(self, url: str, *, receives: bool = True) -> Iterator[None]:
        name = unique("probed")
        stop = threading.Event()
        now = lambda: wall() + self.ahead  # noqa: E731
        prober = Prober(url, client_id=f"{name}-probes", loopbacks=[self.loopback], every=0.1, now=now)
        parts = [threading.Thread(target=prober.run, args=(stop,))]
        if receives:
            receiver = Receiver(
                journal=self.journal,
                sources=[self.source],
                mqtt_url=url,
                client_id=name,
                now=wall,
                loopback=self.loopback,
            )
            parts.append(threading.Thread(target=receiver.run, args=(stop,)))
        for part in parts:
            part.start()
        try:
            yield
        finally:
            stop.set()
            for part in parts:
                part.join(10)
            assert not any(part.is_alive() for part in parts)

    def probes(self) -> int:
        return sum(record.kind == Kind.PROBE for record in self.journal.messages.records)


@pytest.fixture(params=["mosquitto", "amqtt_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return found


def test_probes_come_back_among_the_messages_and_are_none(broker: Broker, tmp_path: Path) -> None:
    topic = unique()
    probed = Probed(tmp_path, f"{topic}/#")
    with probed.running(broker.url), publisher(broker.url) as client:
        wait_until(lambda: probed.probes() >= 3)
        client.publish_all([(f"{topic}/1", b"%d" % number) for number in range(200)])
        client.publish(probed.loopback.topic, b"0" * 32)
        wait_until(lambda: probed.journal.messages.messages_appended() == 200)
        enough = probed.probes() + 3
        wait_until(lambda: probed.probes() >= enough)
    assert [payload for _, payload in probed.journal.messages.received()] == [b"%d" % number for number in range(200)]
    newest = newest_probe(probed.journal.messages)
    assert newest is not None and wall() - newest < 5_000_000


def test_a_filter_that_takes_in_everything_does_not_take_in_probes(mosquitto: Broker, tmp_path: Path) -> None:
    probed = Probed(tmp_path, "#")
    with probed.running(mosquitto.url):
        wait_until(lambda: probed.probes() >= 5)
    topics = {message.topic for message, _ in probed.journal.messages.received()}
    assert not any(topic.startswith("emberwatch/probe/") for topic in topics)


def test_over_tls_and_after_the_broker_was_away_probes_go_on(mosquitto: Broker, tmp_path: Path) -> None:
    del mosquitto  # it is installed
    folder = tmp_path / "broker"
    folder.mkdir()
    make_certificates(folder)
    settings = SETTINGS | {"certfile": "cert.pem", "keyfile": "key.pem"}
    probed = Probed(tmp_path, f"{unique()}/#")
    with ExitStack() as stack:
        first = stack.enter_context(start_broker(folder, kind="mosquitto", settings=settings))
        url = first.url.replace("mqtt:", "mqtts:") + f"?ca={folder / 'cert.pem'}"
        stack.enter_context(probed.running(url))
        wait_until(lambda: probed.probes() >= 2)
        first.stop()
        stack.enter_context(start_broker(folder, first.port, kind="mosquitto", settings=settings))
        enough = probed.probes() + 2
        wait_until(lambda: probed.probes() >= enough, what="probes again")


def test_silence_is_said_once_and_its_end_too(mosquitto: Broker, tmp_path: Path) -> None:
    probed = Probed(tmp_path, f"{unique()}/#")
    with capture_logs() as lines:

        def said() -> list[str]:
            return [line["event"] for line in lines if "own probes" in line["event"]]

        with probed.running(mosquitto.url, receives=False):
            wait_until(lambda: probed.loopback.waiting_since())
            probed.ahead = 16_000_000
            wait_until(lambda: said() == ["our own probes do not come back through the broker"])
            probed.loopback.take(probed.loopback.topic, probed.loopback.send(wall() + probed.ahead))
            wait_until(lambda: len(said()) > 1)
    assert said()[1:] == ["our own probes come back again"]
