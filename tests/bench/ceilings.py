"""What the machine and the libraries could do with none of our code around them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from ingest.journal_sqlite import SqliteJournal
from ingest.mqtt import parse_mqtt_url
from ingest.readings import QUANTITIES, STATES
from ingest.store import PG_EPOCH
from tests.bench import bench_log
from tests.bench.figures import Run
from tests.bench.material import TELEMETRY, acknowledged, offering, wall

_READINGS_A_COPY = 5_000
_TYPES = [
    "int4",
    "int8",
    "int8",
    "int8",
    "int8",
    "text",
    "int8",
    *["float8"] * len(QUANTITIES),
    *["bool"] * len(STATES),
]
_PATIENCE_S = 5.0  #: a loop that receives nothing for so long has received all


# the broker's side


def park(url: str, client_id: str, filter_: str) -> None:
    """Leave a session behind, so that the broker queues for it from here on."""
    client = connected(url, client_id, clean=False)
    subscribed: list[int] = []
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.subscribe_when_connected(filter_)
    _loop(client, lambda: bool(subscribed))
    client.disconnect()


def bare_receive(url: str, client_id: str, count: int) -> Run:
    """A bare paho loop that acknowledges each message by hand as it comes; messages a second."""
    client = connected(url, client_id, clean=False)
    came = 0
    first = cpu = 0.0

    def on_message(source: Client, _: Any, message: Any) -> None:
        nonlocal came, first, cpu
        if not came:
            first, cpu = time.perf_counter(), time.process_time()
        came += 1
        source.ack(message.mid, message.qos)

    client.on_message = on_message
    _loop(client, lambda: came >= count, quiet=lambda: came)
    wall_s, cpu_s = time.perf_counter() - first, time.process_time() - cpu
    client.disconnect()
    return Run(came / wall_s, {"client": cpu_s}, {"a core": came / cpu_s, "messages": came})


def bare_receive_live(url: str, rate: int, seconds: float) -> Run:
    """The same while a load offers more than it can take, from a second after its start; messages a second."""
    client = connected(url, f"bare-live-{time.time_ns()}")
    came = 0
    listening: list[int] = []

    def on_message(source: Client, _: Any, message: Any) -> None:
        nonlocal came
        came += 1
        source.ack(message.mid, message.qos)

    client.on_message = on_message
    client.on_subscribe = lambda *_: listening.append(1)
    client.subscribe_when_connected(TELEMETRY)
    _loop(client, lambda: bool(listening))
    with offering(url, rate=rate, seconds=seconds, devices=1_000) as load:
        _loop(client, lambda: came > 0)
        _loop_for(client, 1.0)
        before, wall_s, cpu = came, time.perf_counter(), time.process_time()
        _loop_for(client, seconds - 2.0)
        wall_s, cpu, before = time.perf_counter() - wall_s, time.process_time() - cpu, came - before
        client.disconnect()
        sent = acknowledged(load)
    return Run(before / wall_s, {"client": cpu}, {"a core": before / cpu, "offered": sent / seconds})


def _loop_for(client: Client, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        client.loop(0.05)


class BareClient(Client):
    """A paho client that acknowledges by hand. MQTT 3.1.1: paho is twice as slow at reading version 5."""

    def subscribe_when_connected(self, filter_: str) -> None:
        def subscribe(*_: Any) -> None:
            self.subscribe(filter_, qos=1)

        self.on_connect = subscribe


def connected(url: str, client_id: str, *, clean: bool = True) -> BareClient:
    """Told to connect; its owner runs the loop."""
    address = parse_mqtt_url(url)
    client = BareClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=clean,
        protocol=MQTTProtocolVersion.MQTTv311,
        manual_ack=True,
    )
    client.connect(address.host, address.port)
    return client


def _loop(client: Client, done: Callable[[], bool], *, quiet: Callable[[], int] = lambda: 0) -> None:
    last, deadline = -1, time.monotonic() + _PATIENCE_S
    while not done():
        if client.loop(0.2) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise RuntimeError("the broker left us")
        if (now := quiet()) != last:
            last, deadline = now, time.monotonic() + _PATIENCE_S
        elif time.monotonic() > deadline:
            raise RuntimeError(f"nothing came for {_PATIENCE_S:g} s, after {last} messages")


# the database's side


def bare_copy(database: str, count: int, *, indexes: bool) -> Run:
    """Ready-made rows by psycopg's binary COPY into a table of the columns of `readings`, in one go a transaction.

    With `indexes` the table has those of a day of readings too.
    """
    rows = [_row(number) for number in range(_READINGS_A_COPY)]
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE TABLE bare (LIKE readings {'INCLUDING INDEXES' if indexes else ''})".encode())
        connection.commit()
        wall_s, cpu = time.perf_counter(), time.process_time()
        for _ in range(count // _READINGS_A_COPY):
            copy_rows(connection, rows)
        wall_s, cpu = time.perf_counter() - wall_s, time.process_time() - cpu
        connection.execute("DROP TABLE bare")
    return Run(count / wall_s, {"client": cpu}, {"a core": count / cpu})


def copy_rows(connection: psycopg.Connection[Any], rows: list[tuple[object, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(b"COPY bare FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row(row)
    connection.commit()


def _row(number: int) -> tuple[object, ...]:
    at = wall() - PG_EPOCH
    values = [20.5, None, None, 0.01, None, 55.0, None, None, None, None, None]
    return (number, at, 40, at, 100_000_000, None, 1, *values, False, *[None] * 9)


def bare_inserts(database: str, count: int) -> Run:
    """One INSERT of five values a row, in a pipeline, 500 a transaction; rows a second."""
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE bare (id bigint PRIMARY KEY, at timestamptz, a text, b text, c jsonb)")
        connection.commit()
        wall_s, cpu = time.perf_counter(), time.process_time()
        for first in range(0, count, 500):
            with connection.pipeline():
                for number in range(first, first + 500):
                    connection.execute(
                        "INSERT INTO bare VALUES (%s, now(), %s, %s, %s) ON CONFLICT DO NOTHING",
                        (number, "load-s00001", "load-d0000001", '{"reason": "at or above 57 °C"}'),
                    )
            connection.commit()
        wall_s, cpu = time.perf_counter() - wall_s, time.process_time() - cpu
        connection.execute("DROP TABLE bare")
    return Run(count / wall_s, {"client": cpu}, {"a core": count / cpu})


# the log's side


def bare_append(count: int) -> Run:
    """The log alone: appends in batches of 500; records a second."""
    return _on_a_log(lambda journal: bench_log.append(journal.messages, count, bench_log.BATCH), count)


def bare_read(count: int) -> Run:
    """The log alone, read in batches of 1,000; records a second."""

    def read(journal: SqliteJournal) -> None:
        assert bench_log.read(journal.messages, 1_000) == count

    return _on_a_log(read, count, prepare=lambda journal: bench_log.append(journal.messages, count, bench_log.BATCH))


def _on_a_log(
    work: Callable[[SqliteJournal], None],
    count: int,
    *,
    prepare: Callable[[SqliteJournal], None] = lambda journal: None,
) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder), "bench")
        prepare(journal)
        wall_s, cpu = time.perf_counter(), time.process_time()
        work(journal)
        wall_s, cpu = time.perf_counter() - wall_s, time.process_time() - cpu
        journal.close()
    return Run(count / wall_s, {"client": cpu}, {"a core": count / cpu})


# the parser's side


def bare_json(count: int) -> Run:
    """msgspec's JSON parser alone on the payload of the load; messages a second of processor time."""
    payload = (
        b'{"ts":1763750000000,"seq":100000001,"temperature":21.5,"humidity":55.1,"smoke":0.011,"smoke_alarm":false}'
    )
    decode = msgspec.json.Decoder().decode
    cpu = time.process_time()
    for _ in range(count):
        decode(payload)
    cpu = time.process_time() - cpu
    return Run(count / cpu, {"client": cpu})
