"""What is spoiled is what was chosen, all of it is listed, and the numbers add up."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ingest.readings import SECOND
from ingest.readings_file import FileRow
from simulators.tapes.chosen import Chosen, Gap, Selection, Skew, delayed, gap, selection, skew
from simulators.tapes.fields import Fields
from simulators.tapes.spoil import DEEDS, Done, MessageForm, RowForm, Spoiler
from simulators.tapes.tapefile import Taped

DEVICES = ("h01", "h02", "h03")
GLOBS = some.sampled_from(["", "h01", "h0*", "s1", "ember/v1/s1/h02/telemetry", "nobody"])
SELECTIONS = some.builds(
    Selection,
    numbers=some.lists(
        some.tuples(some.integers(1, 60), some.integers(0, 20)).map(lambda r: (r[0], r[0] + r[1])), max_size=3
    ).map(tuple),
    share=some.sampled_from([0.0, 0.05, 0.3, 1.0]),
    glob=GLOBS,
)
SEVERAL = some.lists(SELECTIONS, max_size=2).map(tuple)
CHOICES = some.builds(
    Chosen,
    seed=some.integers(0, 5),
    drop=SEVERAL,
    double=SEVERAL,
    corrupt=SEVERAL,
    delay=some.lists(some.tuples(SELECTIONS, some.integers(1, 30 * SECOND)), max_size=2).map(tuple),
    gap=some.lists(
        some.builds(Gap, start=some.integers(0, 60 * SECOND), length=some.integers(1, 30 * SECOND), device=GLOBS),
        max_size=2,
    ).map(tuple),
    skew=some.lists(some.builds(Skew, device=GLOBS, by=some.integers(-90 * SECOND, 90 * SECOND)), max_size=2).map(
        tuple
    ),
)
STEPS = some.lists(some.integers(-2 * SECOND, 5 * SECOND), max_size=60)


def told(number: int, at: int) -> Taped:
    device = DEVICES[number % 3]
    payload = json.dumps({"ts": at / SECOND, "seq": number}).encode()
    return Taped(at=at, topic=f"ember/v1/s1/{device}/telemetry", payload=payload)


def stream(steps: Sequence[int]) -> list[Taped]:
    at, found = 1_700_000_000 * SECOND, []
    for number, step in enumerate(steps, start=1):
        at += step
        found.append(told(number, at))
    return found


def every(seconds: int, count: int) -> list[Taped]:
    return stream([seconds * SECOND] * count)


def spoiled(messages: Sequence[Taped], chosen: Chosen) -> tuple[list[Taped], list[Done]]:
    done: list[Done] = []
    spoiler = Spoiler(MessageForm[Taped](Fields()), chosen, done.append)
    left = list(spoiler.spoil(messages))
    assert Counter({what: count for what, count in spoiler.done.items() if count}) == Counter(d.what for d in done)
    assert set(spoiler.done) == set(DEEDS)
    return left, done


def seqs(messages: Sequence[Taped]) -> list[int]:
    return [json.loads(message.payload)["seq"] for message in messages]


@settings(deadline=None)
@given(steps=STEPS, chosen=CHOICES)
def test_out_is_in_less_what_was_left_out_and_what_was_doubled_more(steps: list[int], chosen: Chosen) -> None:
    messages = stream(steps)
    left, done = spoiled(messages, chosen)
    count = Counter(deed.what for deed in done)
    assert len(left) == len(messages) - count["drop"] - count["gap"] + count["double"]


@settings(deadline=None)
@given(steps=STEPS, chosen=CHOICES)
def test_what_is_not_listed_is_untouched_and_what_is_listed_is_touched(steps: list[int], chosen: Chosen) -> None:
    messages = stream(steps)
    left, done = spoiled(messages, chosen)
    deeds: dict[int, set[str]] = {}
    for deed in done:
        deeds.setdefault(deed.number, set()).add(deed.what)
        assert deed.name == messages[deed.number - 1].topic
    out = Counter(_key(message) for message in left)
    for number, message in enumerate(messages, start=1):
        own = deeds.get(number, set())
        changed = bool(own & {"drop", "gap", "corrupt", "skew", "delay"})
        assert out[_key(message)] == (0 if changed else 2 if "double" in own else 1)
    assert sum(out.values()) == len(left)


def _key(message: Taped) -> tuple[int, str, bytes]:
    return message.at, message.topic, message.payload


@settings(deadline=None)
@given(steps=STEPS, chosen=CHOICES)
def test_the_same_seed_does_the_same(steps: list[int], chosen: Chosen) -> None:
    assert spoiled(stream(steps), chosen) == spoiled(stream(steps), chosen)


def test_a_share_is_about_so_many_and_another_seed_takes_others() -> None:
    messages = every(1, 20_000)
    first = seqs(spoiled(messages, Chosen(drop=(selection("1%"),)))[0])
    other = seqs(spoiled(messages, Chosen(drop=(selection("1%"),), seed=2))[0])
    assert 19_740 < len(first) < 19_860
    assert first != other


def test_numbers_and_globs_choose_together() -> None:
    left, done = spoiled(every(1, 12), Chosen(drop=(selection("2,5-9@h02"),)))
    assert [deed.number for deed in done] == [7]  # of 2, 5 … 9 the only one of h02
    assert seqs(left) == [n for n in range(1, 13) if n != 7]


def test_what_is_delayed_comes_behind_what_came_meanwhile() -> None:
    left, done = spoiled(every(10, 5), Chosen(delay=((selection("2"), 25 * SECOND),)))
    assert seqs(left) == [1, 3, 4, 2, 5]
    assert [m.at for m in left] == sorted(m.at for m in left)
    assert json.loads(left[3].payload)["ts"] == json.loads(told(2, left[0].at + 10 * SECOND).payload)["ts"]
    assert done == [Done(number=2, name="ember/v1/s1/h03/telemetry", what="delay", seconds=25.0)]


def test_what_is_delayed_beyond_the_end_comes_last() -> None:
    left, _ = spoiled(every(10, 3), Chosen(delay=((selection("1-2"), 600 * SECOND),)))
    assert seqs(left) == [3, 1, 2]


def test_a_gap_takes_all_from_its_start_until_before_its_end() -> None:
    left, _ = spoiled(every(10, 6), Chosen(gap=(Gap(start=10 * SECOND, length=20 * SECOND),)))
    assert seqs(left) == [1, 4, 5, 6]


def test_a_gap_of_a_device_behind_a_gateway_takes_only_what_it_says() -> None:
    payload = b'[{"device":"h01","ts":1},{"device":"h02","ts":1}]'
    array = Taped(at=0, topic="ember/v1/s1/telemetry", payload=payload)
    alone = Taped(at=0, topic="ember/v1/s1/telemetry", payload=b'[{"device":"h01"}]')
    left, done = spoiled([array, alone], Chosen(gap=(Gap(start=0, length=SECOND, device="h01"),)))
    assert [json.loads(message.payload) for message in left] == [[{"device": "h02", "ts": 1}]]
    assert [deed.what for deed in done] == ["gap in part", "gap"]


def test_a_skewed_clock_is_that_of_its_device_alone() -> None:
    payload = b'[{"device":"h01","ts":1700000000000},{"device":"h02","ts":"2023-11-14T22:13:20Z"}]'
    array = Taped(at=7, topic="ember/v1/s1/telemetry", payload=payload)
    own, other = told(1, 8 * SECOND), told(3, 8 * SECOND)  # h02, h01
    left, done = spoiled([array, own, other], Chosen(skew=(Skew(device="h02", by=-90 * SECOND),)))
    first, second = json.loads(left[0].payload)
    assert (first["ts"], second["ts"]) == (1_700_000_000_000, "2023-11-14T22:11:50+00:00")
    assert json.loads(left[1].payload)["ts"] == 8 - 90
    assert left[2] == other
    assert [(deed.number, deed.seconds) for deed in done] == [(1, -90.0), (2, -90.0)]
    assert [message.at for message in left] == [7, 8 * SECOND, 8 * SECOND]


@given(payload=some.binary(max_size=50), number=some.integers(1, 1000))
def test_what_is_corrupt_is_neither_json_nor_text(payload: bytes, number: int) -> None:
    messages = [Taped(at=0, topic="t", payload=payload)]
    (left,), _ = spoiled(messages, Chosen(corrupt=(selection("1"),), seed=number))
    with pytest.raises(UnicodeDecodeError):
        left.payload.decode()
    assert left.payload != payload
    assert payload.startswith(left.payload[:-1])


def test_rows_of_a_file_come_in_its_order_whatever_their_times_say() -> None:
    rows = [FileRow(at=n * SECOND, site="s", device=f"d{n % 2}", values={"temperature": float(n)}) for n in range(6)]
    chosen = Chosen(
        delay=((selection("1"), 3 * SECOND),), skew=(Skew(device="d1", by=SECOND),), double=(selection("6"),)
    )
    left = list(Spoiler(RowForm(), chosen, lambda _: None).spoil(rows))
    assert [row.values["temperature"] for row in left] == [1, 2, 0, 3, 4, 5, 5]
    assert [row.at // SECOND for row in left] == [2, 2, 0, 4, 4, 6, 6]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("5", Selection(numbers=((5, 5),))),
        ("5,9,100-120", Selection(numbers=((5, 5), (9, 9), (100, 120)))),
        ("0.1%", Selection(share=0.001)),
        ("100%@zigbee2mqtt/*", Selection(share=1.0, glob="zigbee2mqtt/*")),
        ("3@a@b", Selection(numbers=((3, 3),), glob="a@b")),
    ],
)
def test_selections_are_written_shortly(text: str, meant: Selection) -> None:
    assert selection(text) == meant


def test_ids_with_colons_stay_whole() -> None:
    assert delayed("1%@b8:27:eb:30") == (Selection(share=0.01, glob="b8:27:eb"), 30 * SECOND)
    assert gap("60:30:b8:27:eb") == Gap(start=60 * SECOND, length=30 * SECOND, device="b8:27:eb")
    assert skew("b8:27:eb:-1.5") == Skew(device="b8:27:eb", by=-1_500_000)


@pytest.mark.parametrize(
    ("read", "text"),
    [(selection, wrong) for wrong in ("", "0", "5-3", "1,,2", "0%", "101%", "x", "5@", "1%@", "-1", "1.5", "٣")]
    + [(delayed, wrong) for wrong in ("5", "5:", ":5", "5:0", "5:-1", "x:1", "5:" + "9" * 400)]
    + [(gap, wrong) for wrong in ("5", "5:", ":5", "-1:5", "5:0", "5:5:", "5:x")]
    + [(skew, wrong) for wrong in ("d", "d:", ":5", "d:0", "d:x")],
)
def test_what_chooses_nothing_is_refused_with_what_would_be_right(read: type, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write "):
        read(text)
