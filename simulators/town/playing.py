"""A town over MQTT, at its pace or faster; and how far it has come."""

from __future__ import annotations

import argparse
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain, islice, takewhile
from types import TracebackType
from typing import Self

import msgspec
from tqdm import tqdm

from ingest.errors import Unavailable
from ingest.readings import SECOND
from simulators.options import DEFAULT_BROKER, parse_broker
from simulators.tapes.tapefile import TapeWriter
from simulators.town.layout import Town
from simulators.town.life import keeps_status, reports
from simulators.town.plan import Plan
from simulators.town.report import Report
from simulators.truth import Truth
from simulators.wire.messages import Outgoing, messages, status
from simulators.wire.pace import Pace
from simulators.wire.speakers import Speaker, Wires


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """What is played: the town, from when until when, and what happens there."""

    town: Town
    start: int
    end: int | None
    interval_s: float | None
    seed: int
    plan: Plan
    truth: Truth | None

    def reports(self) -> Iterator[Report]:
        """All that its devices say."""
        told = reports(self.town.sites, plan=self.plan, start_at=self.start, interval_s=self.interval_s, seed=self.seed)
        first = list(islice(told, 1))
        gc.freeze()  # the devices are alive now and stay
        gc.enable()
        end = self.end
        every = chain(first, told)
        yield from every if end is None else takewhile(lambda report: report.at < end, every)


class Progress:
    """A bar of the town's time, on a terminal alone."""

    def __init__(self, start: int, end: int | None) -> None:
        self._last = start // SECOND
        self._end = None if end is None else end // SECOND
        self._count = 0
        total = None if self._end is None else self._end - self._last
        self._bar = tqdm(total=total, unit="s", desc="town's time", disable=None, mininterval=0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def over(self, told: Iterator[Report]) -> Iterator[Report]:
        """The same reports, counted."""
        if self._bar.disable:
            yield from told
            return
        for report in told:
            self._count += 1
            if report.at // SECOND != self._last:
                self._show(report.at // SECOND)
            yield report
        if self._end is not None:
            self._show(self._end)

    def _show(self, second: int) -> None:
        self._bar.set_postfix_str(f"{self._count} reports", refresh=False)
        self._bar.update(second - self._last)
        self._last = second


def publish(args: argparse.Namespace, play: Play, *, now: Callable[[], int], stop: threading.Event) -> None:
    """Say all of it to the broker, until its end or the stop; at the end every speaker says that it goes."""
    broker = parse_broker(args.broker or DEFAULT_BROKER)
    with TapeWriter(args.sent) as sent, ExitStack() as open_connections:
        wires = Wires(broker=broker, stop=stop)
        open_connections.callback(wires.close)
        known = speakers(play.town)
        wires.connect(known, at=play.start)
        _introduce(play, str(broker))
        pace = Pace(now=now, stop=stop, origin=play.start, speed=args.speed)
        progress = open_connections.enter_context(Progress(play.start, play.end))
        greetings = (status(site=s.site, device=s.device, at=play.start, online=True) for s in known)
        count = 0
        for message in chain(greetings, messages(progress.over(play.reports()))):
            if pace.ahead(message.at):
                wires.flush()
            if not pace.until(message.at) or not wires.send(message):
                break
            count += 1
            _note(sent, message, now())
        else:
            wires.flush()
            pace.until(play.start if play.end is None else play.end)  # silent devices are there until then
        count += _farewell(wires, known, sent, now)
        try:
            wires.finish(patience_s=3.0)
        except Unavailable as error:
            raise Unavailable(f"of {count} messages published some were not acknowledged: {error}") from None
    print(f"town: {count} messages published and acknowledged")


def _note(sent: TapeWriter, message: Outgoing, at: int) -> None:
    sent.add(at=at, topic=message.topic, payload=message.payload, retain=message.retain)


def _introduce(play: Play, broker: str) -> None:
    town = play.town
    devices = sum(len(site.devices) for site in town.sites)
    often = f"a report each {play.interval_s:g} s" if play.interval_s else "each at its own interval"
    print(f"town: {len(town.sites)} sites, {devices} devices, {often}, to {broker}", flush=True)
    for fire in play.truth.fires if play.truth else ():
        site = town.site(fire.site)
        name = site.name if site else ""
        print(f"town: {fire.what} at {fire.site} {name}, ignition {fire.ignition}", flush=True)


def _farewell(wires: Wires, known: list[Speaker], sent: TapeWriter, now: Callable[[], int]) -> int:
    """Every speaker says it goes offline, unless stopped while the broker is away; the number of messages."""
    said = 0
    for speaker in known:
        message = status(site=speaker.site, device=speaker.device, at=now(), online=False)
        if wires.send(message):
            said += 1
            _note(sent, message, now())
    return said


def speakers(town: Town) -> list[Speaker]:
    """All that keep a status."""
    return [
        Speaker(site=site.id, device=device.id)
        for site in town.sites
        for device in site.devices
        if keeps_status(device)
    ]
