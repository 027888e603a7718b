"""From a tell in the log to a webhook and its receipt in the log, over a real log and real HTTP."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY

from alerts.alert import SignalClass
from alerts.incident import INTAKE_SITE, Audience, IncidentState, TellReason, blind_incident_id, tell_id
from alerts.outbox import DeliveryOutcome, Outbox, Page, page_id, receipt_id
from alerts.payload import moment
from ingest.errors import OperatorError
from ingest.inventory import Area, Centre, InventoryDelta, Site
from ingest.journal import Entry
from ingest.message import Act, ActKind, Intake, Kind, encode
from ingest.readings import SECOND
from ingest.sources import Clock
from tests.support.collector import Behaviour, Between, Collector
from tests.support.dispatching import SHARD, Rig, change, firing, tell, until, wall

ROOT = Path(__file__).parents[2]


def teams_for(url: str, *, more: str = "") -> str:
    return f"""\
teams:
  - {{id: north, areas: [yuhua.daishan], channels: [hook]}}
  - {{id: south, areas: [yuhua.south], channels: [hook, log]}}
default_team: north
channels:
  hook: {{type: webhook, url: "{url}", secret_file: hook.key, timeout: 0.3}}
  log: {{type: console}}
{more}"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(secret=b"key") as collector:
        yield collector


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[[str], Rig]]:
    made: list[Rig] = []

    def make(teams: str) -> Rig:
        (tmp_path / "hook.key").write_text("key\n", encoding="utf-8")
        made.append(Rig(tmp_path, teams))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[[str], Rig], collector: Collector) -> Rig:
    return make_rig(teams_for(collector.url))


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"emberwatch_alerts_{name}", {"shard": SHARD, **labels}) or 0.0


def settled(rig: Rig, pages: int) -> Callable[[], bool]:
    """So many pages are settled, and the log has it all."""
    return lambda: sum(receipt.final for receipt in rig.copied()[1]) >= pages


PLACES = InventoryDelta(
    areas=[Area(id="yuhua"), Area(id="yuhua.daishan", parent="yuhua"), Area(id="yuhua.south", parent="yuhua")],
    centres=[Centre(id="c1", parent="yuhua")],
    sites=[Site(id="shed-1", name="3号棚", parent="yuhua.daishan"), Site(id="shed-2", parent="yuhua.south")],
)


def test_a_tell_reaches_the_team_of_the_area_with_everything_it_needs_to_know(rig: Rig, collector: Collector) -> None:
    began = wall()
    rig.control(Kind.INVENTORY, encode(PLACES))
    rig.decide(firing("a1", "i1", at=began), change("i1"), tell("i1", at=began, alerts=("a1",)))
    with rig.running():
        (page,) = collector.wants(1, within=5)
        until(settled(rig, 1))
    assert page.signed and page.key == page.body["id"]
    sent_at = page.body.pop("sent_at")
    assert sent_at >= moment(began)
    assert page.body == {
        "id": page_id(tell_id("i1", TellReason.OPENED, began), 0, "north", "hook"),
        "reason": "opened",
        "class": "fire",
        "severity": "critical",
        "text": "fire at shed-1",
        "incident": {
            "id": "i1",
            "site": "shed-1",
            "site_name": "3号棚",
            "area": "yuhua.daishan",
            "centre": "c1",
            "state": "open",
            "opened_at": moment(began),
            "url": "http://127.0.0.1:8080/#/incidents/i1",
        },
        "alerts": [
            {
                "id": "a1",
                "rule": "heat-fixed",
                "device": "d1",
                "value": 61.0,
                "reason": "temperature 61.0 above 57",
                "fired_at": moment(began),
            }
        ],
        "team": "north",
        "step": 0,
        "began_at": None,
    }
    (copy,), (receipt,) = rig.copied()
    assert copy.reason == "opened: team north has area yuhua.daishan of shed-1"
    assert (receipt.page, receipt.outcome, receipt.final) == (copy.id, DeliveryOutcome.ACCEPTED, True)
    assert collector.unexpected() == []


def test_the_webhook_is_called_within_a_moment_of_the_tell(rig: Rig, collector: Collector) -> None:
    with rig.running():
        rig.decide(tell("warm-up"))
        collector.wants(1, within=5)
        waits = []
        for number in range(10):
            rig.decide(tell(f"i{number}"))
            asked = wall()
            until(lambda so_far=number + 2: len(collector.pages()) == so_far, within=5)  # type: ignore[misc]
            waits.append(collector.pages()[-1].at - asked)
    # no wall-time promise here, but far below the quarter second of the idle poll: it was woken
    assert sorted(waits)[5] < SECOND // 8


