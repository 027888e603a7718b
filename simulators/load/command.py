"""`python -m simulators load`: as many messages as asked for, as cheaply as Python can."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from tqdm import tqdm

from ingest.errors import OperatorError
from ingest.readings import SECOND
from simulators.load.account import Account, Report, backs, lines
from simulators.load.connections import Connections, allow
from simulators.load.fleet import MOST_DEVICES, MOST_SITES, Fleet, write_inventory
from simulators.load.forms import Form
from simulators.load.generator import Event, Generator
from simulators.load.taping import Taping
from simulators.load.timetable import Burst, Storm, Timetable
from simulators.options import add_broker, add_sent, delay, parse_broker, positive, span, whole
from simulators.tapes.tapefile import TapeWriter
from simulators.wire.packets import MAX_PACKET_ID

#: Readings of one device at most so often, when nothing else says how long a load lasts, s.
DEFAULT_S = 10.0
#: mosquitto from 2.0.16 on ends a connection to which it could not write 1,000 acknowledgements (max_queued_messages).
WINDOW = 1_000

EPILOG = """\
Each message is one reading of one device on ember/v1/{site}/{device}/telemetry, QoS 1, MQTT 3.1.1, all devices in
turn: {"ts":<epoch ms>,"seq":<n>,"temperature":…,"humidity":…,"smoke":…,"smoke_alarm":false}
A device always speaks over the same connection. Open loop: messages are due at stated times, whatever the broker does
(--rate, --burst, --storm, together or each alone). Closed loop: as fast as the broker answers (--closed).
Prints what was offered (planned), sent and acknowledged, the rate in each second, and how late messages went out;
exit 1 when not all was acknowledged, and a line when the load could not be offered as asked.

examples:
  python -m simulators load --inventory load.csv --devices 620000      the inventory of its devices, nothing is sent
  python -m simulators load --rate 10334 --seconds 600 --devices 620000
  python -m simulators load --rate 2000 --burst 20000:5 --seconds 60   every 5 s 20,000 messages more
  python -m simulators load --storm 10 --devices 100000                every device once, all within 10 s
  python -m simulators load --closed 200 --connections 8               what the broker can take
  python -m simulators load --rate 5000 --connections 1000 --reconnect 900:5 --sent load.tape
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `load`."""
    parser = commands.add_parser(
        "load",
        help="messages at a stated rate, in bursts, storms and mass reconnects",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_broker(parser)
    _add_pace(parser.add_argument_group("how much and when"))
    _add_fleet(parser.add_argument_group("who speaks"))
    parser.add_argument("--seed", type=whole, default=1, metavar="S", help="another seed, other values (default 1)")
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON")
    add_sent(parser)
    parser.set_defaults(run=run)


def _add_pace(pace: argparse._ArgumentGroup) -> None:
    pace.add_argument("--rate", type=positive, metavar="N", help="messages a second")
    pace.add_argument("--seconds", type=span, default=DEFAULT_S, metavar="N", help="how long (default 10)")
    pace.add_argument("--closed", type=positive, metavar="N", help="each connection keeps N messages unacknowledged")
    pace.add_argument("--burst", type=_burst, metavar="N:EVERY", help="N messages more at once, each EVERY seconds")
    pace.add_argument(
        "--storm", type=_storm, metavar="S[:AT]", help="every device once more within S seconds, from AT (0) on"
    )
    pace.add_argument(
        "--fire-every", type=span, metavar="S", help="each S seconds another site says smoke_alarm on its alarm topic"
    )
    pace.add_argument(
        "--reconnect",
        type=_cut,
        action="append",
        default=[],
        metavar="N:AT",
        help="after AT seconds N connections break at once, come back, and send again what was not acknowledged",
    )


def _add_fleet(fleet: argparse._ArgumentGroup) -> None:
    fleet.add_argument("--devices", type=positive, default=1000, metavar="N", help="devices in all (default 1000)")
    fleet.add_argument("--sites", type=positive, metavar="N", help="sites they stand at (default: 20 devices each)")
    fleet.add_argument(
        "--gateway", type=positive, metavar="N", help="N devices a site, whose gateway sends their readings together"
    )
    fleet.add_argument("--connections", type=positive, default=4, metavar="N", help="connections (default 4)")
    fleet.add_argument(
        "--window", type=positive, default=WINDOW, metavar="N", help=f"unacknowledged on each at most ({WINDOW})"
    )
    fleet.add_argument("--inventory", metavar="FILE.csv", help="write the inventory; sends only with a pace")


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Write the inventory, send, and say what became of it."""
    fleet = _fleet(args)
    paced = bool(args.rate or args.closed or args.burst or args.storm)
    table, events = _plan(args, fleet)
    if args.inventory:
        write_inventory(args.inventory, fleet)
    if paced:
        return _send(args, fleet, table, events, now, stop)
    if args.inventory:
        return 0
    raise OperatorError("--rate: say how many messages a second, such as --rate 1000; or --closed, --burst, --storm")


