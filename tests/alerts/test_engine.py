"""The engine, one sentence a promise."""

from __future__ import annotations

import pytest

from alerts.alert import SignalClass
from alerts.incident import (
    Audience,
    HushReason,
    IncidentState,
    TellReason,
    blind_incident_id,
    tell_id,
)
from ingest.message import ActKind
from ingest.readings import Lateness
from ingest.sources import Clock
from tests.support.feed import Feed, micros, reading

HEAT = """
rules:
  - {id: hot, kind: level, quantity: temperature, above: 57, clear_below: 50, class: fire, severity: critical}
  - {id: warm, kind: level, quantity: temperature, above: 40, clear_below: 35, hold: 20s, max_gap: 30s,
     class: pre_alarm, severity: warning}
  - {id: smoke, kind: state, state: smoke_alarm, class: fire, severity: critical}
  - {id: broken, kind: state, state: fault, class: fault, severity: warning}
  - {id: silent, kind: absence, after: 2, class: fault, severity: warning}
"""


def test_a_limit_without_hold_is_a_fire_at_the_reading_that_reaches_it() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=56.9)
    feed.say(at=10, temperature=57)
    assert feed.lines("hot") == [(10, "hot", "d1", None, "firing")]
    (tell,) = feed.tells()
    assert (tell.reason, tell.audience, tell.signal_class) == (TellReason.OPENED, Audience.TEAM, SignalClass.FIRE)
    assert tell.at == micros(10)


def test_a_hold_fires_at_its_deadline_by_the_clock_not_at_the_next_reading() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=41)
    feed.listen(19, since=0)
    assert feed.lines("warm") == [(0, "warm", "d1", None, "pending")]
    feed.listen(25, since=19)
    assert feed.lines("warm")[1:] == [(20, "warm", "d1", "pending", "firing")]


def test_a_hold_is_broken_by_one_reading_below_the_limit() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=41)
    feed.say(at=15, temperature=39)
    feed.say(at=16, temperature=41)
    feed.say(at=30, temperature=41)
    assert feed.lines("warm") == [
        (0, "warm", "d1", None, "pending"),
        (15, "warm", "d1", "pending", "cleared"),
        (16, "warm", "d1", None, "pending"),
    ]


def test_a_gap_longer_than_max_gap_is_unknown_and_proves_no_hold() -> None:
    feed = Feed(HEAT.replace("hold: 20s", "hold: 60s"))
    feed.say(at=0, temperature=41)
    feed.listen(90, since=0)
    assert feed.lines("warm") == [(0, "warm", "d1", None, "pending")]
    feed.say(at=90, temperature=41)
    feed.say(at=110, temperature=41)
    feed.say(at=130, temperature=41)
    feed.say(at=155, temperature=41)
    assert feed.lines("warm")[1:] == [(150, "warm", "d1", "pending", "firing")]


def test_between_the_limit_and_the_clear_level_nothing_changes() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=41)
    feed.say(at=20, temperature=41)
    feed.say(at=30, temperature=36)
    assert len(feed.lines("warm")) == 2
    feed.say(at=40, temperature=34.9)
    assert feed.lines("warm")[2:] == [(40, "warm", "d1", "firing", "cleared")]


def test_a_fire_stays_latched_when_the_sensor_recovers() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=60)
    feed.say(at=10, temperature=20)
    assert feed.lines("hot") == [(0, "hot", "d1", None, "firing")]


def test_a_latched_fire_that_comes_back_is_told_again_and_once_only() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=60)
    feed.say(at=10, temperature=20)
    feed.say(at=80, temperature=60)
    feed.say(at=90, temperature=61)
    assert feed.lines("hot")[1:] == [(80, "hot", "d1", "firing", "firing")]
    assert [tell.reason for tell in feed.tells()] == [TellReason.OPENED, TellReason.RETRIGGERED]
    assert len({tell.incident for tell in feed.tells()}) == 1


def test_a_flicker_under_the_latch_is_not_a_second_fire() -> None:
    feed = Feed(HEAT)
    for at, value in [(0, 60), (10, 45), (20, 60), (30, 45), (40, 60)]:
        feed.say(at=at, temperature=value)
    assert len(feed.tells()) == 1