def test_each_channel_of_a_team_is_a_page_of_its_own(rig: Rig, collector: Collector) -> None:
    rig.control(Kind.INVENTORY, encode(PLACES))
    rig.decide(tell("i1", site="shed-2"))
    with structlog.testing.capture_logs() as lines, rig.running():
        collector.wants(1, within=5)
        until(settled(rig, 2))
    pages, receipts = rig.copied()
    assert {page.channel for page in pages} == {"hook", "log"}
    assert {receipt.outcome for receipt in receipts} == {DeliveryOutcome.ACCEPTED}
    assert [line["to"] for line in lines if line["event"] == "PAGE"] == ["south"]
    assert len([line for line in lines if line["event"] == "page accepted"]) == 2


def test_the_same_tell_twice_is_one_page(rig: Rig, collector: Collector) -> None:
    same = tell("i1")
    rig.decide(same, same)
    with rig.running():
        rig.decide(same, tell("i2"))
        collector.wants(2, within=5)
        until(settled(rig, 2))
    assert len(rig.copied()[0]) == 2
    assert len(collector.arrivals()) == 2


def test_a_tell_seen_before_makes_no_page_for_another_team_either(rig: Rig, collector: Collector) -> None:
    same = tell("i1")
    rig.decide(same)
    with rig.running() as dispatcher:
        collector.wants(1, within=5)
        rig.control(Kind.TEAMS, teams_for(collector.url).replace("north", "elsewhere").encode())
        until(lambda: dispatcher.known.teams.default_team == "elsewhere")
        rig.decide(same, tell("i2"))
        collector.wants(2, within=5)
        until(settled(rig, 2))
    assert [page.target for page in rig.copied()[0]] == ["north", "elsewhere"]


def test_a_channel_that_fails_is_tried_again_until_it_takes_the_page(rig: Rig, collector: Collector) -> None:
    collector.then(Behaviour(status=500), Behaviour(status=429, headers={"Retry-After": "1"}))
    rig.decide(tell("i1"))
    with rig.running():
        (page,) = collector.wants(1, within=10)
        until(settled(rig, 1))
    arrivals = collector.arrivals()
    assert {arrival.key for arrival in arrivals} == {page.key}
    assert arrivals[1].at - arrivals[0].at >= 190_000
    assert arrivals[2].at - arrivals[1].at >= 990_000, "the wait it asked for is kept"
    receipts = rig.copied()[1]
    assert [(receipt.outcome, receipt.final) for receipt in receipts] == [
        (DeliveryOutcome.RETRY, False),
        (DeliveryOutcome.RETRY, False),
        (DeliveryOutcome.ACCEPTED, True),
    ]
    assert [receipt.id for receipt in receipts] == [receipt_id(page.key, number) for number in (1, 2, 3)]


@pytest.mark.parametrize("behaviour", [Behaviour(hang=True), Behaviour(close=True)])
def test_an_unknown_outcome_is_sent_again_under_the_same_key_and_counted(
    rig: Rig, collector: Collector, behaviour: Behaviour
) -> None:
    before = metric("pages_possibly_doubled_total")
    collector.then(behaviour)
    rig.decide(tell("i1"))
    with rig.running():
        (page,) = collector.wants(1, within=5)
        until(settled(rig, 1))
    assert [arrival.key for arrival in collector.arrivals()] == [page.key, page.key]
    assert [receipt.outcome for receipt in rig.copied()[1]] == [DeliveryOutcome.UNKNOWN, DeliveryOutcome.ACCEPTED]
    assert metric("pages_possibly_doubled_total") == before + 1


def test_a_refused_page_has_failed_for_good(rig: Rig, collector: Collector) -> None:
    collector.otherwise = Behaviour(status=404)
    rig.decide(tell("i1"))
    with rig.running():
        until(settled(rig, 1))
    (receipt,) = rig.copied()[1]
    assert (receipt.outcome, receipt.final, receipt.detail) == (DeliveryOutcome.REFUSED, True, "HTTP 404 Not Found")
    assert len(collector.arrivals()) == 1


