"""Readings sent and readings shown: which belong together, and what is said of those that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.readings import DAY, MINUTE, SECOND, iso, to_datetime
from simulators.tapes.tapefile import TapeWriter
from simulators.verify.api import Shown
from simulators.verify.findings import Check, Tally
from simulators.verify.readings import ReadingsCheck, Seen, Sent, match
from simulators.verify.said import NO_TIME, read_said

START = 1_790_000_000 * SECOND
HEAD = "ember/v1/shed-1/h1/telemetry"


class Shelf:
    """A source of readings that has what it was given."""

    def __init__(self) -> None:
        self.items: list[Shown] = []
        self.asked: list[str | None] = []

    def put(self, at: int, received: int, device: str = "h1", late: str | None = None, **said: float | bool) -> None:
        self.items.append(
            Shown(
                time=to_datetime(at),
                site="shed-1",
                device=device,
                received_at=to_datetime(received),
                values={name: value for name, value in said.items() if not isinstance(value, bool)},
                states={name: value for name, value in said.items() if isinstance(value, bool)},
                late=late,
            )
        )

    def readings(self, *, site: str, device: str | None, since: Any, until: Any) -> Iterator[Shown]:
        self.asked.append(device)
        for item in self.items:
            if item.site == site and device in (None, item.device) and since <= item.time < until:
                yield item


class Feed:
    """A tape, and the shelf as it should be."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sent.tape"
        self.shelf = Shelf()
        self.sent: list[tuple[int, str, bytes]] = []

    def send(self, at: int, *bodies: dict[str, Any], topic: str = HEAD) -> None:
        payload = json.dumps(list(bodies) if len(bodies) > 1 else bodies[0])
        self.sent.append((at, topic, payload.encode()))

    def good(self, second: int, temperature: float) -> None:
        """Sent, and shown as it should be."""
        at = START + second * SECOND
        self.send(at, {"ts": iso(at), "temperature": temperature})
        self.shelf.put(at, at + 1000, temperature=temperature)

    def check(self, *, late_s: int = 10, sample: int = 0, cut: bool = False) -> tuple[list[str], ReadingsCheck, Tally]:
        with TapeWriter(self._path) as writer:
            for at, topic, payload in self.sent:
                writer.add(at=at, topic=topic, payload=payload)
        if cut:
            self._path.write_bytes(self._path.read_bytes()[:-4])
        tally = Tally()
        check = ReadingsCheck(read_said([self._path], lambda _: None), [self._path], tally, late=late_s * SECOND)
        check.run(self.shelf, sample=sample, progress=lambda _: None)
        return [finding.line() for finding in tally.shown], check, tally


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    """Three readings, a second apart, all shown."""
    feed = Feed(tmp_path)
    for second in range(3):
        feed.good(second, 20.0 + second)
    return feed


def test_readings_that_are_all_there_once_have_no_findings(feed: Feed) -> None:
    lines, _, tally = feed.check()
    assert lines == [] and tally.compared[Check.READINGS] == 3
    assert tally.slowest[Check.READINGS] == 0.001


def test_one_that_is_not_there_is_lost_by_its_name_and_content(feed: Feed) -> None:
    del feed.shelf.items[1]
    assert feed.check()[0] == [
        f"lost: a reading of shed-1/h1 at {iso(START + SECOND)} ({HEAD}): expected temperature 21.0, seen nothing"
    ]


def test_one_that_is_there_twice_is_twice(feed: Feed) -> None:
    feed.shelf.items.append(feed.shelf.items[1])
    assert feed.check()[0] == [
        f"twice: a reading of shed-1/h1 at {iso(START + SECOND)}: expected it once, seen it again"
    ]


def test_one_with_another_value_is_wrong_with_both(feed: Feed) -> None:
    feed.shelf.items.pop(1)
    feed.shelf.put(START + SECOND, START + SECOND, temperature=21.5)
    lines, _, tally = feed.check()
    assert lines[0].endswith("expected temperature 21.0, seen temperature 21.5") and tally.total == 1
    feed.shelf.items.pop()
    feed.shelf.put(START + SECOND, START + SECOND, temperature=21.0, smoke_alarm=True)
    assert feed.check()[0][0].endswith("expected temperature 21.0, seen temperature 21.0, smoke_alarm true")


