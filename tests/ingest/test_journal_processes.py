"""Several processes on one log: nothing lost, skipped or repeated; readers wake; a role has one owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import OperatorError, Unavailable
from ingest.journal import BEGINNING, Entry, Record
from ingest.journal_segment import listed
from ingest.journal_sqlite import SqliteJournal
from ingest.journal_wake import Bell
from ingest.message import Kind
from tests.support import log_appender


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path, "shard", segment_bytes=3_000)
    yield opened
    opened.close()


def follow(journal: SqliteJournal, running: list[subprocess.Popen[str]]) -> list[Record]:
    """Read along until all appenders are done."""
    seen: list[Record] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = all(process.poll() is not None for process in running)
        after = seen[-1].offset if seen else BEGINNING
        found = journal.messages.read(after, 10)
        if done and not found:
            return seen
        seen += found
        if not found:
            journal.messages.wait(after, 0.1)
    raise AssertionError("the appenders do not end")


def numbers(records: list[Record], name: str) -> list[int]:
    """What this appender appended, in the order of the log."""
    values = [record.value.decode().split(":") for record in records]
    return [int(number) for appender, number in values if appender == name]


def test_two_processes_append_while_segments_roll_and_a_reader_sees_each_once(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    running = [log_appender.start(tmp_path, name, batches=150) for name in ("a", "b")]
    seen = follow(journal, running)
    for process in running:
        process.communicate()
        assert process.returncode == 0
    assert [record.offset for record in seen] == list(range(2 * 150 * 7))
    assert numbers(seen, "a") == numbers(seen, "b") == list(range(150 * 7))
    times = [record.at for record in seen]
    assert times == sorted(times)
    assert len(listed(journal.folder / "messages")) > 10
    assert journal.messages.messages_appended() == sum(record.kind == Kind.MESSAGE for record in seen)


@pytest.mark.parametrize("lines", [1, 10, 41])
def test_a_killed_appender_loses_nothing_that_append_returned_for(
    tmp_path: Path, journal: SqliteJournal, lines: int
) -> None:
    process = log_appender.start(tmp_path, "a")
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.kill()
    rest, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    returned = int(rest.split()[-1]) if rest.split() else lines * 7 - 1
    kept = numbers(journal.messages.read(BEGINNING, 10_000_000), "a")
    assert kept[: returned + 1] == list(range(returned + 1))
    assert kept == list(range(len(kept)))
    assert len(kept) % 7 == 0  # a batch is there whole or not at all
    assert journal.messages.append([Entry(Kind.TICK)], now=0) == [len(kept)]


def test_a_waiting_reader_is_woken_by_another_process(tmp_path: Path, journal: SqliteJournal) -> None:
    journal.messages.append([Entry(Kind.TICK)], now=0)
    woken: list[float] = []

    def wait() -> None:
        assert journal.messages.wait(0, 20)
        woken.append(time.monotonic())

    waiters = [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    assert [journal.messages.wait(0, 0.05), journal.decisions.wait(BEGINNING, 0.05)] == [False, False]
    process = log_appender.start(tmp_path, "a", batches=1)
    for waiter in waiters:
        waiter.join(25)
    process.communicate()
    assert len(woken) == 3


def test_an_append_knocks_at_once_rather_than_at_the_next_look(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.journal_wake.SLICE", 30)  # without a knock this would take half a minute
    other = SqliteJournal(tmp_path, "shard")
    for number in range(5):
        timer = threading.Timer(0.02, other.messages.append, ([Entry(Kind.TICK)],), {"now": number})
        timer.start()
        assert journal.messages.wait(number - 1, 10)
        timer.join()
    other.close()
    assert list((journal.folder / "wake").iterdir()) != []


def test_waiting_for_one_stream_is_not_woken_by_the_other(journal: SqliteJournal) -> None:
    timer = threading.Timer(0.05, journal.messages.append, ([Entry(Kind.TICK)],), {"now": 1})
    timer.start()
    assert not journal.decisions.wait(BEGINNING, 0.2)
    timer.join()


def test_a_dead_readers_socket_is_removed_and_a_closed_one_leaves_none(journal: SqliteJournal) -> None:
    wake = journal.folder / "wake"
    code = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom ingest.journal_wake import Bell\n"
        "Bell(Path(sys.argv[1]), 'messages').wait(lambda: False, 0.1)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(wake)], cwd=log_appender.ROOT, check=False)
    assert len(list(wake.iterdir())) == 1
    assert not journal.messages.wait(BEGINNING, 0.01)
    assert len(list(wake.iterdir())) == 2
    journal.messages.append([Entry(Kind.TICK)], now=1)
    assert len(list(wake.iterdir())) == 1
    journal.close()
    assert list(wake.iterdir()) == []


def test_a_path_longer_than_a_socket_name_may_be_works(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    waiter, ringer = Bell(folder, "messages"), Bell(folder, "messages")
    rung = threading.Event()

    def ring() -> None:
        rung.set()
        ringer.ring()

    timer = threading.Timer(0.05, ring)
    timer.start()
    assert waiter.wait(rung.is_set, 10)
    timer.join()
    assert len(list(folder.iterdir())) == 1
    waiter.close()
    ringer.close()


def test_a_role_has_one_owner_and_each_owner_a_higher_epoch(tmp_path: Path, journal: SqliteJournal) -> None:
    first = journal.own("receiver")
    other = SqliteJournal(tmp_path, "shard")
    with pytest.raises(OperatorError, match=f"process {os.getpid()}") as caught:
        other.own("receiver")
    assert "receiver" in str(caught.value)
    assert other.own("evaluator").epoch == 1
    first.release()
    first.release()
    second = other.own("receiver")
    assert second.epoch == first.epoch + 1
    second.release()
    other.close()


def test_a_killed_owner_is_followed_by_one_with_a_higher_epoch(journal: SqliteJournal) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom ingest.journal_lock import own\n"
        "print(own(Path(sys.argv[1]), 'receiver').epoch, flush=True)\ntime.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(journal.folder / "locks")],
        cwd=log_appender.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "1\n"
    with pytest.raises(OperatorError, match=f"process {owner.pid}"):
        journal.own("receiver")
    owner.kill()
    owner.communicate()
    ownership = journal.own("receiver")
    assert ownership.epoch == 2
    ownership.release()


def test_a_lock_file_that_was_written_over_is_named(journal: SqliteJournal) -> None:
    path = journal.folder / "locks" / "receiver.lock"
    path.write_text("mine")
    with pytest.raises(OperatorError, match=r"receiver\.lock.*'mine'"):
        journal.own("receiver")


def test_a_stopped_process_in_mid_append_makes_others_unavailable_not_stuck(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ingest.journal_lock._PATIENCE", 0.2)
    other = SqliteJournal(tmp_path, "shard")
    with other.messages._turn.taken(), pytest.raises(Unavailable, match="another process"):
        journal.messages.append([Entry(Kind.TICK)], now=1)
    assert journal.messages.append([Entry(Kind.TICK)], now=1) == [0]
    other.close()
