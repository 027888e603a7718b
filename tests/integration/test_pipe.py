"""The connection that many devices of a town share, against a real broker that comes and goes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ingest.broker import Broker, start_broker
from ingest.errors import Unavailable
from ingest.mqtt import BrokerAddress, parse_mqtt_url
from simulators.wire.pipe import Pipe
from simulators.wire.publisher import Will
from tests.support.broker import unique, wait_until
from tests.support.simulating import listening

pytestmark = pytest.mark.integration


def address(broker: Broker) -> BrokerAddress:
    return parse_mqtt_url(broker.url, where="test")


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def test_all_arrive_in_order_and_are_acknowledged(mosquitto: Broker, stop: threading.Event) -> None:
    root = unique("pipe")
    pipe = Pipe(broker=address(mosquitto), stop=stop, name="pipe", window=50)
    with listening(mosquitto, f"{root}/#") as heard:
        for number in range(70_000):  # packet ids begin again
            assert pipe.publish(f"{root}/a", b"%d" % number)
        pipe.finish()
        wait_until(lambda: len(heard.messages) == 70_000, seconds=60)
    pipe.close()
    assert pipe.acknowledged == 70_000
    assert heard.of(f"{root}/a") == [b"%d" % number for number in range(70_000)]


def test_nothing_waits_longer_than_until_the_flush(mosquitto: Broker, stop: threading.Event) -> None:
    root = unique("pipe")
    pipe = Pipe(broker=address(mosquitto), stop=stop, name="pipe")
    with listening(mosquitto, f"{root}/#") as heard:
        pipe.publish(f"{root}/kept", b"1", retain=True)
        assert heard.messages == []
        pipe.flush()
        wait_until(lambda: len(heard.messages) == 1)
    with listening(mosquitto, f"{root}/#") as late:
        wait_until(lambda: late.messages == [(f"{root}/kept", b"1", True)])
    pipe.publish(f"{root}/kept", b"", retain=True)
    pipe.finish()
    pipe.close()


def test_a_broker_that_comes_back_gets_what_it_had_not_acknowledged(tmp_path: Path, stop: threading.Event) -> None:
    with start_broker(tmp_path / "broker", kind="mosquitto") as first:
        pipe = Pipe(broker=address(first), stop=stop, name="pipe", window=100)
        for number in range(500):
            assert pipe.publish("back/a", b"%d" % number)
        pipe.finish()
        first.kill()
        for number in range(500, 550):
            assert pipe.publish("back/a", b"%d" % number)  # within the window: nobody has noticed
        with (
            start_broker(tmp_path / "again", first.port, kind="mosquitto") as second,
            listening(second, "back/#") as heard,
        ):
            for number in range(550, 2000):
                assert pipe.publish("back/a", b"%d" % number)
            pipe.finish()
            wait_until(lambda: len(heard.messages) >= 1500)
            assert heard.of("back/a") == [b"%d" % number for number in range(500, 2000)]
            assert pipe.acknowledged == 2000
            pipe.close()


def test_a_broken_connection_leaves_its_last_will_and_a_closed_one_does_not(
    mosquitto: Broker, stop: threading.Event
) -> None:
    root = unique("will")
    with listening(mosquitto, f"{root}/#") as heard:
        pipes = [
            Pipe(
                broker=address(mosquitto),
                stop=stop,
                name="pipe",
                will=Will(topic=f"{root}/{name}", payload=b"offline", back=b"online"),
            )
            for name in ("broken", "closed")
        ]
        pipes[1].close()
        pipes[0]._socket.close()
        wait_until(lambda: len(heard.messages) > 0)
        assert heard.messages == [(f"{root}/broken", b"offline", False)]
    with listening(mosquitto, f"{root}/#") as late:
        wait_until(lambda: late.messages == [(f"{root}/broken", b"offline", True)])


def test_who_is_back_says_so(tmp_path: Path, stop: threading.Event) -> None:
    with start_broker(tmp_path / "broker", kind="mosquitto") as first:
        will = Will(topic="back/status", payload=b"offline", back=b"online")
        pipe = Pipe(broker=address(first), stop=stop, name="pipe", will=will)
        first.kill()
    with (
        start_broker(tmp_path / "again", first.port, kind="mosquitto") as second,
        listening(second, "back/#") as heard,
    ):
        pipe.publish("back/a", b"1")
        pipe.finish()
        wait_until(lambda: len(heard.messages) == 2)
        assert [payload for _, payload, _ in heard.messages] == [b"online", b"1"]
        pipe.close()


def test_who_is_stopped_while_the_broker_is_away_leaves_soon(tmp_path: Path, stop: threading.Event) -> None:
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker:
        pipe = Pipe(broker=address(broker), stop=stop, name="pipe", window=10)
        broker.kill()
        threading.Timer(0.5, stop.set).start()
        before = time.monotonic()
        while pipe.publish("gone", b"x"):
            pass
        with pytest.raises(Unavailable, match=r"10 messages not acknowledged .*; is the broker still there"):
            pipe.finish(patience_s=3.0)
        assert time.monotonic() - before < 5
        pipe.close()
