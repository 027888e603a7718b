"""Publish → webhook under load: the whole program, broker, database, load and collector on this one machine."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from paho.mqtt.client import Client

from alerts.decisions import progress_of
from ingest.broker import Broker
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from simulators.load.fleet import Fleet, write_inventory
from tests.bench.ceilings import connected
from tests.bench.figures import Run
from tests.bench.machine import Meter, postmaster, until
from tests.bench.material import SHARD, acknowledged, offering
from tests.support.collector import Collector
from tests.support.program import ROLES, Program

ALARMS_A_SECOND = 2.0
IMPORT_S = 600.0
SETTLE_S = 60.0


class Town:
    """The program with a fleet enrolled in it, and a team that is paged."""

    def __init__(self, program: Program, collector: Collector, broker: Broker, database: str, fleet: Fleet) -> None:
        self.program = program
        self.collector = collector
        self.broker = broker
        self.database = database
        self.fleet = fleet
        self.burning = itertools.count()  #: sites in turn: each burns once, so that each fire pages
        self.published = 0  #: all messages the broker has taken, alarms too


@contextlib.contextmanager
def town(broker: Broker, database: str, fleet: Fleet) -> Iterator[Town]:
    """Everything runs and knows the fleet."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(Collector())
        program = Program(folder, mqtt=broker.url, hook=collector.url, database=database)
        stack.enter_context(program)
        _enrol(program, database, fleet)
        yield Town(program, collector, broker, database, fleet)


def _enrol(program: Program, database: str, fleet: Fleet) -> None:
    file = program.folder / "fleet.csv"
    write_inventory(str(file), fleet)
    words = program.command("inventory", "import", str(file))
    subprocess.run(words, env=program.environment, check=True, capture_output=True, timeout=IMPORT_S)
    until(lambda: _knows(program, database), what="the inventory known to all", every=0.5, seconds=IMPORT_S)


def _knows(program: Program, database: str) -> bool:
    """Whether the inventory is in the log, and writer and evaluator have read it."""
    with psycopg.connect(database) as connection:
        waiting = connection.execute("SELECT count(*) FROM inventory_changes WHERE relayed_at IS NULL").fetchone()
        writer = connection.execute("SELECT log_offset FROM cursors WHERE reader = 'writer'").fetchone()
    with contextlib.closing(SqliteJournal(program.data / "journal", SHARD)) as journal:
        last = journal.messages.last(Kind.INVENTORY)
        progress = [progress_of(record) for kind in Kind if (record := journal.decisions.last(kind)) is not None]
    if waiting != (0,) or writer is None or last is None:
        return False
    return bool(writer[0] >= last.offset) and any(each.cursor >= last.offset for each in progress if each)


def under_load(town: Town, rate: int, seconds: float) -> list[Run]:
    """Load at this rate for so long, and fires beside it: p50 and p99 in ms."""
    roles = {role: town.program.pid(role) for role in ROLES}
    with offering(town.broker.url, rate=rate, seconds=seconds, devices=town.fleet.devices) as load:
        meter = Meter({**roles, "broker": town.broker.pid, "database": postmaster(town.database), "load": load.pid})
        fires = _burn(town, seconds)
        cpu = meter.seconds()
        sent = acknowledged(load)
    town.published += sent + len(fires)
    lag = _drained(town)
    return _runs(
        town, fires, cpu, {"offered": rate * seconds, "sent": sent, "fires": len(fires), "drained after s": lag}
    )


def under_flood(town: Town, rate: int, flood: int, seconds: float) -> list[Run]:
    """The same while one device of the fleet floods; fires come as telemetry, by the flood's own connection to us."""
    url, devices = town.broker.url, town.fleet.devices
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(offering(url, rate=rate, seconds=seconds, devices=devices))]
        if flood:
            loads.append(stack.enter_context(offering(url, rate=flood, seconds=seconds, devices=1)))
        fires = _burn(town, seconds, kind="telemetry")
        sent = [acknowledged(load) for load in loads]
    town.published += sum(sent) + len(fires)
    books = town.program.drained(town.published)["messages"]
    if books["received"] != town.published:
        raise RuntimeError(f"published {town.published}, and the books say {books}")
    return _runs(
        town, fires, {}, {"offered": rate * seconds, "flood": sum(sent[1:]), "set aside": books["quarantined"]}
    )


def _burn(town: Town, seconds: float, *, kind: str = "alarm") -> dict[str, float]:
    """Fires at fresh sites, two a second; the wall clock (s) of each publish call, by site."""
    client = connected(town.broker.url, "bench-fires")
    client.loop_start()
    fires: dict[str, float] = {}
    ends = time.monotonic() + seconds
    try:
        time.sleep(1.0)
        while time.monotonic() < ends - 1.0:
            site, at = _fire(town, client, kind)
            fires[site] = at
            time.sleep(1 / ALARMS_A_SECOND)
    finally:
        client.disconnect()
        client.loop_stop()
    return fires


def _fire(town: Town, client: Client, kind: str) -> tuple[str, float]:
    number = next(town.burning)
    if number >= town.fleet.sites:
        raise RuntimeError("every site burns already; use more --devices")
    site, device = town.fleet.site(number), town.fleet.device(number)
    at = time.time()
    client.publish(f"ember/v1/{site}/{device}/{kind}", b'{"ts":%d,"smoke_alarm":true}' % (at * 1000), qos=1)
    return site, at


def _drained(town: Town) -> float:
    """Wait until every message is in the books; seconds that took. RuntimeError when one is lost, or any unbalanced."""
    began = time.monotonic()
    books = town.program.drained(town.published)["messages"]
    if books["received"] != town.published or books["stored"] != town.published:
        raise RuntimeError(f"published {town.published}, and the books say {books}")
    return time.monotonic() - began


def _runs(town: Town, fires: dict[str, float], cpu: dict[str, float], more: dict[str, float]) -> list[Run]:
    until(lambda: fires.keys() <= _arrivals(town).keys(), what="a page for each fire", every=0.2, seconds=SETTLE_S)
    came = _arrivals(town)
    delays = sorted(1000 * (came[site] - at) for site, at in fires.items())
    more = {**more, "slowest ms": delays[-1], "doubles": town.collector.doubles(), "lost": 0}
    return [Run(_share(delays, 0.5), cpu, more), Run(_share(delays, 0.99), cpu, more)]


def _arrivals(town: Town) -> dict[str, float]:
    """Wall clock (s) of the first page of each site."""
    first: dict[str, float] = {}
    for arrival in town.collector.arrivals():
        first.setdefault(arrival.body["incident"]["site"], arrival.at / 1e6)
    return first


def _share(delays: Sequence[float], share: float) -> float:
    return delays[min(len(delays) - 1, int(share * len(delays)))]
