"""What verify finds in small feeds: each kind of fault in each book, and nothing where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.readings import DAY, SECOND, iso
from simulators.__main__ import main
from simulators.tapes.tapefile import TapeWriter

START = 1_790_000_000 * SECOND
Run = tuple[int, list[str], dict[str, Any]]


class Feed:
    """The files of one feed, as the program and a collector would write them when all goes well."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys
        self.messages: list[tuple[int, str, bytes]] = []
        self.books: dict[str, dict[str, int]] = {
            "messages": {"received": 0, "stored": 0, "duplicate": 0, "quarantined": 0, "no_reading": 0, "waiting": 0},
            "alerts": {"opened": 0, "notified": 0, "suppressed": 0, "pending": 0},
            "deliveries": {"created": 0, "accepted": 0, "failed": 0, "waiting": 0},
        }
        self.alerts: list[dict[str, Any]] = []
        self.pages: list[dict[str, Any]] = []
        self.truth: dict[str, Any] = {}

    def say(self, second: float, topic: str, /, **fields: Any) -> int:
        """A device says something, and it is stored; when (µs)."""
        at = START + int(second * SECOND)
        body = {"ts": iso(at), **fields}
        self.put(at + 20_000, f"ember/v1/{topic}", json.dumps(body).encode(), end="stored")
        return at

    def put(self, at: int, topic: str, payload: bytes, *, end: str) -> None:
        self.messages.append((at, topic, payload))
        self.books["messages"]["received"] += 1
        self.books["messages"][end] += 1

    def told(self, at: int, site: str, device: str, **more: Any) -> None:
        """An alert and its page, half a second and a second later."""
        name = f"alert-{len(self.alerts)}"
        self.alert(at + SECOND // 2, site, device, alert_id=name)
        self.page(at + SECOND, site, alert=name, **more)

    def alert(self, at: int, site: str, device: str | None, **more: Any) -> None:
        line: dict[str, Any] = {
            "at": iso(at),
            "rule": "smoke-alarm",
            "class": "fire",
            "severity": "critical",
            "site": site,
        }
        line |= {"device": device, "before": None, "after": "firing", "value": True, "reason": "", "rule_version": "1"}
        self.alerts.append(line | {"alert_id": f"alert-{len(self.alerts)}"} | more)

    def page(self, at: int, site: str, *, alert: str = "", key: str = "", **more: Any) -> None:
        key = key or f"page-{len(self.pages)}"
        incident = {"id": f"incident-{site}", "site": site}
        body = {"id": key, "reason": "opened", "class": "fire", "incident": incident, "team": "north", "step": 0}
        body |= {"alerts": [{"id": alert, "device": "d"}]}
        line = {"at": at, "path": "/hook", "key": key, "status": 200, "signed": True, "body": body | more}
        self.pages.append(line)

    def file(self, name: str, text: str | bytes) -> str:
        path = self._folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def tape(self) -> str:
        path = self._folder / "sent.tape"
        with TapeWriter(path) as writer:
            for at, topic, payload in self.messages:
                writer.add(at=at, topic=topic, payload=payload)
        return str(path)

    def options(self) -> list[str]:
        balanced = json.dumps(self.books | {"balanced": True})
        words = ["--ledger", self.file("ledger.json", balanced)]
        words += ["--alerts", self.file("alerts.jsonl", "".join(json.dumps(line) + "\n" for line in self.alerts))]
        words += ["--pages", self.file("pages.jsonl", "".join(json.dumps(line) + "\n" for line in self.pages))]
        return words + (["--truth", self.file("f.truth.json", json.dumps(self.truth))] if self.truth else [])

    def verify(self, *words: str) -> Run:
        """Exit code, the kinds and checks of all findings, and the report."""
        out = self._folder / "findings.jsonl"
        code = main(["verify", "--sent", self.tape(), *(words or self.options()), "--json", "--out", str(out)])
        report = json.loads(self._capsys.readouterr().out)
        findings = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(findings) == report["found"]
        return code, [f"{each['kind']} {each['check']}" for each in findings], {"findings": findings, **report}


@pytest.fixture
def feed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Feed:
    """Three readings of one head, and a fire of another at another site, told at once."""
    feed = Feed(tmp_path, capsys)
    for second in range(3):
        feed.say(second, "shed-1/h1/telemetry", temperature=20 + second, seq=second + 1)
    feed.told(feed.say(4, "shed-2/h2/alarm", smoke_alarm=True), "shed-2", "h2")
    feed.say(5, "shed-2/h2/alarm", smoke_alarm=True, seq=9)
    return feed


def test_a_feed_of_which_all_arrived_has_no_findings_and_names_what_was_not_looked_at(feed: Feed) -> None:
    code, found, report = feed.verify()
    assert (code, found) == (0, [])
    assert report["checks"]["messages"]["compared"] == 5
    assert report["checks"]["alerts"] == {
        "compared": 1,
        "lost": 0,
        "twice": 0,
        "late": 0,
        "wrong": 0,
        "slowest_s": 0.48,
    }
    assert report["checks"]["pages"]["slowest_s"] == pytest.approx(0.98)
    assert report["not_checked"] == ["readings (no --api)", "whether alerts are of real fires (no --truth)"]
    assert "readings" not in report["checks"]


def test_what_is_not_given_is_said_not_to_be_checked(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--sent", feed.tape(), *feed.options()[:2]]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "messages             5           0           0           0           0            ",
        "not checked: readings (no --api)",
        "not checked: alerts (no --alerts)",
        "not checked: pages (no --pages)",
        "nothing found in what was checked",
    ]


def spoil(books: str, **figures: int) -> Callable[[Feed], None]:
    def act(feed: Feed) -> None:
        for name, change in figures.items():
            feed.books[books][name] += change

    return act


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (spoil("messages", received=-1, stored=-1), ["lost messages"]),
        (spoil("messages", received=1, stored=1), ["twice messages"]),
        (spoil("messages", received=1, duplicate=1), ["twice messages"]),
        (spoil("messages", stored=-1, duplicate=1), ["twice messages"]),
        (spoil("messages", stored=-1, quarantined=1), ["wrong messages"]),
        (spoil("messages", stored=-1, waiting=1), ["late messages"]),
        (spoil("messages", stored=-1), ["wrong messages"]),
        (spoil("alerts", opened=1, pending=1), ["late messages"]),
        (spoil("alerts", opened=1), ["wrong messages"]),
        (spoil("deliveries", created=1, waiting=1), ["late messages"]),
        (spoil("deliveries", created=1, failed=1), ["lost messages"]),
        (spoil("deliveries", accepted=1), ["wrong messages"]),
    ],
)
def test_the_ledger_s_books_are_held_against_what_was_sent(
    feed: Feed, act: Callable[[Feed], None], found: list[str]
) -> None:
    act(feed)
    assert feed.verify()[:2] == (1, found)


