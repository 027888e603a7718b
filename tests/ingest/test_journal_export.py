"""A log as one file comes back record for record, or is refused with one line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import OperatorError
from ingest.journal import Entry
from ingest.journal_export import MAGIC, export_journal, read_export
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """A log of some segments with records of several kinds in both streams."""
    opened = SqliteJournal(tmp_path / "log", "north", segment_bytes=2_000)
    for number in range(60):
        entries = [Entry(Kind.MESSAGE, b"m%d" % number, bytes([number]) * 50), Entry(Kind.TICK)]
        opened.messages.append(entries, now=number * 10)
        opened.decisions.append([Entry(Kind.PROGRESS, b"p%d" % number)], now=number * 10)
    yield opened
    opened.close()


def test_an_export_holds_both_streams_the_shard_and_the_extras(tmp_path: Path, journal: SqliteJournal) -> None:
    file = tmp_path / "log.export"
    extras = {"checkpoint": bytes(range(256)), "empty": b""}
    assert export_journal(journal, file, extras=extras) == {"messages": 120, "decisions": 60}
    export = read_export(file)
    assert (export.shard, export.extras) == ("north", extras)
    for name, stream in (("messages", journal.messages), ("decisions", journal.decisions)):
        assert [record for found, record in export if found == name] == stream.read(-1, 1_000)
    assert len(list(export.records)) == 180  # begins anew
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["log.export"]


def test_an_exported_log_can_be_appended_to_another(tmp_path: Path, journal: SqliteJournal) -> None:
    export_journal(journal, tmp_path / "log.export")
    copy = SqliteJournal(tmp_path / "copy", "north")
    for name, record in read_export(tmp_path / "log.export"):
        stream = copy.messages if name == "messages" else copy.decisions
        stream.append([Entry(Kind(record.kind), record.meta, record.value)], now=record.at)
    assert copy.messages.read(-1, 1_000) == journal.messages.read(-1, 1_000)
    assert copy.decisions.read(-1, 1_000) == journal.decisions.read(-1, 1_000)
    copy.close()


def test_a_trimmed_log_is_exported_from_its_floor(tmp_path: Path, journal: SqliteJournal) -> None:
    journal.messages.hold("reader", 80)
    assert journal.messages.trim() > 0
    export_journal(journal, tmp_path / "log.export")
    offsets = [record.offset for name, record in read_export(tmp_path / "log.export") if name == "messages"]
    assert offsets == list(range(journal.messages.floor() + 1, 120))


def read_to_the_end(file: Path) -> int:
    return len(list(read_export(file).records))


def test_an_export_cut_off_anywhere_is_refused_with_one_line(tmp_path: Path, journal: SqliteJournal) -> None:
    whole = tmp_path / "log.export"
    export_journal(journal, whole, extras={"checkpoint": bytes(1000)})
    content = whole.read_bytes()
    cut = tmp_path / "cut.export"
    for length in [*range(0, len(content), 37), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(OperatorError) as caught:
            read_to_the_end(cut)
        assert str(cut) in str(caught.value) and "\n" not in str(caught.value)


def test_an_export_cut_off_before_it_was_packed_is_refused_too(tmp_path: Path, journal: SqliteJournal) -> None:
    file = tmp_path / "log.export"
    export_journal(journal, file)
    content = gzip.decompress(file.read_bytes())
    for length in [*range(0, len(content), 211), len(content) - 1]:
        file.write_bytes(gzip.compress(content[:length], compresslevel=1))
        with pytest.raises(OperatorError, match=r"cut off|no exported log"):
            read_to_the_end(file)


def test_an_export_with_flipped_bytes_is_refused(tmp_path: Path, journal: SqliteJournal) -> None:
    file = tmp_path / "log.export"
    export_journal(journal, file)
    content = file.read_bytes()
    for place in range(12, len(content), 97):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with pytest.raises(OperatorError) as caught:
            read_to_the_end(file)
        assert "\n" not in str(caught.value)


def test_an_export_that_misses_records_is_refused(tmp_path: Path, journal: SqliteJournal) -> None:
    file = tmp_path / "log.export"
    export_journal(journal, file)
    content = gzip.decompress(file.read_bytes())
    frames, place = [], len(MAGIC)
    while place < len(content):
        end = place + 8 + int.from_bytes(content[place : place + 8], "big")
        frames.append(content[place:end])
        place = end
    header, _decisions, *rest = frames
    file.write_bytes(gzip.compress(MAGIC + header + b"".join(rest)))
    with pytest.raises(OperatorError, match=r"it holds.*but says"):
        read_to_the_end(file)


def test_other_files_and_newer_exports_are_named(tmp_path: Path) -> None:
    file = tmp_path / "log.export"
    with pytest.raises(OperatorError, match="cannot read: no such file"):
        read_export(file)
    file.write_bytes(b"time,site,device\n" * 10)
    with pytest.raises(OperatorError, match=r"log\.export"):
        read_export(file)
    file.write_bytes(gzip.compress(b"time,site,device\n" * 10))
    with pytest.raises(OperatorError, match="no exported log"):
        read_export(file)
    header = b"\x81\xa6format\x63"  # {"format": 99}
    file.write_bytes(gzip.compress(MAGIC + len(header).to_bytes(8, "big") + header))
    with pytest.raises(OperatorError, match="format 99"):
        read_export(file)


def test_an_export_that_cannot_be_written_leaves_nothing(tmp_path: Path, journal: SqliteJournal) -> None:
    with pytest.raises(OperatorError, match="cannot write"):
        export_journal(journal, tmp_path / "no such folder" / "log.export")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OperatorError, match="cannot write"):
        export_journal(journal, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "taken"]
