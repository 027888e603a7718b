"""Fixtures every room may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.broker import Broker, start_broker
from ingest.database import connect, migrate
from tests.support.broker import missing_mosquitto
from tests.support.collector import Collector
from tests.support.database import SCHEMAS, fresh_database, running_server
from tests.support.skip import skip_or_fail


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real mosquitto for the whole session: use topics and client ids of your own (support.broker.unique)."""
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    with start_broker(tmp_path_factory.mktemp("mosquitto"), kind="mosquitto") as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto of this test's own, which it may end: what another left in sessions or retained would be news."""
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker:
        yield broker


@pytest.fixture(scope="session")
def amqtt_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The embedded amqtt (MQTT 3.1.1) for the whole session."""
    with start_broker(tmp_path_factory.mktemp("amqtt"), kind="amqtt") as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of an embedded PostgreSQL for the whole session: use `database` for a database of your own."""
    with running_server() as url:
        yield url


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """URL of a fresh, migrated database, dropped after the test."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def timescale() -> Iterator[str]:
    """URL of a fresh, migrated database on the TimescaleDB server of EMBERWATCH_TEST_DATABASE_URL."""
    url = os.environ.get("EMBERWATCH_TEST_DATABASE_URL")
    if not url:  # the one skip that strict mode allows: this server cannot be installed from a package index
        pytest.skip("NO TIMESCALEDB: set EMBERWATCH_TEST_DATABASE_URL=postgresql://… to a server that has it")
    with fresh_database(url, template="template0") as fresh:
        with connect(fresh) as connection:
            migrate(connection, SCHEMAS)
        yield fresh


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A team's webhook."""
    with Collector() as collector:
        yield collector