def test_what_the_ledger_held_before_is_taken_off(feed: Feed) -> None:
    before = feed.file("before.json", json.dumps(feed.books | {"balanced": True}))
    for name, count in list(feed.books["messages"].items()):
        feed.books["messages"][name] = 2 * count
    assert feed.verify(*feed.options(), "--ledger-before", before)[:2] == (0, [])
    assert feed.verify()[1] == ["twice messages"]


def test_books_that_do_not_balance_are_a_finding_with_their_own_words(feed: Feed) -> None:
    books = feed.books | {"balanced": False, "imbalances": ["main: receipts: of no page we know 1, expected 0"]}
    _, found, report = feed.verify("--ledger", feed.file("ledger.json", json.dumps(books)))
    assert found == ["wrong messages"] and "receipts" in report["findings"][0]["seen"]


def test_the_ends_of_messages_are_expected_as_the_program_would_give_them(feed: Feed) -> None:
    at = feed.messages[-1][0] + SECOND
    feed.put(at, *feed.messages[0][1:], end="duplicate")  # doubled on purpose: it is on the tape twice
    feed.put(at, "ember/v1/shed-1/h1/telemetry", b'{"temperature":NaN}', end="quarantined")
    feed.put(at, "ember/v1/shed-1/h1/telemetry", b'{"note":"nothing known"}', end="no_reading")
    feed.put(at, "ember/v1/shed-1/h1/status", b"online", end="stored")
    feed.put(at, "ember/v1/shed-1/h1/status", b"online", end="stored")  # states no time, so it is news
    array = b'[{"device":"h1","ts":1790000000000,"smoke":0.1},{"device":"h1","ts":1790000001000,"smoke":0.1}]'
    feed.put(at, "ember/v1/shed-1/telemetry", array, end="stored")
    feed.put(at, "ember/v1/shed-1/telemetry", array, end="duplicate")
    assert feed.verify()[:2] == (0, [])
    feed.messages.append((at, "ember/v1/shed-1/h1/command", b"{}"))  # an order is no message of a device
    assert feed.verify()[:2] == (0, [])


