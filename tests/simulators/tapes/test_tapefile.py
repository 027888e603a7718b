"""A tape gives back what was put on it, also when it was cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ingest.errors import OperatorError
from simulators.tapes import tapefile
from simulators.tapes.tapefile import (
    Properties,
    Taped,
    TapeWriter,
    is_tape,
    read_batches,
    read_tape,
    read_unheard,
)

TEXT = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)
PROPERTIES = some.builds(Properties, content_type=TEXT, user=some.dictionaries(TEXT, TEXT, max_size=3))
MESSAGES = some.lists(
    some.builds(
        Taped,
        at=some.integers(-(2**63), 2**63 - 1),
        topic=TEXT,
        payload=some.binary(max_size=200),
        qos=some.integers(0, 2),
        retain=some.booleans(),
        properties=some.none() | PROPERTIES,
    ),
    max_size=40,
)


def write(path: Path, messages: list[Taped]) -> None:
    with TapeWriter(path) as tape:
        for m in messages:
            tape.add(at=m.at, topic=m.topic, payload=m.payload, qos=m.qos, retain=m.retain, properties=m.properties)


def numbered(count: int) -> list[Taped]:
    return [Taped(at=n, topic=f"t/{n % 7}", payload=b"%d" % n) for n in range(count)]


def whole(path: Path) -> list[Taped]:
    """Its messages, where nothing is to be said of it."""
    said: list[str] = []
    messages = list(read_tape(path, tell=said.append))
    assert said == []
    return messages


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tapes") / "a.tape"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tapefile, "MOST_ROWS", 10)
    yield


@settings(deadline=None)
@given(messages=MESSAGES)
def test_any_message_comes_back_as_it_was(messages: list[Taped], path: Path) -> None:
    write(path, messages)
    assert whole(path) == messages


def test_many_at_once_are_the_same_as_one_by_one(path: Path) -> None:
    messages = numbered(100)
    with TapeWriter(path) as tape:
        tape.add(at=-1, topic="first", payload=b"")
        tape.add_batch(
            np.array([m.at for m in messages]),
            pa.array([m.topic for m in messages]),
            pa.array([m.payload for m in messages], pa.binary()),
        )
        tape.add(at=100, topic="last", payload=b"")
    assert whole(path) == [
        Taped(at=-1, topic="first", payload=b""),
        *messages,
        Taped(at=100, topic="last", payload=b""),
    ]


@settings(max_examples=60, deadline=None)
@given(share=some.floats(0, 1))
def test_a_tape_that_was_cut_is_read_up_to_the_cut(share: float, path: Path) -> None:
    messages = numbered(100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tapefile, "MOST_ROWS", 10)
        write(path, messages)
    before = path.read_bytes()
    begins = len(_empty(path)) - len(tapefile.END)
    path.write_bytes(before[: begins + int(share * (len(before) - begins - 1))])
    said: list[str] = []
    read = list(read_tape(path, tell=said.append))
    assert read == messages[: len(read)]
    assert len(read) % 10 == 0
    assert len(said) == 1
    assert f"its writer did not end it: it was killed, or still writes; {len(read)} messages are in it" in said[0]


def _empty(path: Path) -> bytes:
    other = path.with_suffix(".empty")
    write(other, [])
    return other.read_bytes()


@pytest.mark.usefixtures("small_batches")
def test_what_was_written_is_readable_before_the_end(path: Path) -> None:
    with TapeWriter(path) as tape:
        for m in numbered(25):
            tape.add(at=m.at, topic=m.topic, payload=m.payload)
        assert list(read_tape(path, tell=lambda _: None)) == numbered(20)
        tape.flush()
        assert list(read_tape(path, tell=lambda _: None)) == numbered(25)


def test_a_second_of_messages_is_written_without_being_asked(path: Path) -> None:
    with TapeWriter(path) as tape:
        tape.add(at=0, topic="t", payload=b"")
        assert not list(read_batches(path, tell=lambda _: None))
        tape.add(at=1_000_000, topic="t", payload=b"")
        assert len(list(read_tape(path, tell=lambda _: None))) == 2


def test_a_tape_knows_when_nothing_was_heard(path: Path) -> None:
    with TapeWriter(path) as tape:
        tape.add(at=1, topic="t", payload=b"")
        tape.unheard(2, 30)
        tape.add(at=31, topic="t", payload=b"")
        tape.unheard(32, 40)
    assert [m.at for m in whole(path)] == [1, 31]
    assert read_unheard(path) == [(2, 30), (32, 40)]


def test_the_same_messages_are_the_same_bytes(path: Path) -> None:
    write(path, numbered(1000))
    first = path.read_bytes()
    write(path, numbered(1000))
    assert path.read_bytes() == first


@pytest.mark.usefixtures("small_batches")
def test_a_tape_broken_in_its_middle_is_refused(path: Path) -> None:
    write(path, [Taped(at=n, topic="t", payload=bytes([n]) * 500) for n in range(100)])
    data = bytearray(path.read_bytes())
    middle = data.find(b"\x28\xb5\x2f\xfd", len(data) // 2)  # a zstd frame
    data[middle] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=r"a\.tape: broken after \d0 messages: .*; copy it again") as caught:
        list(read_tape(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_tape_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text('{"ts":1}\n')
    (tmp_path / "nothing").write_bytes(b"")
    other = pa.table({"a": [1]})
    with pa.ipc.new_stream(str(tmp_path / "other"), other.schema) as writer:
        writer.write_table(other)
    for name, said in (("text", "not a tape"), ("nothing", "not a tape"), ("other", "its columns are others")):
        assert not is_tape(tmp_path / name)
        with pytest.raises(OperatorError, match=said):
            list(read_tape(tmp_path / name))
    with pytest.raises(OperatorError, match="no such file or directory; name a tape, made by record or --sent"):
        list(read_tape(tmp_path / "none"))


def test_properties_of_another_hand_are_checked(path: Path) -> None:
    row = {"at": [1], "topic": ["t"], "payload": [b""], "qos": [1], "retain": [False], "properties": ["{"]}
    with pa.ipc.new_stream(str(path), tapefile.SCHEMA) as writer:
        writer.write_table(pa.table(row, schema=tapefile.SCHEMA))
    with pytest.raises(OperatorError, match=r"properties of a message on t: .*; write "):
        list(read_tape(path))


def test_a_tape_is_known_by_its_beginning(path: Path) -> None:
    write(path, [])
    assert is_tape(path)
    path.write_text('{"device_id":"tape 1","ts":1}')
    assert not is_tape(path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="--sent /nowhere/x: no such file or directory; name a file to write to"):
        TapeWriter("/nowhere/x")
    with pytest.raises(OperatorError, match="FILE /dev/full: no space left on device"):
        TapeWriter("/dev/full", "FILE")


def test_without_a_path_nothing_is_kept() -> None:
    with TapeWriter(None) as tape:
        tape.add(at=1, topic="t", payload=b"")
        tape.unheard(1, 2)
        tape.add_batch(np.array([1]), pa.array(["t"]), pa.array([b""]))
