"""What both sessions brought is logged once, and nothing is left out for being alike."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ingest import overlap
from ingest.overlap import Overlap, print_of

SAYINGS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12)


def logged(old_only: list[str], both: list[str], both_unsure: list[str], new_only: list[str]) -> Counter[str]:
    """What is in the log in the end; `both_unsure` came while the broker was being asked to unsubscribe."""
    window = Overlap()
    window.logged(print_of("t", saying.encode(), 1) for saying in both)
    window.close()
    old = [
        saying for saying in old_only + both + both_unsure if not window.is_double(print_of("t", saying.encode(), 1))
    ]
    return Counter(both + both_unsure + new_only + old)


@given(SAYINGS, SAYINGS, SAYINGS, SAYINGS)
def test_however_alike_messages_are_the_totals_are_exact_but_for_what_came_while_unsubscribing(
    old_only: list[str], both: list[str], both_unsure: list[str], new_only: list[str]
) -> None:
    published = Counter(old_only + both + both_unsure + new_only)
    assert logged(old_only, both, both_unsure, new_only) == published + Counter(both_unsure)


def test_topic_payload_and_qos_make_a_double() -> None:
    window = Overlap()
    window.logged([print_of("t", b"x", 1)])
    others = [print_of("u", b"x", 1), print_of("t", b"y", 1), print_of("t", b"x", 0)]
    assert not any(window.is_double(other) for other in others)
    assert [window.is_double(print_of("t", b"x", 1)) for _ in range(2)] == [True, False]


def test_what_is_remembered_is_bounded_and_the_rest_is_logged_twice() -> None:
    window = Overlap()
    window.logged(range(overlap.MOST + 5))
    assert sum(window.is_double(mark) for mark in range(overlap.MOST + 5)) == overlap.MOST
