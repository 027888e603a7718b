"""The connection that publishes by paho, against a real broker that comes and goes."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from ingest.broker import start_broker
from ingest.mqtt import parse_mqtt_url
from simulators.wire.publisher import Publisher, Will
from tests.support.broker import wait_until
from tests.support.simulating import listening

pytestmark = [
    pytest.mark.integration,
    # paho's loop_start forgets the pair of sockets that its loop has made
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_what_goes_out_once_at_most_is_waited_for_by_nobody_when_its_broker_goes_away(tmp_path: Path) -> None:
    stop = threading.Event()
    with start_broker(tmp_path / "broker", kind="mosquitto") as first:
        publisher = Publisher(broker=parse_mqtt_url(first.url, where="test"), stop=stop, name="test", window=10)
        first.kill()
    with closing(publisher):
        for number in range(10):
            assert publisher.publish("away/a", b"%d" % number, qos=0)
        with (
            start_broker(tmp_path / "again", first.port, kind="mosquitto") as second,
            listening(second, "away/#") as heard,
        ):
            assert publisher.publish("away/b", b"kept", qos=1)
            publisher.finish(patience_s=15.0)
            assert publisher.acknowledged >= 1
            wait_until(lambda: b"kept" in heard.of("away/b"))


def test_who_is_back_says_so(tmp_path: Path) -> None:
    stop, will = threading.Event(), Will(topic="back/status", payload=b"offline", back=b"online")
    with start_broker(tmp_path / "broker", kind="mosquitto") as first:
        broker = parse_mqtt_url(first.url, where="test")
        publisher = Publisher(broker=broker, stop=stop, name="test", will=will)
        first.kill()
    with (
        closing(publisher),
        start_broker(tmp_path / "again", first.port, kind="mosquitto") as second,
        listening(second, "back/#") as heard,
    ):
        assert publisher.publish("back/a", b"1")
        publisher.finish(patience_s=15.0)
        wait_until(lambda: len(heard.messages) == 2)
        assert heard.of("back/status") == [b"online"] and heard.of("back/a") == [b"1"]
