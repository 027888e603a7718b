"""`python -m simulators town`: an invented town of charging sheds that reports over MQTT, and may catch fire."""

from __future__ import annotations

import argparse
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import takewhile

from ingest.errors import OperatorError, Unavailable
from ingest.readings import SECOND, iso
from ingest.readings_file import write_readings
from simulators.options import (
    DEFAULT_BROKER,
    add_sent,
    delay,
    factor,
    moment,
    parse_broker,
    positive,
    span,
    whole,
)
from simulators.tapes.tapefile import TapeWriter
from simulators.town.battery_fire import Fire, ignite
from simulators.town.heads import Report
from simulators.town.inventory import write_inventory
from simulators.town.layout import Site, Town, build_town
from simulators.town.life import reports, row_of
from simulators.town.models import SMOKE
from simulators.wire.messages import Outgoing, messages, status
from simulators.wire.pace import Pace
from simulators.wire.speakers import Speaker, Wires

COLUMNS = ("temperature", "smoke", "humidity", "battery", "smoke_alarm", "heat_alarm", "mains_lost", "online")

EPILOG = """\
Each head reports temperature, humidity and smoke every interval, and at once when its own smoke or heat alarm
changes (topic …/alarm). Every third shed has a gateway that speaks for its heads (ember/v1/{site}/telemetry).
Heads and gateways that speak for themselves keep a retained status. Each has a connection of its own, with offline
as its last will; beyond 64 they share connections, and the will is that of the first on each.
The same seed and start give the same bytes. With --speed the time stamps run ahead of the clock: take such a feed
in by a source with `clock: observed`.

examples:
  python -m simulators town --inventory town.csv                     the inventory to import, no broker needed
  python -m simulators town --scenario battery_fire --fire-at 20     a fire 20 s after the start
  python -m simulators town --readings day.csv.gz --seconds 86400    a day as a readings file, no broker needed
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `town`."""
    parser = commands.add_parser(
        "town",
        help="an invented town of charging sheds, with fires",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        help=f"mqtt://[user:password@]host[:port] (default {DEFAULT_BROKER}, but none when only files are asked for)",
    )
    parser.add_argument("--sites", type=positive, default=8, metavar="N", help="sheds (default 8)")
    parser.add_argument("--devices", type=positive, default=48, metavar="N", help="heads in all (default 48)")
    parser.add_argument("--seed", type=whole, default=1, metavar="S", help="another seed, another town (default 1)")
    parser.add_argument("--interval", type=span, default=10.0, metavar="S", help="seconds between reports (default 10)")
    parser.add_argument(
        "--seconds", type=span, metavar="N", help="how long, in the town's time (default: until Ctrl-C)"
    )
    parser.add_argument("--start", type=moment, metavar="TIME", help="the town's time at the start (default: now)")
    parser.add_argument("--speed", type=factor, default=1.0, metavar="X", help="1, 10, … times as fast, or max")
    fire = parser.add_argument_group("fires")
    fire.add_argument("--scenario", choices=["battery_fire"], help="what happens: an e-bike battery vents, then burns")
    fire.add_argument(
        "--fire-at", type=delay, default=20.0, metavar="S", help="first fire, after the start (default 20)"
    )
    fire.add_argument(
        "--fires", type=positive, default=1, metavar="N", help="how many, each in another shed (default 1)"
    )
    fire.add_argument("--fire-every", type=span, default=60.0, metavar="S", help="from one to the next (default 60)")
    fire.add_argument("--fire-site", metavar="ID[,ID…]", default="", help="in these sheds (default: by the seed)")
    out = parser.add_argument_group("files")
    out.add_argument("--inventory", metavar="FILE.csv", help="write the inventory; publishes only with --broker")
    out.add_argument("--readings", metavar="FILE", help="write a readings file; publishes only with --broker")
    add_sent(out)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Write what was asked for, then publish until the end or the stop."""
    if args.devices < args.sites:
        raise OperatorError(f"--devices {args.devices}: fewer heads than sheds; give at least {args.sites}")
    town = build_town(sites=args.sites, devices=args.devices, seed=args.seed)
    start = args.start if args.start is not None else now()
    start -= start % 1000  # time stamps have milliseconds
    fires = plan_fires(town, args, start)
    if args.inventory:
        write_inventory(args.inventory, town, interval_s=args.interval)
    if args.readings:
        _write_readings(args, town, fires, start, stop)
    if args.broker or not (args.inventory or args.readings):
        return _publish(args, town, fires, start, now=now, stop=stop)
    return 0


def plan_fires(town: Town, args: argparse.Namespace, start: int) -> list[Fire]:
    """Which shed burns when."""
    if args.scenario is None:
        return []
    named = [site for site in args.fire_site.split(",") if site]
    for site in named:
        if town.site(site) is None:
            raise OperatorError(
                f"--fire-site {site}: no such shed; there are {town.sites[0].id} to {town.sites[-1].id}"
            )
    others = [shed.id for shed in town.sites if shed.id not in named]
    random.Random(f"fires/{args.seed}").shuffle(others)
    sites = [*named, *others][: max(args.fires, len(named))]
    if args.fires > len(sites):
        raise OperatorError(f"--fires {args.fires}: there are only {len(sites)} sheds; give fewer, or more --sites")
    return [
        ignite(
            site=site,
            start_at=start + int((args.fire_at + number * args.fire_every) * SECOND),
            heads=sum(device.model in SMOKE for device in _shed(town, site).devices),
            seed=str(args.seed),
        )
        for number, site in enumerate(sites)
    ]


def _shed(town: Town, site: str) -> Site:
    return next(shed for shed in town.sites if shed.id == site)


def _life(args: argparse.Namespace, town: Town, fires: list[Fire], start: int) -> Iterator[Report]:
    told = reports(town.sites, fires=fires, start_at=start, interval_s=args.interval, seed=args.seed)
    if args.seconds is None:
        return told
    end = start + int(args.seconds * SECOND)
    return takewhile(lambda report: report.at < end, told)


def _write_readings(args: argparse.Namespace, town: Town, fires: list[Fire], start: int, stop: threading.Event) -> None:
    if args.seconds is None:
        raise OperatorError(f"--readings {args.readings}: say how long with --seconds N")
    told = takewhile(lambda _: not stop.is_set(), _life(args, town, fires, start))
    count = write_readings(args.readings, (row_of(report) for report in told), columns=COLUMNS)
    print(f"town: {count} readings from {iso(start)} on written to {args.readings}")


def _publish(
    args: argparse.Namespace,
    town: Town,
    fires: list[Fire],
    start: int,
    *,
    now: Callable[[], int],
    stop: threading.Event,
) -> int:
    broker = parse_broker(args.broker or DEFAULT_BROKER)
    gateways = {shed.id: shed.gateway for shed in town.sites if shed.gateway}
    with TapeWriter(args.sent) as sent, ExitStack() as open_connections:
        wires = Wires(broker=broker, stop=stop)
        open_connections.callback(wires.close)
        wires.connect(speakers(town), at=start)
        _introduce(args, town, fires, start, str(broker))
        pace = Pace(now=now, stop=stop, origin=start, speed=args.speed)
        greetings = [status(site=s.site, device=s.device, at=start, online=True) for s in speakers(town)]
        count = 0
        for message in _then(greetings, messages(_life(args, town, fires, start), gateways)):
            if not pace.until(message.at) or not wires.send(message):
                break
            count += 1
            _note(sent, message, now())
        count += _farewell(wires, town, sent, now)
    print(f"town: {count} messages published and acknowledged")
    return 0


def _then(first: list[Outgoing], rest: Iterator[Outgoing]) -> Iterator[Outgoing]:
    yield from first
    yield from rest


def _note(sent: TapeWriter, message: Outgoing, at: int) -> None:
    sent.add(at=at, topic=message.topic, payload=message.payload, retain=message.retain)


def _introduce(args: argparse.Namespace, town: Town, fires: list[Fire], start: int, broker: str) -> None:
    print(f"town: {args.sites} sheds, {args.devices} heads, a report each {args.interval:g} s, to {broker}", flush=True)
    for fire in fires:
        name = _shed(town, fire.site).name
        wait = (fire.start_at - start) / SECOND / args.speed
        print(f"town: a battery will vent at {fire.site} {name} in {wait:.0f} s", flush=True)


def _farewell(wires: Wires, town: Town, sent: TapeWriter, now: Callable[[], int]) -> int:
    """Every speaker says it goes offline, and all is acknowledged; the number of messages."""
    farewells = [status(site=s.site, device=s.device, at=now(), online=False) for s in speakers(town)]
    for message in farewells:
        wires.send(message)
        _note(sent, message, now())
    try:
        wires.finish(patience_s=3.0)
    except Unavailable as error:
        print(f"town: {error}", file=sys.stderr)
    return len(farewells)


def speakers(town: Town) -> list[Speaker]:
    """All that keep a status: gateways, and heads without one."""
    found = []
    for shed in town.sites:
        devices = [device.id for device in shed.devices if not device.gateway]
        found += [Speaker(site=shed.id, device=device) for device in devices]
    return found
