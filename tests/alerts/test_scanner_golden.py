"""For every golden case of every codec: what says fire there, the scanner finds in a backlog."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from alerts.borrowed import LEARNING
from alerts.scanner import Scanner, newest_judged
from ingest import decode
from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory
from ingest.errors import OperatorError, Undecodable
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind, Message, encode
from ingest.readings import FIRE_STATES
from ingest.sources import Source
from ingest.sources_file import parse_sources
from tests.support.data import sample
from tests.support.dispatching import wall

FOLDER = Path(__file__).parents[1] / "ingest" / "codecs"
CASES = sorted(path for path in FOLDER.glob("*/*") if path.is_dir())


class Said(NamedTuple):
    source: Source
    message: Message
    payload: bytes


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def messages(case: Path) -> list[Said]:
    """The messages of a golden case, as tests/ingest/test_codecs.py hands them to `emberwatch decode`."""
    named = [sample(name) for name in lines(case / "samples.txt")]
    files = named or sorted(case.glob("payload.*"))
    topics = lines(case / "topic.txt") or [""]
    sources = case / "sources.yaml"
    said = []
    for file, topic in zip(files, topics if len(topics) > 1 else topics * len(files), strict=True):
        source = decode._source(case.parent.name, topic, sources if sources.exists() else None)
        try:
            payload = decode._payload(str(file))
        except OperatorError:  # a file that is no payload
            break
        message = Message(
            topic=topic or decode._topic_for(source, payload),
            source=source.filter,
            received_at=wall(),
            properties=dict(line.split("=", 1) for line in lines(case / "properties.txt")),
            content_type="".join(lines(case / "content_type.txt")).strip(),
        )
        said.append(Said(source, message, payload))
    return said


def burning(said: list[Said]) -> tuple[list[int], CodecMemory]:
    """Which of these messages say that there is a fire, by their codec; and what it remembers then."""
    memory: CodecMemory = {}
    found = []
    for number, (source, message, payload) in enumerate(said):
        try:
            decoded = CODECS[source.codec](message, payload, source, memory)
        except Undecodable:
            continue
        live = [each.states for each in decoded.observations if not each.states.get("test")]
        if any(states.get(name) for states in live for name in FIRE_STATES):
            found.append(number)
    return found, memory


def sources_text(case: Path, said: list[Said]) -> str:
    if (case / "sources.yaml").exists():
        return (case / "sources.yaml").read_text(encoding="utf-8")
    filters = dict.fromkeys(each.source.filter for each in said)
    named = ", device: head" if case.parent.name == "thingsboard" else ""  # where the topic names none
    rows = [f'  - {{filter: "{filter}", codec: {case.parent.name}{named}}}' for filter in filters]
    return "\n".join(["sources:", *rows, ""])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_fire_of_a_golden_case_is_found_ahead_of_the_evaluator(case: Path, tmp_path: Path) -> None:
    said = messages(case)
    fires, memory = burning(said)
    if case.parent.name not in LEARNING:
        assert not memory, f"{case.parent.name} remembers: it belongs into LEARNING"
    if not fires:
        return
    text = sources_text(case, said)
    parse_sources(text, "sources of the case")
    journal = SqliteJournal(tmp_path, "main")
    journal.messages.append([Entry(Kind.SOURCES, value=text.encode())], now=wall())
    entries = [Entry(Kind.MESSAGE, encode(each.message), each.payload) for each in said]
    offsets = journal.messages.append(entries, now=wall())
    scanner = Scanner(
        shard="main",
        messages=journal.messages,
        folder=journal.folder,
        now=lambda: wall() + 10_000_000,
        judged=newest_judged(journal.decisions),
        stretch=0,
        position=-1,
        since=0,
    )
    while scanner.turn():
        pass
    journal.close()
    found = {sign.offset for finding in scanner.found for sign in finding.signs}
    assert found >= {offsets[number] for number in fires}


def test_the_golden_cases_hold_fires_of_most_codecs() -> None:
    codecs = {case.parent.name for case in CASES if burning(messages(case))[0]}
    assert len(codecs) >= 18
