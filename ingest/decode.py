"""`emberwatch decode`: what a codec makes of files, one JSON object a line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from ingest.codecs import CODECS, payload_limit
from ingest.codecs.contract import CodecMemory
from ingest.errors import OperatorError, Undecodable
from ingest.message import Message
from ingest.readings import Observation, iso
from ingest.sources import Source
from ingest.sources_file import load_sources
from ingest.suspicion import place
from ingest.topics import matches, valid_topic

#: Stand-ins for an ember-json file without a topic; printed as null.
_NOBODY = "-"
_TOPICLESS = f"ember/v1/{_NOBODY}/{_NOBODY}/telemetry"
_TOPICLESS_GATEWAY = f"ember/v1/{_NOBODY}/telemetry"


class _Usage(OperatorError):
    """The command was called wrongly; exit code 2."""


def decode_files(
    codec: str,
    topics: Sequence[str],
    properties: Mapping[str, str],
    content_type: str,
    files: Sequence[str],
    out: TextIO,
    *,
    sources: Path | None = None,
    errors: TextIO | None = None,
) -> int:
    """Decode these files in order as messages; the exit code: 0 done, 1 undecodable, 2 wrong usage.

    `topics`: none, one for all files, or one for each.

    `-` is standard input, a name ending in `.hex` holds hex text. What the codec remembers is carried from file to
    file. `sources` names the sources.yaml whose source gives the mapping of json-map: the first one of this codec
    that matches the topic, without a topic the only one of this codec. `errors` (default stderr) gets one line when
    something is wrong, and decoding stops there.
    """
    errors = sys.stderr if errors is None else errors
    try:
        if not files:
            raise _Usage("no file; name one, or - for standard input")
        if len(topics) > 1 and len(topics) != len(files):
            raise _Usage(f"{len(topics)} topics for {len(files)} files; give one for all, or one for each")
        sent = [(topic, _source(codec, topic, sources)) for topic in topics or [""]]
        memory: CodecMemory = {}
        for file, (topic, source) in zip(files, sent if len(sent) > 1 else sent * len(files), strict=True):
            payload = _payload(file)
            message = Message(
                topic=topic or _topic_for(source, payload),
                source=source.filter,
                received_at=0,
                properties=dict(properties),
                content_type=content_type,
            )
            out.writelines(line + "\n" for line in _lines(file, message, payload, source, memory))
    except OperatorError as error:
        print(" | ".join(str(error).splitlines()), file=errors)
        return 2 if isinstance(error, _Usage) else 1
    return 0


def _source(codec: str, topic: str, path: Path | None) -> Source:
    if codec not in CODECS:
        raise _Usage(f"codec {codec} is unknown; known: {', '.join(CODECS)}")
    if topic and (wrong := valid_topic(topic)):
        raise _Usage(wrong)
    if path is not None:
        return _named_source(codec, topic, path)
    if codec == "json-map":
        raise _Usage("json-map needs a mapping; name the file that has it with --sources or EMBERWATCH_SOURCES")
    return Source(filter=topic or "#", codec=codec)


def _named_source(codec: str, topic: str, path: Path) -> Source:
    of_codec = [source for source in load_sources(path).sources if source.codec == codec]
    fitting = [source for source in of_codec if not topic or matches(source.filter, topic)]
    if not fitting:
        what = f"that matches topic {topic}" if of_codec else "at all"
        raise _Usage(f"{path}: no source of codec {codec} {what}; check --codec and --topic")
    if len(fitting) > 1 and not topic:
        raise _Usage(f"{path}: {len(fitting)} sources of codec {codec}; say which with --topic")
    return fitting[0]


def _topic_for(source: Source, payload: bytes) -> str:
    """A topic for a message without one, so that payloads can be tried alone."""
    if source.codec != "ember-json":
        return _NOBODY
    return _TOPICLESS_GATEWAY if b'"device"' in payload else _TOPICLESS


def _payload(file: str) -> bytes:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise OperatorError(f"{file}: {(error.strerror or str(error)).lower()}; name an existing file") from None
    if not file.endswith(".hex"):
        return data
    try:
        return bytes.fromhex(data.decode("ascii"))
    except ValueError:
        raise OperatorError(f"{file}: not hex text; write pairs of 0-9 and a-f") from None


def _lines(file: str, message: Message, payload: bytes, source: Source, memory: CodecMemory) -> list[str]:
    if len(payload) > (limit := payload_limit(source.codec, message.topic)):
        raise OperatorError(f"{file}: {len(payload)} bytes; at most {limit} are read")
    try:
        observations = CODECS[source.codec](message, payload, source, memory).observations
    except Undecodable as error:
        raise OperatorError(f"{file}: {error}") from None
    if not observations:
        site, device = place(message, source)
        observations = (Observation(site=site or None, device=device),)
    return [_line(observation) for observation in observations]


def _line(item: Observation) -> str:
    kind = "reading" if item.values else "state" if item.states else "none"
    row: dict[str, object] = {
        "kind": kind,
        "device": None if item.device in ("", _NOBODY) else item.device,
        "site": None if item.site in ("", _NOBODY) else item.site,
        "observed_at": None if item.observed_at is None else iso(item.observed_at),
    }
    if item.seq is not None:
        row["seq"] = item.seq
    return msgspec.json.encode({**row, **item.values, **item.states}).decode()
