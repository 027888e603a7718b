"""Fires that wait in a backlog: told ahead of the evaluator, once, and never again by it. Over a real log and HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alerts.alert import SignalClass
from alerts.borrowed import Borrowed
from alerts.checkpoints import Checkpoints
from alerts.crashes import Crashes
from alerts.decisions import Progress, decode, entry
from alerts.dispatcher import Dispatcher
from alerts.incident import Audience, Hush, HushReason, IncidentState, Notice, Tell, TellReason
from alerts.judge import Judge
from alerts.outbox import DeliveryOutcome, page_id
from alerts.rulebook import load_rulebook
from alerts.scanner import Judged, Scanner, judged_by, newest_judged
from ingest.admission import Admission
from ingest.inventory import Area, Device, InventoryDelta, Site
from ingest.journal import BEGINNING, Entry, Record
from ingest.message import Kind, Message, Tick, encode
from ingest.readings import HOUR, SECOND
from ingest.sources import Clock
from ingest.sources_file import load_sources
from ingest.topics import Matcher
from tests.support.collector import Behaviour, Collector
from tests.support.data import published_frames
from tests.support.dispatching import Rig, change, tell, until, wall

TEAMS = """\
teams:
  - {{id: north, areas: [yuhua], channels: [hook]}}
default_team: north
centres:
  - {{id: centre, areas: [], channels: [hook]}}
channels:
  hook: {{type: webhook, url: "{url}", secret_file: hook.key, timeout: 0.3}}
