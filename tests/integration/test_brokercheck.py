"""`emberwatch check` of a broker, against real brokers with good, stock and closed configurations."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest import brokerdoors, localbroker
from ingest.broker import Broker, start_broker
from ingest.brokercheck import check_broker
from ingest.brokerfinding import Finding, Grade
from ingest.localbroker import read_mosquitto_config
from ingest.sources import Source
from tests.support.broker import make_certificates, publisher, unique, wait_until

pytestmark = pytest.mark.integration

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "config" / "mosquitto.conf"
OWN = ("listener", "allow_anonymous", "persistence_location", "log_dest")
SOURCES = (
    Source(filter="ember/v1/+/+/telemetry", codec="ember-json", shard="main"),
    Source(filter="ember/v1/+/+/alarm", codec="ember-json", shard="main", urgent=True),
)


def deployed_settings() -> dict[str, str]:
    settings = read_mosquitto_config(CONFIG.read_text(encoding="utf-8"))
    return {key: values[-1] for key, values in settings.items() if key not in OWN}


@contextmanager
def mosquitto_with(folder: Path, settings: dict[str, str]) -> Iterator[Broker]:
    with start_broker(folder / "broker", kind="mosquitto", settings=settings) as broker:
        yield broker


def graded(findings: list[Finding], *grades: Grade) -> dict[str, str]:
    return {finding.about: str(finding) for finding in findings if finding.grade in grades}


def bad(findings: list[Finding]) -> dict[str, str]:
    return graded(findings, Grade.LOSES, Grade.BROKEN)


def test_the_configuration_we_ship_passes(mosquitto: Broker, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, deployed_settings()) as broker:
        findings = check_broker(broker.url, SOURCES)
    assert set(graded(findings, Grade.OK)) == {
        "protocol",
        "limits",
        "anonymous",
        "queue",
        "window",
        "outage",
        "persistence",
    }
    assert len(findings) == 7


def test_a_stock_mosquitto_is_told_which_settings_lose_messages(mosquitto: Broker, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, {}) as broker:
        found = bad(check_broker(broker.url, SOURCES))
    assert set(found) == {"queue", "outage", "persistence"}
    assert "max_queued_messages 0" in found["queue"]
    assert "persistence true" in found["persistence"]


@pytest.mark.parametrize(
    ("setting", "value", "about", "named"),
    [
        ("max_packet_size", "20000", "size", "max_packet_size"),
        ("autosave_interval", "1800", "persistence", "autosave_interval 30"),
        ("max_queued_bytes", "5000", "queue", "max_queued_bytes"),
    ],
)
def test_each_setting_that_loses_messages_is_named(
    mosquitto: Broker, tmp_path: Path, setting: str, value: str, about: str, named: str
) -> None:
    with mosquitto_with(tmp_path, deployed_settings() | {setting: value}) as broker:
        found = bad(check_broker(broker.url, SOURCES))
    assert set(found) - {"outage"} == {about}
    assert named in found[about]


def test_the_check_leaves_nothing_behind(mosquitto: Broker, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, deployed_settings()) as broker:
        check_broker(broker.url, SOURCES, messages=300)
        broker.stop()
        saved = (broker.folder / "mosquitto.db").read_bytes()
    assert b"emberwatch-check" not in saved
    assert b"emberwatch/probe" not in saved


def test_amqtt_is_checked_too_and_what_cannot_be_seen_is_said(amqtt_broker: Broker) -> None:
    findings = check_broker(amqtt_broker.url, SOURCES, messages=300)
    assert bad(findings) == {}
    assert set(graded(findings, Grade.NOTE)) == {"protocol", "outage", "persistence"}
    assert "cannot be seen over the wire" in graded(findings, Grade.NOTE)["persistence"]


def test_overlapping_filters_are_found_without_any_broker() -> None:
    sources = (*SOURCES, Source(filter="ember/#", codec="ember-json", shard="north"))
    found = [finding for finding in check_broker("mqtt://127.0.0.1:1", sources) if finding.about == "sources"]
    assert len(found) == 2
    assert all("ember/#" in str(finding) for finding in found)


def test_a_missing_broker_is_one_clear_line() -> None:
    (finding,) = check_broker("mqtt://127.0.0.1:1")
    assert finding.grade is Grade.BROKEN
    assert "no broker answers at mqtt://127.0.0.1:1: connection refused" in str(finding)


def test_a_server_that_is_no_broker_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        served = threading.Thread(target=_mute, args=(server, 2))
        served.start()
        started = time.monotonic()
        (finding,) = check_broker(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - started < 15
        served.join()
    assert "does not answer as an MQTT broker" in str(finding)


def _mute(server: socket.socket, count: int) -> None:
    """Accept, read, and answer nothing until the client leaves."""
    for _ in range(count):
        client, _ = server.accept()
        with client:
            while client.recv(1024):
                pass


def test_a_wrong_password_is_one_clear_line_and_the_right_one_passes(mosquitto: Broker, tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    passwords = tmp_path / "broker" / "passwd"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "ember", "se/c:ret"], check=True)
    settings = deployed_settings() | {"allow_anonymous": "false", "password_file": "passwd"}
    with mosquitto_with(tmp_path, settings) as broker:
        host = broker.url.removeprefix("mqtt://")
        (finding,) = check_broker(f"mqtt://ember:wrong@{host}")
        assert "refuses us: Not authorized" in str(finding) or "refuses us: Bad user name" in str(finding)
        assert "wrong" not in str(finding)
        assert bad(check_broker(f"mqtt://ember:se%2Fc%3Aret@{host}", SOURCES, messages=200)) == {}
        with publisher(f"mqtt://ember:se%2Fc%3Aret@{host}") as client:
            client.publish(unique(), b"let in")


def test_tls_is_checked_against_the_authority_of_the_url(mosquitto: Broker, tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    make_certificates(folder)
    settings = deployed_settings() | {"certfile": "cert.pem", "keyfile": "key.pem"}
    with mosquitto_with(tmp_path, settings) as broker:
        url = broker.url.replace("mqtt://", "mqtts://")
        (finding,) = check_broker(url)
        assert "TLS" in str(finding) and "ca=" in str(finding)
        assert bad(check_broker(f"{url}?ca={folder / 'cert.pem'}", SOURCES, messages=300)) == {}


def test_the_outage_is_measured_against_what_the_inventory_sends(mosquitto: Broker, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, deployed_settings() | {"max_queued_messages": "100000"}) as broker:
        found = graded(check_broker(broker.url, SOURCES, inventory_rate=1000.0), Grade.LOSES)["outage"]
    assert "covers about 1.7 minutes at 1,000 messages/s (what the inventory's devices send)" in found
    assert "about 100,000 messages" in found and "max_queued_messages 0" in found


def test_a_broker_that_tells_its_rate_is_measured_against_that(mosquitto: Broker, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, deployed_settings() | {"sys_interval": "1"}) as broker:
        with publisher(broker.url) as client:
            for _ in range(5):
                client.publish_all((unique(), b"x" * 50) for _ in range(400))
        wait_until(lambda: "(the present rate)" in str(check_broker(broker.url, messages=50)), seconds=30)


@pytest.mark.parametrize(("acl", "grade"), [("", Grade.OPEN), ("user nobody\ntopic a\n", None)])
def test_a_broker_in_the_network_that_takes_messages_of_nobody_is_open(
    mosquitto: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acl: str, grade: Grade | None
) -> None:
    monkeypatch.setattr(brokerdoors, "is_loopback", lambda host: False)
    settings = deployed_settings()
    (tmp_path / "broker").mkdir()
    if acl:
        (tmp_path / "broker" / "acl").write_text(acl)
        settings |= {"acl_file": "acl"}
    with mosquitto_with(tmp_path, settings) as broker:
        findings = check_broker(broker.url, messages=50)
    plain = graded(findings, Grade.NOTE)["TLS"]
    assert "in the clear" in plain and "mqtts://" in plain
    opened = graded(findings, Grade.OPEN).get("anonymous", "")
    assert ("may publish" in opened and "allow_anonymous false" in opened) == (grade is Grade.OPEN)


def test_a_local_broker_that_listens_to_the_network_without_names_is_open(
    mosquitto: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localbroker, "is_loopback", lambda host: host != "0.0.0.0")
    with mosquitto_with(tmp_path, deployed_settings()) as broker:
        config = broker.folder / "mosquitto.conf"
        config.write_text(config.read_text() + "listener 1884 0.0.0.0\n")
        found = graded(check_broker(broker.url, messages=50), Grade.OPEN)["anonymous"]
    assert "listener 1884 0.0.0.0 lets anybody on the network in" in found