def test_one_that_was_received_too_long_after_it_was_sent_is_late(feed: Feed) -> None:
    feed.shelf.items.pop(1)
    feed.shelf.put(START + SECOND, START + 12 * SECOND, temperature=21.0)
    lines, _, tally = feed.check()
    assert lines[0].startswith("late: ") and lines[0].endswith("seen received 11.0 s after it was sent")
    assert tally.slowest[Check.READINGS] == 11.0
    assert feed.check(late_s=11)[0] == []


def test_one_that_was_given_another_time_without_need_is_wrong(feed: Feed) -> None:
    feed.shelf.items.pop(1)
    feed.shelf.put(START + 5 * SECOND, START + 5 * SECOND, temperature=21.0)
    (line,) = feed.check()[0]
    assert line.startswith("wrong: ") and line.endswith(f"seen the time {iso(START + 5 * SECOND)}")


def test_one_that_nobody_sent_is_wrong(feed: Feed) -> None:
    feed.shelf.put(START + 5 * SECOND, START + 5 * SECOND, temperature=99.0)
    assert feed.check()[0] == [
        f"wrong: a reading of shed-1/h1 at {iso(START + 5 * SECOND)}: expected nothing, seen temperature 99.0"
    ]


def test_what_came_before_the_tapes_began_is_of_other_feeds(feed: Feed) -> None:
    feed.shelf.put(START, START - 3 * SECOND, temperature=20.0)
    feed.shelf.put(START + 1, START - 3 * SECOND, temperature=99.0)
    assert feed.check()[0] == []


def test_times_a_device_states_wrong_or_not_at_all_are_those_of_receipt(feed: Feed) -> None:
    at = START + 10 * SECOND
    feed.send(at, {"ts": iso(at - 3000 * DAY), "temperature": 30.0})
    feed.send(at, {"temperature": 31.0})
    feed.send(at, {"ts": iso(at + 2 * MINUTE), "temperature": 32.0})
    for value in (30.0, 31.0, 32.0):
        feed.shelf.put(at + SECOND, at + SECOND, temperature=value)
    assert feed.check()[0] == []


def test_of_equal_readings_without_time_the_one_that_is_missing_is_named(feed: Feed) -> None:
    for second in (10, 20, 30):
        feed.send(START + second * SECOND, {"temperature": 30.0})
    for second in (10, 30):
        feed.shelf.put(START + second * SECOND + 1, START + second * SECOND + 1, temperature=30.0)
    lines, _, tally = feed.check()
    assert len(lines) == 1 and lines[0].startswith("lost: ")
    assert tally.slowest[Check.READINGS] < 1


def test_a_message_that_is_on_the_tape_twice_is_shown_once_and_two_seqs_are_two(feed: Feed) -> None:
    feed.sent.append((START + 3 * SECOND, *feed.sent[1][1:]))
    assert feed.check()[0] == []
    at = START + 10 * SECOND
    for seq in (1, 2):
        feed.send(at, {"ts": iso(at), "seq": seq, "temperature": 30.0})
        feed.shelf.put(at, at, temperature=30.0)
    assert feed.check()[0] == []
    feed.shelf.items.pop()
    assert [line.partition(":")[0] for line in feed.check()[0]] == ["lost"]


