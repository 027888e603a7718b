"""A load's packets are the ones MQTT knows, everyone has his turn, and messages are due when the timetable says."""

from __future__ import annotations

import argparse
import csv
import json
import resource
import threading
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import Unavailable
from ingest.packets import read_publish
from ingest.readings import SECOND
from simulators.__main__ import main
from simulators.load.account import Account
from simulators.load.fleet import FIRST_SEQ, OPENING, Fleet, Turns
from simulators.load.forms import FireForm, Form
from simulators.load.generator import Generator
from simulators.load.taping import Taping
from simulators.load.timetable import Burst, Storm, Timetable
from simulators.options import delay, factor, parse_broker, span
from simulators.tapes.tapefile import TapeWriter, read_tape
from simulators.wire.pace import Pace
from simulators.wire.packets import connect, packet_ids, publish_head, read_acknowledgements
from simulators.wire.raw import Rows
from tests.bench.material import messages

TS = 1_700_000_000_000


def read_back(packet: bytes) -> tuple[str, bytes, int]:
    """Topic, payload and packet id, by the receiver's own reader."""
    start, size, shift = 1, 0, 0
    while True:
        digit = packet[start]
        size, shift, start = size | (digit & 127) << shift, shift + 7, start + 1
        if digit < 128:
            break
    assert size == len(packet) - start
    read = read_publish(packet[0], packet, start, len(packet), v5=False)
    return read.topic, read.payload, int.from_bytes(read.packet_id, "big")


def rows_of(fleet: Fleet, numbers: list[int], *, turns: list[int] | None = None) -> Rows:
    speakers = np.array(numbers)
    rounds = np.array(turns if turns else [0] * len(numbers))
    return Form(fleet, 1).rows(speakers=speakers, turns=rounds, ids=np.arange(1, len(numbers) + 1), ts=TS)


# packets


def test_connect_is_as_the_standard_writes_it() -> None:
    assert connect(client_id="c", keepalive_s=60) == b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"
    with_user = connect(client_id="c", keepalive_s=60, user="u", password="p")
    assert with_user == b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p"
    assert connect(client_id="c", keepalive_s=60, clean=False) == b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01c"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=90), st.binary(max_size=20_000))
def test_a_publish_packet_is_read_back(topic: str, payload: bytes) -> None:
    packet = publish_head(topic=topic, payload_size=len(payload)) + b"\x02\x03" + payload
    assert read_back(packet) == (topic, payload, 515)


@given(st.lists(st.one_of(st.none(), st.integers(1, 65_535)), max_size=300), st.lists(st.integers(1, 700), max_size=5))
def test_acknowledgements_are_read_however_they_are_cut(packets: list[int | None], cuts: list[int]) -> None:
    """None stands for the answer to a ping."""
    stream = b"".join(b"\xd0\x00" if number is None else b"\x40\x02" + number.to_bytes(2, "big") for number in packets)
    seen: list[int] = []
    left, at = b"", 0
    for end in [*sorted(cuts), len(stream)]:
        found, left = read_acknowledgements(left + stream[at : max(at, end)])
        seen, at = seen + found.tolist(), max(at, min(end, len(stream)))
    assert (seen, left) == ([number for number in packets if number is not None], b"")


def test_an_unexpected_packet_is_no_acknowledgement() -> None:
    with pytest.raises(ValueError, match="unexpected packet 30 02"):
        read_acknowledgements(b"\x40\x02\x00\x01\x30\x02\x00\x01")


def test_packet_ids_go_from_1_to_65535_and_round() -> None:
    assert packet_ids(np.array([0, 65_534, 65_535, 131_070])).tolist() == [1, 65_535, 1, 1]


@given(st.integers(1, 9_999_999), st.integers(1, 99_999), st.integers(0, 899_999_999), st.integers(1, 10**13 - 1))
def test_numbers_of_any_size_stand_in_their_columns(device: int, site: int, turn: int, ts: int) -> None:
    fleet = Fleet(devices=20, sites=7)
    form = Form(fleet, 1)
    turns, ids = np.array([turn]), np.array([site % 65_535 + 1])
    row = form.rows(speakers=np.array([device % 20]), turns=turns, ids=ids, ts=ts)[0].tobytes()
    topic, payload, packet_id = read_back(row)
    number = device % 20
    assert topic == f"ember/v1/{fleet.site(number)}/{fleet.device(number)}/telemetry"
    assert payload.startswith(b'{"ts":%013d,"seq":%d,"temperature":' % (ts, FIRST_SEQ + turn))
    assert packet_id == site % 65_535 + 1


