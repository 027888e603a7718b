"""The log on one machine keeps its contract, whatever the batches, the segments and the restarts."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import journal_segment
from ingest.errors import BelowFloor, OperatorError, Unavailable
from ingest.journal import BEGINNING, Entry, Journal, Record, Stream
from ingest.journal_segment import listed
from ingest.journal_sqlite import SqliteJournal, shards_of
from ingest.message import Kind

Open = Callable[..., SqliteJournal]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    """Open the shard's log (again); all are closed at the end."""
    opened: list[SqliteJournal] = []

    def open_journal(**options: Any) -> SqliteJournal:
        opened.append(SqliteJournal(tmp_path, "shard", **options))
        return opened[-1]

    yield open_journal
    for journal in opened:
        journal.close()


def message(text: str = "x") -> Entry:
    return Entry(Kind.MESSAGE, b"headers", text.encode())


def fill(stream: Stream, count: int) -> None:
    """`count` messages, one an append, at log times 0, 1, 2 …"""
    for number in range(count):
        stream.append([message(f"{number:040d}")], now=number)


def values(records: list[Record]) -> list[str]:
    return [record.value.decode() for record in records]


def read_all(stream: Stream, step: int = 3) -> list[Record]:
    """Everything the stream holds, in small steps."""
    records: list[Record] = []
    after = stream.floor()
    while found := stream.read(after, step):
        records += found
        after = found[-1].offset
    return records


def segments(journal: SqliteJournal) -> list[int]:
    return listed(journal.folder / "messages")


def test_what_was_appended_is_read_back_whole_and_in_order(reopen: Open) -> None:
    stream = reopen().messages
    first = stream.append([message("a"), Entry(Kind.TICK, b"m", b"\x00\xff")], now=5)
    second = stream.append([message("c")], now=7)
    assert stream.read(BEGINNING, 10) == [
        Record(first[0], 5, Kind.MESSAGE, b"headers", b"a"),
        Record(first[1], 5, Kind.TICK, b"m", b"\x00\xff"),
        Record(second[0], 7, Kind.MESSAGE, b"headers", b"c"),
    ]
    assert stream.head() == second[0]
    assert stream.read(second[0], 10) == []
    assert stream.read(BEGINNING, 0) == []


def test_an_empty_stream_says_so(reopen: Open) -> None:
    stream = reopen().decisions
    assert (stream.head(), stream.floor(), stream.last(Kind.TICK)) == (BEGINNING, BEGINNING, None)
    assert stream.read(BEGINNING, 10) == []
    assert (stream.messages_appended(), stream.messages_after(BEGINNING)) == (0, 0)
    assert stream.append([], now=1) == []


def test_both_streams_are_apart_and_named_shards_are_found(reopen: Open, tmp_path: Path) -> None:
    journal: Journal = reopen()
    journal.messages.append([message("m")], now=1)
    journal.decisions.append([message("d")], now=1)
    assert values(journal.messages.read(BEGINNING, 9)) == ["m"]
    assert values(journal.decisions.read(BEGINNING, 9)) == ["d"]
    assert shards_of(tmp_path) == ["shard"]
    assert shards_of(tmp_path / "nowhere") == []


def test_log_time_never_goes_back_even_over_segments_and_restarts(reopen: Open) -> None:
    stream = reopen(segment_bytes=1).messages
    for now in (100, 50, 200, 10):
        stream.append([message()], now=now)
    again = reopen(segment_bytes=1).messages
    again.append([message()], now=-5)
    assert [record.at for record in again.read(BEGINNING, 10)] == [100, 100, 200, 200, 200]


def test_a_segment_ends_when_its_span_of_log_time_is_over(reopen: Open) -> None:
    journal = reopen(segment_span=10)
    for now in (100, 105, 109, 110, 111, 300):
        journal.messages.append([message()], now=now)
    assert segments(journal) == [0, 3, 5]


def test_a_segment_ends_when_it_is_too_large(reopen: Open) -> None:
    journal = reopen(segment_bytes=150)
    fill(journal.messages, 7)
    assert segments(journal) == [0, 2, 4, 6]
    assert len(read_all(journal.messages)) == 7


