"""What the process of every role does alike."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from ingest.role import COLLECT_AFTER, spare_the_collector


@pytest.fixture
def collector() -> Iterator[None]:
    """Python's collector as it was, afterwards."""
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks[:] = callbacks
    gc.unfreeze()


class _Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("collector")
def test_what_outlives_a_full_pass_is_never_looked_at_again() -> None:
    spare_the_collector()
    staying = [[number] for number in range(1_000)]
    gc.collect()
    assert gc.get_freeze_count() > len(staying)
    assert not any(each is staying for each in gc.get_objects())


@pytest.mark.usefixtures("collector")
def test_what_is_knotted_and_let_go_is_still_freed() -> None:
    spare_the_collector()
    gc.collect()
    gone = weakref.ref(_Knot())
    made = [[] for _ in range(COLLECT_AFTER + 1)]  # type: ignore[var-annotated]
    assert made and gone() is None


@pytest.mark.usefixtures("collector")
def test_asked_twice_it_is_done_once() -> None:
    before = len(gc.callbacks)
    spare_the_collector()
    spare_the_collector()
    assert len(gc.callbacks) == before + 1
