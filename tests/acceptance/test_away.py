"""The database away and the log full: fires are told meanwhile, and afterwards everything is where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.away import Absence
from tests.support.broker import missing_mosquitto
from tests.support.havoc import Database
from tests.support.recorded_run import own_database
from tests.support.skip import skip_or_fail

pytestmark = pytest.mark.acceptance


@pytest.fixture
def server() -> Iterator[Database]:
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    with own_database() as server:
        yield server


def test_without_database_and_with_a_full_log_fires_are_told_and_nothing_is_lost(
    tmp_path: Path, server: Database
) -> None:
    figures = Absence(tmp_path, server, seconds=24, rate=300).run()
    print(figures)
    assert figures.refused
    assert len(figures.told_s) == 4
    assert not figures.out_of_order
    assert not figures.missing
    books = figures.books
    assert books["stored"] == figures.published
    assert books["quarantined"] == books["no_reading"] == books["waiting"] == 0
