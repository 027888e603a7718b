"""A log that runs out of room refuses whole batches, the urgent ones last, and goes on once there is room."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest.errors import LogFull, OperatorError, Unavailable
from ingest.journal import BEGINNING, Entry
from ingest.journal_segment import Missing, Segment
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from tests.support.log_appender import ROOT

MEGABYTE = 1 << 20


def fill(journal: SqliteJournal, *, urgent: bool) -> int:
    """Append until the log refuses; how many batches it took."""
    for count in range(10_000):
        try:
            journal.messages.append([Entry(Kind.MESSAGE, b"", bytes(1_000))] * 10, now=count, urgent=urgent)
        except LogFull:
            return count
    raise AssertionError("never full")


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_reserve_is_kept_for_urgent_appends_and_trimming_makes_room(tmp_path: Path) -> None:
    journal = SqliteJournal(
        tmp_path, "shard", quota_bytes=6 * MEGABYTE, reserve_bytes=2 * MEGABYTE, segment_bytes=200_000
    )
    assert fill(journal, urgent=False) > 50
    head = journal.messages.head()
    assert bytes_in(tmp_path) < 5 * MEGABYTE
    with pytest.raises(LogFull, match="reserved for urgent"):
        journal.decisions.append([Entry(Kind.TICK, b"", bytes(200_000))], now=1)
    assert fill(journal, urgent=True) > 50
    assert bytes_in(tmp_path) < 7 * MEGABYTE
    assert journal.messages.head() > head
    assert len(journal.messages.read(BEGINNING, 100_000)) == journal.messages.head() + 1
    journal.messages.hold("reader", journal.messages.head())
    assert journal.messages.trim() > 0
    assert fill(journal, urgent=False) > 20
    journal.close()


def test_room_made_by_another_process_is_seen(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, "shard", quota_bytes=4 * MEGABYTE, segment_bytes=200_000)
    fill(journal, urgent=False)
    other = SqliteJournal(tmp_path, "shard")
    other.messages.hold("reader", other.messages.head())
    other.messages.trim()
    other.close()
    journal._space._looked -= 0.1  # rather than sleeping
    journal.messages.append([Entry(Kind.TICK)], now=1)
    journal.close()


def test_the_gauges_warn_before_the_log_is_full(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, "gauged", quota_bytes=50 * MEGABYTE)
    before = REGISTRY.get_sample_value("emberwatch_ingest_log_left_bytes", {"shard": "gauged"})
    for _ in range(5):
        journal.messages.append([Entry(Kind.MESSAGE, b"", bytes(MEGABYTE))], now=1)
    journal._space.look()
    after = REGISTRY.get_sample_value("emberwatch_ingest_log_left_bytes", {"shard": "gauged"})
    used = REGISTRY.get_sample_value("emberwatch_ingest_log_used_bytes", {"shard": "gauged"})
    assert before is not None and after is not None and used is not None
    assert before - after > 5 * MEGABYTE
    assert after == journal.bytes_left == 50 * MEGABYTE - used
    journal.close()


def test_a_quota_that_is_all_reserve_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="EMBERWATCH_JOURNAL_QUOTA_BYTES"):
        SqliteJournal(tmp_path, "shard", quota_bytes=MEGABYTE, reserve_bytes=MEGABYTE)


def test_a_full_database_refuses_the_whole_batch_and_goes_on_when_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal(tmp_path, "shard")
    journal.messages.append([Entry(Kind.TICK)], now=1)
    connect = Segment._connect

    def small(segment: Segment, *, writing: bool) -> object:
        connection = connect(segment, writing=writing)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(Segment, "_connect", small)
        full = SqliteJournal(tmp_path, "shard")
        with pytest.raises(LogFull, match=r"db: the disk is full"):
            full.messages.append([Entry(Kind.MESSAGE, b"", bytes(50_000))] * 20, now=2)
        assert full.messages.append([Entry(Kind.TICK)], now=2) == [1]
        full.close()
    assert journal.messages.append([Entry(Kind.MESSAGE, b"", bytes(50_000))] * 20, now=3)[0] == 2
    assert journal.messages.messages_appended() == 20
    journal.close()


def test_a_disk_that_takes_no_more_bytes_is_unavailable_until_it_does(tmp_path: Path) -> None:
    """The limit on file sizes stands for a failing disk: it needs no rights and no disk of its own."""
    code = """
import resource, sys
from pathlib import Path
from ingest.errors import Unavailable
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
journal = SqliteJournal(Path(sys.argv[1]), "shard")
big = [Entry(Kind.MESSAGE, b"", bytes(50_000))] * 10
print(journal.messages.append([Entry(Kind.TICK)], now=1))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        journal.messages.append(big, now=1)
    except Unavailable as error:
        print(type(error).__name__, "db:" in str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(journal.messages.head(), len(journal.messages.append(big, now=1)), journal.messages.messages_appended())
journal.close()
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    first, *refused, last = run.stdout.splitlines()
    assert first == "[0]"
    assert len(refused) == 2 and all(line.endswith(" True") for line in refused)
    assert last == "0 10 10"


def test_a_disk_without_any_room_can_still_be_drained_and_trimmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SqliteJournal(tmp_path, "shard", segment_bytes=100)
    writer.messages.hold("reader", BEGINNING)
    for number in range(10):
        writer.messages.append([Entry(Kind.MESSAGE, b"", b"x" * 60)], now=number)
    writer.close()

    def no_room(segment: Segment, *, writing: bool) -> object:
        if not segment.path.exists():
            raise Missing(segment.path)
        raise sqlite3.OperationalError("disk I/O error")

    def no_file(path: Path, text: str, encoding: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Segment, "_connect", no_room)
    monkeypatch.setattr(Path, "write_text", no_file)
    journal = SqliteJournal(tmp_path, "shard")
    records = journal.messages.read(BEGINNING, 8)
    assert [record.offset for record in records] == list(range(8))
    journal.messages.hold("reader", 7)
    assert journal.messages.trim() == 8
    with pytest.raises(Unavailable, match="disk is full"):
        journal.messages.read(7, 5)  # still appended to: that one needs room
    monkeypatch.undo()
    assert len(journal.messages.read(7, 5)) == 2
    journal.close()
