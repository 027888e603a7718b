"""mosquitto as we ship it for devices on the network: who they are, and what they may publish."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trustme
from structlog.testing import capture_logs

from ingest import mqtt
from ingest.asker import Asker
from ingest.broker import Broker
from ingest.brokercheck import check_broker
from ingest.brokerfinding import BAD, Grade
from ingest.codecs.contract import Request
from ingest.errors import OperatorError, Unavailable
from ingest.inventory import Device, DeviceClass
from ingest.message import Kind
from ingest.mqtt import BrokerAddress, connect_socket, parse_mqtt_url
from ingest.prober import Prober
from ingest.receiver import Receiver
from ingest.sources import Source
from simulators.wire.raw import Wire
from tests.support import receiving
from tests.support.broker import unique, wait_until
from tests.support.memory_log import MemoryJournal
from tests.support.trust import Trust, caller, trusting_mosquitto

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("ember/v1/+/+/telemetry", "ember/v1/+/+/alarm", "ember/v1/+/telemetry", "ember/v1/+/+/status", "z2m/#")
A, B = "shed-12/head-1", "shed-12/head-2"
GATEWAY = Device(id="gw", site="shed-12", device_class=DeviceClass.GATEWAY)
BEHIND = Device(id="head-2", site="shed-12", gateway="gw")
BRIDGE = Device(id="z2m", site="shed-9", attributes={"publish": ["z2m/#"]})
NOT_AUTHORIZED = 135


@pytest.fixture(scope="module")
def trust(mosquitto: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trust]:
    folder = tmp_path_factory.mktemp("trust")
    with trusting_mosquitto(folder, users=[A, B], sources=SOURCES) as trust:
        yield trust


@pytest.fixture(params=["certificate", "secret"])
def url_of_a(request: pytest.FixtureRequest, trust: Trust) -> str:
    """How device A comes in."""
    if request.param == "secret":
        return trust.url_with_secret(A)
    return trust.url_with_certificate(trust.certificate(A))


class Taken:
    """Receivers of all sources, one after the other, and their log."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journal = MemoryJournal(folder)
        self._url = url
        self._client_id = unique("rx")
        self._sources = [Source(filter=filter_, codec="ember-json", shard="main") for filter_ in SOURCES]

    def messages(self) -> list[tuple[str, bytes]]:
        return [(message.topic, payload) for message, payload in self.journal.messages.received()]

    def wait_listening(self) -> None:
        wait_until(lambda: any(record.kind == Kind.TICK for record in self.journal.messages.records), what="a tick")

    @contextmanager
    def running(self) -> Iterator[None]:
        receiver = Receiver(
            journal=self.journal,
            sources=self._sources,
            mqtt_url=self._url,
            client_id=self._client_id,
            now=lambda: time.time_ns() // 1000,
        )
        with receiving.running(receiver):
            yield


def test_a_device_publishing_as_another_is_refused_and_told_and_nothing_reaches_the_log(
    trust: Trust, url_of_a: str, tmp_path: Path
) -> None:
    taken = Taken(tmp_path, trust.own_url)
    with taken.running(), caller(url_of_a) as a:
        taken.wait_listening()
        assert a.publish(f"ember/v1/{B}/alarm", b"spoofed") == NOT_AUTHORIZED
        assert a.publish("ember/v1/shed-12/telemetry", b"spoofed") == NOT_AUTHORIZED
        assert a.publish(f"ember/v1/{A}/command", b"spoofed") == NOT_AUTHORIZED
        assert a.publish(f"ember/v1/{A}/alarm", b"its own") == 0
        wait_until(lambda: taken.messages(), what="A's own message")
    assert taken.messages() == [(f"ember/v1/{A}/alarm", b"its own")]


def test_the_broker_s_log_names_who_was_refused_and_where(trust: Trust, url_of_a: str) -> None:
    with caller(url_of_a) as a:
        assert a.publish(f"ember/v1/{B}/alarm", b"spoofed") == NOT_AUTHORIZED
    wait_until(lambda: f"Denied PUBLISH from {A} (" in trust.log())
    assert f"'ember/v1/{B}/alarm'" in trust.log()


def test_a_will_in_another_s_name_is_never_published(trust: Trust, url_of_a: str, tmp_path: Path) -> None:
    taken = Taken(tmp_path, trust.own_url)
    with taken.running():
        taken.wait_listening()
        for name in (B, A):  # in this order: when the second came, the first would have come
            with caller(url_of_a, will=(f"ember/v1/{name}/status", name.encode())) as a:
                a.break_off()
                wait_until(lambda: trust.log().count("closed its connection") > 0)
        wait_until(lambda: taken.messages(), what="A's own will")
    assert taken.messages() == [(f"ember/v1/{A}/status", A.encode())]


