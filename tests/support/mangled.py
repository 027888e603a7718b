"""Published samples with bytes changed, and what no codec may do with them."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, STATES, finite
from ingest.sources import Source
from tests.support.data import sample

#: What breaks decoders when it stands where something else was.
_PIECES = [b"", b"\0", b"{}", b"[]", b"null", b"true", b"-1", b"1e999", b'""', b'"smoke"', b"{", b"\xff", b"9" * 400]


@st.composite
def mangled(draw: st.DrawFn, *names: str) -> bytes:
    """One of these samples, cut, doubled or with pieces put in; or bytes of nobody."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=64))
    payload = sample(draw(st.sampled_from(names))).read_bytes()
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(payload))), draw(st.integers(0, 12))
        piece = draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=4)))
        payload = payload[:start] + piece + payload[start + length :]
    return payload


def decoded(
    codec: str,
    topic: str,
    payload: bytes,
    memory: CodecMemory | None = None,
    *,
    source: Source | None = None,
    properties: dict[str, str] | None = None,
    content_type: str = "",
) -> Decoded:
    """What a codec makes of one message; without a source as `emberwatch decode` calls it."""
    source = source or Source(filter=topic, codec=codec)
    message = Message(
        topic=topic, source=source.filter, received_at=0, properties=properties or {}, content_type=content_type
    )
    return CODECS[codec](message, payload, source, {} if memory is None else memory)


def keeps_its_promises(
    codec: str,
    topic: str,
    payload: bytes,
    memory: CodecMemory | None = None,
    *,
    properties: dict[str, str] | None = None,
    content_type: str = "",
) -> None:
    """Decoded in our words, or Undecodable in one line; the memory can be written to a checkpoint, exactly."""
    memory = {} if memory is None else memory
    try:
        found = decoded(codec, topic, payload, memory, properties=properties, content_type=content_type)
    except Undecodable as error:
        text = str(error)
        assert text and text.isprintable() and len(text) < 800, text
    else:
        for item in found.observations:
            assert item.device and item.device.isprintable()
            assert set(item.values) <= set(QUANTITIES) and set(item.states) <= set(STATES)
            assert all(type(value) is float and finite(name, value) == value for name, value in item.values.items())
            assert all(type(value) is bool for value in item.states.values())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(memory)) == memory
