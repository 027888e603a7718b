"""`python -m simulators load`: as many messages as asked for, as cheaply as Python can."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from tqdm import tqdm

from ingest.errors import OperatorError
from ingest.readings import SECOND
from simulators.load.account import Account, Report, backs, lines
from simulators.load.asked import Asked, burst, check, cut, storm
from simulators.load.connections import Connections, allow
from simulators.load.fleet import write_inventory
from simulators.load.forms import Form
from simulators.load.generator import Generator
from simulators.load.taping import Taping
from simulators.options import add_broker, add_sent, parse_broker, positive, span, whole
from simulators.tapes.tapefile import TapeWriter

#: How long a load lasts when nothing says it, s.
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
Emberwatch sets aside what one device says more than 3,000 times a minute: ask for enough --devices.

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
    pace.add_argument(
        "--seconds",
        type=span,
        default=DEFAULT_S,
        metavar="N",
        help="how long; a storm alone takes its own (default 10)",
    )
    pace.add_argument("--closed", type=positive, metavar="N", help="each connection keeps N messages unacknowledged")
    pace.add_argument("--burst", type=burst, metavar="N:EVERY", help="N messages more at once, each EVERY seconds")
    pace.add_argument(
        "--storm", type=storm, metavar="S[:AT]", help="every device once more within S seconds, from AT (0) on"
    )
    pace.add_argument(
        "--fire-every", type=span, metavar="S", help="each S seconds another site says smoke_alarm on its alarm topic"
    )
    pace.add_argument(
        "--reconnect",
        type=cut,
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
    asked = check(args)
    if args.inventory:
        write_inventory(args.inventory, asked.fleet)
    if asked.paced:
        return _send(asked, args, now, stop)
    if args.inventory:
        return 0
    if args.rate:
        raise OperatorError(
            f"--rate {args.rate}: not one message is due within --seconds {args.seconds:g}; ask for more"
        )
    raise OperatorError("--rate: say how many messages a second, such as --rate 1000; or --closed, --burst, --storm")


def _send(asked: Asked, args: argparse.Namespace, now: Callable[[], int], stop: threading.Event) -> int:
    fleet, form, account = asked.fleet, Form(asked.fleet, args.seed), Account(asked.planned)
    allow(asked.connections)
    with (
        TapeWriter(args.sent) as tape,
        Connections(
            broker=parse_broker(args.broker),
            count=asked.connections,
            window=asked.keep or args.window,
            clean=not args.reconnect,
            now=now,
            stop=stop,
        ) as connections,
    ):
        taping = Taping(tape, form) if args.sent else None
        generator = Generator(
            fleet=fleet, form=form, connections=connections, account=account, taping=taping, now=now, stop=stop
        )
        worked, cut_short = time.process_time(), True
        try:
            _generate(generator, asked)
            cut_short = stop.is_set()
        finally:
            if taping is not None:
                taping.flush()
            cpu_s = time.process_time() - worked
            report = _report(asked, account, connections, cpu_s, cut_short=cut_short, stopped=stop.is_set())
            _tell(report, args)
    if report.stopped:
        return 130
    return 0 if report.acknowledged == report.sent else 1


def _generate(generator: Generator, asked: Asked) -> None:
    with _bar(asked) as bar:
        if asked.table is None:
            generator.closed_loop(asked.length, bar)
        else:
            generator.open_loop(asked.table, asked.events, bar)
    generator.drain()


def _bar(asked: Asked) -> tqdm[Any]:
    if asked.planned is None:
        form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s"
        return tqdm(total=asked.length / SECOND, desc="load", disable=None, leave=False, bar_format=form)
    return tqdm(total=asked.planned, desc="load", unit=" messages", unit_scale=True, disable=None, leave=False)


def _report(
    asked: Asked, account: Account, connections: Connections, cpu_s: float, *, cut_short: bool, stopped: bool
) -> Report:
    """`cut_short`: it ended before its time, as the broker went away or someone stopped it."""
    length = min(asked.length, account.ended) if cut_short else asked.length
    seconds = max(account.ended, length if asked.table is None else 0, 1) / SECOND
    return Report(
        offered=account.planned,
        sent=account.sent,
        readings=(account.sent - account.fires) * asked.fleet.together + account.fires,
        fires=account.fires,
        acknowledged=sum(wire.acknowledged for wire in connections.wires),
        sent_again=sum(wire.sent_again for wire in connections.wires),
        seconds=round(seconds, 3),
        rate=round(account.sent / seconds, 1),
        per_second=account.per_second(length),
        late_ms=account.late(),
        connections=len(connections.wires),
        connect_s=round(connections.opened_in / SECOND, 3),
        cpu_s=round(cpu_s, 3),
        reconnects=backs(connections.cuts),
        held=account.held(asked.length, cut=bool(connections.cuts)),
        stopped=stopped,
    )


def _tell(report: Report, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(msgspec.to_builtins(report)))
        return
    asked = f"{args.rate}/s" if args.rate else "what was asked for"
    for line in lines(report, asked):
        print(line)