def test_a_device_hears_its_own_orders_and_nobody_else_s_words(trust: Trust, url_of_a: str) -> None:
    with caller(url_of_a) as a, caller(trust.url_with_secret(B)) as b, caller(trust.own_url) as ours:
        a.subscribe("#")
        assert b.publish(f"ember/v1/{B}/alarm", b"of B") in (0, 16)
        assert ours.publish(f"ember/v1/{B}/command", b"to B") in (0, 16)
        assert ours.publish(f"ember/v1/{A}/command", b"to A") == 0
        wait_until(lambda: a.received)
    assert a.received == [(f"ember/v1/{A}/command", b"to A")]


def test_nobody_takes_the_receiver_s_session_by_its_client_id(trust: Trust, url_of_a: str, tmp_path: Path) -> None:
    taken = Taken(tmp_path, trust.own_url)
    with taken.running():
        taken.wait_listening()
        names = {line.split(" as ")[1].split(" ")[0] for line in trust.log().splitlines() if "u'emberwatch'" in line}
        assert names
        for name in names:
            with caller(url_of_a, client_id=name) as thief:
                assert thief.publish(f"ember/v1/{A}/alarm", name.encode()) == 0
        wait_until(lambda: len(taken.messages()) == len(names))
        assert "already connected" not in trust.log()


def test_nobody_comes_in_without_showing_who_he_is(trust: Trust) -> None:
    plain = f"mqtt://127.0.0.1:{trust.ports[1883]}"
    for url in (plain, trust.url_with_secret(A, "wrong"), trust.url_with_secret("shed-12/nobody")):
        with caller(url) as stranger:
            assert stranger.refusal == "Not authorized"


def test_gateways_and_foreign_formats_are_known_to_a_running_broker_after_a_reload(
    trust: Trust, tmp_path: Path
) -> None:
    gateway, bridge = (trust.url_with_certificate(trust.certificate(name)) for name in ("shed-12/gw", "shed-9/z2m"))
    taken = Taken(tmp_path, trust.own_url)
    with taken.running(), caller(gateway) as speaker, caller(bridge) as foreign:
        taken.wait_listening()
        assert speaker.publish(f"ember/v1/{B}/telemetry", b"too early") == NOT_AUTHORIZED
        assert foreign.publish("z2m/kitchen", b"too early") == NOT_AUTHORIZED
        trust.write_acl([GATEWAY, BEHIND, Device(id="head-1", site="shed-12"), BRIDGE])
        trust.reload()
        for topic in (f"ember/v1/{B}/telemetry", "ember/v1/shed-12/telemetry"):
            assert speaker.publish(topic, b"for those behind it") == 0
        assert speaker.publish(f"ember/v1/{A}/telemetry", b"for one that is not") == NOT_AUTHORIZED
        assert speaker.publish("ember/v1/shed-9/telemetry", b"for another site") == NOT_AUTHORIZED
        assert foreign.publish("z2m/kitchen", b"its own format") == 0
        assert foreign.publish("ember/v1/shed-12/telemetry", b"no") == NOT_AUTHORIZED
        wait_until(lambda: len(taken.messages()) == 3)
    assert {payload for _, payload in taken.messages()} == {b"for those behind it", b"its own format"}


def test_what_waits_for_the_receiver_outlives_a_reload_and_a_restart_of_the_broker(
    mosquitto: Broker, tmp_path: Path
) -> None:
    steps = {"nothing": _nothing, "reload": Trust.reload, "restart": Trust.restart}
    with trusting_mosquitto(tmp_path, users=[A], sources=SOURCES) as trust:
        taken = Taken(tmp_path, trust.own_url)
        with taken.running():
            taken.wait_listening()
        for name, step in steps.items():
            step(trust)
            with caller(trust.url_with_secret(A)) as a:
                assert a.publish(f"ember/v1/{A}/alarm", name.encode()) == 0, name
        with taken.running():
            wait_until(lambda: len(taken.messages()) == len(steps))
    assert [payload.decode() for _, payload in taken.messages()] == list(steps)


def _nothing(trust: Trust) -> None:
    pass


# our own side


class Mishap(msgspec.Struct, frozen=True):
    """An address that does not work, what must be said of it, and how it is put right (where a file is at fault)."""

    url: str
    said: str
    mend: Callable[[], object] | None = None


def mishaps(trust: Trust, folder: Path) -> dict[str, Mishap]:
    ours = trust.our_certificate()
    other = trustme.CA()
    other_ca, missing = folder / "other.pem", folder / "not-yet.pem"
    other.cert_pem.write_to_path(other_ca)
    expired = trust.our_certificate(expired=True)
    unknown = trust.certificate("emberwatch", ca=other)

    def url(certificate: Path | None, ca: Path | None = None) -> str:
        return trust.url_with_certificate(certificate, ca=ca, port=8885)

    return {
        "wrong authority": Mishap(
            url(ours, other_ca),
            "ca= in MQTT_URL must name the authority",
            lambda: shutil.copy(trust.folder / "ca.pem", other_ca),
        ),
        "expired": Mishap(url(expired), "it has expired", lambda: shutil.copy(ours, expired)),
        "unknown": Mishap(
            url(unknown), "does not know who signed our client certificate", lambda: shutil.copy(ours, unknown)
        ),
        "missing": Mishap(url(missing), "no such file", lambda: shutil.copy(ours, missing)),
        "none": Mishap(url(None), "give cert= and key= in MQTT_URL"),
        "wrong port": Mishap(
            f"mqtts://127.0.0.1:{trust.ports[1883]}?ca={trust.folder / 'ca.pem'}", "TLS with mqtts://127.0.0.1"
        ),
        "no TLS": Mishap(f"mqtt://127.0.0.1:{trust.ports[8883]}", "check host and port, and mqtt:// or mqtts://"),
    }


