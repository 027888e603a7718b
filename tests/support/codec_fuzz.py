"""Hostile payloads for one codec: whatever the bytes, it answers or says Undecodable in one line, and in time."""

from __future__ import annotations

import contextlib
import json
from functools import partial

import msgspec
from hypothesis import strategies as st

from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, STATES
from ingest.sources import Source
from tests.support.hostile import affordable


def tell(codec: str, topic: str, payload: bytes | object, memory: CodecMemory, source: Source | None = None) -> Decoded:
    """One message to the codec; a payload that is no bytes is sent as JSON."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    source = source or Source(filter=topic, codec=codec)
    message = Message(topic=topic, source=source.filter, received_at=0)
    return CODECS[codec](message, raw, source, memory)


def survives(codec: str, topic: str, payload: bytes, memory: CodecMemory, source: Source | None = None) -> None:
    """Assert the codec's promise for this message, and that its memory can be checkpointed."""
    try:
        decoded = tell(codec, topic, payload, memory, source)
    except Undecodable as error:
        assert str(error) and len(str(error).splitlines()) == 1 and len(str(error)) < 400
    else:
        for item in decoded.observations:
            assert set(item.values) <= set(QUANTITIES) and set(item.states) <= set(STATES)
            assert all(type(value) is float and abs(value) < 1e13 for value in item.values.values())
            assert all(type(value) is bool for value in item.states.values())
            assert not (item.states.get("test") and item.states.get("smoke_alarm"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(memory)) == memory


def affordable_each(codec: str, messages: list[tuple[str, bytes]], memory: CodecMemory | None = None) -> bool:
    """Whether none of these messages costs too much, each from this memory or an empty one."""

    def decode(topic: str, payload: bytes) -> None:
        with contextlib.suppress(Undecodable):
            tell(codec, topic, payload, {} if memory is None else memory)

    return all(affordable(partial(decode, topic, payload)) for topic, payload in messages)


def trees(keys: list[str], texts: list[str]) -> st.SearchStrategy[object]:
    """JSON built of a format's own keys and words, in places where they may not belong."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 300),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(texts),
        st.text(max_size=6),
    )
    named = st.sampled_from(keys) | st.text(max_size=3)
    return st.recursive(
        st.dictionaries(named, scalars, max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(named, inner | scalars, max_size=5),
        max_leaves=15,
    )


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """A sample with a piece cut out, doubled or overwritten."""
    sample = draw(st.sampled_from(samples))
    at = draw(st.integers(0, len(sample)))
    length = draw(st.integers(0, 12))
    return sample[:at] + draw(st.binary(max_size=6) | st.just(sample[at : at + length] * 2)) + sample[at + length :]