def test_a_page_is_given_up_after_a_day(rig: Rig, collector: Collector) -> None:
    collector.otherwise = Behaviour(status=503)
    rig.decide(tell("i1"))
    late = [0]
    with rig.running(now=lambda: wall() + late[0], clock=Clock.OBSERVED):  # nobody is blind here
        until(lambda: len(collector.arrivals()) >= 2)
        late[0] = 25 * 3600 * SECOND
        until(settled(rig, 1))
    last = rig.copied()[1][-1]
    assert (last.outcome, last.final) == (DeliveryOutcome.RETRY, True)
    assert last.detail == "HTTP 503 Service Unavailable; given up after 24 h"


def test_a_dead_channel_holds_up_nobody_else(make_rig: Callable[[str], Rig], collector: Collector) -> None:
    with Collector() as dead:
        dead.otherwise = Behaviour(hang=True)
        rig = make_rig(
            f"""\
teams: [{{id: north, channels: [dead, hook]}}]
default_team: north
channels:
  dead: {{type: webhook, url: "{dead.url}", timeout: 30}}
  hook: {{type: webhook, url: "{collector.url}"}}
"""
        )
        rig.decide(*(tell(f"i{number}") for number in range(20)))
        with rig.running():
            collector.wants(20, within=5)
            assert len(dead.arrivals()) <= 4
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_a_fire_goes_before_what_waits_on_the_same_channel(rig: Rig, collector: Collector) -> None:
    collector.otherwise = Behaviour(delay_s=0.05)
    rig.decide(*(tell(f"f{number}", signal_class=SignalClass.FAULT) for number in range(20)), tell("fire"))
    with rig.running():
        collector.wants(21, within=10)
    assert "fire" in [arrival.body["incident"]["id"] for arrival in collector.arrivals()[:8]]


def test_a_page_not_yet_sent_of_a_closed_incident_is_dropped_with_the_reason(rig: Rig, collector: Collector) -> None:
    collector.otherwise = Behaviour(status=503)
    rig.decide(change("i1"), tell("i1"))
    with rig.running():
        until(lambda: len(collector.arrivals()) >= 1)
        rig.decide(change("i1", IncidentState.CLOSED))
        until(settled(rig, 1))
        seen = len(collector.arrivals())
        collector.otherwise = Behaviour()
        rig.decide(tell("i2"))
        collector.wants(1, within=5)
    last = rig.copied()[1][-2]
    assert last.final and last.outcome in (DeliveryOutcome.DROPPED, DeliveryOutcome.RETRY)
    assert "its incident was closed" in last.detail
    assert len(collector.arrivals()) == seen + 1


def test_an_incident_closed_before_we_looked_is_not_told(rig: Rig, collector: Collector) -> None:
    rig.decide(change("i1"), tell("i1"), change("i1", IncidentState.CLOSED), tell("i2"))
    with rig.running():
        collector.wants(1, within=5)
        until(settled(rig, 2))
    assert [arrival.body["incident"]["id"] for arrival in collector.arrivals()] == ["i2"]


def test_a_tell_after_the_closing_is_told(rig: Rig, collector: Collector) -> None:
    rig.decide(change("i1", IncidentState.CLOSED), tell("i1", reason=TellReason.RETRIGGERED))
    with rig.running():
        collector.wants(1, within=5)


def test_an_acknowledgement_does_not_stop_the_first_page_to_a_target(rig: Rig, collector: Collector) -> None:
    act = Act(id="x", kind=ActKind.ACKNOWLEDGE, author="li", at=wall(), incident="i1")
    rig.control(Kind.ACT, encode(act))
    rig.decide(tell("i1"))
    with rig.running():
        collector.wants(1, within=5)


