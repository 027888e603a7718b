"""`python -m simulators load`: readings at a stated rate over a few connections, as cheaply as Python can.

Packets are encoded beforehand but for packet id, time and seq; each connection writes what is due in one piece and
counts the acknowledgements.
"""

from __future__ import annotations

import argparse
import itertools
import selectors
import threading
from collections.abc import Callable, Iterator

from ingest.errors import OperatorError
from ingest.readings import SECOND
from simulators.load.fleet import OPENING, Fleet, Planned, write_inventory
from simulators.options import add_broker, add_sent, parse_broker, positive, span, whole
from simulators.tapes.tapefile import TapeWriter
from simulators.wire.packets import MAX_PACKET_ID
from simulators.wire.raw import KEEPALIVE_S, Wire

#: Packets go out in slices of time this long.
TICK = 5_000
#: The broker is taken for gone when nothing is acknowledged for so long.
PATIENCE = 10 * SECOND

EPILOG = """\
Each message is one reading of one device on ember/v1/{site}/{device}/telemetry, QoS 1, MQTT 3.1.1, all devices in
turn: {"ts":<epoch ms>,"seq":<n>,"temperature":…,"humidity":…,"smoke":…,"smoke_alarm":false}
Prints what was offered (rate x seconds), sent and acknowledged; exit 1 when not all was acknowledged, and a line when
the rate could not be held.

examples:
  python -m simulators load --inventory load.csv --devices 620000      the inventory of its devices, nothing is sent
  python -m simulators load --rate 10334 --seconds 600 --devices 620000
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `load`."""
    parser = commands.add_parser(
        "load",
        help="readings at a stated rate",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_broker(parser)
    parser.add_argument("--rate", type=positive, metavar="N", help="messages a second")
    parser.add_argument("--seconds", type=span, default=10.0, metavar="N", help="how long (default 10)")
    parser.add_argument("--devices", type=positive, default=1000, metavar="N", help="devices in all (default 1000)")
    parser.add_argument("--sites", type=positive, metavar="N", help="sites they stand at (default: 20 devices each)")
    parser.add_argument("--connections", type=positive, default=4, metavar="N", help="connections (default 4)")
    parser.add_argument("--seed", type=whole, default=1, metavar="S", help="another seed, other values (default 1)")
    parser.add_argument("--window", type=positive, default=20_000, metavar="N", help="unacknowledged each (20000)")
    parser.add_argument("--inventory", metavar="FILE.csv", help="write the inventory; sends only with --rate")
    add_sent(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Write the inventory, send, and say what became of it."""
    sites = args.sites or -(-args.devices // 20)
    fleet = Fleet(devices=args.devices, sites=min(sites, args.devices))
    if args.inventory:
        write_inventory(args.inventory, fleet)
    if args.rate is None:
        if args.inventory:
            return 0
        raise OperatorError("--rate: say how many messages a second, such as --rate 1000")
    broker = parse_broker(args.broker)
    window = min(args.window, MAX_PACKET_ID)
    with TapeWriter(args.sent) as sent:
        count = min(args.connections, args.devices)
        wires = [Wire(broker=broker, number=number, window=window) for number in range(count)]
        try:
            generator = Generator(
                args=args, fleet=fleet, wires=wires, sent=sent if args.sent else None, now=now, stop=stop
            )
            return generator.run()
        finally:
            for wire in wires:
                wire.close()


class Generator:
    """Offers the rate, tick by tick."""

    def __init__(
        self,
        *,
        args: argparse.Namespace,
        fleet: Fleet,
        wires: list[Wire],
        sent: TapeWriter | None,
        now: Callable[[], int],
        stop: threading.Event,
    ) -> None:
        self._args, self._fleet, self._wires, self._sent_file = args, fleet, wires, sent
        self._now, self._stop = now, stop
        self._messages = [fleet.messages(number, len(wires), args.seed) for number in range(len(wires))]
        self._sent = 0
        self._selector = selectors.DefaultSelector()
        for wire in wires:
            self._selector.register(wire, selectors.EVENT_READ)

    def run(self) -> int:
        """Offer, wait for the acknowledgements, report; 0 when all sent was acknowledged, 130 when stopped."""
        total = round(self._args.rate * self._args.seconds)
        began = self._now()
        self._offer(total, began)
        offered_s = max((self._now() - began) / SECOND, 1e-6)
        self._drain()
        return self._report(total, offered_s)

    def _offer(self, total: int, began: int) -> None:
        """What is due goes out each tick; after the stated time, what is left is not offered any more."""
        end, pinged = began + round(self._args.seconds * SECOND), began
        while self._sent < total and not self._stop.is_set() and (at := self._now()) < end + SECOND:
            due = min(total, (at - began) * self._args.rate // SECOND + 1) - self._sent
            if due > 0:
                self._spread(due, at)
            if at - pinged > KEEPALIVE_S * SECOND // 3:
                pinged = at
                for wire in self._wires:
                    wire.ping()
            self._listen(max(0, at + TICK - self._now()))

    def _spread(self, due: int, at: int) -> None:
        share = -(-due // len(self._wires))
        for wire, messages in zip(self._wires, self._messages, strict=True):
            count = min(share, due, wire.room)
            if count > 0:
                due -= count
                wire.write(self._packets(wire, messages, count, at), count)
                self._sent += count

    def _packets(self, wire: Wire, messages: Iterator[Planned], count: int, at: int) -> bytes:
        ts = at // 1000
        chosen = list(itertools.islice(messages, count))
        parts: list[bytes] = []
        for (device, tail, seq), packet_id in zip(chosen, wire.packet_ids(count), strict=True):
            parts += (device.head, packet_id, OPENING % (ts, seq), tail)
        if self._sent_file is not None:
            for device, tail, seq in chosen:
                payload = OPENING % (ts, seq) + tail
                self._sent_file.add(at=at, topic=device.topic, payload=payload)
        return b"".join(parts)

    def _listen(self, wait: int) -> None:
        """Take in answers for `wait` µs."""
        until = self._now() + wait
        while True:
            for key, _ in self._selector.select(max(0, until - self._now()) / SECOND):
                wire = key.fileobj
                assert isinstance(wire, Wire)
                wire.read()
            for wire in self._wires:
                wire.flush()
            if self._now() >= until:
                return

    def _drain(self) -> None:
        """Wait for what is not acknowledged yet, as long as any acknowledgement comes."""
        left, deadline = -1, 0
        while (waiting := sum(wire.waiting for wire in self._wires)) and (waiting != left or self._now() < deadline):
            if waiting != left:
                left, deadline = waiting, self._now() + (SECOND if self._stop.is_set() else PATIENCE)
            self._listen(TICK)

    def _report(self, total: int, offered_s: float) -> int:
        acknowledged = sum(wire.acknowledged for wire in self._wires)
        rate = self._sent / offered_s
        done = f"offered {total}, sent {self._sent}, acknowledged {acknowledged}"
        print(f"load: {done}, {rate:,.0f}/s over {offered_s:.1f} s")
        if self._stop.is_set():
            print("load: stopped before the end")
            return 130
        late = offered_s > self._args.seconds * 1.02 + 0.05
        if self._sent < total or late:
            print(f"load: could not offer {self._args.rate}/s; the broker or this machine is too slow for it")
        return 0 if acknowledged == self._sent else 1
