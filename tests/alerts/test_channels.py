"""What each channel makes of each thing that can happen to a page, with a real HTTP server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import structlog
from msgspec import json

from alerts.channels import Sender, open_senders
from alerts.channels.webhook import WebhookSender, retry_after
from alerts.outbox import DeliveryOutcome
from alerts.teams import Channel, ChannelType
from ingest.readings import SECOND
from tests.support.collector import Behaviour, Collector

BODY = json.encode({"id": "p1", "text": "fire in 3号棚"})


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(secret=b"key") as collector:
        yield collector


def webhook(url: str, *, secret: bytes = b"", timeout_s: float = 0.3) -> Sender:
    return WebhookSender(Channel(name="hook", type=ChannelType.WEBHOOK, url=url, secret=secret, timeout_s=timeout_s))


def send(sender: Sender) -> tuple[DeliveryOutcome, str, float]:
    answer = sender.send(BODY, key="p1", now=0)
    sender.close()
    return answer.outcome, answer.detail, answer.retry_after_s


def test_a_page_arrives_byte_for_byte_with_its_key_and_signature(collector: Collector) -> None:
    assert send(webhook(collector.url, secret=b"key")) == (DeliveryOutcome.ACCEPTED, "HTTP 200 OK", 0)
    (arrival,) = collector.wants(1, within=1)
    assert arrival.raw == BODY
    assert arrival.key == "p1"
    assert arrival.signed
    assert arrival.headers["content-type"].startswith("application/json")
    assert collector.unexpected() == []


def test_a_body_signed_with_another_key_is_seen_as_such(collector: Collector) -> None:
    send(webhook(collector.url, secret=b"another"))
    collector.wants(1, within=1)
    assert len(collector.unexpected()) == 1


def test_without_a_secret_there_is_no_signature(collector: Collector) -> None:
    send(webhook(collector.url))
    assert "x-emberwatch-signature" not in collector.arrivals()[0].headers


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, DeliveryOutcome.ACCEPTED),
        (204, DeliveryOutcome.ACCEPTED),
        (302, DeliveryOutcome.REFUSED),
        (400, DeliveryOutcome.REFUSED),
        (404, DeliveryOutcome.REFUSED),
        (408, DeliveryOutcome.RETRY),
        (425, DeliveryOutcome.RETRY),
        (429, DeliveryOutcome.RETRY),
        (500, DeliveryOutcome.RETRY),
        (503, DeliveryOutcome.RETRY),
    ],
)
def test_the_status_decides(collector: Collector, status: int, outcome: DeliveryOutcome) -> None:
    collector.otherwise = Behaviour(status=status)
    found, detail, _ = send(webhook(collector.url))
    assert found is outcome
    assert detail.startswith(f"HTTP {status}")
    assert len(collector.arrivals()) == 1


def test_a_redirect_is_not_followed_and_says_where_it_led(collector: Collector) -> None:
    collector.then(Behaviour(status=301, headers={"Location": "http://elsewhere/"}))
    assert "http://elsewhere/" in send(webhook(collector.url))[1]
    assert len(collector.arrivals()) == 1


def test_the_wait_the_other_side_asks_for_is_passed_on(collector: Collector) -> None:
    collector.then(Behaviour(status=429, headers={"Retry-After": "7"}))
    assert send(webhook(collector.url))[2] == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("3", 3),
        ("86400", 60),
        ("9" * 400, 60),
        ("Sat, 21 Nov 2026 18:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 17:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 18:00:00 GMT", 60),
    ],
)
def test_retry_after_is_kept_within_bounds(header: str, seconds: float) -> None:
    assert retry_after(header, 1_795_284_000 * SECOND) == seconds


def test_a_refused_connection_has_sent_nothing() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        outcome, detail, _ = send(webhook(f"http://127.0.0.1:{free.getsockname()[1]}/"))
    assert outcome is DeliveryOutcome.RETRY
    assert detail.startswith("nothing sent: ConnectError")


def test_a_name_nobody_knows_has_sent_nothing() -> None:
    outcome, detail, _ = send(webhook("http://no-such-host.invalid/", timeout_s=5))
    assert outcome is DeliveryOutcome.RETRY
    assert detail.startswith("nothing sent: ")


def test_an_address_that_cannot_be_one_is_refused() -> None:
    assert send(webhook("gopher://127.0.0.1/"))[0] is DeliveryOutcome.REFUSED


def test_no_answer_in_time_leaves_the_outcome_unknown(collector: Collector) -> None:
    collector.then(Behaviour(hang=True))
    outcome, detail, _ = send(webhook(collector.url))
    assert outcome is DeliveryOutcome.UNKNOWN
    assert detail.startswith("no answer seen: ReadTimeout")


def test_a_connection_lost_before_the_answer_leaves_the_outcome_unknown(collector: Collector) -> None:
    collector.then(Behaviour(close=True))
    assert send(webhook(collector.url))[0] is DeliveryOutcome.UNKNOWN


def test_an_answer_that_is_no_http_leaves_the_outcome_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"what?\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert send(webhook(f"http://127.0.0.1:{server.getsockname()[1]}/"))[0] is DeliveryOutcome.UNKNOWN
        thread.join()


def test_a_status_counts_even_when_the_rest_of_the_answer_breaks_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        thread = threading.Thread(target=answer)
        thread.start()
        assert send(webhook(f"http://127.0.0.1:{server.getsockname()[1]}/"))[0] is DeliveryOutcome.ACCEPTED
        thread.join()


def test_one_connection_serves_page_after_page(collector: Collector) -> None:
    collector.otherwise = Behaviour(body=b"thanks")
    sender = webhook(collector.url)
    outcomes = {sender.send(BODY, key=str(number), now=0).outcome for number in range(5)}
    sender.close()
    assert outcomes == {DeliveryOutcome.ACCEPTED}
    assert len(collector.pages()) == 5


def test_the_console_writes_one_line_that_names_who_where_and_what() -> None:
    (sender,) = open_senders({"log": Channel(name="log", type=ChannelType.CONSOLE)}).values()
    body = {
        "class": "fire",
        "text": "smoke alarm in 3号棚",
        "team": "north",
        "incident": {"id": "i1", "site": "shed-3", "site_name": "3号棚"},
        "alerts": [{"device": "d1", "reason": "smoke alarm is on"}],
    }
    with structlog.testing.capture_logs() as lines:
        answer = sender.send(json.encode(body), key="p1", now=0)
    assert answer.outcome is DeliveryOutcome.ACCEPTED
    (line,) = lines
    assert (line["to"], line["where"], line["what"]) == ("north", "3号棚 (shed-3)", "smoke alarm in 3号棚")
    assert line["why"] == ["d1: smoke alarm is on"]
