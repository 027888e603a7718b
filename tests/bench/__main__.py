"""`python -m tests.bench`: what this machine's ceilings are, what each role reaches, and how fast a fire is told.

Every figure is the median of a few short runs, except latency: one run of a minute at each rate. Prints a table and
writes bench.json. Asserts no speed; it does stop when a message is lost or a book does not balance.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from ingest.broker import Broker, start_broker
from ingest.codecs import CODECS
from simulators.load.fleet import Fleet
from tests.bench import ceilings, codecs, judging, latency, loading, parts, scanning
from tests.bench.figures import Figure, Goal, Run, measured, number, repeated, table
from tests.bench.machine import in_child, machine, quiet, versions
from tests.bench.material import TELEMETRY, fleet, publish
from tests.support.broker import missing_mosquitto
from tests.support.database import fresh_database, running_server

DISTRICT = 620_000  #: devices
RATES = (1_000, 5_000, 10_334)
FLOODED_RATE = 1_000  #: messages a second of all devices together while one floods …
FLOODS = (0, 5_000, 10_000)  #: … with so many more
BACKLOG = 1_000_000  #: messages the evaluator has not judged
OFFERED = 60_000  #: messages a second that one load must be able to offer
FULL_RATE = 60_000  #: messages a second: more than broker and receiver take beside each other on two cores


class Bench:
    """The servers, the options, and the figures so far."""

    def __init__(self, options: argparse.Namespace, server: str, folder: Path) -> None:
        self.options = options
        self.server = server
        self.folder = folder
        self.devices: Fleet = fleet(options.devices)
        self.figures: list[Figure] = []

    @contextlib.contextmanager
    def broker(self) -> Iterator[Broker]:
        """A fresh mosquitto, as `demo` runs it: sessions that an earlier measurement left would queue all of this one,
        and each save of such queues holds the broker up for seconds."""
        if missing := missing_mosquitto():
            raise RuntimeError(missing)
        with start_broker(self.work_folder(), kind="mosquitto") as broker:
            yield broker

    def say(self, figure: Figure) -> Figure:
        """Keep a figure, and show that something happens."""
        self.figures.append(figure)
        print(f"  {figure.part}: {figure.name} {number(figure.value)} {figure.unit}", file=sys.stderr, flush=True)
        return figure

    def runs(self, once: Callable[[], Run]) -> list[Run]:
        return repeated(self.options.runs, once)

    def on_database(self, work: Callable[..., Run], *args: object, **more: object) -> Callable[[], Run]:
        """One measurement in a fresh process on a fresh database."""

        def once() -> Run:
            with fresh_database(self.server) as url:
                return in_child(functools.partial(work, url, *args, **more))

        return once

    def ceiling(self, name: str) -> Figure | None:
        """The ceiling of this name, if it was measured in this run."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def work_folder(self) -> Path:
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        return folder


# ceilings


def bench_ceilings(bench: Bench) -> None:
    """What the machine and the libraries could do without our code."""
    part, count = "ceiling", 200_000
    for name, once in (
        ("log append, batches of 500", lambda: in_child(ceilings.bare_append, count)),
        ("log read, batches of 1,000", lambda: in_child(ceilings.bare_read, count)),
        ("COPY, no index", bench.on_database(ceilings.bare_copy, count, indexes=False)),
        ("COPY, indexes of readings", bench.on_database(ceilings.bare_copy, count, indexes=True)),
        ("INSERT in a pipeline", bench.on_database(ceilings.bare_inserts, 10_000)),
    ):
        bench.say(measured(part, name, "rows/s", bench.runs(once)))
    bench.say(measured(part, "JSON parse", "messages/s/core", bench.runs(lambda: in_child(ceilings.bare_json, count))))
    queued = bench.runs(lambda: _bare_receive(bench))
    bench.say(measured(part, "paho receive, queued", "messages/s", queued))
    live = bench.runs(lambda: _bare_live(bench))
    bench.say(measured(part, "paho receive, live", "messages/s", live))


def _bare_receive(bench: Bench) -> Run:
    with bench.broker() as broker:
        ceilings.park(broker.url, "bare", TELEMETRY)
        count = publish(broker.url, rate=FULL_RATE, seconds=2)
        return in_child(ceilings.bare_receive, broker.url, "bare", count)


def _bare_live(bench: Bench) -> Run:
    with bench.broker() as broker:
        return in_child(ceilings.bare_receive_live, broker.url, FULL_RATE, 6.0)


