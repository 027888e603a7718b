"""Fixtures of tests of the whole program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.broker import Broker, start_broker
from tests.support.broker import missing_mosquitto
from tests.support.skip import skip_or_fail


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of its own for each test, which it may end: retained states and sessions of another would be news."""
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker:
        yield broker
