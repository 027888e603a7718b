"""Fixtures every room may use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ingest.broker import Broker, start_broker
from tests.support.broker import missing_mosquitto


def _skip_or_fail(reason: str) -> None:
    if os.environ.get("EMBERWATCH_TEST_STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real mosquitto for the whole session: use topics and client ids of your own (support.broker.unique)."""
    if reason := missing_mosquitto():
        _skip_or_fail(reason)
    with start_broker(tmp_path_factory.mktemp("mosquitto"), kind="mosquitto") as broker:
        yield broker


@pytest.fixture(scope="session")
def amqtt_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The embedded amqtt (MQTT 3.1.1) for the whole session."""
    with start_broker(tmp_path_factory.mktemp("amqtt"), kind="amqtt") as broker:
        yield broker