def _fleet(args: argparse.Namespace) -> Fleet:
    devices = args.devices
    if args.gateway and args.sites:
        raise OperatorError("--sites: with --gateway the sites follow from --devices; leave one of them out")
    if args.gateway and devices % args.gateway:
        raise OperatorError(f"--gateway {args.gateway}: {devices} devices are no whole number of gateways")
    if args.gateway and args.gateway > 1_000:
        raise OperatorError(f"--gateway {args.gateway}: at most 1000 readings go into one message")
    sites = devices // args.gateway if args.gateway else min(args.sites or -(-devices // 20), devices)
    if devices > MOST_DEVICES or sites > MOST_SITES:
        raise OperatorError(f"--devices {devices}: at most {MOST_DEVICES} at {MOST_SITES} sites have numbers in ids")
    return Fleet(devices=devices, sites=sites, gateways=bool(args.gateway))


def _plan(args: argparse.Namespace, fleet: Fleet) -> tuple[Timetable | None, list[Event]]:
    """What is due when in an open loop, None in a closed one."""
    if args.closed:
        for option in ("rate", "burst", "storm", "fire_every", "reconnect"):
            if getattr(args, option):
                name = option.replace("_", "-")
                raise OperatorError(f"--closed: sends as fast as the broker answers; leave --{name} out")
        if args.closed > MAX_PACKET_ID:
            raise OperatorError(f"--closed {args.closed}: MQTT has {MAX_PACKET_ID} packet ids for each connection")
        return None, []
    length = round(args.seconds * SECOND) if args.rate or args.burst else 0
    storm = Storm(count=fleet.speakers, start=args.storm[0], span=args.storm[1]) if args.storm else None
    table = Timetable(length=length, rate=args.rate or 0, burst=args.burst, storm=storm)
    return table, sorted([*_fires(args, fleet, table.length), *_cuts(args, table.length)], key=lambda event: event.at)


def _fires(args: argparse.Namespace, fleet: Fleet, length: int) -> Iterator[Event]:
    every = round(args.fire_every * SECOND) if args.fire_every else 0
    times = range(every, length, every) if every else ()
    if len(times) > fleet.sites:
        raise OperatorError(
            f"--fire-every {args.fire_every:g}: {len(times)} fires, and {fleet.sites} sites; ask for more"
        )
    for site, at in enumerate(times):
        yield Event(at=at, fire=site)


def _cuts(args: argparse.Namespace, length: int) -> Iterator[Event]:
    for count, at in args.reconnect:
        if at >= length:
            raise OperatorError(f"--reconnect {count}:{at / SECOND:g}: the load ends after {length / SECOND:g} s")
        if count > args.connections:
            raise OperatorError(f"--reconnect {count}:{at / SECOND:g}: there are {args.connections} connections")
        yield Event(at=at, cut=count)


