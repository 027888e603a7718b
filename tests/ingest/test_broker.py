"""The embedded broker's settings, and the configuration file we ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.broker import SETTINGS, mosquitto_config, start_broker
from ingest.errors import OperatorError
from ingest.localbroker import LocalMosquitto, is_loopback, local_mosquitto, read_mosquitto_config, read_mosquitto_files
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


def test_the_folder_that_a_configuration_names_belongs_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "devices.conf").write_text("listener 8883\nallow_anonymous false\n")
    (folder / "notes.txt").write_text("listener 1\n")
    main = tmp_path / "mosquitto.conf"
    main.write_text(f"persistence true\nlistener 1883 127.0.0.1\ninclude_dir {folder}\n")
    assert read_mosquitto_files(main)["listener"] == ["1883 127.0.0.1", "8883"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listener 1883 127.0.0.1\nallow_anonymous true", []),
        ("listener 1883\nallow_anonymous true", ["1883"]),
        ("listener 1883 127.0.0.1\nlistener 1884 0.0.0.0\nallow_anonymous true", ["1884 0.0.0.0"]),
        ("listener 1883\nallow_anonymous false", []),
        ("allow_anonymous true", []),
    ],
)
def test_a_listener_is_open_when_the_network_reaches_it_without_a_name(text: str, expected: list[str]) -> None:
    local = LocalMosquitto(path="m.conf", folder="/", settings=read_mosquitto_config(text))
    assert local.open_listeners() == expected


def test_only_addresses_of_this_machine_are_the_loopback() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("10.0.0.1", "0.0.0.0", "broker.example", "127.0.0.1.example"))