def bench_load(bench: Bench) -> None:
    """The load generator without a system behind it: all other figures are only as good as it."""
    for rate in (bench.options.rates[-1], OFFERED):
        for taped in (False, True):
            name = f"{rate:,} messages/s offered{' and taped' if taped else ''}"
            runs = bench.runs(lambda rate=rate, taped=taped: loading.offer(rate, 10.0, DISTRICT, taped=taped))  # type: ignore[misc]
            bench.say(measured("load", name, "messages/s", runs, goal=Goal(rate)))
            bench.say(measured("load", f"{name}, its cost", "cores", [Run(run.more["a core"]) for run in runs]))


# ingest


def bench_receiver(bench: Bench) -> None:
    """Broker → log."""
    queued = bench.runs(lambda: _receive_queued(bench))
    ceiling = bench.ceiling("paho receive, queued")
    bench.say(measured("receiver", "from a full queue", "messages/s", queued, goal=Goal(15_000), ceiling=ceiling))
    live = bench.runs(lambda: _receive_live(bench))
    ceiling = bench.ceiling("paho receive, live")
    bench.say(measured("receiver", "live, load beside it", "messages/s", live, goal=Goal(10_334), ceiling=ceiling))


def _receive_queued(bench: Bench) -> Run:
    folder = bench.work_folder()
    with bench.broker() as broker:
        with parts.receiver(broker.url, "queued", folder):
            parts.listening(folder)
        count = publish(broker.url, rate=FULL_RATE, seconds=2)
        return parts.receive_queued(broker.url, "queued", broker.pid, count, folder)


def _receive_live(bench: Bench) -> Run:
    with bench.broker() as broker:
        return parts.receive_live(broker.url, broker.pid, FULL_RATE, 6.0, bench.work_folder())


def bench_writer(bench: Bench) -> None:
    """Log → PostgreSQL."""
    runs = bench.runs(bench.on_database(parts.write, bench.devices, 2 * bench.options.devices))
    _with_core(bench, "writer", "log → PostgreSQL", "readings/s", runs, "COPY, indexes of readings", Goal(80_000))


def bench_admit(bench: Bench) -> None:
    """Decode and admit, each codec."""
    ceiling = bench.ceiling("JSON parse")
    for codec, work in parts.CODEC_BENCHES.items():
        runs = bench.runs(lambda work=work: in_child(work, bench.devices, 2 * bench.options.devices))  # type: ignore[misc]
        bench.say(measured("admit", codec, "messages/s/core", runs, ceiling=ceiling))


def bench_codecs(bench: Bench) -> None:
    """Decode alone, each codec on a mix of all that its format has."""
    ceiling = bench.ceiling("JSON parse")
    for codec in CODECS:
        runs = bench.runs(lambda codec=codec: in_child(codecs.decode_rate, codec, 20_000))  # type: ignore[misc]
        bench.say(measured("codecs", codec, "messages/s/core", runs, ceiling=ceiling))


# alerts


def bench_engine(bench: Bench) -> None:
    """The pure engine with the default rulebook."""
    rate = bench.runs(lambda: in_child(judging.engine_rate, bench.devices, 4))
    bench.say(measured("engine", "default rulebook", "readings/s/core", rate, goal=Goal(300_000)))
    memory = [in_child(judging.engine_memory, bench.devices, 5)]
    bench.say(measured("engine", "memory", "bytes/device", memory, goal=Goal(1_200, at_most=True)))


def bench_evaluator(bench: Bench) -> None:
    """Log → decisions."""
    runs = bench.runs(lambda: in_child(judging.evaluate, bench.devices, 2 * bench.options.devices))
    _with_core(bench, "evaluator", "log → decisions", "readings/s", runs, "log read, batches of 1,000", Goal(80_000))


def bench_restart(bench: Bench) -> None:
    """The evaluator's restart, 30 s of log behind its checkpoint."""
    folder = bench.work_folder()
    judging.prepare_restart(folder, bench.devices, behind_s=30)
    runs = bench.runs(lambda: judging.restart(folder, bench.devices))
    bench.say(measured("restart", f"{bench.options.devices:,} devices", "s", runs))
    scale = DISTRICT / bench.options.devices
    scaled = [Run(run.more["process"] + scale * run.more["checkpoint and log"]) for run in runs]
    note = "start of the process as measured, the rest × devices"
    bench.say(measured("restart", f"scaled to {DISTRICT:,}", "s", scaled, goal=Goal(15, at_most=True), note=note))