MISHAPS = ["wrong authority", "expired", "unknown", "missing", "none", "wrong port", "no TLS"]


@pytest.mark.parametrize("name", MISHAPS)
def test_check_says_in_one_line_what_is_wrong_with_our_certificates(trust: Trust, name: str, tmp_path: Path) -> None:
    mishap = mishaps(trust, tmp_path)[name]
    (finding,) = check_broker(mishap.url)
    assert finding.grade is Grade.BROKEN
    assert mishap.said in str(finding) and "\n" not in str(finding)


@pytest.mark.parametrize("name", MISHAPS[:4])
def test_a_receiver_says_once_what_is_wrong_and_comes_in_when_it_is_put_right(
    trust: Trust, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mishap = mishaps(trust, tmp_path)[name]
    assert mishap.mend
    attempts: list[BrokerAddress] = []

    def counted(address: BrokerAddress) -> socket.socket:
        attempts.append(address)
        return connect_socket(address)

    monkeypatch.setattr(mqtt, "connect_socket", counted)
    taken = Taken(tmp_path, mishap.url)
    with capture_logs() as logs, taken.running():
        wait_until(lambda: len(attempts) > 3)
        mishap.mend()
        taken.wait_listening()
    told = [entry for entry in logs if mishap.said in str(entry.get("error", ""))]
    assert len(told) == 1, logs


def test_our_probes_wait_for_a_certificate_that_is_not_there_yet(trust: Trust, tmp_path: Path) -> None:
    ours, later, name = trust.our_certificate(), tmp_path / "later.pem", unique("prober")
    url = trust.url_with_certificate(later, port=8885)
    prober = Prober(url, client_id=name, loopbacks=[], every=0.05, now=lambda: time.time_ns() // 1000)
    stop = threading.Event()
    thread = threading.Thread(target=prober.run, args=(stop,))
    thread.start()
    try:
        assert thread.is_alive()
        shutil.copy(ours, later)
        wait_until(lambda: f" as {name} " in trust.log(), what="the prober comes in")
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_receiver_asker_and_check_come_in_by_certificate(trust: Trust, tmp_path: Path) -> None:
    url = trust.url_with_certificate(trust.our_certificate(), port=8885)
    taken = Taken(tmp_path, url)
    with taken.running(), caller(trust.url_with_secret(A)) as a:
        taken.wait_listening()
        assert a.publish(f"ember/v1/{A}/alarm", b"1") == 0
        wait_until(lambda: taken.messages())
        a.subscribe(f"ember/v1/{A}/command")
        asker = Asker(url, client_id=unique("asker"))
        asker.ask([Request(topic=f"ember/v1/{A}/command", payload=b"beep")])
        wait_until(lambda: a.received)
        asker.close()
        findings = check_broker(url, [Source(filter=filter_, codec="ember-json", shard="main") for filter_ in SOURCES])
        assert [str(finding) for finding in findings if finding.grade in BAD] == []


def replay(recording: Path, url: str, topic: str) -> subprocess.CompletedProcess[str]:
    arguments = ("replay", str(recording), "--speed", "max", "--broker", url, "--topic", topic)
    command = [sys.executable, "-m", "simulators", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_simulated_device_comes_in_by_certificate_and_is_refused_in_one_line(trust: Trust, tmp_path: Path) -> None:
    recording = tmp_path / "recording.jsonl"
    recording.write_text('{"device_id": "d", "ts": 1594600000}')
    url = trust.url_with_certificate(trust.certificate(A))
    own = replay(recording, url, f"ember/v1/{A}/telemetry")
    assert (own.returncode, own.stderr) == (0, "")
    other = replay(recording, url, f"ember/v1/{B}/telemetry")
    assert other.returncode == 1 and "Not authorized; check its access rules" in other.stderr
    for name in ("wrong authority", "missing"):
        mishap = mishaps(trust, tmp_path)[name]
        refused = replay(recording, mishap.url, "t")
        assert refused.returncode == 1
        assert mishap.said in refused.stderr and refused.stderr.count("\n") == 1


def test_the_load_comes_in_by_certificate(trust: Trust, tmp_path: Path) -> None:
    wire = Wire(broker=parse_mqtt_url(trust.url_with_certificate(trust.certificate(A))), number=1, window=1)
    wire.close()
    for name in ("wrong authority", "missing"):
        mishap = mishaps(trust, tmp_path)[name]
        with pytest.raises((Unavailable, OperatorError), match=mishap.said):
            Wire(broker=parse_mqtt_url(mishap.url), number=1, window=1)