def test_alarm_normal_alarm_again_is_news_and_the_same_alarm_at_once_is_a_repeat(feed: Feed) -> None:
    alarm, normal = b'{"ts":1790000006000,"smoke_alarm":true}', b'{"ts":1790000006000,"smoke_alarm":false}'
    for payload, end in ((alarm, "stored"), (alarm, "duplicate"), (normal, "stored"), (alarm, "stored")):
        feed.put(START + 6 * SECOND, "ember/v1/shed-2/h2/alarm", payload, end=end)
    assert feed.verify()[:2] == (0, [])


def test_a_repeat_long_after_may_be_a_duplicate_or_news(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.verify.said.REMEMBERED", 4)
    feed.put(START + 9 * SECOND, *feed.messages[0][1:], end="duplicate")
    assert feed.verify()[:2] == (0, [])
    spoil("messages", stored=1, duplicate=-1)(feed)
    assert feed.verify()[:2] == (0, [])
    monkeypatch.setattr("simulators.verify.said.REMEMBERED", 9)
    assert feed.verify()[:2] == (1, ["wrong messages"])


def test_of_messages_in_other_formats_only_the_number_is_compared(feed: Feed) -> None:
    feed.put(START, "zigbee2mqtt/h9", b'{"temperature":20}', end="quarantined")
    code, found, report = feed.verify()
    assert (code, found) == (0, [])
    assert "what became of 1 messages in formats other than ember-json" in report["not_checked"]
    spoil("messages", received=-1, quarantined=-1)(feed)
    assert feed.verify()[1] == ["lost messages"]


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


TRUTH: dict[str, Any] = {"recording": "r", "source": "s", "site": "", "fire": True, "clock": "c", "interval_s": 0}
FIRE = {"what": "battery", "site": "shed-2", "ignition": iso(START + 3 * SECOND)}


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


def test_twenty_findings_are_shown_and_the_rest_counted(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        feed.say(6 + number / 10, f"shed-{number}/h/alarm", heat_alarm=True)
    assert main(["verify", "--sent", feed.tape(), *feed.options()]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len([line for line in said if line.startswith("lost: ")]) == 20
    assert "… and 39 more; --out FILE has them all" in said
    assert any(line.split() == ["alerts", "31", "30", "0", "0", "0", "0.48", "s"] for line in said)
    assert said[-1] == "59 findings"


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    def run(*words: str) -> str:
        assert main(["verify", *words]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        return line.removeprefix("simulators: verify: ")

    yield run


@pytest.mark.parametrize(
    ("option", "text", "line"),
    [
        ("--ledger", "", "empty; give what `emberwatch ledger --json` wrote"),
        (
            "--ledger",
            '{"messages":{"received":',
            "Input data was truncated; give what `emberwatch ledger --json` wrote",
        ),
        ("--ledger", "{}", "Object missing required field `messages`; give what `emberwatch ledger --json` wrote"),
        ("--ledger", "\xff", "invalid"),
        ("--alerts", '{"at":"2026-01-01T00:00:00Z"}', ":1: Object missing required field"),
        ("--alerts", "\n{\n", ":2: Input data was truncated; give what `emberwatch alerts export` wrote"),
        ("--pages", '{"at":1,"path":"/","key":"k","status":', ":1: Input data was truncated"),
        ("--pages", "[]", ":1: Expected `object`, got `array`; give what `python -m simulators collect` wrote"),
    ],
)
def test_a_file_that_is_empty_cut_or_something_else_is_one_line_and_exit_code_2(
    feed: Feed, complaint: Callable[..., str], option: str, text: str, line: str
) -> None:
    said = complaint("--sent", feed.tape(), option, feed.file("odd", text.encode("latin-1")))
    assert said.startswith(f"{option} ") and line in said


def test_what_cannot_be_read_is_named(feed: Feed, complaint: Callable[..., str], tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert "no such file" in complaint("--sent", missing, "--alerts", "x")
    assert "not a tape" in complaint("--sent", feed.file("text.tape", "not a tape"), "--alerts", "x")
    assert "no such file" in complaint("--sent", feed.tape(), "--alerts", missing)
    assert "name a file to write to" in complaint(
        "--sent", feed.tape(), *feed.options(), "--out", str(tmp_path / "no" / "out")
    )
    for text in ("{}", json.dumps(TRUTH | {"fires": [FIRE | {"ignition": "noon"}]})):
        said = complaint("--sent", feed.tape(), *feed.options(), "--truth", feed.file("t.json", text))
        assert "t.json: not a truth file: " in said


def test_an_empty_tape_has_nothing_to_compare(feed: Feed, complaint: Callable[..., str]) -> None:
    feed.messages.clear()
    assert "no messages in it" in complaint("--sent", feed.tape(), *feed.options())


def test_a_tape_that_was_cut_is_compared_up_to_there(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    path, options = Path(feed.tape()), feed.options()
    path.write_bytes(path.read_bytes()[:-9])
    assert main(["verify", "--sent", str(path), *options]) == 0
    assert "not checked: what was sent later than 2026-09-21T14:13:24.020Z: " in capsys.readouterr().out


def test_options_that_need_another_say_so(feed: Feed, complaint: Callable[..., str]) -> None:
    assert complaint("--sent", feed.tape()).startswith("nothing to compare with; give --ledger")
    assert complaint("--sent", feed.tape(), "--api", "http://127.0.0.1:1") == "--api needs --token-file too"
    assert complaint("--sent", feed.tape(), "--ledger-before", "x") == "--ledger-before needs --ledger too"
    assert complaint("--sent", feed.tape(), "--truth", "x") == "--truth needs --alerts too"
    assert complaint("--sent", feed.tape(), "--ledger", "x", "--token-file", "x") == "--token-file needs --api too"
    with pytest.raises(SystemExit) as ended:
        main(["verify"])
    assert ended.value.code == 2


def test_a_tape_that_is_named_twice_is_not_counted_twice(feed: Feed, complaint: Callable[..., str]) -> None:
    said = complaint("--sent", feed.tape(), feed.tape(), *feed.options())
    assert said.endswith("a tape stands twice; name each once")


def test_findings_are_never_written_over_what_is_compared(feed: Feed, complaint: Callable[..., str]) -> None:
    tape, options = feed.tape(), feed.options()
    before = [Path(path).read_bytes() for path in (tape, *options[1::2])]
    for path in (tape, *options[1::2]):
        said = complaint("--sent", tape, *options, "--out", path)
        assert said == f"--out {path}: is a file of this command already; name another to write to"
    assert [Path(path).read_bytes() for path in (tape, *options[1::2])] == before
