"""What the benches work on: logs filled as the receiver would have filled them, brokers with a full queue."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from alerts.rulebook import load_rulebook
from ingest.inventory import Area, Centre, Device, InventoryDelta, Site
from ingest.inventory_store import CHUNK
from ingest.journal import Entry
from ingest.journal_sqlite import SqliteJournal, SqliteStream
from ingest.message import Kind, Message, encode
from ingest.readings import SECOND
from ingest.sources_file import load_sources
from ingest.topics import EmberKind, ember_topic
from simulators.load.fleet import FIRST_SEQ, OPENING, VARIANTS, Fleet, tails

SHARD = "main"
TELEMETRY = "ember/v1/+/+/telemetry"
BATCH = 500  #: records the receiver appends at once when it is busy
INTERVAL = 60  #: seconds between two messages of a device
CLIENT = "bench"

#: A message to be: topic, reading, seq.
Planned = tuple[str, bytes, int]


def fleet(devices: int) -> Fleet:
    """So many devices, twenty at a site, as `python -m simulators load` has them."""
    return Fleet(devices=devices, sites=-(-devices // 20))


def wall() -> int:
    return time.time_ns() // 1000


def introduce(stream: SqliteStream, devices: Fleet) -> int:
    """Sources, rulebook and inventory, as they stand in the log before the first message; the newest offset."""
    at = wall()
    texts = ((Kind.SOURCES, load_sources(None).text), (Kind.RULEBOOK, load_rulebook(None).text))
    entries = [Entry(kind, value=text.encode()) for kind, text in texts]
    deltas = [Entry(Kind.INVENTORY, value=encode(delta)) for delta in inventory(devices)]
    return stream.append(entries + deltas, now=at)[-1]


def inventory(devices: Fleet) -> Iterator[InventoryDelta]:
    """The inventory of a fleet, in the pieces the log carries."""
    area, centre = Area(id="load"), Centre(id="load-centre", parent="load")
    sites = [Site(id=devices.site(number), parent="load") for number in range(devices.sites)]
    yield InventoryDelta(areas=[area], centres=[centre], sites=sites)
    for first in range(0, devices.devices, CHUNK):
        numbers = range(first, min(first + CHUNK, devices.devices))
        rows = [Device(id=devices.device(n), site=devices.site(n), expected_interval_s=INTERVAL) for n in numbers]
        yield InventoryDelta(devices=rows)


def messages(devices: Fleet) -> Iterator[Planned]:
    """Without end, what `python -m simulators load` says with its first seed: every device in its turn."""
    endings = tails(1)
    topics = [
        ember_topic(kind=EmberKind.TELEMETRY, site=devices.site(number), device=devices.device(number))
        for number in range(devices.devices)
    ]
    for turn in itertools.count():
        for number, topic in enumerate(topics):
            yield topic, endings[(turn + number) % VARIANTS], FIRST_SEQ + turn


def say(stream: SqliteStream, devices: Fleet, count: int, *, start: int = 0, skip: int = 0) -> int:
    """`count` messages, one reading each, every device once in INTERVAL of log time; the newest offset.

    `start` is the log time (µs) of the first, `skip` how many messages of the same fleet went before.
    """
    start = start or wall()
    planned = itertools.islice(messages(devices), skip, skip + count)
    step = INTERVAL * SECOND / devices.devices
    last = -1
    for number, batch in enumerate(_batches(planned)):
        at = start + round(number * BATCH * step)
        last = stream.append([entry(one, at - 20_000, number) for one in batch], now=at)[-1]
    return last


def entry(planned: Planned, received_at: int, packet_id: int) -> Entry:
    """The record the receiver makes of a message that was on its way for 30 ms."""
    topic, tail, seq = planned
    meta = Message(
        topic=topic, source=TELEMETRY, received_at=received_at, packet_id=packet_id % 65_535 + 1, connection=1
    )
    return Entry(Kind.MESSAGE, encode(meta), OPENING % ((received_at - 30_000) // 1000, seq) + tail)


def filled_log(folder: Path, devices: Fleet, count: int, *, warm: int = 0) -> tuple[SqliteJournal, int, int]:
    """A log with this fleet introduced, and `warm` and `count` messages; offsets behind which `count` begin and end."""
    journal = SqliteJournal(folder, SHARD)
    start = wall()
    first = introduce(journal.messages, devices)
    if warm:
        first = say(journal.messages, devices, warm, start=start)
    later = start + warm * INTERVAL * SECOND // devices.devices
    return journal, first, say(journal.messages, devices, count, start=later, skip=warm)


def publish(url: str, *, rate: int, seconds: float, devices: int = 1_000) -> int:
    """Publish at this rate for so long, or as fast as it goes; how many messages the broker acknowledged."""
    with offering(url, rate=rate, seconds=seconds, devices=devices) as process:
        return acknowledged(process)


@contextlib.contextmanager
def offering(url: str, *, rate: int, seconds: float, devices: int) -> Iterator[subprocess.Popen[str]]:
    """`python -m simulators load`, on its way; it ends at the latest with the block."""
    words = ["simulators", "load", "--broker", url, "--rate", str(rate), "--seconds", f"{seconds:.3f}"]
    command = [sys.executable, "-m", *words, "--devices", str(devices)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def acknowledged(process: subprocess.Popen[str]) -> int:
    """Wait for a load's end; what the broker has taken of it. RuntimeError unless that is all it sent."""
    output, _ = process.communicate(timeout=300)
    said = re.search(r"sent (\d+), acknowledged (\d+)", output)
    if process.returncode or said is None or said[1] != said[2]:
        raise RuntimeError(f"load ended with {process.returncode}: {output}")
    return int(said[2])


def _batches(planned: Iterator[Planned]) -> Iterator[list[Planned]]:
    while batch := list(itertools.islice(planned, BATCH)):
        yield batch
