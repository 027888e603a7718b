"""What verify finds in small feeds: each kind of fault in each book, and nothing where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.readings import SECOND
from simulators.__main__ import main
from tests.support.verifying import FIRE, START, TRUTH, Feed


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
