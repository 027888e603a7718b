"""Which stage readyz blames, by how far our own probes have come."""

from __future__ import annotations

import pytest

from api.liveness import STALE, Passed, Watch, ages, standing_still
from ingest.readings import SECOND

NOW = 1_800_000_000_000_000
FRESH = NOW - 2 * SECOND
OLD = NOW - 40 * SECOND


@pytest.mark.parametrize(
    ("log", "writer", "evaluator", "recorded", "blamed"),
    [
        (FRESH, FRESH, FRESH, FRESH, []),
        (None, None, None, None, ["through the broker into the log of shard main: "]),
        (OLD, OLD, OLD, OLD, ["through the broker into the log of shard main for 40 s"]),
        (FRESH, OLD, FRESH, FRESH, ["by the writer of shard main for 40 s"]),
        (FRESH, FRESH, OLD, FRESH, ["by the evaluator of shard main for 40 s"]),
        (FRESH, FRESH, OLD, OLD, ["the recorder of shard main has written nothing for 40 s"]),
        (FRESH, OLD, OLD, FRESH, ["by the writer of shard main", "by the evaluator of shard main"]),
        (FRESH, None, None, FRESH, ["by the writer of shard main", "by the evaluator of shard main"]),
    ],
)
def test_the_first_stage_that_holds_probes_up_is_named(
    log: int | None, writer: int | None, evaluator: int | None, recorded: int | None, blamed: list[str]
) -> None:
    passed = Passed(log=log, writer=writer, evaluator=evaluator, recorded_at=recorded)
    found = standing_still("main", passed, now=NOW, stale=STALE)
    assert len(found) == len(blamed)
    assert all(words in line for line, words in zip(found, blamed, strict=True)), found


def test_a_probe_of_the_time_before_the_clock_was_set_back_proves_nothing() -> None:
    later = NOW + 3_600 * SECOND
    passed = Passed(log=later, writer=later, evaluator=later, recorded_at=later)
    assert standing_still("main", passed, now=NOW, stale=STALE)


def test_ages_are_seconds_and_never_negative() -> None:
    assert ages(Passed(log=NOW + 1, writer=FRESH), NOW) == {"log": 0.0, "writer": 2.0, "evaluator": None}


@pytest.mark.parametrize(("every", "stale"), [(0, 15), (1, 15), (3, 15), (10, 50)])
def test_who_probes_seldom_waits_longer_for_them(every: int, stale: int) -> None:
    watch = Watch(shards=["main"], every=every, since=NOW)
    assert watch.stale == stale * SECOND
    assert watch.too_early(NOW + watch.stale - 1) and not watch.too_early(NOW + watch.stale)