def test_control_records_are_read_without_the_messages_between(reopen: Open) -> None:
    stream = reopen(segment_bytes=300).messages
    for number in range(30):
        stream.append([message(), Entry(Kind.TICK, b"", str(number).encode())], now=number)
    found = stream.read(20, 5, control_only=True)
    assert [record.offset for record in found] == [21, 23, 25, 27, 29]
    assert len(stream.read(BEGINNING, 100, control_only=True)) == 30


def test_the_newest_record_of_a_kind_is_found_in_any_segment(reopen: Open) -> None:
    stream = reopen(segment_bytes=100).messages
    stream.append([Entry(Kind.RULEBOOK, b"", b"old"), Entry(Kind.RULEBOOK, b"", b"new")], now=0)
    fill(stream, 20)
    found = stream.last(Kind.RULEBOOK)
    assert found is not None and found.value == b"new"
    newest = stream.last(Kind.MESSAGE)
    assert newest is not None and newest.offset == stream.head()
    assert stream.last(Kind.ACT) is None


def test_messages_are_counted_when_appended_and_when_waiting(reopen: Open) -> None:
    journal = reopen(segment_bytes=300)
    for number in range(50):
        journal.messages.append([message(), Entry(Kind.TICK), message()], now=number)
    stream = journal.messages
    assert stream.messages_appended() == 100
    for after in (BEGINNING, 0, 1, 2, 74, 148):
        waiting = sum(record.kind == Kind.MESSAGE for record in stream.read(after, 1000))
        assert stream.messages_after(after) == waiting
    assert stream.messages_after(stream.head()) == 0
    stream.hold("reader", 100)
    assert stream.trim() > 0
    assert stream.messages_appended() == 100


