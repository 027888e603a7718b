"""Packets built by hand are the ones MQTT knows; the load's inventory names its devices."""

from __future__ import annotations

import csv
import json
import threading
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.packets import read_publish
from simulators.__main__ import main
from simulators.load.fleet import OPENING, Fleet
from simulators.options import factor, parse_broker
from simulators.wire.pace import Pace
from simulators.wire.packets import PACKET_IDS, connect, count_pubacks, publish_head


def test_connect_is_as_the_standard_writes_it() -> None:
    assert connect(client_id="c", keepalive_s=60) == b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"
    with_user = connect(client_id="c", keepalive_s=60, user="u", password="p")
    assert with_user == b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=90), st.binary(max_size=20_000))
def test_a_publish_packet_is_read_back(topic: str, payload: bytes) -> None:
    packet = publish_head(topic=topic, payload_size=len(payload)) + PACKET_IDS[515] + payload
    start, size, shift = 1, 0, 0
    while True:
        digit = packet[start]
        size, shift, start = size | (digit & 127) << shift, shift + 7, start + 1
        if digit < 128:
            break
    assert size == len(packet) - start
    read = read_publish(packet[0], packet, start, len(packet), v5=False)
    assert (read.topic, read.payload, read.packet_id) == (topic, payload, b"\x02\x03")


@given(st.lists(st.booleans(), max_size=300), st.lists(st.integers(1, 700), max_size=5))
def test_acknowledgements_are_counted_however_they_are_cut(packets: list[bool], cuts: list[int]) -> None:
    """True stands for an acknowledgement, False for the answer to a ping."""
    stream = b"".join(b"\x40\x02\x12\x34" if puback else b"\xd0\x00" for puback in packets)
    counted, left, at = 0, b"", 0
    for end in [*sorted(cuts), len(stream)]:
        found, left = count_pubacks(left + stream[at : max(at, end)])
        counted, at = counted + found, max(at, min(end, len(stream)))
    assert (counted, left) == (sum(packets), b"")


def test_an_unexpected_packet_is_no_acknowledgement() -> None:
    with pytest.raises(ValueError, match="unexpected packet 30 02"):
        count_pubacks(b"\x40\x02\x00\x01\x30\x02\x00\x01")


def test_a_device_belongs_to_one_connection_and_its_seq_counts_up() -> None:
    fleet = Fleet(devices=10, sites=3)
    shares = [list(islice(fleet.messages(share, 3, 1), 30)) for share in range(3)]
    devices = [{template.device for template, _, _ in share} for share in shares]
    assert sum(len(share) for share in devices) == 10 == len(set.union(*devices))
    for template, tail, seq in shares[0]:
        payload = OPENING % (1_700_000_000_000, seq) + tail
        assert json.loads(payload).keys() >= {"ts", "seq", "temperature", "smoke"}
        assert template.head == publish_head(topic=template.topic, payload_size=len(payload))
    own = [seq for template, _, seq in shares[0] if template.device == "load-d0000001"]
    assert own == list(range(own[0], own[0] + len(own)))


def test_the_inventory_names_every_device_once(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    assert main(["load", "--devices", "50", "--sites", "7", "--inventory", str(path)]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sites = {row["id"] for row in rows if row["kind"] == "site"}
    devices = [row for row in rows if row["kind"] == "device"]
    assert (len(sites), len(devices), len({row["id"] for row in devices})) == (7, 50, 50)
    assert {row["parent"] for row in devices} == sites


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--rate: say how many messages a second"),
        (("--rate", "1", "--broker", "mqtt://127.0.0.1:1"), "127.0.0.1:1: connection refused; start a broker"),
        (("--rate", "1", "--sent", "/nowhere/x"), "--sent /nowhere/x: no such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", *arguments]) == 1
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_broker_addresses_have_users_and_default_ports() -> None:
    broker = parse_broker("mqtts://u:p%40ss@[::1]")
    assert (broker.host, broker.port, broker.tls, broker.user, broker.password) == ("::1", 8883, True, "u", "p@ss")


def test_pace_follows_the_speed_and_ends_with_the_stop() -> None:
    stop, clock = threading.Event(), [5_000_000]
    pace = Pace(now=lambda: clock[0], stop=stop, origin=1_000, speed=factor("10"))
    assert pace.wall(1_000 + 1_000_000) == 5_100_000
    clock[0] = 5_100_000
    assert pace.until(1_000 + 1_000_000)
    stop.set()
    assert not pace.until(1_000 + 60_000_000)
    assert Pace(now=lambda: 7, stop=threading.Event(), origin=0, speed=factor("max")).wall(10**15) == 7
