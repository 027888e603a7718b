"""What verify finds in small feeds: alerts and pages that are lost, twice, late or wrong."""

from __future__ import annotations

from pathlib import Path

from ingest.readings import DAY, SECOND, iso
from tests.support.verifying import FIRE, START, TRUTH, Feed


def test_a_fire_without_alert_is_lost(feed: Feed) -> None:
    feed.alerts.clear()
    _, found, report = feed.verify()
    assert "lost alerts" in found
    (finding,) = [each for each in report["findings"] if each["check"] == "alerts"]
    assert (finding["site"], finding["device"], finding["topic"]) == ("shed-2", "h2", "ember/v1/shed-2/h2/alarm")
    assert finding["at"] == iso(START + 4 * SECOND) and "smoke_alarm" in finding["expected"]


def test_a_fire_under_test_wants_no_alert(feed: Feed) -> None:
    feed.say(6, "shed-1/h1/alarm", smoke_alarm=True, test=True)
    assert feed.verify()[:2] == (0, [])


def test_an_alert_is_late_by_the_clock_of_its_feed_and_by_ours(feed: Feed) -> None:
    feed.alerts[0]["at"] = iso(START + 15 * SECOND)
    assert feed.verify()[1] == ["late alerts"]
    assert feed.verify(*feed.options(), "--late", "12")[:2] == (0, [])


def test_a_recording_s_alerts_are_timed_by_its_own_clock(feed: Feed) -> None:
    year = 365 * 86_400 * SECOND
    feed.messages = [(at + year, topic, payload) for at, topic, payload in feed.messages]
    feed.pages[0]["at"] += year
    assert feed.verify()[:2] == (0, [])


def test_an_alert_that_stood_before_is_not_opened_again_and_not_paged_again(feed: Feed) -> None:
    feed.alerts[0]["at"] = iso(START - 3600 * SECOND)
    feed.pages.clear()
    assert feed.verify()[:2] == (0, [])
    feed.alert(START - 1800 * SECOND, "shed-2", "h2", before="firing", after="reset", alert_id="alert-0")
    assert feed.verify()[1] == ["lost alerts", "lost pages"]


def test_an_alert_is_opened_once_and_changes_once(feed: Feed) -> None:
    feed.alerts.append(feed.alerts[0])
    assert feed.verify()[1] == ["twice alerts"]
    feed.alerts[1] = feed.alerts[0] | {"at": iso(START + 9 * SECOND)}
    assert feed.verify()[1] == ["twice alerts"]
    feed.alerts[1] = feed.alerts[1] | {"before": "firing"}  # told again: the condition came back
    assert feed.verify()[1] == []


def test_a_stranger_s_fire_is_known_by_the_name_it_gave(feed: Feed) -> None:
    at = feed.say(6, "shed-9/nobody/alarm", smoke_alarm=True)
    feed.books["messages"] |= {"stored": 5, "quarantined": 1}
    feed.alert(at, "unlocated", "shed-9/nobody", rule="unregistered-fire")
    feed.page(at, "unlocated", reason="unregistered", alerts=[{"id": "x", "device": "shed-9/nobody"}])
    assert feed.verify()[1] == ["wrong messages"]  # the quarantined one: on purpose or not, nobody knows


def test_every_fire_of_the_truth_has_an_alert(feed: Feed) -> None:
    feed.truth = TRUTH | {"fires": [FIRE, FIRE | {"site": "shed-1"}]}
    code, found, report = feed.verify()
    assert (code, found) == (1, ["lost alerts"])
    assert report["findings"][0]["site"] == "shed-1" and "battery" in report["findings"][0]["expected"]
    feed.alert(START + 5 * SECOND, "shed-1", "h1", rule="heat-rise")
    feed.page(START + 6 * SECOND, "shed-1")
    assert feed.verify()[:2] == (0, [])


def test_a_clock_years_off_makes_no_old_alert_of_others_new(feed: Feed) -> None:
    feed.say(6, "shed-1/h9/telemetry", ts=iso(START - 3285 * DAY), temperature=20)
    feed.alert(START - 30 * DAY, "shed-1", "h1")
    feed.alert(START - 30 * DAY + SECOND, "shed-1", "h1", before="firing", after="reset", alert_id="alert-1")
    assert feed.verify()[:2] == (0, [])


def test_a_fire_of_the_truth_that_nobody_sent_any_more_is_said_not_to_be_checked(feed: Feed) -> None:
    feed.truth = TRUTH | {"fires": [FIRE, FIRE | {"site": "shed-1", "ignition": iso(START + 99 * SECOND)}]}
    code, _, report = feed.verify()
    assert code == 0 and "fires of the truth after the end of what was sent: shed-1" in report["not_checked"]