"""
SITES = [f"shed-{number}" for number in range(1, 6)]
PLACES = InventoryDelta(
    areas=[Area(id="yuhua")],
    sites=[Site(id=site, parent="yuhua") for site in SITES],
    devices=[Device(id=device, site=site) for site in SITES for device in ("d1", "d2")],
)
QUIET = b'{"temperature":21.5,"smoke":0.01,"smoke_alarm":false}'
FIRE = b'{"smoke_alarm":true}'


def later() -> int:
    return wall() + 5 * SECOND


class Shard(Rig):
    """A log with sources and inventory, whose evaluator has come as far as `judge` says."""

    def introduce(self, sources: str = "") -> None:
        self.sources = sources or load_sources(None).text
        self.control(Kind.SOURCES, self.sources.encode())
        self.control(Kind.INVENTORY, encode(PLACES))
        self.judge(self.journal.messages.head())

    def judge(self, cursor: int, *decisions: Tell) -> None:
        """The evaluator says how far it has come, with these tells or none."""
        progress = Progress(cursor=cursor)
        told = [entry(word, progress) for word in decisions]
        self.journal.decisions.append(told or [Entry(Kind.PROGRESS, encode(progress))], now=wall())

    def say(self, topic: str, *payloads: bytes, retain: bool = False) -> int:
        """Messages taken in just now; the newest offset."""
        filters = ["ember/v1/+/+/alarm", "ember/v1/+/+/telemetry", "gb26875/+", "zigbee2mqtt/#"]
        source = Matcher(filters).match(topic) or "none"
        meta = encode(Message(topic=topic, source=source, received_at=wall(), retain=retain))
        entries = [Entry(Kind.MESSAGE, meta, payload) for payload in payloads]
        return self.journal.messages.append(entries, now=wall())[-1]

    def telemetry(self, site: str, device: str, *payloads: bytes, retain: bool = False) -> int:
        return self.say(f"ember/v1/{site}/{device}/telemetry", *payloads, retain=retain)

    def said(self, word: type[Hush] | type[Notice]) -> list[Hush | Notice]:
        """What the dispatcher put into the decisions log beside pages and receipts."""
        words = [decode(record) for record in self.journal.decisions.read(BEGINNING, 100_000) if not record.meta]
        return [each for each in words if isinstance(each, word)]

    @contextmanager
    def watched(self, *, now: Callable[[], int] = later, clock: Clock = Clock.RECEIVED) -> Iterator[Dispatcher]:
        """A dispatcher, running; by its clock what is in the log has waited for a while."""
        with self.running(now=now, clock=clock) as dispatcher:
            until(lambda: hasattr(dispatcher, "_scanning"))
            yield dispatcher

    def scanned(self, dispatcher: Dispatcher, offset: int) -> None:
        """Wait until all up to there was looked through, and what was found is on disk."""
        until(lambda: (dispatcher.outbox.cursor("scanned") or BEGINNING) >= offset, within=20)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(secret=b"key") as collector:
        yield collector


@pytest.fixture
def shard(tmp_path: Path, collector: Collector) -> Iterator[Shard]:
    (tmp_path / "hook.key").write_text("key\n", encoding="utf-8")
    shard = Shard(tmp_path, TEAMS.format(url=collector.url))
    shard.introduce()
    yield shard
    shard.close()


def suspected(body: dict[str, object]) -> bool:
    return body["reason"] == TellReason.SUSPECTED


def sites(collector: Collector, reason: TellReason = TellReason.SUSPECTED) -> list[str]:
    return sorted(page.body["incident"]["site"] for page in collector.pages() if page.body["reason"] == reason)


def answered(site: str, offset: int, **more: object) -> Tell:
    """What the engine tells of the fire in this record."""
    made = tell(f"incident-{site}-{offset}", site=site, alerts=(f"alert-{site}-{offset}",), **more)  # type: ignore[arg-type]
    return Tell(**{name: getattr(made, name) for name in made.__struct_fields__} | {"offset": offset})


def test_fires_among_many_records_are_told_while_the_evaluator_is_dead(shard: Shard, collector: Collector) -> None:
    shard.telemetry("shed-1", "d1", *[QUIET] * 8_000)
    offset = shard.telemetry("shed-2", "d1", FIRE)
    shard.telemetry("shed-1", "d1", *[QUIET] * 8_000)
    shard.telemetry("shed-3", "d1", b'[{"temperature":20},{"heat_alarm":1}]')
    head = shard.telemetry("shed-3", "d1", b'{"heat_alarm":false}')  # what was said is not taken back
    with shard.watched(now=wall) as dispatcher:
        collector.wants(2, within=10, where=suspected)
        shard.scanned(dispatcher, head)
        at_once = time.monotonic()
        shard.say("ember/v1/shed-4/d2/alarm", b'{"manual_alarm":true}')
        collector.wants(3, within=5, where=suspected)
        assert time.monotonic() - at_once < 2
    assert sites(collector) == ["shed-2", "shed-3", "shed-4"]
    page = next(page.body for page in collector.pages() if page.body["incident"]["site"] == "shed-2")
    assert (page["class"], page["team"], page["alerts"]) == ("fire", "north", [])
    assert page["incident"]["url"] == "http://127.0.0.1:8080/"
    assert page["text"].startswith("suspected fire at shed-2: d1: smoke_alarm; not judged yet, the evaluator is ")
    assert page["text"].endswith(" s behind")
    assert offset == shard.journal.messages.read(offset - 1, 1)[0].offset
    assert collector.unexpected() == []


def test_a_site_is_told_once_however_many_of_its_devices_say_fire_and_how_often(
    shard: Shard, collector: Collector
) -> None:
    for _ in range(3):
        head = max(shard.telemetry("shed-1", device, FIRE) for device in ("d1", "d2"))
    with shard.watched() as dispatcher:
        shard.scanned(dispatcher, head)
        head = shard.telemetry("shed-1", "d2", FIRE)
        shard.scanned(dispatcher, head)
        collector.wants(1, within=5, where=suspected)
    assert collector.unexpected() == []


def test_what_was_told_ahead_is_not_told_again_when_the_evaluator_gets_there(
    shard: Shard, collector: Collector
) -> None:
    fire = shard.telemetry("shed-1", "d1", FIRE)
    other = shard.telemetry("shed-2", "d1", QUIET)
    with shard.watched() as dispatcher:
        (page,) = collector.wants(1, within=10, where=suspected)
        shard.scanned(dispatcher, other)
        shard.judge(other, answered("shed-1", fire), answered("shed-2", other))
        collector.wants(1, within=5, where=lambda body: body["reason"] == "opened")
        until(lambda: len(shard.said(Hush)) == 1)
        until(lambda: sum(receipt.final for receipt in shard.copied()[1]) == 2)
    assert sites(collector, TellReason.OPENED) == ["shed-2"]
    (hush,) = shard.said(Hush)
    assert isinstance(hush, Hush)
    assert (hush.alert_id, hush.incident) == (f"alert-shed-1-{fire}", f"incident-shed-1-{fire}")
    assert (hush.reason, hush.told_by) == (HushReason.ALREADY_TOLD, page.key)
    assert shard.said(Notice) == []
    assert collector.unexpected() == []


def test_the_same_site_is_paged_for_what_happens_after_the_stretch(shard: Shard, collector: Collector) -> None:
    fire = shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched() as dispatcher:
        collector.wants(1, within=10, where=suspected)
        shard.scanned(dispatcher, fire)
        shard.judge(fire, answered("shed-1", fire))
        until(lambda: len(shard.said(Hush)) == 1)
        later = shard.telemetry("shed-1", "d1", FIRE)
        shard.judge(later, answered("shed-1", later, reason=TellReason.RETRIGGERED))
        collector.wants(1, within=5, where=lambda body: body["reason"] == "retriggered")
    assert collector.unexpected() == []


def test_a_limit_that_the_same_fire_crosses_in_the_stretch_is_told_already(shard: Shard, collector: Collector) -> None:
    before = shard.telemetry("shed-1", "d2", b'{"temperature":80}')
    shard.telemetry("shed-1", "d1", FIRE)
    after = shard.telemetry("shed-1", "d2", b'{"temperature":90}')
    with shard.watched() as dispatcher:
        collector.wants(1, within=10, where=suspected)
        shard.scanned(dispatcher, after)
        shard.judge(after, answered("shed-1", before), answered("shed-1", after))
        until(lambda: len(shard.said(Hush)) == 2)
    assert collector.unexpected() == []


def test_an_hour_after_what_was_told_ahead_the_stretch_holds_another_fire(shard: Shard, collector: Collector) -> None:
    first, begun = shard.telemetry("shed-1", "d1", FIRE), wall()
    shard.journal.messages.append([Entry(Kind.INTAKE, value=b"")], now=begun + HOUR)
    second = shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched(now=lambda: wall() + HOUR + 5 * SECOND) as dispatcher:
        collector.wants(2, within=10, where=suspected)
        shard.scanned(dispatcher, second)
        shard.judge(second, answered("shed-1", first, at=begun), answered("shed-1", second, at=begun + HOUR))
        until(lambda: len(shard.said(Hush)) == 2)
    assert len({hush.told_by for hush in shard.said(Hush) if isinstance(hush, Hush)}) == 2
    assert collector.unexpected() == []


def test_a_page_that_failed_does_not_count_as_told(shard: Shard, collector: Collector) -> None:
    fire = shard.telemetry("shed-1", "d1", FIRE)
    collector.then(Behaviour(status=400))
    with shard.watched() as dispatcher:
        until(lambda: any(receipt.outcome is DeliveryOutcome.REFUSED for receipt in shard.copied()[1]), within=10)
        shard.scanned(dispatcher, fire)
        shard.judge(fire, answered("shed-1", fire))
        collector.wants(1, within=5, where=lambda body: body["reason"] == "opened")


def test_a_restart_in_the_middle_tells_nobody_twice(shard: Shard, collector: Collector) -> None:
    fire = shard.telemetry("shed-1", "d1", FIRE)
    for _ in range(2):
        with shard.watched() as dispatcher:
            shard.scanned(dispatcher, fire)
            until(lambda: len(collector.pages()) == 1)
    assert shard.outbox_path.exists()
    for name in ("", "-wal", "-shm"):
        shard.outbox_path.with_name(shard.outbox_path.name + name).unlink(missing_ok=True)
    with shard.watched() as dispatcher:  # its outbox is lost, the log knows
        shard.scanned(dispatcher, fire)
        shard.judge(fire, answered("shed-1", fire))
        until(lambda: len(shard.said(Hush)) == 1)
    collector.wants(1, within=1, where=suspected)
    assert collector.unexpected() == []


def test_a_second_fire_of_the_site_after_a_restart_is_in_the_same_stretch(shard: Shard, collector: Collector) -> None:
    first = shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched() as dispatcher:
        shard.scanned(dispatcher, first)
    second = shard.telemetry("shed-1", "d2", FIRE)
    with shard.watched() as dispatcher:
        shard.scanned(dispatcher, second)
        shard.judge(second, answered("shed-1", second))
        until(lambda: len(shard.said(Hush)) == 1)
    collector.wants(1, within=1, where=suspected)
    assert collector.unexpected() == []


def test_a_sign_of_a_site_that_was_told_a_moment_ago_pages_again_only_when_the_incident_is_closed(
    shard: Shard, collector: Collector
) -> None:
    first = shard.telemetry("shed-1", "d1", FIRE)
    told = answered("shed-1", first)
    shard.judge(first, told)
    with shard.watched() as dispatcher:
        collector.wants(1, within=5)
        again = shard.telemetry("shed-1", "d1", FIRE)
        shard.scanned(dispatcher, again)
        assert sites(collector) == []
        shard.decide(change(told.incident, IncidentState.CLOSED, site="shed-1"))
        until(lambda: (known := dispatcher.outbox.incident(told.incident)) is not None and known.state == "closed")
        shard.telemetry("shed-1", "d1", FIRE)
        collector.wants(1, within=5, where=suspected)
    assert collector.unexpected() == []


def test_a_suspicion_that_becomes_nothing_is_a_sentence_for_the_centre_and_no_page(
    shard: Shard, collector: Collector
) -> None:
    fire = shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched() as dispatcher:
        collector.wants(1, within=10, where=suspected)
        shard.scanned(dispatcher, fire)
        shard.judge(fire)
        until(lambda: len(shard.said(Notice)) == 1)
        shard.judge(fire + 1)
    (notice,) = shard.said(Notice)
    assert isinstance(notice, Notice) and "suspected fire at shed-1" in notice.text
    assert collector.unexpected() == []


def test_a_stranger_is_told_to_the_centre_and_not_again_by_the_engine(shard: Shard, collector: Collector) -> None:
    fire = shard.telemetry("shed-9", "nobody", FIRE)
    with shard.watched() as dispatcher:
        (page,) = collector.wants(1, within=10, where=suspected)
        shard.scanned(dispatcher, fire)
        shard.judge(fire, answered("unlocated", fire, reason=TellReason.UNREGISTERED, audience=Audience.CENTRE))
        until(lambda: len(shard.said(Hush)) == 1)
    assert (page.body["team"], page.body["incident"]["site"]) == ("centre", "unlocated")
    assert "shed-9/nobody" in page.body["text"]
    assert collector.unexpected() == []


def test_a_fire_of_a_registered_device_is_not_folded_into_a_strangers(shard: Shard, collector: Collector) -> None:
    shard.telemetry("shed-1", "nobody", FIRE)
    shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched():
        pages = collector.wants(2, within=10, where=suspected)
    assert sorted(page.body["team"] for page in pages) == ["centre", "north"]


def test_a_panels_fire_in_a_binary_frame_is_found(shard: Shard, collector: Collector) -> None:
    frames = [frame for label, frame in published_frames().items() if "fire" in label.lower()]
    assert frames
    shard.say("gb26875/127.0.0.1", *frames)
    with shard.watched():
        collector.wants(1, within=10, where=suspected)


ZIGBEE = """\
sources:
  - {filter: "zigbee2mqtt/#", codec: zigbee2mqtt, site: shed-1}