def test_counting_many_waiting_messages_goes_in_steps(reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.journal_sqlite._COUNT_STEP", 4)
    stream = reopen().messages
    fill(stream, 23)
    assert stream.messages_after(2) == 20


def test_nothing_is_trimmed_while_no_reader_says_what_it_needs(reopen: Open) -> None:
    journal = reopen(segment_bytes=100)
    fill(journal.messages, 20)
    assert journal.messages.trim() == 0
    assert journal.messages.floor() == BEGINNING


def test_trimming_drops_whole_segments_below_the_lowest_hold(reopen: Open) -> None:
    journal = reopen(segment_bytes=150)
    fill(journal.messages, 20)
    journal.messages.hold("writer", 15)
    journal.messages.hold("evaluator", 6)
    assert segments(journal) == list(range(0, 20, 2))
    assert journal.messages.trim() == 6
    assert journal.messages.floor() == 5
    assert [record.offset for record in journal.messages.read(5, 100)] == list(range(6, 20))
    journal.messages.hold("evaluator", 7)  # the last record of a segment: that one may go too
    assert journal.messages.trim() == 2
    assert journal.messages.floor() == 7


def test_holds_of_another_process_and_of_before_a_restart_count(reopen: Open) -> None:
    reopen(segment_bytes=150).messages.hold("writer", 3)
    stream = reopen(segment_bytes=150).messages
    fill(stream, 20)
    stream.hold("evaluator", 19)
    assert stream.trim() == 4


def test_a_hold_that_cannot_be_read_keeps_everything(reopen: Open) -> None:
    journal = reopen(segment_bytes=100)
    fill(journal.messages, 20)
    journal.messages.hold("writer", 15)
    (journal.folder / "readers" / "messages" / "evaluator").write_bytes(b"\xff")
    assert journal.messages.trim() == 0


def test_the_newest_segment_is_never_trimmed(reopen: Open) -> None:
    journal = reopen(segment_bytes=100)
    fill(journal.messages, 20)
    journal.messages.hold("writer", journal.messages.head())
    journal.messages.trim()
    assert len(segments(journal)) == 1
    assert journal.messages.append([message()], now=50) == [20]


def test_reading_below_the_floor_is_an_error_for_every_open_log(reopen: Open) -> None:
    journal, other = reopen(segment_bytes=150), reopen(segment_bytes=150)
    fill(journal.messages, 20)
    assert len(other.messages.read(BEGINNING, 2)) == 2  # has the first segment open from here on
    journal.messages.hold("reader", 9)
    journal.messages.trim()
    for stream in (journal.messages, other.messages):
        with pytest.raises(BelowFloor, match="trimmed"):
            stream.read(BEGINNING, 2)
        with pytest.raises(BelowFloor):
            stream.messages_after(3)
        assert stream.read(9, 1)[0].offset == 10


def test_a_log_that_slept_through_rolling_and_trimming_goes_on(reopen: Open) -> None:
    sleeper, busy = reopen(segment_bytes=150), reopen(segment_bytes=150)
    sleeper.messages.append([message()], now=0)
    assert sleeper.messages.head() == 0
    fill(busy.messages, 30)
    busy.messages.hold("reader", 28)
    busy.messages.trim()
    assert sleeper.messages.append([message("late")], now=0) == [31]
    assert sleeper.messages.head() == busy.messages.head() == 31
    assert values(busy.messages.read(30, 9)) == ["late"]


def test_a_reader_ahead_of_the_log_is_told_that_this_is_another_log(reopen: Open) -> None:
    stream = reopen().messages
    fill(stream, 3)
    with pytest.raises(OperatorError, match="another or an older log"):
        stream.read(3, 10)


def test_what_a_crash_between_creating_and_sealing_left_is_ignored_and_removed(reopen: Open) -> None:
    journal = reopen()
    fill(journal.messages, 5)
    folder = journal.folder / "messages"
    journal_segment.create(folder, 5, stream="messages", at=4, messages=5)
    (folder / "00000000000000000005.new").write_bytes(b"half")
    fill(journal.messages, 5)  # goes on in the old one, past where the left-over begins
    assert [record.offset for record in reopen().messages.read(BEGINNING, 99)] == list(range(10))
    assert reopen().messages.head() == 9
    again = reopen(segment_bytes=1)
    again.messages.append([message()], now=9)
    assert segments(again) == [0, 10]
    assert len(read_all(again.messages)) == 11
    assert not list(folder.glob("*.new*"))


def test_a_left_over_of_another_process_is_removed_when_the_segment_ends(reopen: Open) -> None:
    journal = reopen(segment_bytes=400)
    fill(journal.messages, 2)
    journal_segment.create(journal.folder / "messages", 2, stream="messages", at=1, messages=2)
    fill(journal.messages, 20)
    assert 2 not in segments(journal) and len(segments(journal)) > 2
    assert len(read_all(reopen().messages)) == journal.messages.head() + 1 == 22


def test_a_segment_sealed_in_the_middle_of_a_read_skips_nothing(reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = reopen(), reopen(segment_bytes=200)
    fill(writer.messages, 1)
    state = journal_segment.Segment.state
    meanwhile = [lambda: fill(writer.messages, 8)]

    def late(segment: journal_segment.Segment) -> journal_segment.State:
        if meanwhile:
            meanwhile.pop()()
        return state(segment)

    monkeypatch.setattr(journal_segment.Segment, "state", late)
    seen = reader.messages.read(BEGINNING, 100)
    assert len(segments(writer)) > 1
    seen += reader.messages.read(seen[-1].offset, 100)
    assert [record.offset for record in seen] == list(range(9))


def test_a_crash_before_the_old_segment_is_sealed_leaves_a_working_log(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = reopen(segment_bytes=150)
    fill(journal.messages, 2)

    def crash(*_: object) -> None:
        raise Unavailable("crashed")

    with monkeypatch.context() as patch:
        patch.setattr(journal_segment.Segment, "seal", crash)
        with pytest.raises(Unavailable):
            journal.messages.append([message()], now=9)
    assert segments(journal) == [0, 2]
    assert (journal.messages.head(), reopen().messages.head()) == (1, 1)
    assert journal.messages.append([message()], now=9) == [2]
    assert len(read_all(reopen().messages)) == 3


def test_a_batch_is_kept_whole_or_not_at_all(reopen: Open) -> None:
    stream = reopen().messages
    fill(stream, 2)
    with pytest.raises(TypeError):
        stream.append([message("kept?"), Entry(Kind.MESSAGE, b"", None)], now=3)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        stream.append([message("kept?")], now=1 << 70)
    assert stream.append([message("next")], now=3) == [2]
    assert stream.messages_appended() == 3


def test_threads_share_one_stream(reopen: Open) -> None:
    stream = reopen(segment_bytes=2_000).messages
    seen: list[Record] = []

    def write(name: str) -> None:
        for number in range(50):
            stream.append([message(f"{name}:{number}"), Entry(Kind.TICK)], now=number)

    def read() -> None:
        while len(seen) < 400:
            seen.extend(stream.read(seen[-1].offset if seen else BEGINNING, 7))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [record.offset for record in seen] == list(range(400))
    for name in "abcd":
        own = [value for value in values(seen) if value.startswith(name)]
        assert own == [f"{name}:{number}" for number in range(50)]


def test_a_closed_stream_refuses_and_closing_twice_is_harmless(reopen: Open) -> None:
    journal = reopen()
    journal.close()
    journal.close()
    with pytest.raises(Unavailable, match="closed"):
        journal.messages.append([message()], now=1)
    with pytest.raises(Unavailable, match="closed"):
        journal.messages.head()


def test_names_that_would_leave_the_folder_are_refused(tmp_path: Path, reopen: Open) -> None:
    with pytest.raises(OperatorError, match="shard"):
        SqliteJournal(tmp_path, "../elsewhere")
    with pytest.raises(ValueError, match="reader"):
        reopen().messages.hold("a/b", 1)


def damage_text(path: Path) -> None:
    path.write_text("this is no database, and long enough to look like one\n" * 20)


def damage_foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


def damage_newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [damage_text, damage_foreign, damage_newer, damage_empty, damage_pages])
def test_a_damaged_foreign_or_newer_file_is_named(reopen: Open, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    journal = reopen()
    fill(journal.messages, 200)
    journal.close()
    path = journal.folder / "messages" / f"{0:020d}.db"
    damage(path)

    def reads(log: SqliteJournal) -> object:
        return log.messages.read(BEGINNING, 10)

    def appends(log: SqliteJournal) -> object:
        return log.messages.append([message()], now=1)

    for act in (reads, appends):
        with pytest.raises(OperatorError) as caught:
            act(reopen())
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_log_whose_file_vanished_under_it_refuses_rather_than_losing(reopen: Open) -> None:
    journal = reopen()
    fill(journal.messages, 3)
    (journal.folder / "messages" / f"{0:020d}.db").unlink()
    with pytest.raises(OperatorError, match="moved or replaced"):
        journal.messages.append([message()], now=4)
    with pytest.raises(OperatorError, match="gone"):
        journal.messages.read(BEGINNING, 9)


batches = st.lists(
    st.tuples(
        st.sampled_from(["append", "reopen", "trim", "other"]),
        st.lists(st.tuples(st.sampled_from([Kind.MESSAGE, Kind.TICK, Kind.ACT]), st.binary(max_size=60)), max_size=6),
        st.integers(0, 1_000),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=batches, segment_bytes=st.integers(1, 600), span=st.integers(1, 900), step=st.integers(1, 9))
def test_any_batches_segments_and_restarts_give_the_same_log(
    steps: list[tuple[str, list[tuple[Kind, bytes]], int]], segment_bytes: int, span: int, step: int
) -> None:
    with TemporaryDirectory() as folder:

        def opened() -> SqliteJournal:
            return SqliteJournal(Path(folder), "s", segment_bytes=segment_bytes, segment_span=span)

        journal, other = opened(), opened()
        expected: list[tuple[int, Kind, bytes]] = []  # what a list would hold
        offsets: list[int] = []
        seen: list[Record] = []  # what a reader that follows along got
        for act, bodies, now in steps:
            writer = other if act == "other" else journal
            entries = [Entry(kind, b"", value) for kind, value in bodies]
            offsets += writer.messages.append(entries, now=now)
            at = max(now, expected[-1][0] if expected and bodies else now)
            expected += [(at, kind, value) for kind, value in bodies]
            if act == "reopen":
                journal.close()
                journal = opened()
            seen += journal.messages.read(seen[-1].offset if seen else BEGINNING, step)
            if act == "trim":
                journal.messages.hold("follower", seen[-1].offset if seen else BEGINNING)
                journal.messages.trim()
        while more := other.messages.read(seen[-1].offset if seen else BEGINNING, step):
            seen += more
        assert [(record.at, record.kind, record.value) for record in seen] == expected
        assert [record.offset for record in seen] == offsets
        assert journal.messages.messages_appended() == sum(kind == Kind.MESSAGE for _, kind, _ in expected)
        floor = journal.messages.floor()
        waiting = sum(record.kind == Kind.MESSAGE for record in seen if record.offset > floor)
        assert journal.messages.messages_after(floor) == waiting
        journal.close()
        other.close()