def test_re_ignition_after_close_opens_the_incident_again_and_tells() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    incident = feed.tells()[0].incident
    feed.say(at=10, smoke_alarm=False)
    feed.act(ActKind.CLOSE, at=20, incident=incident, verdict="confirmed")
    assert feed.incidents()[-1].state is IncidentState.CLOSED
    feed.say(at=100, smoke_alarm=True)
    assert feed.incidents()[-1].state is IncidentState.OPEN
    assert [tell.reason for tell in feed.tells()] == [TellReason.OPENED, TellReason.RETRIGGERED]
    assert {tell.incident for tell in feed.tells()} == {incident}


def test_a_reset_un_latches_and_the_next_fire_has_a_new_alert_id() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    alert = feed.transitions()[0].alert_id
    feed.act(ActKind.RESET, at=5, alert=alert)
    assert "still true" in feed.refusals()[0].reason
    feed.say(at=10, smoke_alarm=False)
    feed.act(ActKind.RESET, at=20, alert=alert)
    feed.say(at=30, smoke_alarm=True)
    assert feed.lines("smoke")[1:] == [
        (20, "smoke", "d1", "firing", "reset"),
        (30, "smoke", "d1", None, "firing"),
    ]
    assert feed.transitions()[-1].alert_id != alert


def test_a_stuck_clock_cannot_swallow_a_second_fire() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    feed.say(at=0, logged=1, smoke_alarm=False, temperature=1)
    feed.say(at=0.5, logged=2, smoke_alarm=False)
    feed.act(ActKind.RESET, at=3, alert=feed.transitions()[0].alert_id)
    feed.say(at=0, logged=4, smoke_alarm=True)
    first, last = feed.transitions()[0], feed.transitions()[-1]
    assert last.after == "firing" and last.alert_id != first.alert_id


def test_several_alerts_of_a_site_are_one_incident_and_one_tell() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    feed.say(at=10, temperature=60)
    feed.say(device="d2", at=12, smoke_alarm=True)
    assert len(feed.tells()) == 1
    assert len(feed.incidents()[-1].alerts) == 3
    assert feed.incidents()[-1].reason == "the device reports smoke_alarm = true"
    assert [hush.reason for hush in feed.hushes()] == [HushReason.ALREADY_TOLD, HushReason.ALREADY_TOLD]


def test_a_fire_much_later_at_a_quiet_site_is_another_incident() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    feed.say(at=10, smoke_alarm=False)
    feed.say(device="d2", at=3_600, smoke_alarm=True)
    assert len({tell.incident for tell in feed.tells()}) == 2


def test_a_fire_joins_a_long_incident_while_something_still_burns() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    feed.say(device="d2", at=3_600, smoke_alarm=True)
    assert len({change.id for change in feed.incidents()}) == 1


def test_a_pre_alarm_is_shown_and_a_fire_after_it_is_told_as_upgrade() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=45)
    feed.say(at=20, temperature=45)
    assert feed.tells() == []
    assert [hush.reason for hush in feed.hushes()] == [HushReason.BELOW_PAGING]
    feed.say(at=30, temperature=58)
    assert [tell.reason for tell in feed.tells()] == [TellReason.UPGRADED]
    assert len({change.id for change in feed.incidents()}) == 1


def test_a_fault_never_hides_a_fire_and_makes_no_incident() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, fault=True)
    assert feed.incidents() == [] and [hush.reason for hush in feed.hushes()] == [HushReason.BELOW_PAGING]
    feed.say(at=1, fault=True, smoke_alarm=True)
    assert len(feed.tells()) == 1


def test_a_head_under_test_never_pages_as_fire() -> None:
    feed = Feed()
    feed.say(at=0, smoke_alarm=True, test=True)
    assert [line[1] for line in feed.lines()] == ["test"] and feed.tells() == []
    feed.say(at=10, smoke_alarm=True, test=False)
    assert len(feed.tells()) == 1


# --- silence ---------------------------------------------------------------------------------------------------------


def test_a_device_never_heard_is_called_silent_at_its_deadline() -> None:
    feed = Feed(HEAT)
    feed.register("d1", interval=10)
    feed.listen(40, since=0)
    assert feed.lines() == [(30, "silent", "d1", None, "firing")]


def test_a_silent_device_clears_when_it_reports_and_is_watched_again() -> None:
    feed = Feed(HEAT)
    feed.register("d1", interval=10)
    feed.listen(40, since=0)
    feed.say(at=41, temperature=20)
    feed.listen(75, since=41)
    assert feed.lines("silent") == [
        (30, "silent", "d1", None, "firing"),
        (41, "silent", "d1", "firing", "cleared"),
        (71, "silent", "d1", None, "firing"),
    ]