def test_what_was_due_is_sent_after_a_restart(rig: Rig, collector: Collector) -> None:
    collector.otherwise = Behaviour(status=503)
    rig.decide(tell("i1"))
    with rig.running():
        until(lambda: len(collector.arrivals()) >= 1)
    collector.otherwise = Behaviour()
    with rig.running():
        (page,) = collector.wants(1, within=5)
        until(settled(rig, 1))
    assert {arrival.key for arrival in collector.arrivals()} == {page.key}
    numbers = [receipt.attempt for receipt in rig.copied()[1]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_restart_knows_the_inventory_without_reading_it_again(rig: Rig, collector: Collector) -> None:
    rig.control(Kind.INVENTORY, encode(PLACES))
    with rig.running():
        rig.decide(tell("i1", site="shed-2"))
        collector.wants(1, within=5)
    with rig.running() as dispatcher:
        until(lambda: hasattr(dispatcher, "known"))
        assert dispatcher.known.inventory.sites["shed-2"].parent == "yuhua.south"
        rig.decide(tell("i2", site="shed-2"))
        collector.wants(2, within=5)
    assert {arrival.body["team"] for arrival in collector.arrivals()} == {"south"}


def test_new_teams_in_the_log_count_from_then_on_and_broken_ones_do_not(rig: Rig, collector: Collector) -> None:
    with rig.running() as dispatcher:
        rig.decide(tell("i1"))
        collector.wants(1, within=5)
        rig.control(Kind.TEAMS, b"teams: nonsense")
        rig.decide(tell("i2"))
        collector.wants(2, within=5)
        renamed = teams_for(collector.url).replace("north", "elsewhere")
        rig.control(Kind.TEAMS, renamed.encode())
        until(lambda: dispatcher.known.teams.default_team == "elsewhere")
        rig.decide(tell("i3"))
        collector.wants(3, within=5)
    assert [page.body["team"] for page in collector.pages()] == ["north", "north", "elsewhere"]
    assert all(page.signed for page in collector.pages()), "the secret is read for teams from the log too"


def test_a_page_whose_channel_is_gone_has_failed_with_that_reason(rig: Rig, collector: Collector) -> None:
    collector.otherwise = Behaviour(status=503)
    rig.decide(tell("i1"))
    with rig.running():
        until(lambda: len(collector.arrivals()) >= 1)
    rig.teams_path.write_text(
        "teams: [{id: a, channels: [log]}]\ndefault_team: a\nchannels: {log: {type: console}}\n", encoding="utf-8"
    )
    with rig.running():
        until(settled(rig, 1))
    assert rig.copied()[1][-1].detail == "channel hook is not in teams.yaml any more"


def test_a_lost_outbox_tells_nobody_twice_and_forgets_nobody(rig: Rig, collector: Collector) -> None:
    rig.decide(tell("done"))
    with rig.running():
        collector.wants(1, within=5)
        until(settled(rig, 1))
        collector.otherwise = Behaviour(status=503)
        rig.decide(tell("waiting"))
        until(lambda: len(rig.copied()[1]) >= 2)
    rig.decide(tell("not yet seen"))
    for file in rig.outbox_path.parent.iterdir():
        file.unlink()
    collector.otherwise = Behaviour()
    with rig.running():
        collector.wants(3, within=5)
        until(settled(rig, 3))
    told = [page.body["incident"]["id"] for page in collector.pages()]
    assert sorted(told) == ["done", "not yet seen", "waiting"]
    assert collector.doubles() == 0
    attempts = [receipt.attempt for receipt in rig.copied()[1] if receipt.page == collector.pages()[1].key]
    assert len(set(attempts)) == len(attempts)


def test_only_one_dispatcher_may_run_for_a_shard(rig: Rig) -> None:
    owned = rig.journal.own("dispatcher")
    with pytest.raises(OperatorError), rig.running():
        pass
    owned.release()


def test_an_unreadable_decision_stops_nothing(rig: Rig, collector: Collector) -> None:
    before = metric("dispatcher_unreadable_total")
    rig.journal.decisions.append([Entry(Kind.TELL, value=b"\xc1")], now=wall())
    rig.decide(tell("i1"))
    with rig.running():
        collector.wants(1, within=5)
    assert metric("dispatcher_unreadable_total") == before + 1


def test_the_books_of_pages_balance(rig: Rig, collector: Collector) -> None:
    def created() -> float:
        return sum(
            metric("pages_created_total", **{"class": name})
            for name in ("fire", "pre_alarm", "supervisory", "fault", "disabled", "test")
        )

    def ended() -> float:
        return metric("pages_settled_total", state="accepted") + metric("pages_settled_total", state="failed")

    made, done = created(), ended()
    collector.then(Behaviour(status=404), Behaviour(status=500), Behaviour(close=True))
    rig.decide(*(tell(f"i{number}") for number in range(6)))
    with rig.running():
        until(settled(rig, 6))
    assert created() - made == 6
    assert ended() - done == 6


# ---- blind ----------------------------------------------------------------------------------------------------------


def is_blind(body: dict[str, object]) -> bool:
    return body["reason"] == "blind"


def test_the_centre_is_told_once_when_the_newest_tick_is_too_old(rig: Rig, collector: Collector) -> None:
    last = wall() - 31 * SECOND
    rig.tick(last)
    with rig.running():
        (page,) = collector.wants(1, within=5, where=is_blind)
        rig.decide(tell("i1"))
        collector.wants(2, within=5)
        assert metric("blind") == 1
    assert page.body["incident"]["id"] == blind_incident_id(SHARD, last)
    assert page.body["incident"]["site"] == INTAKE_SITE
    assert page.body["text"].startswith(f"blind since {moment(last)}")
    with rig.running():  # nor after a restart
        rig.decide(tell("i2"))
        collector.wants(3, within=5)
    assert len([page for page in collector.pages() if is_blind(page.body)]) == 1


def test_the_returning_intake_is_matched_and_a_new_gap_told_anew(rig: Rig, collector: Collector) -> None:
    first = wall() - 60 * SECOND
    rig.tick(first)
    with rig.running():
        collector.wants(1, within=5, where=is_blind)
        back = wall() - 40 * SECOND
        intake = Intake(down_at=first, up_at=back, reason="test")
        rig.control(Kind.INTAKE, encode(intake))
        until(lambda: metric("blind") == 0)
        rig.decide(
            tell(
                blind_incident_id(SHARD, first),
                site=INTAKE_SITE,
                at=first,
                reason=TellReason.BLIND,
                audience=Audience.CENTRE,
            )
        )
        rig.decide(tell("after"))
        collector.wants(1, within=5, where=lambda body: not is_blind(body))
    assert len([page for page in collector.pages() if is_blind(page.body)]) == 1
    ahead = 100 * SECOND
    with rig.running(now=lambda: wall() + ahead):
        collector.wants(2, within=5, where=is_blind)
    assert len({page.body["incident"]["id"] for page in collector.pages() if is_blind(page.body)}) == 2


class Counted:
    """The wall clock, and how often somebody asked it."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return wall()

    def asked_again(self, times: int) -> None:
        """Wait until the dispatcher went round so often."""
        enough = self.asked + times
        until(lambda: self.asked >= enough, within=10)


def test_a_fresh_tick_keeps_us_calm_and_so_does_a_clock_that_was_set_back(rig: Rig, collector: Collector) -> None:
    rig.tick(wall() + 3600 * SECOND)
    clock = Counted()
    with rig.running(now=clock):
        rig.decide(tell("i1"))
        collector.wants(1, within=5)
        clock.asked_again(10)
    assert collector.unexpected() == []


def test_where_nothing_ever_ticked_the_gap_begins_with_our_own_first_start(rig: Rig, collector: Collector) -> None:
    ahead = [0]
    with rig.running(now=lambda: wall() + ahead[0]):
        rig.decide(tell("i1"))
        collector.wants(1, within=5)
        assert collector.unexpected() == []
        ahead[0] = 31 * SECOND
        collector.wants(1, within=5, where=is_blind)
    ahead[0] = 120 * SECOND
    with rig.running(now=lambda: wall() + ahead[0]):
        rig.decide(tell("i2"))
        collector.wants(3, within=5)
    assert collector.unexpected() == []


def test_a_recording_is_never_blind(rig: Rig, collector: Collector) -> None:
    rig.tick(1000)
    with rig.running(clock=Clock.OBSERVED):
        for told in range(1, 4):  # three rounds at least
            rig.decide(tell(f"i{told}"))
            collector.wants(told, within=5)
    assert collector.unexpected() == []


# ---- kill -9 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_every_page_arrives_and_each_double_is_accounted_for(
    rig: Rig, collector: Collector, seed: int
) -> None:
    rng = random.Random(seed)
    collector.otherwise = Behaviour(delay_s=0.01)
    total = 0
    for _ in range(6):
        count = rng.randint(5, 15)
        rig.decide(*(tell(f"i{total + number}") for number in range(count)))
        total += count
        child = start_child(rig)
        seen = len(collector.arrivals())
        collector.wait_until(lambda seen=seen: len(collector.arrivals()) > seen, within=10)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.05))  # a random moment, not a condition
        child.kill()
        child.wait()
    child = start_child(rig)
    collector.wants(total, within=20)
    until(settled(rig, total), within=20)
    child.terminate()
    assert child.wait(5) == 0
    pages, receipts = rig.copied()
    assert len({page.id for page in pages}) == total
    unknown = sum(receipt.outcome is DeliveryOutcome.UNKNOWN for receipt in receipts)
    assert collector.doubles() <= unknown
    assert unknown > 0, "no kill hit an attempt: the test shows nothing"
    assert collector.unexpected() == []


def start_child(rig: Rig) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.dispatching", str(rig.folder)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


# ---- the outbox alone -----------------------------------------------------------------------------------------------


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


def page(name: str, *, incident: str = "i1", step: int = 0) -> Page:
    told = tell(incident)
    return Page(
        id=name,
        tell=told.id,
        incident=incident,
        site="s",
        step=step,
        target="north",
        channel="hook",
        signal_class=told.signal_class,
        reason="test",
        due_at=5,
        created_at=5,
    )


def test_an_attempt_is_made_by_one_only(outbox: Outbox) -> None:
    outbox.create(page("p"), b"", position=1, told_at=0)
    assert outbox.begin("p", now=6) is not None
    assert outbox.begin("p", now=6) is None
    assert outbox.waiting() == []


def test_an_incident_closed_during_an_attempt_is_not_tried_again(outbox: Outbox) -> None:
    outbox.create(page("p"), b"", position=1, told_at=0)
    outbox.begin("p", now=6)
    assert outbox.note_incident(change("i1", IncidentState.CLOSED), position=2, now=7) == []
    receipt = outbox.finish(
        "p", number=1, outcome=DeliveryOutcome.RETRY, final=False, detail="HTTP 503", due_at=9, now=8
    )
    assert (receipt.final, receipt.detail) == (True, "HTTP 503; not sent again: its incident was closed")
    assert outbox.waiting() == []


def test_a_later_step_stops_when_somebody_has_it_in_hand(outbox: Outbox) -> None:
    outbox.create(page("first"), b"", position=1, told_at=0)
    outbox.create(page("later", step=1), b"", position=1, told_at=0)
    outbox.create(page("other", incident="i2", step=1), b"", position=1, told_at=0)
    (receipt,) = outbox.drop_later_steps("i1", "li said acknowledge first", now=7)
    assert (receipt.page, receipt.outcome) == ("later", DeliveryOutcome.DROPPED)
    assert {waiting.page for waiting in outbox.waiting()} == {"first", "other"}


def test_a_transaction_that_breaks_leaves_nothing_behind(outbox: Outbox) -> None:
    with pytest.raises(ZeroDivisionError), outbox.transaction():
        outbox.note_tell("t", now=1)
        outbox.create(page("p"), b"", position=1, told_at=0)
        raise ZeroDivisionError
    assert outbox.note_tell("t", now=1)
    assert outbox.waiting() == [] and outbox.copies(10) == []


def test_what_waits_or_is_open_is_never_tidied_away(outbox: Outbox) -> None:
    outbox.create(page("waits"), b"", position=1, told_at=0)
    outbox.create(page("done"), b"", position=1, told_at=0)
    attempt = outbox.begin("done", now=6)
    assert attempt is not None
    outbox.finish("done", number=1, outcome=DeliveryOutcome.ACCEPTED, final=True, detail="", due_at=6, now=6)
    outbox.note_incident(change("i1"), position=1, now=6)
    outbox.note_alert("a1", "i1", b"facts", now=6)
    outbox.note_alert("a2", "gone", b"facts", now=6)
    outbox.prune(before=100)
    assert [waiting.page for waiting in outbox.waiting()] == ["waits"]
    assert not outbox.create(page("waits"), b"", position=1, told_at=0)
    assert outbox.create(page("done"), b"", position=1, told_at=0), "a settled page is forgotten in the end"
    assert outbox.incident("i1") is not None
    assert (outbox.alert("a1"), outbox.alert("a2")) == (b"facts", None)


def test_the_outbox_is_durable_at_every_commit(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o.db")
    assert outbox._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.create(page("p"), b"facts", position=1, told_at=0)
    with sqlite3.connect(tmp_path / "o.db") as other:
        assert other.execute("SELECT id FROM pages").fetchall() == [("p",)]
    other.close()
    outbox.close()


def test_between_fails_below_and_above(collector: Collector) -> None:
    with pytest.raises(AssertionError, match="wanted"):
        collector.wants(Between(1, 2), within=0.05)
