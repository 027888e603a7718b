"""Fixtures of tests with a real broker and a receiver, or with rows that roles would have written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.broker import Broker
from tests.support.broker import unique
from tests.support.intaking import Intaker, source
from tests.support.rows import Rows


@pytest.fixture
def topic() -> str:
    return unique()


@pytest.fixture
def intaker(tmp_path: Path, topic: str) -> Intaker:
    return Intaker(tmp_path, (source(f"{topic}/a/#"), source(f"{topic}/alarm/#", urgent=True)))


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest) -> Broker:
    name = "mosquitto" if request.param == "mosquitto" else "amqtt_broker"
    found: Broker = request.getfixturevalue(name)
    return found


@pytest.fixture
def rows(database: str) -> Iterator[Rows]:
    """Writes into this test's database what writer and recorder would have written."""
    opened = Rows(database)
    yield opened
    opened.close()