def test_a_repeat_long_after_may_be_shown_again_or_not(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.verify.said.REMEMBERED", 2)
    feed.sent.append((START + 3 * SECOND, *feed.sent[0][1:]))
    assert feed.check()[0] == []
    feed.shelf.items.append(feed.shelf.items[0])
    assert feed.check()[0] == []
    feed.shelf.items.append(feed.shelf.items[0])
    assert [line.partition(":")[0] for line in feed.check()[0]] == ["twice"]


def test_gateways_arrays_and_alarms_are_understood(feed: Feed) -> None:
    at, old = START + 10 * SECOND, START - 3600 * SECOND
    feed.send(at, {"ts": iso(old), "smoke": 0.1}, {"ts": iso(at), "smoke": 0.2})
    feed.send(
        at,
        {"device": "h2", "ts": iso(at), "co": 1.0},
        {"device": "h3", "ts": iso(at), "co": 2.0},
        topic="ember/v1/shed-1/telemetry",
    )
    feed.send(at, {"ts": iso(at), "smoke_alarm": True}, topic="ember/v1/shed-1/h2/alarm")
    feed.shelf.put(old, at, smoke=0.1, late="back_fill")
    feed.shelf.put(at, at, smoke=0.2)
    feed.shelf.put(at, at, "h2", co=1.0)
    feed.shelf.put(at, at, "h2", smoke_alarm=True)
    feed.shelf.put(at, at, "h3", co=2.0)
    assert feed.check()[0] == []
    feed.shelf.items.pop()
    (line,) = feed.check()[0]
    assert line.startswith(f"lost: a reading of shed-1/h3 at {iso(at)} (ember/v1/shed-1/telemetry): expected co 2.0")


def test_last_wills_and_what_a_broker_keeps_are_counted_apart(feed: Feed) -> None:
    feed.sent.append((START, "ember/v1/shed-1/h1/status", b"online"))
    feed.shelf.put(START + 1, START + 1, online=True)
    feed.shelf.put(START + SECOND, START + SECOND, online=True, late="retained")
    feed.shelf.put(START + SECOND, START + SECOND, online=False)
    lines, check, _ = feed.check()
    assert lines == [] and (check.surplus.wills, check.surplus.retained) == (1, 1)


def test_beyond_the_end_of_a_tape_that_was_cut_nothing_is_wrong(feed: Feed) -> None:
    feed.shelf.put(START + 9 * SECOND, START + 9 * SECOND, temperature=99.0)
    assert feed.check(cut=True)[0] == []
    assert len(feed.check()[0]) == 1


def test_a_sample_asks_for_so_many_devices_the_same_each_time_and_says_so(feed: Feed) -> None:
    for number in range(20):
        feed.send(START, {"ts": iso(START), "co": 1.0}, topic=f"ember/v1/shed-1/d{number}/telemetry")
        feed.shelf.put(START, START, f"d{number}", co=1.0)
    _, _, first = feed.check(sample=5)
    _, _, again = feed.check(sample=5)
    assert first.compared == again.compared and 5 <= first.compared[Check.READINGS] <= 7
    assert first.unchecked == ["readings of 16 devices (--sample 5)"]


def test_a_site_with_much_to_show_is_asked_device_by_device(feed: Feed) -> None:
    feed.check()
    assert feed.shelf.asked == [None]
    for second in range(3, 1_004):
        feed.good(second, 20.0)
    assert feed.check()[0] == []
    assert feed.shelf.asked[1:] == ["h1"]


times = st.integers(0, 5).map(lambda step: START + step * SECOND)
faults = st.sets(st.integers(0, 11), max_size=6)


@given(st.lists(st.tuples(times, st.integers(0, 2)), max_size=12), faults, faults)
@example([(START, 0), (START, 0), (START, 1)], {2}, {0, 1})  # two too many at the time of one that is not there
def test_whatever_is_dropped_or_doubled_is_what_is_left_over(
    said: list[tuple[int, int]], dropped: set[int], doubled: set[int]
) -> None:
    sent = [Sent(row, ts, START + row, value) for row, (ts, value) in enumerate(said)]
    seen = []
    for row, (ts, value) in enumerate(said):
        shown = Shown(time=to_datetime(ts), site="s", device="d", received_at=to_datetime(ts), values={}, states={})
        count = 0 if row in dropped else 2 if row in doubled else 1
        seen += [Seen(ts, START + DAY + row, value, shown)] * count
    found = match(sent, seen)
    assert len(found.pairs) + len(found.altered) + len(found.lost) == len(sent)
    assert len(found.pairs) + len(found.altered) + len(found.extra) == len(seen)
    whole = [(one.ts, one.digest) for one, _ in found.pairs]
    assert all((one.ts, one.digest) == (other.time, other.digest) for one, other in found.pairs if other.time == one.ts)
    if not dropped & set(range(len(said))):
        assert len(whole) == len(sent) and found.lost == []
    if not doubled & set(range(len(said))):
        assert found.extra == []


def test_a_reading_without_time_is_never_taken_for_one_that_was_shown_before_it_was_sent() -> None:
    shown = Shown(time=to_datetime(START), site="s", device="d", received_at=to_datetime(START), values={}, states={})
    sent, seen = Sent(0, NO_TIME, START + MINUTE, 7), Seen(START, START, 7, shown)
    found = match([sent], [seen])
    assert (found.lost, found.extra, found.pairs) == ([sent], [seen], [])