def test_packets_of_the_largest_numbers_are_read_back() -> None:
    fleet = Fleet(devices=620_000, sites=31_000)
    topic, payload, _ = read_back(rows_of(fleet, [619_999])[0].tobytes())
    assert topic == "ember/v1/load-s31000/load-d0620000/telemetry"
    assert json.loads(payload)["ts"] == TS


def test_packets_say_what_the_benches_put_into_their_logs() -> None:
    fleet = Fleet(devices=5, sites=2)
    rows = rows_of(fleet, [0, 1, 2, 3, 4, 0], turns=[0, 0, 0, 0, 0, 1])
    said = [read_back(row.tobytes())[:2] for row in rows]
    meant = [(topic, OPENING % (TS, seq) + tail) for topic, tail, seq in islice(messages(fleet), 6)]
    assert said == meant


def test_a_gateway_s_packet_is_an_array_of_its_devices() -> None:
    fleet = Fleet(devices=12, sites=4, gateways=True)
    for site, row in enumerate(rows_of(fleet, [0, 1, 2, 3])):
        topic, payload, packet_id = read_back(row.tobytes())
        readings = json.loads(payload)
        assert (topic, packet_id) == (f"ember/v1/{fleet.site(site)}/telemetry", site + 1)
        assert [reading["device"] for reading in readings] == [fleet.device(site + 4 * place) for place in range(3)]
        assert all(reading["seq"] == FIRST_SEQ and reading["smoke_alarm"] is False for reading in readings)


def test_a_fire_is_on_the_alarm_topic_of_the_first_device_of_its_site() -> None:
    fleet = Fleet(devices=12, sites=4)
    topic, payload, row = FireForm(fleet).row(site=2, packet_id=77, ts=TS)
    assert (topic, payload, 77) == read_back(row[0].tobytes())
    assert topic == "ember/v1/load-s00003/load-d0000003/alarm"
    assert json.loads(payload) == {"ts": TS, "smoke_alarm": True}


# whose turn it is


@given(st.integers(1, 500), st.data())
def test_everyone_has_one_connection_and_his_turn(speakers: int, data: st.DataObject) -> None:
    connections = data.draw(st.integers(1, speakers))
    total = data.draw(st.integers(0, 3 * speakers))
    turns = Turns(speakers, connections)
    due = turns.due(total)
    assert int(due.sum()) == total
    numbers: list[int] = []
    for connection, count in enumerate(due.tolist()):
        who, when = turns.whose(np.full(count, connection), np.arange(count))
        assert {turns.connection(speaker) for speaker in who.tolist()} <= {connection}
        assert np.all(np.diff(when) >= 0)
        numbers += turns.numbers(who, when).tolist()
    assert sorted(numbers) == list(range(total))
    assert turns.sizes.min() > 0


# when


@st.composite
def timetables(draw: st.DrawFn) -> Timetable:
    length = draw(st.integers(0, 5 * SECOND))
    burst = st.builds(Burst, count=st.integers(1, 50), every=st.integers(1_000, 2 * SECOND))
    spans = {"start": st.integers(0, 5 * SECOND), "span": st.integers(1, 3 * SECOND)}
    storm = st.builds(Storm, count=st.integers(1, 100), **spans)
    return Timetable(
        length=length,
        rate=draw(st.sampled_from([0, 1, 7, 1000])),
        burst=draw(st.one_of(st.none(), burst)),
        storm=draw(st.one_of(st.none(), storm)),
    )


@given(timetables(), st.data())
def test_a_message_is_due_from_its_time_on_and_not_before(table: Timetable, data: st.DataObject) -> None:
    assert table.due(-1) == 0
    assert table.due(table.length) == table.total
    if table.total:
        number = data.draw(st.integers(0, table.total - 1))
        when = int(table.when(np.array([number]))[0])
        assert 0 <= when <= table.length
        assert table.due(when - 1) <= number < table.due(when)


