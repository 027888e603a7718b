"""The load that was asked for on the command line, checked. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import msgspec

from ingest.errors import OperatorError
from ingest.readings import SECOND
from simulators.load.fleet import MOST_DEVICES, MOST_SITES, Fleet
from simulators.load.generator import Event
from simulators.load.timetable import Burst, Storm, Timetable
from simulators.options import delay, positive, span
from simulators.wire.packets import MAX_PACKET_ID

#: Emberwatch takes at most 3,000 readings of one message.
MOST_TOGETHER = 3_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who speaks over how many connections, and when; `length` in µs.

    `table`: what is due in an open loop. None: a closed loop, in which each connection `keep`s so many unacknowledged.
    """

    fleet: Fleet
    connections: int
    table: Timetable | None
    events: list[Event]
    keep: int
    length: int

    @property
    def paced(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self.table is None or self.table.total)

    @property
    def planned(self) -> int | None:
        """How many messages are due in all; None in a closed loop."""
        if self.table is None:
            return None
        return self.table.total + sum(event.fire >= 0 for event in self.events)


def check(args: argparse.Namespace) -> Asked:
    """OperatorError for what does not go together."""
    fleet = _fleet(args)
    table = _table(args, fleet)
    length = round(args.seconds * SECOND) if table is None else table.length
    connections = min(args.connections, fleet.speakers)
    events: list[Event] = []
    if table is not None and table.total:
        cuts = _cuts(args, length, connections)
        events = sorted([*_fires(args, fleet, length), *cuts], key=lambda event: event.at)
    if args.window > MAX_PACKET_ID:
        raise OperatorError(f"--window {args.window}: MQTT has {MAX_PACKET_ID} packet ids for each connection")
    return Asked(
        fleet=fleet,
        connections=connections,
        table=table,
        events=events,
        keep=args.closed or 0,
        length=length,
    )


def _fleet(args: argparse.Namespace) -> Fleet:
    devices = args.devices
    if args.gateway and args.sites:
        raise OperatorError("--sites: with --gateway the sites follow from --devices; leave one of them out")
    if args.gateway and devices % args.gateway:
        raise OperatorError(f"--gateway {args.gateway}: {devices} devices are no whole number of gateways")
    if args.gateway and args.gateway > MOST_TOGETHER:
        raise OperatorError(f"--gateway {args.gateway}: at most {MOST_TOGETHER} readings go into one message")
    sites = devices // args.gateway if args.gateway else min(args.sites or -(-devices // 20), devices)
    if devices > MOST_DEVICES or sites > MOST_SITES:
        raise OperatorError(f"--devices {devices}: at most {MOST_DEVICES} at {MOST_SITES} sites have numbers in ids")
    return Fleet(devices=devices, sites=sites, gateways=bool(args.gateway))


def _table(args: argparse.Namespace, fleet: Fleet) -> Timetable | None:
    """What is due when in an open loop, None in a closed one."""
    if args.closed:
        for option in ("rate", "burst", "storm", "fire_every", "reconnect"):
            if getattr(args, option):
                name = option.replace("_", "-")
                raise OperatorError(f"--closed: sends as fast as the broker answers; leave --{name} out")
        if args.closed > MAX_PACKET_ID:
            raise OperatorError(f"--closed {args.closed}: MQTT has {MAX_PACKET_ID} packet ids for each connection")
        return None
    length = round(args.seconds * SECOND) if args.rate or args.burst else 0
    storm = Storm(count=fleet.speakers, start=args.storm[0], span=args.storm[1]) if args.storm else None
    return Timetable(length=length, rate=args.rate or 0, burst=args.burst, storm=storm)


def _fires(args: argparse.Namespace, fleet: Fleet, length: int) -> Iterator[Event]:
    if not args.fire_every:
        return
    every = max(1, round(args.fire_every * SECOND))
    times = range(every, length, every)
    if len(times) > fleet.sites:
        raise OperatorError(
            f"--fire-every {args.fire_every:g}: {len(times)} fires, and {fleet.sites} sites; ask for more"
        )
    for site, at in enumerate(times):
        yield Event(at=at, fire=site)


def _cuts(args: argparse.Namespace, length: int, connections: int) -> Iterator[Event]:
    for count, at in args.reconnect:
        if at >= length:
            raise OperatorError(f"--reconnect {count}:{at / SECOND:g}: the load ends after {length / SECOND:g} s")
        if count > connections:
            raise OperatorError(f"--reconnect {count}:{at / SECOND:g}: there are {connections} connections")
        yield Event(at=at, cut=count)


def _pair(text: str, what: str) -> tuple[int, int]:
    """`N:SECONDS`, as a whole number from 1 and µs."""
    count, _, seconds = text.partition(":")
    try:
        return positive(count), round(delay(seconds) * SECOND)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}: write {what}") from None


def burst(text: str) -> Burst:
    what = "how many and each how many seconds, such as 5000:2"
    count, every = _pair(text, what)
    if every < 1_000:
        raise argparse.ArgumentTypeError(f"{text!r}: write {what}, from 0.001 s on")
    return Burst(count=count, every=every)


def cut(text: str) -> tuple[int, int]:
    return _pair(text, "how many connections and after how many seconds, such as 500:10")


def storm(text: str) -> tuple[int, int]:
    """When it begins and how long it takes, µs."""
    length, _, start = text.partition(":")
    return round(delay(start or "0") * SECOND), max(1, round(span(length) * SECOND))