def test_our_own_outage_is_one_blind_alert_and_no_device_is_called_silent() -> None:
    feed = Feed(HEAT)
    feed.register(*(f"d{number}" for number in range(50)), interval=60)
    feed.listen(100, since=0)
    feed.back_after(100, 7_300)
    feed.listen(7_310, since=7_300)
    assert feed.lines() == [
        (100, "intake-blind", None, None, "firing"),
        (7_300, "intake-blind", None, "firing", "cleared"),
    ]
    (tell,) = feed.tells()
    assert (tell.reason, tell.audience) == (TellReason.BLIND, Audience.CENTRE)
    assert tell.incident == blind_incident_id("main", micros(100))
    assert tell.id == tell_id(tell.incident, TellReason.BLIND, micros(100))


def test_a_short_gap_of_the_intake_is_not_told() -> None:
    feed = Feed(HEAT)
    feed.back_after(100, 120)
    assert feed.made == []


def test_silence_counts_only_the_time_we_listened() -> None:
    feed = Feed(HEAT)
    feed.register("d1", interval=10)
    feed.listen(20, since=0)
    feed.back_after(20, 1_020)
    feed.listen(1_035, since=1_020)
    assert feed.lines("silent") == [(1_030, "silent", "d1", None, "firing")]


def test_a_recording_keeps_its_own_time_and_finds_the_gap_in_it() -> None:
    feed = Feed(HEAT, clock=Clock.OBSERVED)
    feed.register("d1", "d2", interval=10)
    for at in (0, 10, 20, 30, 40, 50, 60):
        feed.say(device="d1", at=at, temperature=20)
        if at < 20 or at > 50:
            feed.say(device="d2", at=at, temperature=20)
    assert feed.lines("silent") == [
        (40, "silent", "d2", None, "firing"),
        (60, "silent", "d2", "firing", "cleared"),
    ]


# --- time and lateness -----------------------------------------------------------------------------------------------


def test_history_that_leaves_a_device_in_alarm_is_told_once_as_late() -> None:
    feed = Feed(HEAT)
    feed.say(at=1_000, temperature=20)
    feed.say_all(
        reading(at=1_100, late=Lateness.BACK_FILL, smoke_alarm=False),
        reading(at=1_200, late=Lateness.BACK_FILL, smoke_alarm=True),
        logged=2_000,
    )
    (tell,) = feed.tells()
    assert tell.reason is TellReason.LATE and tell.began_at == micros(1_200)


def test_history_already_superseded_by_normal_is_silent() -> None:
    feed = Feed(HEAT)
    feed.say_all(
        reading(at=100, late=Lateness.BACK_FILL, smoke_alarm=True, temperature=60),
        reading(at=200, late=Lateness.BACK_FILL, smoke_alarm=False, temperature=20),
        logged=2_000,
    )
    feed.say(at=3_000, smoke_alarm=False)
    feed.say(at=2_500, logged=3_100, late=Lateness.BACK_FILL, smoke_alarm=True)
    assert feed.made == []


def test_a_live_alarm_is_judged_even_when_the_devices_clock_went_back() -> None:
    feed = Feed(HEAT)
    feed.say(at=50, smoke_alarm=False)
    feed.say(at=20, logged=51, smoke_alarm=True)
    assert feed.lines() == [(20, "smoke", "d1", None, "firing")]


def test_an_older_normal_does_not_undo_a_newer_alarm() -> None:
    feed = Feed(HEAT)
    feed.say(at=50, fault=True)
    feed.say(at=20, logged=51, fault=False)
    assert feed.lines() == [(50, "broken", "d1", None, "firing")]


def test_a_reading_out_of_order_never_disturbs_the_rate() -> None:
    feed = Feed(
        "rules: [{id: rise, kind: rate, quantity: temperature, rise: 8, over: 60s, class: fire, severity: critical}]"
    )
    for at, value in [(0, 20), (10, 20), (20, 20), (30, 20), (5, 0), (6, 0), (40, 20), (50, 20)]:
        feed.say(at=at, temperature=value)
    assert feed.made == []


# --- the unregistered ------------------------------------------------------------------------------------------------


def test_a_fire_sign_of_an_unregistered_device_tells_the_centre_at_the_site_if_we_know_it() -> None:
    feed = Feed(HEAT)
    feed.register("d1")
    feed.suspect("shed", "stranger", at=5)
    (tell,) = feed.tells()
    assert (tell.site, tell.reason, tell.audience) == ("shed", TellReason.UNREGISTERED, Audience.CENTRE)