"""


def test_names_that_a_codec_learned_are_borrowed_from_the_checkpoint_and_what_lies_behind_it(
    shard: Shard, collector: Collector
) -> None:
    ids = {"kitchen": "0x00158d0001d64401", "cellar": "0x00158d0001d64402"}
    shard.introduce(ZIGBEE)
    devices = [Device(id=address, site="shed-1") for address in ids.values()]
    shard.control(Kind.INVENTORY, encode(InventoryDelta(devices=devices)))
    joined = b'{"type":"device_joined","data":{"friendly_name":"%s","ieee_address":"%s"}}'
    events = [joined % (name.encode(), address.encode()) for name, address in ids.items()]
    shard.say("zigbee2mqtt/bridge/event", events[0])
    judge = Judge(shard="main", clock=Clock.RECEIVED, rulebook=load_rulebook(None))
    records = shard.journal.messages.read(BEGINNING, 1_000)
    for record in records:
        judge.step(record)
    folder = shard.journal.folder / "checkpoints"
    Checkpoints(folder, "main").begin(judge, offset=records[-1].offset, decided=0).rest(offset=records[-1].offset)
    shard.judge(shard.say("zigbee2mqtt/bridge/event", events[1]))
    shard.say("zigbee2mqtt/cellar", b'{"smoke":true}')
    shard.say("zigbee2mqtt/kitchen", b'{"smoke":true}')
    with shard.watched() as dispatcher:
        (page,) = collector.wants(1, within=10, where=suspected)
        shard.scanned(dispatcher, shard.journal.messages.head())
    assert page.body["team"] == "north"  # by its address it is registered; by its name it would be a stranger
    assert "0x00158d0001d64402: smoke_alarm" in page.body["text"]
    assert collector.unexpected() == []


def test_a_record_that_broke_the_evaluator_is_not_decoded_here_but_seen_by_its_bytes(
    shard: Shard, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = shard.telemetry("shed-1", "d1", FIRE)
    fire = shard.telemetry("shed-2", "d1", FIRE)
    crashes = Crashes(shard.journal.folder / "evaluator.crashes")
    crashes.judging(poison)
    crashes.close()
    decoded: list[int] = []
    taken = Borrowed.take

    def take(self: Borrowed, record: Record) -> Admission | None:
        decoded.append(record.offset)
        return taken(self, record)

    monkeypatch.setattr(Borrowed, "take", take)
    with shard.watched() as dispatcher:
        pages = collector.wants(2, within=10, where=suspected)
        shard.scanned(dispatcher, fire)
    assert poison not in decoded and fire in decoded
    assert sorted(page.body["team"] for page in pages) == ["centre", "north"]


# ---- the scanner alone


def scanner(shard: Shard, *, now: Callable[[], int] = later, since: int = 0) -> Scanner:
    judged = newest_judged(shard.journal.decisions)
    return Scanner(
        shard="main",
        messages=shard.journal.messages,
        folder=shard.journal.folder,
        now=now,
        judged=judged,
        stretch=0,
        position=judged.cursor,
        since=since,
    )


def found(scanner: Scanner) -> list[tuple[str, str]]:
    while scanner.turn():
        pass
    return [(sign.site, sign.device) for finding in scanner.found for sign in finding.signs]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"smoke_alarm":true,"test":true}',
        b'{"smoke_alarm":false,"heat_alarm":null}',
        b'{"temperature":90,"fault":true}',
    ],
)
def test_no_fire_state_no_sign(shard: Shard, payload: bytes) -> None:
    shard.telemetry("shed-1", "d1", payload)
    assert found(scanner(shard)) == []


def test_old_news_is_no_sign_but_what_is_newer_than_the_evaluators_last_word_is(shard: Shard) -> None:
    stamped = '{{"ts":{},"smoke_alarm":true}}'
    last_word = wall()
    shard.telemetry("shed-1", "d1", FIRE, retain=True)  # a copy, of whenever
    shard.telemetry("shed-2", "d1", stamped.format((last_word - HOUR) // 1_000).encode(), retain=True)
    shard.telemetry("shed-3", "nobody", FIRE, retain=True)
    now = last_word + 2 * HOUR
    shard.journal.messages.append([Entry(Kind.TICK, value=encode(Tick(listened=1)))], now=now)
    shard.telemetry("shed-4", "d1", stamped.format((last_word + HOUR) // 1_000).encode(), retain=True)
    assert found(scanner(shard, now=lambda: now + 5 * SECOND)) == [("shed-4", "d1")]


def test_while_the_evaluator_keeps_up_nothing_is_looked_through(shard: Shard) -> None:
    fire = shard.telemetry("shed-1", "d1", FIRE)
    fresh = scanner(shard, now=lambda: wall() + SECOND)
    assert not fresh.turn() and not fresh.found  # a second is not behind
    shard.judge(fire)
    fresh = scanner(shard, now=lambda: wall() + HOUR)
    assert not fresh.turn() and not fresh.found  # nothing waits


def test_it_rests_as_soon_as_the_evaluator_has_passed_what_was_looked_through(shard: Shard) -> None:
    head = shard.telemetry("shed-1", "d1", QUIET, FIRE)
    busy = scanner(shard)
    assert found(busy) == [("shed-1", "d1")] and busy.ahead
    busy.judged = Judged(head - 1, wall())
    assert not busy.turn() and busy.ahead
    busy.judged = Judged(head, wall())
    assert not busy.turn() and not busy.ahead
    again = shard.telemetry("shed-2", "d1", FIRE)
    assert busy.turn() and busy.found[-1].until == again
    assert [finding.stretch for finding in busy.found][-1] == head


def test_a_clock_that_was_set_back_keeps_nobody_waiting(shard: Shard) -> None:
    shard.telemetry("shed-1", "d1", FIRE)
    behind = scanner(shard, now=lambda: wall() - HOUR)
    assert not behind.turn()
    until(behind.turn, within=5)
    assert [sign.site for sign in behind.found[0].signs] == ["shed-1"]


def test_where_there_never_was_an_evaluator_only_what_came_since_is_told(tmp_path: Path) -> None:
    shard = Shard(tmp_path, "teams: []")
    shard.control(Kind.INVENTORY, encode(PLACES))
    shard.telemetry("shed-1", "d1", FIRE)
    since = wall() + HOUR
    shard.journal.messages.append([Entry(Kind.TICK, value=encode(Tick(listened=1)))], now=since)
    shard.telemetry("shed-2", "d1", FIRE)
    fresh = scanner(shard, now=lambda: since + 5 * SECOND, since=since)
    assert fresh.judged == Judged()
    assert [site for site, _ in found(fresh)] == ["shed-2"]
    shard.close()


def test_a_recording_makes_nobody_wait_and_is_not_looked_through(shard: Shard, collector: Collector) -> None:
    shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched(clock=Clock.OBSERVED) as dispatcher:
        shard.judge(0, answered("shed-2", 0))
        collector.wants(1, within=5)
        assert not any(thread.name == "scanner-main" and thread.is_alive() for thread in threading.enumerate())
        assert dispatcher.outbox.cursor("scanned") is None
    assert collector.unexpected() == []


def test_sources_that_change_in_the_backlog_are_read_as_they_change(shard: Shard) -> None:
    shard.telemetry("shed-1", "d1", QUIET)
    renamed = load_sources(None).text.replace(
        '"ember/v1/+/+/telemetry", codec: ember-json', '"other/#", codec: gb26875'
    )
    shard.control(Kind.SOURCES, renamed.encode())
    shard.telemetry("shed-2", "d1", b'{"temperature":20}')  # of no source any more, and no sign
    shard.telemetry("shed-3", "d1", FIRE)
    assert found(scanner(shard)) == [("shed-3", "d1")]


def test_the_evaluators_word_counts_and_never_goes_back(shard: Shard) -> None:
    decisions = shard.journal.decisions
    shard.judge(7)
    shard.judge(5)
    records = decisions.read(BEGINNING, 100)
    assert (
        judged_by(records, Judged()).cursor == 5
    )  # the newest word of all; an evaluator that lost its disk began anew
    assert judged_by(records, Judged(9, 9)) == Judged(9, 9)
    assert newest_judged(decisions).cursor == 5


def test_the_id_of_a_page_follows_from_shard_and_offset(shard: Shard, collector: Collector) -> None:
    shard.telemetry("shed-1", "d1", FIRE)
    with shard.watched():
        (page,) = collector.wants(1, within=10, where=suspected)
        until(lambda: len(shard.copied()[0]) == 1)
    ((copy,), _) = shard.copied()
    assert page.key == page_id(copy.tell, 0, "north", "hook")
    assert copy.signal_class is SignalClass.FIRE
