"""Sends a load: in an open loop, what is due when it is due; in a closed loop, as fast as the broker answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from ingest.readings import SECOND
from simulators.load.account import Account
from simulators.load.connections import Connections
from simulators.load.fleet import Fleet, Turns
from simulators.load.forms import FireForm, Form
from simulators.load.taping import Taping
from simulators.load.timetable import Numbers, Timetable
from simulators.wire.packets import packet_ids
from simulators.wire.raw import KEEPALIVE_S, Wire

#: What is due goes out, and answers are taken in, this often.
TICK = 10_000
#: The broker is taken for gone when nothing is acknowledged for so long.
PATIENCE = 10 * SECOND


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something at a time of its own (µs from the start): a site that says fire, or connections that are cut."""

    at: int
    fire: int = -1  #: a site, from 0
    cut: int = 0  #: so many connections


class Generator:
    """The messages of one load over its connections."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        form: Form,
        connections: Connections,
        account: Account,
        taping: Taping | None,
        now: Callable[[], int],
        stop: threading.Event,
    ) -> None:
        self._form, self._fires = form, FireForm(fleet)
        self._turns = Turns(fleet.speakers, len(connections.wires))
        self._connections, self._account, self._taping = connections, account, taping
        self._now, self._stop = now, stop
        self._done = np.zeros(len(connections.wires), np.int64)  #: readings sent, for each connection
        self._began = self._pinged = now()

    def open_loop(self, table: Timetable, events: Iterable[Event], bar: tqdm[Any]) -> None:
        """What is due goes out each tick; a second after the stated time, what is left is not offered any more."""
        waiting, end = deque(events), table.length + SECOND
        while not self._stop.is_set() and (elapsed := self._elapsed()) <= end:
            self._offer(table, elapsed)
            while waiting and waiting[0].at <= elapsed and self._happens(waiting[0]):
                waiting.popleft()  # after what is due, so that connections are cut with messages on their way
            bar.update(self._account.sent - bar.n)
            if not waiting and self._account.sent == self._account.planned:
                return
            self._ping()
            self._connections.rest(elapsed + TICK - self._elapsed())

    def closed_loop(self, length: int, bar: tqdm[Any]) -> None:
        """Each connection always has as many messages that are not acknowledged yet as its window holds."""
        numbers = {wire: number for number, wire in enumerate(self._connections.wires)}
        heard: list[Wire] = self._connections.wires
        while not self._stop.is_set() and (elapsed := self._elapsed()) < length:
            chosen = np.array([numbers[wire] for wire in heard], np.int64)
            rooms = np.array([wire.room for wire in heard], np.int64)
            if rooms.any():
                self._send(chosen, rooms)
            bar.update(elapsed / SECOND - bar.n)
            self._ping()
            heard = self._connections.listen(TICK) or self._connections.wires

    def drain(self) -> None:
        """Wait for what is not acknowledged yet, as long as any acknowledgement comes."""
        left, deadline = -1, 0
        while (unfinished := self._connections.unfinished) and (unfinished != left or self._now() < deadline):
            if unfinished != left:
                left, deadline = unfinished, self._now() + (SECOND if self._stop.is_set() else PATIENCE)
            self._connections.listen(TICK)
            self._ping()

    def _elapsed(self) -> int:
        return self._now() - self._began

    def _offer(self, table: Timetable, elapsed: int) -> None:
        wanted = self._turns.due(table.due(elapsed)) - self._done
        chosen = np.flatnonzero(wanted)
        if not len(chosen):
            return
        rooms = np.array([self._connections.wires[number].room for number in chosen])
        counts = np.minimum(wanted[chosen], rooms)
        if counts.any():
            self._send(chosen, counts, table)

    def _send(self, chosen: Numbers, counts: Numbers, table: Timetable | None = None) -> None:
        """So many messages over each of these connections."""
        wires = [self._connections.wires[number] for number in chosen]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        positions = np.repeat(self._done[chosen], counts) + within
        speakers, turns = self._turns.whose(np.repeat(chosen, counts), positions)
        ids = packet_ids(np.repeat(np.array([wire.sent for wire in wires]), counts) + within)
        at = self._now()
        rows = self._form.rows(speakers=speakers, turns=turns, ids=ids, ts=at // 1000)
        elapsed = at - self._began
        late = None if table is None else elapsed - table.when(self._turns.numbers(speakers, turns))
        self._account.note(elapsed, len(rows), late)  # before any goes out: a connection may break meanwhile
        if self._taping is not None:
            self._taping.note(rows, at)
        self._done[chosen] += counts
        for wire, end, count in zip(wires, ends.tolist(), counts.tolist(), strict=True):
            if count:
                wire.write(rows[end - count : end])
                self._connections.wrote(wire)

    def _happens(self, event: Event) -> bool:
        """False when there is no room for it yet."""
        if event.cut:
            self._connections.cut(event.cut)
            return True
        wire = self._connections.wires[self._turns.connection(event.fire)]
        if wire.room < 1:
            return False
        at = self._now()
        number = int(packet_ids(np.array(wire.sent)))
        topic, payload, row = self._fires.row(site=event.fire, packet_id=number, ts=at // 1000)
        self._account.fires += 1
        self._account.note(at - self._began, 1, np.array([at - self._began - event.at]))
        if self._taping is not None:
            self._taping.note_one(topic, payload, at)
        wire.write(row)
        self._connections.wrote(wire)
        return True

    def _ping(self) -> None:
        if self._now() - self._pinged > KEEPALIVE_S * SECOND // 3:
            self._pinged = self._now()
            self._connections.ping()
