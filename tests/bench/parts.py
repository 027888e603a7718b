"""Each role by itself, the real class on real servers, with nothing else running. Every function is one measurement."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from alerts.recorder import Recorder
from ingest.admission import Outcome
from ingest.admit import admit
from ingest.database import open_pool
from ingest.journal import BEGINNING, Record
from ingest.journal_sqlite import SqliteJournal
from ingest.memory import Memory
from ingest.message import Kind, decode_message, encode
from ingest.sources import Sources
from ingest.sources_file import load_sources, parse_sources
from ingest.writer import Writer
from simulators.load.fleet import Fleet
from tests.bench.decided import decide
from tests.bench.figures import Run
from tests.bench.machine import Meter, child, postmaster, until
from tests.bench.material import SHARD, TELEMETRY, acknowledged, filled_log, inventory, offering, wall

NOTHING = Sources(sources=(), text="")


# receiver


@contextlib.contextmanager
def receiver(url: str, client_id: str, folder: Path) -> Iterator[int]:
    """A receiver of the load's topics in a process of its own; its process id."""
    words = ("tests.support.receiver_child", url, client_id, TELEMETRY, str(folder))
    with child(*words, log=folder / "receiver.log") as process:
        yield process.pid


def listening(folder: Path) -> None:
    """Wait until the receiver of this folder listens."""
    with contextlib.closing(SqliteJournal(folder, SHARD)) as journal:
        until(lambda: journal.messages.last(Kind.TICK) is not None, what="a receiver that listens")


def receive_queued(url: str, client_id: str, broker_pid: int, count: int, folder: Path) -> Run:
    """From a full queue at the broker into the log; messages a second."""
    journal = SqliteJournal(folder, SHARD)
    before = journal.messages.messages_appended()
    with receiver(url, client_id, folder) as pid:
        meter = Meter({"receiver": pid, "broker": broker_pid})
        started = until(lambda: journal.messages.messages_appended() > before, what="the first message in the log")
        cpu_before = meter.seconds()
        ended = until(lambda: journal.messages.messages_appended() >= before + count, what=f"{count} messages")
        cpu = {role: seconds - cpu_before[role] for role, seconds in meter.seconds().items()}
    journal.close()
    return Run(count / (ended - started), cpu, {"a core": count / cpu["receiver"]})


def receive_live(url: str, broker_pid: int, rate: int, seconds: float, folder: Path) -> Run:
    """While a load offers more than it can take; messages a second in the log, from a second after the start."""
    journal = SqliteJournal(folder, SHARD)
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(receiver(url, f"live-{folder.name}", folder))
        listening(folder)
        load = stack.enter_context(offering(url, rate=rate, seconds=seconds, devices=1_000))
        until(lambda: journal.messages.messages_appended() > 0, what="the first message in the log")
        time.sleep(1.0)
        meter = Meter({"receiver": pid, "broker": broker_pid, "load": load.pid})
        started, came = time.monotonic(), journal.messages.messages_appended()
        time.sleep(seconds - 2.0)
        cpu, came = meter.seconds(), journal.messages.messages_appended() - came
        rate_seen = came / (time.monotonic() - started)
        sent = acknowledged(load)
        until(lambda: journal.messages.messages_appended() >= sent, what=f"{sent} messages in the log")
        lost = sent - journal.messages.messages_appended()
    journal.close()
    return Run(rate_seen, cpu, {"a core": came / cpu["receiver"], "offered": sent / seconds, "lost": lost})


# writer


def write(database: str, devices: Fleet, count: int) -> Run:
    """A log of `count` messages, of devices known to it, into PostgreSQL; readings a second."""
    server = postmaster(database)
    with tempfile.TemporaryDirectory() as folder:
        journal, introduced, last = filled_log(Path(folder), devices, count, warm=devices.devices)
        pool = open_pool(database, name="bench", size=2)
        writer, stop = Writer(journal, SHARD, pool, NOTHING, wall), threading.Event()
        thread = threading.Thread(target=writer.run, args=(stop,))
        thread.start()
        try:
            until(lambda: writer.cursor >= introduced, what="a round of all devices written")
            behind, meter, own = writer.cursor, Meter({"database": server}), time.process_time()
            started = time.monotonic()
            ended = until(lambda: writer.cursor >= last, what="all readings written", every=0.02)
            cpu = {"writer": time.process_time() - own, **meter.seconds()}
        finally:
            stop.set()
            thread.join()
            pool.close()
            journal.close()
    written = last - behind
    return Run(written / (ended - started), cpu, {"a core": written / cpu["writer"]})


# recorder


def record(database: str, alerts: int) -> Run:
    """A log of decisions into PostgreSQL; records a second."""
    server = postmaster(database)
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder), SHARD)
        records = decide(journal.decisions, alerts)
        pool = open_pool(database, name="bench", size=2)
        recorder = Recorder(journal, SHARD, pool, wall)
        owned = recorder.own()
        try:
            meter, own, started = Meter({"database": server}), time.process_time(), time.monotonic()
            while recorder.turn():
                pass
            took, cpu = time.monotonic() - started, {"recorder": time.process_time() - own, **meter.seconds()}
        finally:
            owned.release()
            pool.close()
            journal.close()
    return Run(records / took, cpu, {"a core": records / cpu["recorder"]})


# decode and admit


def admit_native(devices: Fleet, count: int) -> Run:
    """Records of the load through decode and admit; messages a second of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        journal, introduced, _ = filled_log(Path(folder), devices, count)
        records = _read_all(journal, introduced)
        journal.close()
    memory = Memory(load_sources(None))
    for delta in inventory(devices):
        memory.apply_inventory(delta)
    return _admit_all(records, memory)


def admit_mapped(devices: Fleet, count: int) -> Run:
    """The same payloads as `json-map` reads them, by a mapping of the source."""
    with tempfile.TemporaryDirectory() as folder:
        journal, introduced, _ = filled_log(Path(folder), devices, count)
        records = [_mapped(record) for record in _read_all(journal, introduced)]
        journal.close()
    memory = Memory(parse_sources(_MAPPING, "the mapping"))
    for delta in inventory(devices):
        memory.apply_inventory(delta)
    return _admit_all(records, memory)


_MAPPING = (
    "sources:\n  - {filter: sheds/#, codec: json-map, site: topic:2, device: topic:3, time: $.ts,"
    " fields: {temperature: $.temperature, humidity: $.humidity, smoke: $.smoke, smoke_alarm: $.smoke_alarm}}\n"
)


def _mapped(record: Record) -> Record:
    message = decode_message(record.meta)
    _, _, site, device, _ = message.topic.split("/")
    meta = encode(msgspec.structs.replace(message, topic=f"sheds/{site}/{device}", source="sheds/#"))
    return msgspec.structs.replace(record, meta=meta)


CODEC_BENCHES = {"ember-json": admit_native, "json-map": admit_mapped}


def _admit_all(records: list[Record], memory: Memory) -> Run:
    cpu = time.process_time()
    stored = sum(admit(record, memory).outcome is Outcome.STORED for record in records)
    cpu = time.process_time() - cpu
    if stored != len(records):
        raise RuntimeError(f"{len(records) - stored} of {len(records)} messages were not admitted")
    return Run(len(records) / cpu, {"admit": cpu}, {"µs each": cpu / len(records) * 1e6})


def _read_all(journal: SqliteJournal, after: int = BEGINNING) -> list[Record]:
    records: list[Record] = []
    while some := journal.messages.read(after, 10_000):
        records += some
        after = some[-1].offset
    return records
