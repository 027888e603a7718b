"""The embedded broker's settings, and the configuration file we ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.broker import SETTINGS, mosquitto_config, start_broker
from ingest.errors import OperatorError
from ingest.localbroker import local_mosquitto, read_mosquitto_config
from ingest.mqtt import parse_mqtt_url

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "config" / "mosquitto.conf"


def test_the_file_we_ship_and_the_embedded_broker_have_the_same_settings() -> None:
    shipped = read_mosquitto_config(CONFIG.read_text(encoding="utf-8"))
    assert {key: shipped.get(key) for key in SETTINGS} == {key: [value] for key, value in SETTINGS.items()}
    assert set(shipped) - set(SETTINGS) == {"listener", "allow_anonymous", "persistence_location", "log_dest"}
    assert shipped["listener"] == ["1883 127.0.0.1"]


def test_the_embedded_broker_listens_on_the_loopback_alone() -> None:
    settings = read_mosquitto_config(mosquitto_config(4711, SETTINGS))
    assert settings["listener"] == ["4711 127.0.0.1"]
    assert settings["persistence_location"] == ["./"]


def test_a_broker_that_cannot_start_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.broker.find_mosquitto", lambda: None)
    with pytest.raises(OperatorError, match="apt-get install mosquitto"):
        start_broker(tmp_path, kind="mosquitto")


def test_a_broker_on_another_machine_has_no_configuration_here() -> None:
    assert local_mosquitto(parse_mqtt_url("mqtt://broker.example:1883")) is None
