"""The database away while readings go on, and the log's disk full and freed meanwhile: what is told, what is kept.

`python -m tests.support.away` does it for ten minutes (MINUTES=10 RATE=300), in the suite it takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import psycopg

from ingest.broker import start_broker
from ingest.inventory import Device, InventoryDelta, Site
from ingest.inventory_file import write_inventory as write_rows
from ingest.journal import BEGINNING
from ingest.journal_sqlite import SqliteJournal
from ingest.message import MESSAGE, decode_message
from simulators.load.fleet import Fleet, write_inventory
from tests.bench.material import SHARD, acknowledged, fleet, offering
from tests.support.broker import Publisher, publisher
from tests.support.collector import Collector
from tests.support.database import fresh_database
from tests.support.havoc import QUOTA_BYTES, Database
from tests.support.program import Program
from tests.support.recorded_run import own_database

DEVICES = 400
#: Where it burns: apart from the load.
_SHEDS = InventoryDelta(
    sites=[Site(id=f"shed-{number}") for number in range(4)],
    devices=[Device(id="head", site=f"shed-{number}") for number in range(4)],
)
RESERVE_BYTES = 64 << 20
TOLD_S = 30.0  #: how long a page is waited for; what it took is what counts


class Figures(msgspec.Struct, kw_only=True):
    """What an absence came to."""

    away_s: float = 0.0  #: of the database
    full_s: float = 0.0  #: so long only urgent sources had room in the log
    published: int = 0
    refused: bool = False  #: telemetry really found no room
    waited: int = 0  #: messages in the log when the database came back
    told_s: list[float] = []  #: publish → webhook of each fire
    caught_up_s: float = 0.0
    books: dict[str, int] = {}
    out_of_order: list[str] = []
    missing: list[str] = []  #: devices of which a reading is not in the database


class Absence:
    """A program with a fleet that sends, whose database is taken away and given back."""

    def __init__(self, folder: Path, server: Database, *, seconds: float, rate: int) -> None:
        self.folder, self.server, self.seconds, self.rate = folder, server, seconds, rate
        self.fleet: Fleet = fleet(DEVICES)
        self.figures = Figures()
        self._burning = iter(_SHEDS.sites)

    def run(self) -> Figures:
        """The whole of it."""
        figures = self.figures
        with (
            fresh_database(self.server.url, template="template0") as url,
            Collector() as collector,
            start_broker(self.folder / "broker", kind="mosquitto") as broker,
            publisher(broker.url) as fires,
        ):
            more = {"QUOTA_BYTES": QUOTA_BYTES, "RESERVE_BYTES": RESERVE_BYTES}
            quotas = {f"EMBERWATCH_JOURNAL_{name}": str(size) for name, size in more.items()}
            program = Program(self.folder, mqtt=broker.url, database=url, hook=collector.url, more=quotas)
            program.call("migrate")
            write_inventory(str(self.folder / "fleet.csv"), self.fleet)
            program.call("inventory", "import", str(self.folder / "fleet.csv"))
            write_rows(_SHEDS, self.folder / "sheds.csv")
            program.call("inventory", "import", str(self.folder / "sheds.csv"))
            with program:
                program.until(lambda: program.in_log(SHARD, "INVENTORY"))
                total = self.seconds + 4
                with offering(broker.url, rate=self.rate, seconds=total, devices=DEVICES) as load:
                    self._away(program, fires, collector)
                    figures.published = acknowledged(load) + len(figures.told_s)
                began = time.monotonic()
                self.server.start()
                books = program.drained(figures.published)
                figures.caught_up_s = time.monotonic() - began
                figures.books = books["messages"]
                figures.missing = _missing(url, figures.published)
        return figures

    def _away(self, program: Program, fires: Publisher, collector: Collector) -> None:
        """Stop the database; a fire before, while and after the log has room for urgent sources only."""
        figures = self.figures
        began = time.monotonic()
        self.server.stop()
        self._until(began + self.seconds / 4)
        self._fire(fires, collector)
        with self._full_log(program):
            filled = time.monotonic()
            self._until(began + self.seconds / 2)
            program.until(lambda: "reserved for urgent sources" in program.log(), what="telemetry refused")
            figures.refused = True
            self._fire(fires, collector)
            self._until(began + 3 * self.seconds / 4)
            self._fire(fires, collector)
            figures.full_s = time.monotonic() - filled
        self._until(began + self.seconds)
        self._fire(fires, collector)
        figures.waited, figures.out_of_order = _order(program)
        figures.away_s = time.monotonic() - began

    def _until(self, moment: float) -> None:
        """The time an absence takes is what is tested here; nothing is waited for."""
        time.sleep(max(0.0, moment - time.monotonic()))

    def _fire(self, fires: Publisher, collector: Collector) -> None:
        """A fire at a fresh site by the urgent source, and how long until a team was told."""
        site = next(self._burning).id
        at = time.time()
        payload = json.dumps({"ts": round(at * 1000), "smoke_alarm": True}).encode()
        fires.publish(f"ember/v1/{site}/head/alarm", payload)
        [page] = collector.wants(1, within=TOLD_S, where=lambda body: bool(body["incident"]["site"] == site))
        self.figures.told_s.append(page.at / 1e6 - at)

    @contextmanager
    def _full_log(self, program: Program) -> Iterator[None]:
        """So much of the quota taken that only urgent sources have room; a file that takes no space on the disk."""
        shard = program.data / "journal" / SHARD
        used = sum(path.stat().st_size for path in shard.rglob("*") if path.is_file())
        ballast = shard / "ballast"
        with ballast.open("wb") as file:
            file.truncate(QUOTA_BYTES - used - RESERVE_BYTES // 2)
        try:
            yield
        finally:
            ballast.unlink()


def _order(program: Program) -> tuple[int, list[str]]:
    """How many messages the log holds, and those before which another of their device should stand.

    What the broker sent once more, after a connection that broke, may stand twice. Nothing was trimmed: the writer has
    not read it yet.
    """
    newest: dict[str, int] = {}
    wrong: list[str] = []
    count, after = 0, BEGINNING
    with closing(SqliteJournal(program.data / "journal", SHARD)) as journal:
        while records := journal.messages.read(after, 1_000):
            after = records[-1].offset
            for record in records:
                if record.kind == MESSAGE:
                    count += 1
                    topic, seq = decode_message(record.meta).topic, json.loads(record.value).get("seq", 0)
                    if topic.endswith("/telemetry"):
                        before = newest.setdefault(topic, seq - 1)
                        if seq > before + 1:
                            wrong.append(f"{topic}: {seq} after {before}")
                        newest[topic] = max(seq, before)
    return count, wrong


def _missing(url: str, published: int) -> list[str]:
    """Devices whose readings in the database have a gap; and a line when their number is not what was sent."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT id, count(seq), count(DISTINCT seq), max(seq) - min(seq) + 1 FROM readings JOIN devices"
            " ON key = device GROUP BY id"
        ).fetchall()
        [[stored]] = connection.execute("SELECT count(*) FROM readings").fetchall()
    gaps = [f"{id}: {count} of {span}" for id, count, distinct, span in rows if count and not count == distinct == span]
    return gaps if stored == published else [*gaps, f"{stored} readings of {published} messages"]


def main() -> int:
    """Ten minutes, or as the environment says; 0 when nothing was lost and every fire was told within 2 s."""
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left behind then either
        signal.signal(number, signal.default_int_handler)
    minutes, rate = float(os.environ.get("MINUTES", "10")), int(os.environ.get("RATE", "300"))
    with own_database() as server, tempfile.TemporaryDirectory(prefix="emberwatch-away-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        figures = Absence(folder, server, seconds=60 * minutes, rate=rate).run()
    print(msgspec.json.format(msgspec.json.encode(figures)).decode())
    wrong = figures.missing or figures.out_of_order or not figures.refused
    return 1 if wrong or max(figures.told_s) > 2 else 0


if __name__ == "__main__":
    sys.exit(main())