def _send(
    args: argparse.Namespace,
    fleet: Fleet,
    table: Timetable | None,
    events: list[Event],
    now: Callable[[], int],
    stop: threading.Event,
) -> int:
    form = Form(fleet, args.seed)
    broker, count = parse_broker(args.broker), min(args.connections, fleet.speakers)
    window = args.closed or min(args.window, MAX_PACKET_ID)
    allow(count)
    account = Account(None if table is None else table.total + sum(event.fire >= 0 for event in events))
    with (
        TapeWriter(args.sent) as tape,
        Connections(
            broker=broker, count=count, window=window, clean=not args.reconnect, now=now, stop=stop
        ) as connections,
    ):
        taping = Taping(tape, form) if args.sent else None
        generator = Generator(
            fleet=fleet,
            form=form,
            connections=connections,
            account=account,
            taping=taping,
            now=now,
            stop=stop,
        )
        length = round(args.seconds * SECOND) if table is None else table.length
        worked = time.process_time()
        try:
            with _bar(account.planned, args.seconds) as bar:
                if table is None:
                    generator.closed_loop(args.closed, length, bar)
                else:
                    generator.open_loop(table, events, bar)
            generator.drain()
        finally:
            if taping is not None:
                taping.flush()
            cpu_s = time.process_time() - worked
            report = _report(account, connections, fleet, length, cpu_s, stopped=stop.is_set())
            _tell(report, args)
    if report.stopped:
        return 130
    return 0 if report.acknowledged == report.sent else 1


def _bar(planned: int | None, seconds: float) -> tqdm[Any]:
    if planned is None:
        form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s"
        return tqdm(total=seconds, desc="load", disable=None, leave=False, bar_format=form)
    return tqdm(total=planned, desc="load", unit=" messages", unit_scale=True, disable=None, leave=False)


def _report(
    account: Account, connections: Connections, fleet: Fleet, length: int, cpu_s: float, *, stopped: bool
) -> Report:
    each = fleet.devices // fleet.sites if fleet.gateways else 1
    seconds = max(account.ended, length if account.planned is None else 0, 1) / SECOND
    return Report(
        offered=account.planned,
        sent=account.sent,
        readings=(account.sent - account.fires) * each + account.fires,
        fires=account.fires,
        acknowledged=sum(wire.acknowledged for wire in connections.wires),
        sent_again=sum(wire.sent_again for wire in connections.wires),
        seconds=round(seconds, 3),
        rate=round(account.sent / seconds, 1),
        per_second=account.per_second(min(length, account.ended) if stopped else length),
        late_ms=account.late(),
        connections=len(connections.wires),
        connect_s=round(connections.opened_in / SECOND, 3),
        cpu_s=round(cpu_s, 3),
        reconnects=backs(connections.cuts),
        held=account.held(length),
        stopped=stopped,
    )


def _tell(report: Report, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(msgspec.to_builtins(report)))
        return
    asked = f"{args.rate}/s" if args.rate else "what was asked for"
    for line in lines(report, asked):
        print(line)


def _pair(text: str, what: str) -> tuple[int, int]:
    """`N:SECONDS`, as a whole number from 1 and µs."""
    count, _, seconds = text.partition(":")
    try:
        return positive(count), round(delay(seconds) * SECOND)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}: write {what}") from None


def _burst(text: str) -> Burst:
    what = "how many and each how many seconds, such as 5000:2"
    count, every = _pair(text, what)
    if every < 1_000:
        raise argparse.ArgumentTypeError(f"{text!r}: write {what}, from 0.001 s on")
    return Burst(count=count, every=every)


def _cut(text: str) -> tuple[int, int]:
    return _pair(text, "how many connections and after how many seconds, such as 500:10")


def _storm(text: str) -> tuple[int, int]:
    """When it begins and how long it takes, µs."""
    length, _, start = text.partition(":")
    return round(delay(start or "0") * SECOND), max(1, round(span(length) * SECOND))