def test_a_fire_alert_where_the_truth_has_no_fire_and_no_device_said_one_is_wrong(feed: Feed) -> None:
    feed.truth = TRUTH | {"fires": [FIRE]}
    feed.alert(START + 5 * SECOND, "shed-1", "h1", rule="heat-rise")
    feed.page(START + 6 * SECOND, "shed-1")
    code, found, report = feed.verify()
    assert (code, found) == (1, ["wrong alerts"])
    assert report["findings"][0]["seen"] == "one by rule heat-rise"


def test_a_fire_alert_in_a_quiet_span_of_a_site_that_burns_later_is_wrong(feed: Feed) -> None:
    quiet = {"what": "cooking", "start": iso(START), "end": iso(START + 3 * SECOND), "site": "shed-2"}
    feed.truth = TRUTH | {"fires": [FIRE], "quiet": [quiet]}
    feed.alert(START + 2 * SECOND, "shed-2", "h3", rule="smoke-dense")
    _, found, report = feed.verify()
    assert found == ["wrong alerts"] and "cooking" in report["findings"][0]["expected"]


def test_a_missing_page_is_lost(feed: Feed) -> None:
    feed.pages.clear()
    code, found, report = feed.verify()
    assert (code, found) == (1, ["lost pages"]) and report["findings"][0]["site"] == "shed-2"


def test_a_page_that_was_refused_did_not_arrive(feed: Feed) -> None:
    feed.pages[0]["status"] = 500
    assert feed.verify()[1] == ["lost pages"]
    feed.pages.append(feed.pages[0] | {"status": 200})
    assert feed.verify()[:2] == (0, [])


def test_a_site_that_alone_an_alert_knows_wants_a_page_too(feed: Feed) -> None:
    feed.alert(START + SECOND, "shed-1", "h1", rule="heat-rise")
    assert feed.verify()[1] == ["lost pages"]


def test_a_page_under_a_key_that_came_before_or_for_a_reason_told_before_is_twice(feed: Feed) -> None:
    feed.pages.append(feed.pages[0])
    assert feed.verify()[1] == ["twice pages"]
    del feed.pages[1]
    feed.page(START + 6 * SECOND, "shed-2")
    assert feed.verify()[1] == ["twice pages"]
    feed.pages[1]["body"]["step"] = 1  # up the ladder, or told again, or by another way, is right
    assert feed.verify()[1] == []
    feed.pages[1]["body"] |= {"step": 0, "reason": "retriggered"}
    assert feed.verify()[1] == []
    feed.pages[1] |= {"path": "/other"}
    feed.pages[1]["body"] |= {"reason": "opened"}
    assert feed.verify()[1] == []


def test_the_first_page_is_late_by_when_its_fire_was_sent(feed: Feed) -> None:
    feed.pages[0]["at"] += 10 * SECOND
    code, found, report = feed.verify()
    assert (code, found) == (1, ["late pages"]) and report["findings"][0]["seen"] == "it 11.0 s after the fire was sent"


def test_a_page_with_a_wrong_signature_key_or_body_is_wrong(feed: Feed) -> None:
    feed.pages[0]["signed"] = False
    assert feed.verify()[1] == ["wrong pages"]
    feed.pages[0] |= {"signed": True, "key": "another"}
    assert feed.verify()[1] == ["wrong pages"]
    feed.pages[0] |= {"key": "page-0", "body": None}
    assert feed.verify()[1] == ["wrong pages", "lost pages"]


def test_a_page_that_is_no_text_is_wrong(feed: Feed) -> None:
    words = feed.options()
    pages = Path(words[words.index("--pages") + 1])
    pages.write_bytes(pages.read_bytes().replace(b'"reason": "opened"', b'"reason": "\xff"'))
    assert feed.verify(*words)[1] == ["wrong pages", "lost pages"]


def test_unsigned_pages_are_said_to_be_unchecked(feed: Feed) -> None:
    feed.pages[0]["signed"] = None
    code, _, report = feed.verify()
    assert code == 0 and "signatures of pages (the collector had no --secret-file)" in report["not_checked"]


def test_a_page_of_a_fire_that_nobody_said_and_no_alert_explains_is_wrong(feed: Feed) -> None:
    feed.page(START + 6 * SECOND, "shed-1")
    assert feed.verify()[1] == ["wrong pages"]


def test_pages_and_alerts_from_before_are_of_other_feeds(feed: Feed) -> None:
    feed.page(START - 900 * SECOND, "shed-1", signed=False)
    feed.pages[-1]["signed"] = False
    feed.alert(START - 900 * SECOND, "shed-1", "h1", after="cleared")
    assert feed.verify()[:2] == (0, [])
