"""The simulators as people start them, against real brokers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from ingest.broker import Broker, start_broker
from ingest.readings import SECOND
from simulators.tapes.recording import Recording
from tests.support.broker import unique, wait_until
from tests.support.data import ROOT, recorded
from tests.support.simulating import listening, running, simulators, whole_tape

pytestmark = pytest.mark.integration


def test_the_whole_recording_is_published_once_in_order_byte_for_byte(mosquitto: Broker, tmp_path: Path) -> None:
    path = recorded("iot_telemetry/raw_data_xlarge.json.zip")
    root, sent = unique("rec"), tmp_path / "sent.tape"
    with listening(mosquitto, f"{root}/#") as heard:
        to = ("--broker", mosquitto.url, "--topic", f"{root}/{{device_id}}")
        done = simulators("replay", str(path), "--speed", "max", *to, "--sent", str(sent))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("replay: published 50270, acknowledged 50270, in ")
        wait_until(lambda: len(heard.messages) >= 50_270, seconds=60, what="every message to arrive")
    expected: defaultdict[str, list[bytes]] = defaultdict(list)
    for message in Recording(path):
        expected[f"{root}/{message.body['device_id']}"].append(message.raw)
    arrived: defaultdict[str, list[bytes]] = defaultdict(list)
    for topic, payload, _ in heard.messages:
        arrived[topic].append(payload)
    assert arrived == expected
    taped = whole_tape(sent)
    assert len(taped) == 50_270
    assert Counter((m.topic, m.payload) for m in taped) == Counter(
        (topic, payload) for topic, payload, _ in heard.messages
    )


def test_three_fires_arrive_on_topics_of_their_sites(mosquitto: Broker, tmp_path: Path) -> None:
    root = unique("mix")
    own = tmp_path / "quiet.jsonl"
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": 1_594_600_000 + 10 * n}) for n in range(720)))
    with listening(mosquitto, f"{root}/#") as heard:
        topics = ("--topic", f"{root}/{{device_id}}", "--fire-topic", f"{root}/{{site}}/{{device_id}}")
        fires = ("--fires", "3", "--fire-sites", "a,b,c")
        done = simulators("replay", str(own), "--speed", "max", "--broker", mosquitto.url, *topics, *fires)
        assert done.returncode == 0, done.stderr
        total = int(done.stdout.split()[2].rstrip(","))
        wait_until(lambda: len(heard.messages) >= total)
    assert len(heard.of(f"{root}/+")) == 720
    for site in "abc":
        burning = [json.loads(payload) for payload in heard.of(f"{root}/{site}/+")]
        assert {body["site"] for body in burning} == {site}
        assert any(body["data"]["smoke_alarm"] for body in burning)
        assert {"temp", "humidity", "smoke_dbm", "smoke_alarm", "heat_alarm"} == set(burning[0]["data"])


def test_a_replay_keeps_the_pace_of_the_recording(mosquitto: Broker, tmp_path: Path) -> None:
    root, own, sent = unique("pace"), tmp_path / "r.jsonl", tmp_path / "sent.tape"
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": 1000 + 5 * n}) for n in range(5)))
    to = ("--broker", mosquitto.url, "--topic", f"{root}/{{device_id}}", "--sent", str(sent))
    done = simulators("replay", str(own), "--speed", "20", "--time", "scale", *to)
    assert done.returncode == 0, done.stderr
    taped = whole_tape(sent)
    assert taped[-1].at - taped[0].at >= 950_000  # 20 s of recording at 20x
    stated = [json.loads(m.payload)["ts"] for m in taped]
    assert abs(stated[-1] - stated[0] - 1) < 0.01


def test_loop_begins_again_and_limit_ends_it(mosquitto: Broker, tmp_path: Path) -> None:
    root, own = unique("loop"), tmp_path / "r.jsonl"
    own.write_text('{"device_id":"d","ts":1000}\n{"device_id":"d","ts":1001}\n')
    to = ("--broker", mosquitto.url, "--topic", f"{root}/{{device_id}}")
    with listening(mosquitto, f"{root}/#") as heard:
        done = simulators("replay", str(own), "--speed", "max", "--loop", "--limit", "5", "--time", "shift-to-now", *to)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(heard.messages) == 5)
    times = [json.loads(payload)["ts"] for payload in heard.of(f"{root}/d")]
    assert times == sorted(set(times))


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Exit code, and what stood on a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # a new one has no width
    shown = bytearray()
    with subprocess.Popen(
        [sys.executable, "-m", "simulators", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            while data := os.read(ours, 65_536):
                shown += data
        except OSError:
            pass  # Linux says so when the other side has gone
        code = process.wait(60)
    os.close(ours)
    return code, shown.decode()


def test_a_progress_bar_is_shown_on_a_terminal_alone(mosquitto: Broker, tmp_path: Path) -> None:
    own = tmp_path / "r.jsonl"
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": n}) for n in range(3000)))
    arguments = ("replay", str(own), "--speed", "max", "--broker", mosquitto.url, "--topic", unique("bar"))
    code, shown = on_a_terminal(*arguments)
    assert code == 0
    assert "100%" in shown
    assert "3000/3000" in shown
    assert simulators(*arguments).stderr == ""


def test_a_town_shows_its_time_on_a_terminal_alone(tmp_path: Path) -> None:
    arguments = ("town", "--devices", "600", "--seconds", "3600", "--readings", str(tmp_path / "day.parquet"))
    code, shown = on_a_terminal(*arguments)
    assert code == 0
    assert "town's time" in shown
    assert "3600/3600" in shown
    assert simulators(*arguments).stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_that_is_interrupted_waits_for_its_acknowledgements(
    number: signal.Signals, mosquitto: Broker, tmp_path: Path
) -> None:
    own, sent, root = tmp_path / "r.jsonl", tmp_path / "sent.tape", unique("stop")
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": n}) for n in range(100_000)))
    to = ("--broker", mosquitto.url, "--topic", f"{root}/{{device_id}}", "--sent", str(sent))
    with listening(mosquitto, f"{root}/#") as heard, running("replay", str(own), "--speed", "1000", *to) as process:
        wait_until(lambda: len(heard.messages) > 500)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert err.decode() == "replay: stopped before the end\n"
        count = len(whole_tape(sent))
        assert out.decode().startswith(f"replay: published {count}, acknowledged {count}, in ")
        wait_until(lambda: len(heard.messages) == count)


def test_a_replay_ends_only_when_all_is_acknowledged(tmp_path: Path) -> None:
    """A broker that acknowledges only once it has heard everything."""
    own = tmp_path / "r.jsonl"
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": n}) for n in range(5)))
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_late, args=(server, 5), daemon=True).start()
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        done = simulators("replay", str(own), "--speed", "max", "--broker", url, "--topic", "late/{device_id}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("replay: published 5, acknowledged 5, in ")


def _late(server: socket.socket, count: int) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"\x20\x03\x00\x00\x00")
        heard = bytearray()
        while heard.count(b"late/d") < count:
            heard += connection.recv(65_536)
        time.sleep(0.5)  # long enough for a replay that does not wait to have gone
        for number in range(1, count + 1):
            connection.sendall(b"\x40\x02" + number.to_bytes(2, "big"))
        while connection.recv(65_536):
            pass


def test_a_replay_goes_on_when_the_broker_comes_back(tmp_path: Path) -> None:
    own = tmp_path / "r.jsonl"
    own.write_text("\n".join(json.dumps({"device_id": "d", "ts": n, "n": n}) for n in range(4000)))
    to = ("--topic", "back/{device_id}", "--speed", "1000")
    with start_broker(tmp_path / "broker", kind="mosquitto") as first:
        port = first.port
        with running("replay", str(own), "--broker", first.url, *to) as process:
            with listening(first, "back/#") as heard:
                wait_until(lambda: len(heard.messages) > 300)
            first.kill()
            with (
                start_broker(tmp_path / "again", port, kind="mosquitto") as second,
                listening(second, "back/#") as late,
            ):
                out, err = process.communicate(timeout=60)
                assert (process.returncode, err) == (0, b"")
                assert out.decode().startswith("replay: published 4000, acknowledged 4000, in ")
                told = [json.loads(payload)["n"] for payload in late.of("back/d")]
                assert told
                assert told == list(range(told[0], 4000))


def test_a_broker_that_refuses_messages_is_named(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "acl").write_text("topic read #\n")  # mosquitto starts in its own folder
    own = tmp_path / "r.jsonl"
    own.write_text('{"device_id":"d","ts":1}\n')
    with start_broker(tmp_path / "broker", kind="mosquitto", settings={"acl_file": "acl"}) as broker:
        done = simulators("replay", str(own), "--broker", broker.url)
    assert done.returncode == 1
    assert "the broker refused messages: 1 × Not authorized; check its access rules" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(params=["mosquitto", "amqtt_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """MQTT 5, and one that speaks only 3.1.1."""
    found: Broker = request.getfixturevalue(request.param)
    return found


def test_a_town_tells_of_its_fire_and_leaves_in_good_order(broker: Broker, tmp_path: Path) -> None:
    sent = tmp_path / "sent.tape"
    with listening(broker, "ember/v1/#") as heard:
        size = ("--sites", "3", "--devices", "18", "--seconds", "40", "--speed", "20", "--interval", "5")
        fire = ("--scenario", "battery_fire", "--fire-at", "5", "--fire-site", "shed-002")
        done = simulators("town", *size, *fire, "--broker", broker.url, "--sent", str(sent))
        assert (done.returncode, done.stderr) == (0, "")
        taped = whole_tape(sent)
        wait_until(lambda: len(heard.messages) >= len(taped))
    assert f"{len(taped)} messages published and acknowledged" in done.stdout
    alarms = [json.loads(payload) for payload in heard.of("ember/v1/shed-002/+/alarm")]
    assert any(alarm["smoke_alarm"] for alarm in alarms)
    assert heard.of("ember/v1/shed-001/+/alarm") == []
    assert heard.of("ember/v1/shed-003/telemetry")  # the gateway's array
    statuses = heard.of("ember/v1/+/+/status")
    assert statuses.count(b"online") == statuses.count(b"offline") == 6 + 6 + 2  # two sheds, and a gateway with a pile


def test_a_town_stays_to_its_end_though_nobody_has_more_to_say(mosquitto: Broker, tmp_path: Path) -> None:
    sent = tmp_path / "sent.tape"
    size = ("--sites", "1", "--devices", "2", "--seconds", "40", "--speed", "20", "--interval", "1e6")
    done = simulators("town", *size, "--broker", mosquitto.url, "--sent", str(sent))
    assert (done.returncode, done.stderr) == (0, "")
    taped = whole_tape(sent)
    assert [message.payload for message in taped] == [b"online"] * 2 + [b"offline"] * 2
    assert taped[-1].at - taped[0].at >= 1.9 * SECOND  # 40 s at 20 times the pace


def test_a_large_town_shares_connections_and_each_device_keeps_its_order(mosquitto: Broker) -> None:
    with listening(mosquitto, "ember/v1/#") as heard:
        size = ("--devices", "400", "--seconds", "300", "--speed", "max", "--interval", "20")
        story = ("--scenario", "gateway_loss", "--fire-at", "30")
        done = simulators("town", *size, *story, "--broker", mosquitto.url)
        assert (done.returncode, done.stderr) == (0, "")
        count = int(done.stdout.splitlines()[-1].split()[1])
        wait_until(lambda: sum(not retained for _, _, retained in heard.messages) >= count)
    assert len([message for message in heard.messages if not message[2]]) == count  # but for what others left retained
    last: dict[str, int] = {}
    for topic, payload, _ in heard.messages:
        if not topic.endswith("/status"):
            told = json.loads(payload)
            for item in told if isinstance(told, list) else [told]:
                device = item.get("device") or topic.split("/")[3]
                assert item["seq"] > last.get(device, 0)
                last[device] = item["seq"]
    assert len(last) > 390


def test_a_town_that_is_killed_leaves_its_last_wills(mosquitto: Broker) -> None:
    with listening(mosquitto, "ember/v1/+/+/status") as heard:
        size = ("--sites", "1", "--devices", "2", "--broker", mosquitto.url)
        with running("town", *size) as process:
            wait_until(lambda: len([p for _, p, retained in heard.messages if p == b"online" and not retained]) == 2)
            process.kill()
            wait_until(lambda: len([p for _, p, retained in heard.messages if p == b"offline" and not retained]) == 2)


def test_a_town_stops_within_two_seconds_of_ctrl_c(mosquitto: Broker) -> None:
    with (
        listening(mosquitto, "ember/v1/+/+/telemetry") as heard,
        running("town", "--interval", "1", "--broker", mosquitto.url) as process,
    ):
        wait_until(lambda: len(heard.messages) > 5)
        process.send_signal(signal.SIGINT)
        before = time.monotonic()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0
        assert err == b""
        assert time.monotonic() - before < 5


def test_a_town_whose_broker_is_gone_does_not_say_that_all_was_acknowledged(tmp_path: Path) -> None:
    with (
        start_broker(tmp_path / "broker", kind="mosquitto") as broker,
        listening(broker, "ember/v1/+/+/telemetry") as heard,
        running("town", "--sites", "1", "--devices", "2", "--interval", "0.2", "--broker", broker.url) as process,
    ):
        wait_until(lambda: len(heard.messages) > 5)
        broker.kill()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"acknowledged" not in out
    assert b"messages published some were not acknowledged: " in err
    assert err.count(b"\n") == 1


def test_what_answers_but_is_no_broker_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_hang_up, args=(server,), daemon=True).start()
        to = ("--broker", f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        for arguments in (("town", *to), ("load", "--rate", "1", *to)):
            done = simulators(*arguments)
            assert done.returncode == 1
            assert "the broker did not let us in" in done.stderr
            assert done.stderr.count("\n") == 1


def _hang_up(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return
