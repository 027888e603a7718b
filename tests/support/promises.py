"""What every codec promises, whatever the bytes; asked by the suite and by `make fuzz` alike."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from random import Random

import msgspec
from hypothesis import strategies as st

from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, STATES, finite
from ingest.sources import Source
from tests.support.data import sample
from tests.support.hostile import affordable
from tests.support.mutation import Words
from tests.support.mutation import mutated as changed

_QUANTITIES, _STATES = frozenset(QUANTITIES), frozenset(STATES)


def tell(
    codec: str,
    topic: str,
    payload: object,
    memory: CodecMemory | None = None,
    source: Source | None = None,
    *,
    properties: dict[str, str] | None = None,
    content_type: str = "",
) -> Decoded:
    """One message to the codec, as `emberwatch decode` sends it; a payload that is no bytes is sent as JSON."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    source = source or Source(filter=topic, codec=codec)
    message = Message(
        topic=topic, source=source.filter, received_at=0, properties=properties or {}, content_type=content_type
    )
    return CODECS[codec](message, raw, source, {} if memory is None else memory)


def keeps_its_promises(
    codec: str,
    topic: str,
    payload: bytes,
    memory: CodecMemory | None = None,
    source: Source | None = None,
    *,
    properties: dict[str, str] | None = None,
    content_type: str = "",
) -> None:
    """Decoded in our words, or Undecodable in one line; the memory can be written to a checkpoint, exactly."""
    memory = {} if memory is None else memory
    try:
        found = tell(codec, topic, payload, memory, source, properties=properties, content_type=content_type)
    except Undecodable as error:
        check_reason(str(error))
    else:
        check_decoded(found)
    check_memory(memory)


def check_reason(text: str) -> None:
    """A refusal is one line of a bounded length."""
    assert text and text.isprintable() and len(text) < 800, f"the reason is {text!r}"


def check_decoded(found: Decoded) -> None:
    """Our words only, finite numbers, and no fire that says of itself that it is a test."""
    for item in found.observations:
        assert not item.device or item.device.isprintable(), f"the device is {item.device!r}"
        assert item.values.keys() <= _QUANTITIES and item.states.keys() <= _STATES, "a name that is none of ours"
        for name, value in item.values.items():
            assert type(value) is float and finite(name, value) == value, f"{name} is {value!r}"
        for name, state in item.states.items():
            assert type(state) is bool, f"{name} is {state!r}"
        assert not (item.states.get("test") and item.states.get("smoke_alarm")), "a fire and a test in one"


def check_memory(memory: CodecMemory) -> bytes:
    """The memory as a checkpoint carries it: exactly."""
    encoded = msgspec.msgpack.encode(memory)
    assert msgspec.msgpack.decode(encoded) == memory, "the memory is another one after a checkpoint"
    return encoded


def affordable_each(codec: str, messages: list[tuple[str, bytes]], memory: CodecMemory | None = None) -> bool:
    """Whether none of these messages costs too much, each from this memory or an empty one."""

    def decode(topic: str, payload: bytes) -> None:
        with contextlib.suppress(Undecodable):
            tell(codec, topic, payload, memory)

    return all(affordable(partial(decode, topic, payload)) for topic, payload in messages)


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """One of these, changed a few times; or bytes of nobody."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=64))
    random = Random(draw(st.integers(0, 2**32 - 1)))
    payload = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 3))):
        payload = changed(random, payload, Words.of(samples))
    return payload


def mangled(*names: str) -> st.SearchStrategy[bytes]:
    """As `mutated`, of published samples."""
    return mutated([sample(name).read_bytes() for name in names])


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
