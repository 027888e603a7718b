"""The embedded broker as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.broker import Broker, find_mosquitto, start_broker
from tests.support.broker import publisher, unique, wait_until

pytestmark = pytest.mark.integration

PARENT = """
import sys, time
from pathlib import Path
from ingest.broker import start_broker
broker = start_broker(Path(sys.argv[1]), kind=sys.argv[2])
print("pid", broker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_the_broker_ends_with_the_process_that_started_it(mosquitto: Broker, tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(next(line for line in parent.stdout if line.startswith("pid")).removeprefix("pid"))
        assert alive(pid)
        parent.kill()
    wait_until(lambda: not alive(pid), what=f"{kind} gone")


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_mosquitto_works_below_a_folder_that_nobody_else_may_enter(mosquitto: Broker, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    topic = unique()
    with start_broker(private / "broker", kind="mosquitto") as broker, publisher(broker.url) as client:
        client.publish(topic, b"kept", retain=True)
        broker.stop()
    assert topic.encode() in (private / "broker" / "mosquitto.db").read_bytes(), "queues reach the disk"
    assert private.stat().st_mode & 0o777 == 0o700
    assert private.stat().st_uid == os.geteuid()
    assert find_mosquitto()