def bench_scanner(bench: Bench) -> None:
    """A backlog in the log → the fires in it, against reading the same log and nothing else."""
    for name, payload in scanning.PAYLOADS.items():
        runs = bench.runs(lambda payload=payload: in_child(scanning.scan, bench.devices, BACKLOG, payload))  # type: ignore[misc]
        read = [Run(run.more["read alone"]) for run in runs]
        ceiling = bench.say(measured("scanner", f"reading alone, {name}", "records/s", read))
        bench.say(measured("scanner", name, "records/s", runs, ceiling=ceiling))
        read = [Run(run.more["read alone, a core"]) for run in runs]
        ceiling = bench.say(measured("scanner", f"reading alone, {name}", "records/s/core", read))
        a_core = [Run(run.more["a core"], run.cpu) for run in runs]
        bench.say(measured("scanner", name, "records/s/core", a_core, goal=Goal(300_000), ceiling=ceiling))


def bench_recorder(bench: Bench) -> None:
    """Decisions → PostgreSQL."""
    runs = bench.runs(bench.on_database(parts.record, 4_000))
    _with_core(bench, "recorder", "decisions → PostgreSQL", "decisions/s", runs, "INSERT in a pipeline", None)


def _with_core(
    bench: Bench, part: str, name: str, unit: str, runs: Sequence[Run], ceiling: str, goal: Goal | None
) -> None:
    """The figure as seen by the clock, and per processor second of the role, which is what the goal speaks of."""
    found = bench.ceiling(ceiling)
    bench.say(measured(part, name, unit, runs, ceiling=found))
    a_core = [Run(run.more["a core"], run.cpu) for run in runs]
    bench.say(measured(part, name, f"{unit}/core", a_core, goal=goal))


# all together


def bench_latency(bench: Bench) -> None:
    """Publish → webhook, everything on this machine."""
    with contextlib.ExitStack() as stack:
        url, broker = stack.enter_context(fresh_database(bench.server)), stack.enter_context(bench.broker())
        town = stack.enter_context(latency.town(broker, url, bench.devices))
        for rate in bench.options.rates:
            p50, p99 = latency.under_load(town, rate, bench.options.seconds)
            name = f"fire told at {rate:,} messages/s"
            bench.say(measured("latency", f"{name}, p50", "ms", [p50], goal=Goal(60, at_most=True)))
            bench.say(measured("latency", f"{name}, p99", "ms", [p99], goal=Goal(300, at_most=True)))


def bench_flood(bench: Bench) -> None:
    """What a device that floods does to the fires of others; the ceiling is the same load without it."""
    with contextlib.ExitStack() as stack:
        url, broker = stack.enter_context(fresh_database(bench.server)), stack.enter_context(bench.broker())
        town = stack.enter_context(latency.town(broker, url, bench.devices))
        alone: list[Figure | None] = [None, None]
        for flood in FLOODS:
            runs = latency.under_flood(town, FLOODED_RATE, flood, bench.options.seconds)
            for number, (share, run) in enumerate(zip(("p50", "p99"), runs, strict=True)):
                name = f"fire told at {FLOODED_RATE:,} messages/s, {flood:,}/s of one device beside it, {share}"
                figure = bench.say(measured("flood", name, "ms", [run], ceiling=alone[number]))
                alone[number] = alone[number] or figure


PARTS: dict[str, Callable[[Bench], None]] = {
    "ceilings": bench_ceilings,
    "load": bench_load,
    "receiver": bench_receiver,
    "writer": bench_writer,
    "evaluator": bench_evaluator,
    "engine": bench_engine,
    "scanner": bench_scanner,
    "recorder": bench_recorder,
    "admit": bench_admit,
    "codecs": bench_codecs,
    "restart": bench_restart,
    "latency": bench_latency,
    "flood": bench_flood,
}


def main() -> int:
    """Measure what is asked for; the table, and bench.json."""
    options = _options()
    quiet()
    began = time.time()
    where = machine()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emberwatch-bench-")))
        folder.chmod(0o755)  # mosquitto runs as an ordinary user
        server = stack.enter_context(running_server())
        bench = Bench(options, server, folder)
        found = versions(server)
        for name in options.only:
            print(f"{name} (load average {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            PARTS[name](bench)
    print(table(bench.figures))
    told = {"machine": where, "versions": found, "took_s": round(time.time() - began, 1), "figures": bench.figures}
    Path(options.out).write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    print(f"{where['processor']}, {where['cores']} cores; written to {options.out}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", type=_names, default=list(PARTS), metavar="PART,…", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=60.0, help="of load at each rate (default 60)")
    parser.add_argument("--rates", type=_numbers, default=list(RATES), metavar="N,…", help="messages a second")
    parser.add_argument("--devices", type=int, default=100_000, help="registered (default 100000)")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement but latency (default 3)")
    parser.add_argument("--out", default="bench.json", metavar="FILE", help="default bench.json")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