def test_rate_bursts_and_storm_add_up() -> None:
    storm = Storm(count=100, start=SECOND, span=2 * SECOND)
    table = Timetable(length=10 * SECOND, rate=1000, burst=Burst(count=50, every=4 * SECOND), storm=storm)
    assert table.total == 10_000 + 3 * 50 + 100
    assert table.due(0) == 50 + 1
    assert table.due(SECOND - 1) == 1_050
    assert table.due(4 * SECOND - 1) == 4_000 + 50 + 100
    assert table.due(4 * SECOND) == 4_000 + 100 + 100 + 1
    week = Timetable(length=7 * 86_400 * SECOND, rate=10_334)
    assert week.total == 7 * 86_400 * 10_334
    assert 0 <= week.length - int(week.when(np.array([week.total - 1]))[0]) <= 100  # and no number too long for it
    alone = Timetable(length=0, storm=storm)
    assert (alone.total, alone.length) == (100, 3 * SECOND)


def test_an_account_says_what_was_late_and_what_each_second_had() -> None:
    account = Account(110)
    account.note(100, 100, np.zeros(100, np.int64))
    assert account.held(2 * SECOND) is False  # not all yet
    account.note(SECOND + 100, 10, np.full(10, 4_000))
    late, each = account.late(), account.per_second(2 * SECOND)
    assert late is not None
    assert each is not None
    assert (late.p99, late.max, each.min, each.median, each.max) == (4.0, 4.0, 10, 55.0, 100)
    assert account.held(2 * SECOND)
    assert not account.held(SECOND // 2)  # ended too late
    slow = Account(10)
    slow.note(100, 10, np.full(10, 2 * SECOND))
    assert not slow.held(SECOND)
    assert slow.held(SECOND, cut=True)


class Gone:
    """A wire that breaks as the first message goes out."""

    sent, room = 0, 100

    def write(self, rows: Rows) -> None:
        raise Unavailable("gone")


def test_what_was_on_its_way_as_a_connection_broke_is_on_the_tape(tmp_path: Path) -> None:
    fleet, account = Fleet(devices=6, sites=2), Account(6)
    connections: Any = SimpleNamespace(wires=[Gone()])
    with TapeWriter(tmp_path / "load.tape") as tape:
        taping = Taping(tape, Form(fleet, 1))
        generator = Generator(
            fleet=fleet,
            form=Form(fleet, 1),
            connections=connections,
            account=account,
            taping=taping,
            now=lambda: TS * 1000,
            stop=threading.Event(),
        )
        with pytest.raises(Unavailable):
            generator.open_loop(Timetable(length=SECOND, burst=Burst(count=6, every=SECOND)), [], Mock())
        taping.flush()
    assert account.sent == len(list(read_tape(tmp_path / "load.tape"))) == 6


# what is written down


def test_a_tape_holds_what_the_packets_say(tmp_path: Path) -> None:
    fleet = Fleet(devices=6, sites=2)
    rows = rows_of(fleet, [0, 1, 2, 3, 4, 5])
    with TapeWriter(tmp_path / "load.tape") as tape:
        taping = Taping(tape, Form(fleet, 1))
        taping.note(rows[:2], 1_000)
        taping.note(rows[2:5], 2_000)
        taping.note_one("ember/v1/a/b/alarm", b"fire", 2_500)
        taping.note(rows[5:], 3_000)
        taping.flush()
    seen = [(message.at, message.topic, message.payload) for message in read_tape(tmp_path / "load.tape")]
    meant = [read_back(row.tobytes())[:2] for row in rows]
    times = [1_000, 1_000, 2_000, 2_000, 2_000, 2_500, 3_000]
    meant.insert(5, ("ember/v1/a/b/alarm", b"fire"))
    assert seen == [(at, *message) for at, message in zip(times, meant, strict=True)]


@pytest.mark.parametrize("gateways", [False, True])
def test_the_inventory_names_every_device_once(gateways: bool, tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    places = ["--gateway", "5"] if gateways else ["--sites", "7"]
    assert main(["load", "--devices", "50", *places, "--inventory", str(path)]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids = Counter(row["id"] for row in rows)
    sites = {row["id"] for row in rows if row["kind"] == "site"}
    heads = [row for row in rows if row["class"] == "smoke_heat_head"]
    speak = {row["id"] for row in rows if row["class"] == "gateway"} if gateways else sites
    assert (len(sites), len(heads), max(ids.values())) == (10 if gateways else 7, 50, 1)
    assert {row["parent"] for row in heads} == speak


# what is wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--rate: say how many messages a second"),
        (("--rate", "1", "--broker", "mqtt://127.0.0.1:1"), "127.0.0.1:1: connection refused; start a broker"),
        (("--rate", "1", "--sent", "/nowhere/x"), "--sent /nowhere/x: no such file or directory"),
        (("--rate", "1", "--closed", "1"), "--closed: sends as fast as the broker answers; leave --rate out"),
        (("--closed", "70000"), "--closed 70000: MQTT has 65535 packet ids"),
        (("--rate", "1", "--window", "70000"), "--window 70000: MQTT has 65535 packet ids"),
        (("--rate", "1", "--devices", "8000", "--gateway", "4000"), "--gateway 4000: at most 3000 readings"),
        (("--rate", "1", "--gateway", "3"), "--gateway 3: 1000 devices are no whole number of gateways"),
        (("--rate", "1", "--gateway", "10", "--sites", "3"), "--sites: with --gateway the sites follow"),
        (("--rate", "1", "--devices", "10000000"), "--devices 10000000: at most 9999999 at 99999 sites"),
        (("--rate", "1", "--reconnect", "5:1"), "--reconnect 5:1: there are 4 connections"),
        (("--rate", "1", "--devices", "2", "--reconnect", "3:1"), "--reconnect 3:1: there are 2 connections"),
        (("--rate", "1", "--seconds", "0.5"), "--rate 1: not one message is due within --seconds 0.5"),
        (("--rate", "1", "--fire-every", "1e-9"), "--fire-every 1e-09: 9999999 fires, and 50 sites"),
        (("--rate", "1", "--reconnect", "1:10"), "--reconnect 1:10: the load ends after 10 s"),
        (("--rate", "1", "--sites", "2", "--fire-every", "1"), "--fire-every 1: 9 fires, and 2 sites"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", *arguments]) == 1
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    "wrong", ["--burst=5", "--burst=5:0", "--burst=0:1", "--storm=0", "--storm=1:-1", "--reconnect=x:1"]
)
def test_what_cannot_be_read_is_wrong_usage(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["load", "--rate", "1", wrong])
    assert ended.value.code == 2
    assert f"argument {wrong.split('=')[0]}: " in capsys.readouterr().err


def test_more_connections_than_files_may_be_open_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 2048))
    assert main(["load", "--rate", "1", "--devices", "3000", "--connections", "2000"]) == 1
    assert (
        "--connections 2000: a process may open 2048 files here (ulimit -Hn); ask for 1984" in capsys.readouterr().err
    )


def test_broker_addresses_have_users_and_default_ports() -> None:
    broker = parse_broker("mqtts://u:p%40ss@[::1]")
    assert (broker.host, broker.port, broker.tls, broker.user, broker.password) == ("::1", 8883, True, "u", "p@ss")


def test_seconds_and_speeds_that_mean_something_are_taken_and_others_are_not() -> None:
    assert (delay("0.00"), delay("2.5"), span("1e-3"), factor("0.5"), factor("max")) == (0, 2.5, 0.001, 0.5, np.inf)
    for read, wrong in [(delay, "-1"), (delay, "x"), (delay, "nan"), (span, "0.0"), (span, "inf"), (factor, "1e-300")]:
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is no "):
            read(wrong)


def test_pace_follows_the_speed_and_ends_with_the_stop() -> None:
    stop, clock = threading.Event(), [5_000_000]
    pace = Pace(now=lambda: clock[0], stop=stop, origin=1_000, speed=factor("10"))
    assert pace.wall(1_000 + 1_000_000) == 5_100_000
    clock[0] = 5_100_000
    assert pace.until(1_000 + 1_000_000)
    stop.set()
    assert not pace.until(1_000 + 60_000_000)
    assert Pace(now=lambda: 7, stop=threading.Event(), origin=0, speed=factor("max")).wall(10**15) == 7
