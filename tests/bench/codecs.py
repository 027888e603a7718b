"""How fast each codec decodes its published samples and our own golden cases. Every function is one measurement."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decode
from ingest.message import Message
from ingest.sources import Source
from ingest.sources_file import load_sources
from ingest.topics import matches
from tests.bench.figures import Run
from tests.support.data import SAMPLES

GOLDEN = Path(__file__).resolve().parents[1] / "ingest" / "codecs"

_Told = tuple[Message, bytes, Source]


def decode_rate(codec: str, count: int) -> Run:
    """The cases of this codec that can be decoded, over and over with one memory; messages a second of processor time.

    A mix of everything the format has, births and discovery too, so that formats compare with themselves alone.
    """
    decode, memory = CODECS[codec], CodecMemory()
    told = list(_told(codec))
    _all(decode, told, memory)  # what is made once
    began = time.process_time()
    rounds = -(-count // len(told))
    for _ in range(rounds):
        _all(decode, told, memory)
    cpu = time.process_time() - began
    return Run(rounds * len(told) / cpu, {"codec": cpu}, {"different messages": len(told)})


def _all(decode: Decode, told: list[_Told], memory: CodecMemory) -> None:
    for message, payload, source in told:
        decode(message, payload, source, memory)


def _told(codec: str) -> Iterator[_Told]:
    for case in sorted(path for path in (GOLDEN / codec).iterdir() if path.is_dir()):
        if not (case / "error.txt").exists():
            yield from _case(codec, case)


def _case(codec: str, case: Path) -> Iterator[_Told]:
    files = [SAMPLES / name for name in _lines(case / "samples.txt")] or sorted(case.glob("payload.*"))
    topics = _lines(case / "topic.txt") or ["ember/v1/s/d/telemetry" if codec == "ember-json" else "-"]
    for file, topic in zip(files, itertools.cycle(topics)):
        message = Message(
            topic=topic,
            source="#",
            received_at=1_777_593_600_000_000,
            properties=dict(line.split("=", 1) for line in _lines(case / "properties.txt")),
            content_type="".join(_lines(case / "content_type.txt")),
        )
        yield message, _payload(file), _source(codec, case, topic)


def _payload(file: Path) -> bytes:
    return bytes.fromhex(file.read_text(encoding="ascii")) if file.suffix == ".hex" else file.read_bytes()


def _source(codec: str, case: Path, topic: str) -> Source:
    if not (case / "sources.yaml").exists():
        return Source(filter=topic, codec=codec)
    stated = [source for source in load_sources(case / "sources.yaml").sources if source.codec == codec]
    return next((source for source in stated if matches(source.filter, topic)), stated[0])


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
