"""Live messages onto tapes and back, against real brokers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as MqttProperties

from ingest.broker import Broker, start_broker
from ingest.errors import OperatorError
from ingest.mqtt import parse_mqtt_url
from simulators.tapes.ear import open_ear
from simulators.tapes.tapefile import Properties, Taped, read_tape, read_unheard
from tests.support.broker import publisher, unique, wait_until
from tests.support.simulating import listening, running, simulators, whole_tape

pytestmark = pytest.mark.integration


def so_far(path: Path) -> list[Taped]:
    """What can be read while it is written."""
    try:
        return list(read_tape(path, tell=lambda _: None))
    except OperatorError:
        return []


@contextmanager
def recording(
    path: Path, broker: Broker, *topics: str, more: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A recorder that is listening."""
    filters = [word for topic in topics for word in ("--topic", topic)]
    with running("record", str(path), "--broker", broker.url, *filters, *more) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"record: listening to ")
        yield process


def ended(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> tuple[str, str]:
    """What it says when it is told to end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return out.decode(), err.decode()


def publish_5(broker: Broker, messages: list[Taped]) -> None:
    """By MQTT 5, with properties."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=unique("pub"), protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for message in messages:
        properties = MqttProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if message.properties is not None:
            properties.ContentType = message.properties.content_type
            properties.UserProperty = list(message.properties.user.items())
        info = client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        info.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def as_sent(message: Taped) -> tuple[Any, ...]:
    return message.topic, message.payload, message.qos, message.retain, message.properties


def of_every_kind(root: str) -> list[Taped]:
    properties = Properties(content_type="application/json", user={"k": "v", "名": "值"})
    return [
        Taped(at=0, topic=f"{root}/{qos}/{retain}", payload=payload, qos=qos, retain=retain, properties=given)
        for qos in (0, 1, 2)
        for retain in (False, True)
        for payload, given in ((b"", None), (b"\x00\xff" * 3000, properties))
    ]


def test_a_message_is_taped_with_all_it_has(mosquitto: Broker, tmp_path: Path) -> None:
    root, path = unique("kinds"), tmp_path / "a.tape"
    messages = of_every_kind(root)
    with recording(path, mosquitto, f"{root}/#", more=("--count", str(len(messages)))) as process:
        publish_5(mosquitto, messages)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert out.decode().startswith(f"record: {len(messages)} messages in ")
    assert sorted(map(as_sent, whole_tape(path)), key=repr) == sorted(map(as_sent, messages), key=repr)


def test_what_was_recorded_is_replayed_as_it_was(mosquitto: Broker, tmp_path: Path) -> None:
    root, again = unique("orig"), unique("again")
    first, second, sent = tmp_path / "a.tape", tmp_path / "b.tape", tmp_path / "sent.tape"
    messages = of_every_kind(root)
    with recording(first, mosquitto, f"{root}/#", more=("--count", str(len(messages)))) as process:
        publish_5(mosquitto, messages)
        process.communicate(timeout=20)
    with recording(second, mosquitto, f"{again}/#", more=("--count", str(len(messages)))) as process:
        to = ("--broker", mosquitto.url, "--speed", "max", "--id-map", f"{root}={again}", "--sent", str(sent))
        done = simulators("replay", str(first), *to)
        assert done.returncode == 0, done.stderr
        process.communicate(timeout=20)
    renamed = [(topic.replace(root, again), *rest) for topic, *rest in map(as_sent, whole_tape(first))]
    assert [as_sent(message) for message in whole_tape(sent)] == renamed
    assert sorted(map(as_sent, whole_tape(second)), key=repr) == sorted(renamed, key=repr)


def test_a_broker_that_speaks_only_3_1_1_is_recorded_too(amqtt_broker: Broker, tmp_path: Path) -> None:
    root, path = unique("old"), tmp_path / "a.tape"
    with recording(path, amqtt_broker, f"{root}/#", more=("--count", "2")) as process:
        with publisher(amqtt_broker.url) as client:
            client.publish_all([(f"{root}/a", b"1"), (f"{root}/b", b"2")])
        assert process.communicate(timeout=20)[1] == b""
    assert [(m.topic, m.payload) for m in whole_tape(path)] == [(f"{root}/a", b"1"), (f"{root}/b", b"2")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_is_told_to_end_leaves_a_whole_tape(
    number: signal.Signals, mosquitto: Broker, tmp_path: Path
) -> None:
    root, path = unique("end"), tmp_path / "a.tape"
    with recording(path, mosquitto, f"{root}/#") as process, publisher(mosquitto.url) as client:
        client.publish(f"{root}/a", b"1")
        wait_until(lambda: so_far(path))
        out, err = ended(process, number)
    assert out.startswith("record: 1 messages in ")
    assert err == ""
    assert [message.payload for message in whole_tape(path)] == [b"1"]


def test_a_recorder_that_is_killed_leaves_what_it_had_heard(mosquitto: Broker, tmp_path: Path) -> None:
    root, path = unique("kill"), tmp_path / "a.tape"
    with recording(path, mosquitto, f"{root}/#") as process, publisher(mosquitto.url) as client:
        client.publish_all([(f"{root}/a", b"%d" % n) for n in range(1000)])
        wait_until(lambda: len(so_far(path)) == 1000, what="all to be on the tape without its end")
        process.kill()
        process.wait()
    said: list[str] = []
    assert [int(message.payload) for message in read_tape(path, tell=said.append)] == list(range(1000))
    assert len(said) == 1


def test_a_broker_that_goes_away_is_waited_for_and_the_silence_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    with start_broker(tmp_path / "first", kind="mosquitto") as first, recording(path, first, "t/#") as process:
        with publisher(first.url) as client:
            client.publish("t/1", b"before")
        wait_until(lambda: so_far(path))
        first.kill()
        with start_broker(tmp_path / "again", first.port, kind="mosquitto") as second:
            with publisher(second.url) as client:

                def heard_again() -> bool:
                    client.publish("t/2", b"after")
                    return any(message.payload == b"after" for message in so_far(path))

                wait_until(heard_again)
            _, err = ended(process)
    lost, heard_nothing = err.splitlines()
    assert "connection lost: " in lost
    assert "heard nothing from " in heard_nothing
    ((start, end),) = read_unheard(path)
    messages = whole_tape(path)
    assert messages[0].at <= start < end <= messages[1].at


def test_a_broker_that_falls_silent_is_taken_for_gone_since_it_last_said_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.mqtt.KEEPALIVE_S", 1)
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker:
        address = parse_mqtt_url(broker.url)
        with closing(open_ear(broker=address, filters=["t"], now=lambda: time.time_ns() // 1000)) as ear:
            os.kill(broker.pid, signal.SIGSTOP)
            silent = time.time_ns() // 1000
            wait_until(lambda: ear.hear(0.1) or ear.lost)
            noticed = time.time_ns() // 1000
            os.kill(broker.pid, signal.SIGCONT)
    assert ear.lost == "keep alive timeout"
    assert ear.silent_since <= silent < noticed - 900_000


def test_a_recorder_whose_broker_never_comes_back_says_so_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    with start_broker(tmp_path / "broker", kind="mosquitto") as broker, recording(path, broker, "t/#") as process:
        broker.kill()
        assert process.stderr is not None
        assert b"connection lost" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"heard nothing from" in err
    assert whole_tape(path) == []
    assert len(read_unheard(path)) == 1


def test_what_the_broker_drops_for_a_slow_recorder_is_said(tmp_path: Path) -> None:
    path, sent = tmp_path / "a.tape", 80_000
    tight = {"max_queued_messages": "1", "sys_interval": "1"}
    with (
        start_broker(tmp_path / "broker", kind="mosquitto", settings=tight) as broker,
        recording(path, broker, "ember/#") as process,
        listening(broker, "$SYS/broker/publish/messages/dropped") as counts,
        listening(broker, "$SYS/broker/uptime") as looks,
    ):
        process.send_signal(signal.SIGSTOP)
        done = simulators("load", "--rate", "40000", "--seconds", "2", "--broker", broker.url)
        assert f"acknowledged {sent}" in done.stdout
        wait_until(lambda: counts.messages and counts.messages[-1][1] != b"0", what="the broker to count")
        process.send_signal(signal.SIGCONT)
        with publisher(broker.url) as client:

            def caught_up() -> bool:
                client.publish("ember/behind", b"")
                heard = so_far(path)
                return bool(heard) and heard[-1].topic == "ember/behind"

            wait_until(caught_up)
        seen = len(looks.messages)
        wait_until(lambda: len(looks.messages) >= seen + 2, what="the broker to count to the end")
        _, err = ended(process)
    said = re.fullmatch(r"record: the broker says it dropped (\d+) messages meanwhile, [^\n]*\n", err)
    assert said, err
    left = sent - sum(message.topic != "ember/behind" for message in whole_tape(path))
    assert abs(int(said[1]) - left) < 200  # it drops what it says of itself, too


def test_all_of_a_load_is_on_the_tape(mosquitto: Broker, tmp_path: Path) -> None:
    heard, sent = tmp_path / "heard.tape", tmp_path / "sent.tape"
    with recording(heard, mosquitto, "ember/v1/+/+/telemetry", more=("--count", "6000", "--seconds", "60")) as process:
        size = ("--rate", "3000", "--seconds", "2", "--devices", "100")
        assert simulators("load", *size, "--broker", mosquitto.url, "--sent", str(sent)).returncode == 0
        process.communicate(timeout=60)
    key = [(message.topic, message.payload) for message in whole_tape(sent)]
    assert len(key) == 6000
    assert sorted((message.topic, message.payload) for message in whole_tape(heard)) == sorted(key)


def test_faults_of_a_replay_are_what_goes_out_and_what_is_listed(mosquitto: Broker, tmp_path: Path) -> None:
    root, own = unique("bad"), tmp_path / "r.jsonl"
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": 1000 + n, "n": n}) for n in range(1, 21)))
    sent, done = tmp_path / "sent.tape", tmp_path / "done.jsonl"
    to = ("--broker", mosquitto.url, "--topic", f"{root}/{{device_id}}", "--speed", "max")
    bad = ("--drop", "3,4", "--double", "7", "--delay", "9:2.5", "--gap", "15:2", "--skew", "d:-100", "--corrupt", "20")
    with listening(mosquitto, f"{root}/#") as heard:
        result = simulators("replay", str(own), *to, *bad, "--sent", str(sent), "--done", str(done))
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("replay: published 17, acknowledged 17, in ")
        assert result.stdout.endswith("faults: drop 2, gap 2, double 1, delay 1, corrupt 1, skew 16\n")
        wait_until(lambda: len(heard.messages) == 17)
    arrived = [payload for _, payload, _ in heard.messages]
    assert arrived == [message.payload for message in whole_tape(sent)]
    told = [json.loads(payload) for payload in arrived[:-1]]
    assert [body["n"] for body in told] == [1, 2, 5, 6, 7, 7, 8, 10, 11, 9, 12, 13, 14, 15, 18, 19]
    assert all(body["ts"] == 900 + body["n"] for body in told)
    assert arrived[-1].endswith(b"\xff")
    assert len(done.read_text().splitlines()) == 23


def test_what_cannot_be_recorded_is_one_line(mosquitto: Broker, tmp_path: Path) -> None:
    path = str(tmp_path / "a.tape")
    for arguments, said in (
        ((path, "--topic", "a/#/b"), "--topic a/#/b: "),
        ((path, "--topic", "a", "--broker", "mqtt://127.0.0.1:1"), "127.0.0.1:1: connection refused; start a broker"),
        (("/nowhere/a.tape", "--topic", "a", "--broker", mosquitto.url), "FILE /nowhere/a.tape: no such file"),
    ):
        done = simulators("record", *arguments)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.tape").exists()


def test_a_filter_that_is_refused_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_refuse, args=(server,), daemon=True).start()
        to = ("--broker", f"mqtt://127.0.0.1:{server.getsockname()[1]}", "--topic", "fine/#", "--topic", "secret/#")
        done = simulators("record", str(tmp_path / "a.tape"), *to)
    assert done.returncode == 1
    assert "--topic secret/#: " in done.stderr
    assert "the broker refuses the filter: not authorized; check its access rules" in done.stderr
    assert done.stderr.count("\n") == 1


def _refuse(server: socket.socket) -> None:
    """Let one in, and grant the first of its two filters (MQTT 5)."""
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"\x20\x03\x00\x00\x00")
        subscribe = connection.recv(1000)
        connection.sendall(b"\x90\x05" + subscribe[2:4] + b"\x00\x02\x87")
        while connection.recv(1000):
            pass
