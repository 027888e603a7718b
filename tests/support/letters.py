"""The golden cases as conversations: what devices of one format say, message by message, births before data."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from ingest.codecs import CODECS
from ingest.codecs.frames import FRAMES
from ingest.sources import Source
from ingest.sources_file import load_sources
from ingest.topics import matches
from tests.support.cbor import written
from tests.support.data import sample

FOLDER = Path(__file__).resolve().parents[1] / "ingest" / "codecs"
#: Device frames as ChirpStack carries them: families of their own.
UPLINK = "uplink of "
FAMILIES = (*CODECS, *(UPLINK + frame for frame in FRAMES))


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a conversation."""

    topic: str
    payload: bytes
    source: Source
    properties: dict[str, str] = {}
    content_type: str = ""


Conversation = tuple[Letter, ...]


def conversations(family: str) -> list[Conversation]:
    """The golden cases of a codec, or of the frames of one as a LoRaWAN server hands them on.

    Those that can be decoded stand ten times, those that cannot once: their changes seldom lead far.
    """
    found = _of_folder(family.removeprefix(UPLINK))
    if family == "senml-cbor":
        found += [tuple(map(_as_cbor, told)) for told in _of_folder("senml-json")]
    return found if family in CODECS else [tuple(map(_as_uplink, told)) for told in found]


def _of_folder(codec: str) -> list[Conversation]:
    cases = sorted((FOLDER / codec).iterdir())
    told = [(_of_case(case), 1 if (case / "error.txt").exists() else 10) for case in cases]
    return [conversation for conversation, times in told for _ in range(times) if conversation]


def _of_case(case: Path) -> Conversation:
    names = _lines(case / "samples.txt")
    files = [sample(name) for name in names] or sorted(case.glob("payload.*"))
    topics = _lines(case / "topic.txt") or ["-"]
    topics = topics if len(topics) == len(files) else topics[:1] * len(files)
    return tuple(
        Letter(
            topic=topic,
            payload=_payload(file),
            source=_source(case, topic),
            properties=dict(line.split("=", 1) for line in _lines(case / "properties.txt")),
            content_type="".join(_lines(case / "content_type.txt")).strip(),
        )
        for topic, file in zip(topics, files, strict=True)
    )


def _payload(file: Path) -> bytes:
    data = file.read_bytes()
    try:
        return bytes.fromhex(data.decode("ascii")) if file.suffix == ".hex" else data
    except ValueError:
        return data


def _source(case: Path, topic: str) -> Source:
    file, codec = case / "sources.yaml", case.parent.name
    of_codec = [source for source in load_sources(file).sources if source.codec == codec] if file.exists() else []
    fitting = [source for source in of_codec if matches(source.filter, topic)]
    return next(iter(fitting or of_codec), Source(filter="#", codec=codec))


def _as_cbor(letter: Letter) -> Letter:
    """The same pack as a device writes it that has no room for JSON."""
    try:
        pack = json.loads(letter.payload)
        payload = written([{_LABELS.get(key, key): value for key, value in record.items()} for record in pack])
    except (ValueError, AttributeError, TypeError, OverflowError):
        payload = letter.payload
    source = msgspec.structs.replace(letter.source, codec="senml-cbor")
    return msgspec.structs.replace(letter, payload=payload, source=source)


_LABELS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6}
_LABELS |= {name: label for label, name in enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))}


def _as_uplink(letter: Letter) -> Letter:
    """The bytes stay bare here, so that they can be changed; `enveloped` wraps them."""
    source = Source(filter="#", codec="chirpstack", frame=letter.source.codec)
    return msgspec.structs.replace(letter, topic="application/1/device/24e1245240000001/event/up", source=source)


def enveloped(frame: bytes) -> bytes:
    """An uplink of ChirpStack 4 with this frame in it."""
    info = {"devEui": "24e1245240000001", "deviceName": "head"}
    return msgspec.json.encode({"time": "2026-05-01T00:00:00Z", "deviceInfo": info, "fCnt": 7, "data": frame})


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
