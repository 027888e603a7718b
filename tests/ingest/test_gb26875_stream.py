"""The reassembler: every intact frame comes out, however the bytes are cut and whatever is between them."""

from __future__ import annotations

import time

from hypothesis import example, given
from hypothesis import strategies as st

from ingest.codecs.gb26875_frame import FRAME_LIMIT, SEND, UNIT_LIMIT, Frame, build
from ingest.gb26875_stream import Reassembler


def frame(unit: bytes = b"", serial: int = 1) -> bytes:
    label = address = bytes(6)
    return build(Frame(serial=serial, sent=label, source=b"abcdef", destination=address, command=SEND, unit=unit))


def damaged(raw: bytes) -> bytes:
    return raw[:-3] + bytes((raw[-3] ^ 1,)) + raw[-2:]


def all_of(data: bytes, size: int) -> tuple[list[bytes], Reassembler]:
    """Frames of a stream that comes in pieces of this size and then pauses."""
    stream = Reassembler()
    found = [raw for at in range(0, len(data), size) for raw in stream.feed(data[at : at + size])]
    return found + stream.pause(), stream


units = st.binary(max_size=60)


@given(st.lists(units, max_size=6), st.integers(1, 200))
def test_glued_frames_come_out_however_they_are_cut(contents: list[bytes], size: int) -> None:
    frames = [frame(unit, serial) for serial, unit in enumerate(contents)]
    found, stream = all_of(b"".join(frames), size)
    assert found == frames
    assert stream.garbage == 0 and not stream.waiting


noise = st.one_of(st.binary(max_size=80), st.text("@#\0", max_size=80).map(str.encode))


@given(noise, st.lists(units, min_size=1, max_size=3), st.integers(1, 200))
@example(b"@@" + bytes(22) + b"\0\4", [b""], 7)  # promises 1,024 bytes that never come
@example(b"@", [b""], 1)
def test_every_frame_behind_garbage_comes_out_after_a_pause(garbage: bytes, contents: list[bytes], size: int) -> None:
    frames = [frame(unit, serial) for serial, unit in enumerate(contents)]
    found, _ = all_of(garbage + b"".join(frames), size)
    assert [raw for raw in found if raw in frames] == frames


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_every_byte_is_a_frames_garbage_or_held(data: bytes, size: int) -> None:
    found, stream = all_of(data, size)
    held = len(stream._held)
    assert sum(map(len, found)) + stream.garbage + held == len(data)
    assert held < FRAME_LIMIT


def test_a_frame_with_a_wrong_sum_comes_out_too_and_hides_none_inside_it() -> None:
    inner = frame(b"\x16", 2)
    bad = damaged(frame(bytes(40)))
    assert all_of(bad + inner, 11)[0] == [bad, inner]
    around = damaged(frame(b"xx" + inner))
    assert all_of(around, 4096)[0] == [inner]


def test_a_slow_link_loses_nothing_by_a_pause() -> None:
    raw, stream = frame(bytes(100)), Reassembler()
    assert stream.feed(raw[:60]) == [] == stream.pause()
    assert stream.feed(raw[60:]) == [raw]


def test_a_unit_over_the_limit_is_no_frame() -> None:
    found, stream = all_of(frame(bytes(UNIT_LIMIT + 1)) + frame(), 512)
    assert found == [frame()]
    assert stream.garbage == FRAME_LIMIT + 1


def test_hostile_streams_cost_bounded_time_and_memory() -> None:
    begun = b"@@" + bytes(22) + b"\0\4\2"
    for piece in (
        b"@",
        b"@@\0",
        begun,
        damaged(frame()),
        damaged(frame(b"@@\0" * 300)),
        b"@@" + bytes(22) + b"\0\0\2\0##",
    ):
        data = (piece * (256 * 1024 // len(piece)))[: 256 * 1024]
        stream, started = Reassembler(), time.process_time()
        for at in range(0, len(data), 4096):
            stream.feed(data[at : at + 4096])
            stream.pause()
            assert len(stream._held) < FRAME_LIMIT
        assert time.process_time() - started < 1.5, piece[:8]