def test_a_flood_of_unregistered_devices_is_one_incident_and_one_tell() -> None:
    feed = Feed(HEAT)
    for number in range(1_000):
        feed.suspect("nowhere", f"stranger-{number}", at=number / 100)
    assert len(feed.tells()) == 1
    assert feed.tells()[0].site == "unlocated"
    assert len(feed.engine.sites["unlocated"].strangers) <= 201


def test_a_registered_fire_beside_a_stranger_still_tells_the_team() -> None:
    feed = Feed(HEAT)
    feed.register("d1")
    feed.suspect("shed", "stranger", at=5)
    feed.say(at=6, smoke_alarm=True)
    assert [tell.audience for tell in feed.tells()] == [Audience.CENTRE, Audience.TEAM]


# --- people ----------------------------------------------------------------------------------------------------------


def test_an_acknowledgement_is_applied_once_and_names_its_author() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    incident = feed.tells()[0].incident
    feed.act(ActKind.ACKNOWLEDGE, at=5, act_id="a", incident=incident)
    feed.act(ActKind.ACKNOWLEDGE, at=6, act_id="a", incident=incident)
    feed.act(ActKind.ACKNOWLEDGE, at=7, act_id="b", incident=incident)
    change = feed.incidents()[-1]
    assert (change.state, change.author, change.act_id) == (IncidentState.ACKNOWLEDGED, "chief", "a")
    assert [refusal.act_id for refusal in feed.refusals()] == ["b"]


def test_an_acknowledgement_that_did_not_see_every_alert_is_refused() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    first = feed.transitions()[0]
    feed.say(at=3, temperature=60)
    feed.act(ActKind.ACKNOWLEDGE, at=5, incident=first.incident_id, seen={first.alert_id: 0})
    assert "look again" in feed.refusals()[0].reason
    assert feed.incidents()[-1].state is IncidentState.OPEN


def test_a_close_needs_a_verdict() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    feed.act(ActKind.CLOSE, at=5, incident=feed.tells()[0].incident)
    assert "verdict must be one of confirmed, false_alarm, test" in feed.refusals()[0].reason


def test_an_act_on_an_unknown_incident_is_refused_with_a_reason() -> None:
    feed = Feed(HEAT)
    feed.act(ActKind.ACKNOWLEDGE, at=5, incident="none")
    assert feed.refusals()[0].reason == "no such incident is open or recently closed here"


# --- the rulebook changes --------------------------------------------------------------------------------------------


def test_a_reload_keeps_the_hold_of_a_rule_that_did_not_change() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, temperature=45)
    feed.change_rules(HEAT.replace("above: 57", "above: 58"), at=10)
    feed.listen(30, since=10)
    assert feed.lines("warm") == [(0, "warm", "d1", None, "pending"), (20, "warm", "d1", "pending", "firing")]


def test_an_alert_of_a_removed_rule_stays_and_can_be_reset() -> None:
    feed = Feed(HEAT)
    feed.say(at=0, smoke_alarm=True)
    feed.change_rules("rules: [{id: other, kind: state, state: fault, class: fault, severity: info}]", at=10)
    assert len(feed.lines("smoke")) == 1
    feed.engine.sites["shed"].devices["d1"].episodes["smoke"].condition = False
    feed.act(ActKind.RESET, at=20, alert=feed.transitions()[0].alert_id)
    last = feed.transitions()[-1]
    assert (last.after, last.signal_class, last.rule) == ("reset", SignalClass.FIRE, "smoke")


def test_a_device_that_is_removed_is_no_longer_missed_but_its_fire_stays() -> None:
    feed = Feed(HEAT)
    feed.register("d1", interval=10)
    feed.say(at=0, smoke_alarm=True, fault=True)
    feed.remove("shed/d1", at=5)
    feed.listen(100, since=5)
    assert feed.lines() == [
        (0, "smoke", "d1", None, "firing"),
        (0, "broken", "d1", None, "firing"),
        (5, "broken", "d1", "firing", "cleared"),
    ]
    assert "smoke" in feed.engine.sites["shed"].devices["d1"].episodes


@pytest.mark.parametrize("value", [0.1, 0.3, 1.4, 4.5, 85.0])
def test_a_single_odd_sample_is_never_a_fast_rise(value: float) -> None:
    feed = Feed(
        "rules: [{id: rise, kind: rate, quantity: temperature, rise: 8.3, over: 60s, class: fire, severity: critical}]"
    )
    for step in range(40):
        feed.say(at=step * 5, temperature=value if step in (3, 20) else 20 + (step % 3) * 0.1)
    assert feed.made == []
