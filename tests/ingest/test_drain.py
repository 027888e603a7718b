"""The question that tells backlog from news, against a model of a broker."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from ingest.drain import Drain


class ModelBroker:
    """Sends from its queue while fewer than `window` messages are unacknowledged; answers in order."""

    def __init__(self, queued: int, window: int) -> None:
        self.queue = deque(["old"] * queued)
        self.window = window
        self.unacknowledged = 0
        self.wire: deque[str] = deque()
        self._send()

    def _send(self) -> None:
        while self.queue and self.unacknowledged < self.window:
            self.wire.append(self.queue.popleft())
            self.unacknowledged += 1

    def publish(self, count: int) -> None:
        self.queue.extend(["new"] * count)
        self._send()

    def take_acks(self, count: int) -> None:
        self.unacknowledged -= count
        self._send()

    def take_question(self) -> None:
        self.wire.append("answer")


def receive(queued: int, window: int, live: list[int], batch: int) -> list[tuple[str, bool]]:
    """Which message was flagged, in order; as Connection does it, with `live` messages published each round."""
    broker, drain, seen, pending, number = ModelBroker(queued, window), Drain(), list[tuple[str, bool]](), 0, 1
    drain.begin()
    broker.take_question()
    drain.asked(number, waiting=0, monotonic=0.0)
    arrivals = deque(live)
    while broker.wire or pending or arrivals:
        if arrivals:
            broker.publish(arrivals.popleft())
        again = False
        while broker.wire and pending < batch:
            item = broker.wire.popleft()
            if item == "answer":
                again = drain.answered(number, waiting=pending)
                if again:
                    number += 1
                    broker.take_question()
                    drain.asked(number, waiting=pending, monotonic=0.0)
                continue
            seen.append((item, drain.active))
            drain.came += 1
            pending += 1
        drain.acknowledged(pending)
        broker.take_acks(pending)
        pending = 0
        if drain.wants_probe():
            number += 1
            broker.take_question()
            drain.asked(number, waiting=0, monotonic=0.0)
    return seen


@given(st.integers(0, 300), st.integers(1, 60), st.lists(st.integers(0, 5), max_size=200), st.integers(1, 80))
def test_no_message_of_the_backlog_is_taken_for_news(queued: int, window: int, live: list[int], batch: int) -> None:
    seen = receive(queued, window, live, batch)
    assert all(flagged for item, flagged in seen if item == "old")
    assert sum(item == "old" for item, _ in seen) == queued


def test_the_backlog_ends_soon_after_the_queue_is_empty() -> None:
    seen = receive(1000, 100, [1] * 300, 500)
    flagged_news = sum(flagged for item, flagged in seen if item == "new")
    assert flagged_news < 60, "news among the backlog is behind it in the queue, and flagged with it"
    assert sum(not flagged for _, flagged in seen) > 200


def test_with_an_empty_queue_nothing_is_flagged_after_the_first_answer() -> None:
    assert receive(0, 20, [], 500) == []
    assert receive(0, 20, [0, 0, 1, 1], 500) == [("new", False), ("new", False)]


def test_a_broker_that_never_answers_is_given_up() -> None:
    drain = Drain()
    drain.begin()
    drain.asked(1, waiting=0, monotonic=100.0)
    drain.give_up(150.0)
    assert drain.active
    drain.give_up(161.0)
    assert not drain.active
