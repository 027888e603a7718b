"""A mosquitto with the configuration we ship for devices on the network, and clients that show who they are."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ingest.aclfile import acl_lines
from ingest.broker import Broker, start_broker
from ingest.inventory import Device
from ingest.mqtt import parse_mqtt_url, tls_context
from tests.support.broker import unique, wait_until
from tests.support.ports import free_port

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "config"
#: What mosquitto.conf says to take away when mosquitto-devices.conf is added.
LOOPBACK_ONLY = ("listener 1883 127.0.0.1\n", "allow_anonymous true\n")
LONG_AGO = (datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
SECRET = "a secret of this test"


def shipped_config(ports: dict[int, int]) -> str:
    """mosquitto.conf with mosquitto-devices.conf, at these ports of the loopback and with files of the folder."""
    text = (CONFIG / "mosquitto.conf").read_text(encoding="utf-8")
    for line in LOOPBACK_ONLY:
        assert line in text
        text = text.replace(line, "", 1)
    devices = (CONFIG / "mosquitto-devices.conf").read_text(encoding="utf-8")
    optional = devices[devices.index("#listener 8885") :].split("\n\n", 1)[0]
    text += devices.replace(optional, optional.replace("#", ""))
    for port, ours in ports.items():
        text = text.replace(f"listener {port} 127.0.0.1\n", f"listener {ours} 127.0.0.1\n")
        text = text.replace(f"listener {port}\n", f"listener {ours} 127.0.0.1\n")
    text = text.replace("#log_type all", "log_type all")
    return text.replace("/etc/mosquitto/certs/", "").replace("/etc/mosquitto/", "").replace("/var/lib/mosquitto/", "./")


class Trust:
    """A broker, its authorities and its files; `users` are those who have a secret (SECRET)."""

    def __init__(self, folder: Path, users: Sequence[str], sources: Sequence[str]) -> None:
        self.folder = folder
        self.sources = sources
        self.devices_ca, self.our_ca, self.server_ca = trustme.CA(), trustme.CA(), trustme.CA()
        self.ports = {inside: free_port() for inside in (1883, 8883, 8884, 8885)}
        folder.mkdir()
        server = self.server_ca.issue_cert("127.0.0.1")
        server.cert_chain_pems[0].write_to_path(folder / "server.pem")
        server.private_key_pem.write_to_path(folder / "server.key")
        self.devices_ca.cert_pem.write_to_path(folder / "devices.pem")
        self.our_ca.cert_pem.write_to_path(folder / "emberwatch.pem")
        self.server_ca.cert_pem.write_to_path(folder / "ca.pem")
        (folder / "passwd").write_text("".join(f"{user}:{SECRET}\n" for user in users), encoding="utf-8")
        subprocess.run(["mosquitto_passwd", "-U", folder / "passwd"], check=True)
        self.write_acl(())
        self.broker: Broker

    def start(self) -> None:
        """On the same ports each time; returns when all listeners are open."""
        started = self.log().count(" running\n")
        config = shipped_config(self.ports)
        self.broker = start_broker(self.folder, self.ports[1883], kind="mosquitto", config=config)
        wait_until(lambda: self.log().count(" running\n") > started, what="mosquitto runs")

    def write_acl(self, devices: Sequence[Device]) -> None:
        lines = acl_lines(devices, self.sources, user="emberwatch")
        (self.folder / "acl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def reload(self) -> None:
        """Let mosquitto read its files anew, and wait until it has."""
        before = self.log().count("Reloading config.")
        os.kill(self.broker.pid, signal.SIGHUP)
        wait_until(lambda: self.log().count("Reloading config.") > before, what="mosquitto reloads")

    def restart(self) -> None:
        """End mosquitto in good order, and start it on the same ports."""
        self.broker.stop()
        self.start()

    def log(self) -> str:
        path = self.folder / "broker.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def certificate(self, name: str, *, ca: trustme.CA | None = None, expired: bool = False) -> Path:
        """A file with key and certificate for this CN."""
        begin, end = LONG_AGO if expired else (None, None)
        issued = (ca or self.devices_ca).issue_cert("device.invalid", common_name=name, not_before=begin, not_after=end)
        path = self.folder.parent / f"{unique('cert')}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    @property
    def own_url(self) -> str:
        """Of our own roles."""
        return f"mqtt://emberwatch:{SECRET.replace(' ', '%20')}@127.0.0.1:{self.ports[1883]}"

    def our_certificate(self, *, expired: bool = False) -> Path:
        """Of our own roles."""
        return self.certificate("emberwatch", ca=self.our_ca, expired=expired)

    def url_with_certificate(self, certificate: Path | None, *, ca: Path | None = None, port: int = 8883) -> str:
        """Port 8883 is for devices, 8885 for our own roles."""
        cert = f"&cert={certificate}" if certificate else ""
        return f"mqtts://127.0.0.1:{self.ports[port]}?ca={ca or self.folder / 'ca.pem'}{cert}"

    def url_with_secret(self, user: str, secret: str = SECRET) -> str:
        quoted = f"{user.replace('/', '%2F')}:{secret.replace(' ', '%20')}"
        return f"mqtts://{quoted}@127.0.0.1:{self.ports[8884]}?ca={self.folder / 'ca.pem'}"


@contextmanager
def trusting_mosquitto(folder: Path, *, users: Sequence[str], sources: Sequence[str]) -> Iterator[Trust]:
    """As shipped, with an empty inventory."""
    trust = Trust(folder / "trusting", ["emberwatch", *users], sources)
    trust.start()
    try:
        yield trust
    finally:
        trust.broker.stop()


class Caller:
    """A device's MQTT 5 client that keeps what it is told."""

    def __init__(self, url: str, *, client_id: str = "", will: tuple[str, bytes] | None = None) -> None:
        address = parse_mqtt_url(url)
        self.received: list[tuple[str, bytes]] = []
        self._answers: dict[int, int] = {}
        self._granted = threading.Event()
        self._entered = threading.Event()
        self.refusal = ""
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or unique("caller"), protocol=MQTTProtocolVersion.MQTTv5
        )
        if address.user:
            self._client.username_pw_set(address.user, address.password)
        if address.tls:
            self._client.tls_set_context(tls_context(address))
        if will:
            self._client.will_set(*will, qos=1)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = self._on_message
        self._client.connect(address.host, address.port, clean_start=True)
        self._client.loop_start()
        assert self._entered.wait(10), "no CONNACK"

    def publish(self, topic: str, payload: bytes) -> int:
        """The reason code of the broker's answer: 0 or 16 taken (16: by nobody), 135 not authorized."""
        info = self._client.publish(topic, payload, 1)
        wait_until(lambda: info.mid in self._answers, what="PUBACK")
        return self._answers[info.mid]

    def subscribe(self, filter_: str) -> None:
        self._granted.clear()
        self._client.subscribe(filter_, 1)
        assert self._granted.wait(10), "no SUBACK"

    def break_off(self) -> None:
        """Lose the connection without a DISCONNECT, so that the will is due."""
        wire = self._client.socket()
        assert wire is not None
        self._client.loop_stop()
        wire.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_connect = self._client.on_publish = self._client.on_message = None  # no cycle

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.refusal = reason.getName() if reason.is_failure else ""
        self._entered.set()

    def _on_publish(self, _client: Client, _data: Any, number: int, reason: Any, _properties: Any) -> None:
        self._answers[number] = reason.value

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.received.append((message.topic, bytes(message.payload)))


@contextmanager
def caller(url: str, *, client_id: str = "", will: tuple[str, bytes] | None = None) -> Iterator[Caller]:
    """A Caller that is closed afterwards."""
    client = Caller(url, client_id=client_id, will=will)
    try:
        yield client
    finally:
        client.close()
