"""The receiver: raw messages from the broker into the log, acknowledged only when they are on disk.

One thread a shard reads its one or two connections, so that the order in the log is the order of reading. It never
parses a payload. Ticks follow the messages that were read before them. Sessions that were left for new ones (see
ingest.listener) are read when those have nothing more, and nothing else waits for them.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec
import structlog

from ingest.backoff import Backoff
from ingest.connection import Connection, Phase, Shared
from ingest.errors import ConfigError, Unavailable
from ingest.intake_batch import Batch
from ingest.journal import Entry, Journal
from ingest.listener import Listener
from ingest.loopback import Loopback
from ingest.message import Intake, Kind, Tick, encode
from ingest.metrics import ReceiverMetrics
from ingest.mqtt import parse_mqtt_url
from ingest.old_session import OldSession
from ingest.readings import SECOND
from ingest.sources import Clock, Source
from ingest.subscriptions import Plan, SessionMemory, connection_problems, plans
from ingest.topics import Matcher

TICK_S = 1.0
WAIT_S = 0.2  #: the longest wait for the network: how soon `stop` is seen
STANDSTILL_S = 5.0  #: no tick for so long, and connections that never broke: this process was stopped or starved
TOGETHER_S = 1.0  #: how long the first connection back waits for the others, so that the intake record is first

log = structlog.get_logger()


C = TypeVar("C", bound=Connection)


class Lane(Generic[C]):
    """A connection and how its appends are going."""

    def __init__(self, connection: C) -> None:
        self.connection = connection
        self.backoff = Backoff()
        self.retry_at = 0.0
        self.error = ""  #: why the log did not take the last batch


class Receiver:
    """The intake of one shard: the journal's. A small file in the journal's folder remembers the sessions.

    `sources` are those of this shard. `now` is the wall clock in µs, `monotonic` a clock in s that never jumps.
    `loopback` knows the probes that are published to us; they are logged as such.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        sources: Sequence[Source],
        mqtt_url: str,
        client_id: str,
        now: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        loopback: Loopback | None = None,
    ) -> None:
        sources = [source for source in sources if source.by_broker]
        if problems := connection_problems(sources):
            raise ConfigError(problems)
        self.shard = shard = journal.shard
        self._journal = journal
        self._stream = journal.messages
        self._now = now
        self._monotonic = monotonic
        self._shared = shared = Shared(
            address=parse_mqtt_url(mqtt_url),
            client_id=client_id,
            matcher=Matcher(source.filter for source in sources),
            memory=SessionMemory(journal.folder / "receiver.json"),
            now=now,
            monotonic=monotonic,
            newest=lambda: self._newest,
        )
        in_order = any(source.clock is Clock.OBSERVED for source in sources)
        self._lanes = [
            Lane(Listener(plan, shared, in_order=in_order, loopback=loopback))
            for plan in _with_probes(plans(sources), loopback)
        ]
        self._old: list[Lane[OldSession]] = []
        self._metrics = ReceiverMetrics(
            shard=shard,
            sources=[source.filter for source in sources],
            connections=[lane.connection.plan.name for lane in self._lanes],
        )
        self._newest = 0  #: log time of the newest record
        self._listening = False
        self._reason = "started"  #: why we did not listen
        self._together_until: float | None = None
        self._ticked = 0.0
        self._tick_retry = 0.0
        self._tick_backoff = Backoff()
        self._tick_error = ""

    def run(self, stop: threading.Event) -> None:
        """Receive until `stop`; owns the role meanwhile."""
        ownership = self._journal.own("receiver")
        try:
            self._recall()
            while not stop.is_set():
                self._once()
            for lane in self._every_lane():
                self._append(lane)
        finally:
            self._listening = False
            for lane in self._every_lane():
                lane.connection.close()
            self._gauge()
            ownership.release()

    def _recall(self) -> None:
        """What the log says of the time before."""
        heard, memory = self._heard_until(), self._shared.memory
        before_last = max(self._stream.head() - 1, self._stream.floor())
        self._newest = max((record.at for record in self._stream.read(before_last, 1)), default=0)
        for lane in self._lanes:
            lane.connection.heard_until = heard
            if memory.lost and heard is not None:
                memory.guess(lane.connection.plan.name, lane.connection.plan.filters)

    def _every_lane(self) -> Sequence[Lane[Listener] | Lane[OldSession]]:
        return [*self._lanes, *self._old]

    def _lanes_in_turn(self) -> Sequence[Lane[Listener] | Lane[OldSession]]:
        """All lanes; those of sessions that were left only while what is published now is surely ours by the others."""
        if self._waits_for_the_others() or not all(lane.connection.answered for lane in self._lanes):
            return self._lanes
        return self._every_lane()

    def _once(self) -> None:
        """One pass: connect, wait, read, append, acknowledge, tick."""
        monotonic = self._monotonic()
        for lane in self._lanes_in_turn():
            lane.connection.step(monotonic)
        self._wait()
        for lane in self._lanes:
            if not lane.connection.paused:
                lane.connection.read()
        self._note_listening()
        if not self._waits_for_the_others():
            more = any(lane.connection.has_packet() and not lane.connection.paused for lane in self._lanes)
            for lane in self._lanes:
                self._append(lane)
            if not more:
                self._read_old()
        self._tick()
        self._gauge()

    def _wait(self) -> None:
        """Until some socket has something, some batch is to be tried again, or a tick is due."""
        poll = select.poll()
        ready = False
        for lane in self._lanes_in_turn():
            connection: Connection = lane.connection
            if (fileno := connection.fileno()) >= 0:
                wanted = (0 if connection.paused else select.POLLIN) | (
                    select.POLLOUT if connection.wants_write() else 0
                )
                if wanted:
                    poll.register(fileno, wanted)
            ready = ready or (not connection.paused and connection.has_packet())
        until_tick = max(0.0, self._ticked + TICK_S - self._monotonic()) if self._listening else WAIT_S
        poll.poll(0 if ready else 1000 * min(until_tick, WAIT_S, self._shortest_retry()))

    def _shortest_retry(self) -> float:
        """Seconds until a refused batch, or a lost connection, is tried again."""
        now = self._monotonic()
        lanes = self._lanes_in_turn()
        due = [lane.retry_at for lane in lanes if lane.error]
        due += [lane.connection.due for lane in lanes if lane.connection.phase is Phase.OFFLINE]
        return max(0.0, min(due, default=now + WAIT_S) - now)

    # sessions that were left

    def _read_old(self) -> None:
        """A batch from each session that was left, where those that replace them have nothing more to read."""
        if not all(lane.connection.answered for lane in self._lanes):
            return
        self._find_old()
        for lane in self._old:
            if not lane.connection.paused:
                lane.connection.read()
            self._append(lane)
        if any(lane.connection.ended for lane in self._old):
            for lane in self._old:
                self._finish(lane.connection)
            self._old = [lane for lane in self._old if not lane.connection.ended]

    def _find_old(self) -> None:
        """Turn to what is left over."""
        names = [lane.connection.plan.name for lane in self._lanes]
        left = self._shared.memory.left(names)
        if len(left) == len(self._old):
            return
        known = {lane.connection.session for lane in self._old}
        for name, session in left:
            if session not in known:
                plan = Plan(shard=self.shard, name=name, filters=())
                successor = next((lane.connection for lane in self._lanes if lane.connection.plan.name == name), None)
                self._old.append(Lane(OldSession(plan, session, self._shared, successor)))
        self._old.sort(key=lambda lane: not lane.connection.plan.urgent)

    def _finish(self, old: OldSession) -> None:
        if not old.ended:
            return
        log.info("took in what the broker kept for us", messages=old.taken, shard=self.shard, connection=old.session)
        for lane in self._lanes:
            if lane.connection.plan.name == old.plan.name:
                lane.connection.overlap = None
                if old.missing:
                    lane.connection.ask_for_retained()

    # appending

    def _append(self, lane: Lane[Listener] | Lane[OldSession]) -> None:
        """Append the lane's batch and acknowledge it; when the log does not take it, keep it and stop reading."""
        batch = lane.connection.batch
        if not (batch.entries or batch.acks) or self._monotonic() < lane.retry_at:
            return
        started, now = self._monotonic(), self._now()
        try:
            if batch.entries:
                self._stream.append(batch.entries, now=now, urgent=lane.connection.plan.urgent)
        except Unavailable as error:
            self._refused(lane, str(error))
            return
        self._newest = max(self._newest, now)
        self._metrics.appended(batch.counts, batch.bytes, self._monotonic() - started)
        self._metrics.doubled(batch.doubles)
        self._note_probes(batch)
        lane.connection.acknowledge()
        if lane.error:
            log.info("the log takes messages again", shard=self.shard, connection=lane.connection.plan.name)
            lane.error, lane.retry_at, lane.connection.paused = "", 0.0, False
            lane.backoff.reset()

    def _note_probes(self, batch: Batch) -> None:
        for sent_at in batch.probes:
            self._metrics.probe_logged(sent_at, seconds=max(0, self._now() - sent_at) / SECOND)
        if batch.strays:
            self._metrics.strays(batch.strays)

    def _refused(self, lane: Lane[Listener] | Lane[OldSession], error: str) -> None:
        lane.retry_at = self._monotonic() + lane.backoff.next()
        lane.connection.paused = lane.connection.held_up = True
        self._metrics.refused()
        if error != lane.error:
            lane.error = error
            log.error(
                "the log takes no messages: nothing is acknowledged, the broker keeps what comes",
                shard=self.shard,
                connection=lane.connection.plan.name,
                error=error,
            )

    # listening

    def _note_listening(self) -> None:
        """See whether every connection hears; write the intake record when that has become true again."""
        if self._listening and self._monotonic() - self._ticked > STANDSTILL_S:
            self._listening, self._reason = False, "the receiver stood still"
        silent = next((lane for lane in self._lanes if lane.error or not _hears(lane)), None)
        if silent is None:
            if not self._listening and self._monotonic() >= self._tick_retry:
                self._begin_listening()
        elif self._listening:
            self._listening = False
            self._reason = silent.error or silent.connection.error
            self._together_until = 0.0 if any(lane.connection.connected for lane in self._lanes) else None
            log.warning("not listening", shard=self.shard, reason=self._reason)
        elif self._together_until is None and any(lane.connection.connected for lane in self._lanes):
            self._together_until = self._monotonic() + TOGETHER_S
        elif not any(lane.connection.connected for lane in self._lanes):
            self._together_until = None

    def _waits_for_the_others(self) -> bool:
        return (
            not self._listening
            and self._together_until is not None
            and self._monotonic() < self._together_until
            and not any(lane.connection.batch.full() for lane in self._lanes)
        )

    def _begin_listening(self) -> None:
        """Say in the log from when to when nothing was heard, before anything that is heard now."""
        heard, now = self._heard_until(), self._now()
        if heard is None:
            record = Entry(Kind.TICK, value=encode(Tick(listened=0)))
        else:
            body = Intake(down_at=heard, up_at=max(now, heard), reason=self._reason)
            record = Entry(Kind.INTAKE, value=encode(body))
        if self._append_control(record):
            self._listening, self._ticked = True, self._monotonic()
            log.info("listening", shard=self.shard, after=self._reason)

    def _heard_until(self) -> int | None:
        """Log time of the last tick or intake record, None when there was never one."""
        last = [self._stream.last(kind) for kind in (Kind.TICK, Kind.INTAKE)]
        return max((record.at for record in last if record), default=None)

    def _tick(self) -> None:
        """One tick a second while every connection listens, behind everything that was read before it."""
        elapsed = self._monotonic() - self._ticked
        if not self._listening or elapsed < TICK_S or any(lane.connection.batch.entries for lane in self._lanes):
            return
        listened = int(min(elapsed, 2 * TICK_S) * SECOND)
        if self._append_control(Entry(Kind.TICK, value=encode(Tick(listened=listened)))):
            self._ticked += elapsed
        else:
            self._listening, self._reason = False, self._tick_error

    def _append_control(self, record: Entry) -> bool:
        now = self._now()
        urgent = all(lane.connection.plan.urgent for lane in self._lanes)
        try:
            self._stream.append([record], now=now, urgent=urgent)
        except Unavailable as error:
            self._tick_retry = self._monotonic() + self._tick_backoff.next()
            self._metrics.refused()
            if str(error) != self._tick_error:
                self._tick_error = str(error)
                log.error("the log takes no ticks", shard=self.shard, error=self._tick_error)
            return False
        self._newest = max(self._newest, now)
        self._tick_backoff.reset()
        self._tick_error = ""
        for lane in self._lanes:
            lane.connection.heard_until, lane.connection.held_up = now, False
        return True

    def _gauge(self) -> None:
        for lane in self._lanes:
            connection = lane.connection
            self._metrics.connection(
                connection.plan.name,
                connected=connection.connected,
                unacknowledged=len(connection.batch.acks),
                lost=connection.losses,
                refused=len(connection.refused),
            )
        self._metrics.listening(self._listening)
        self._metrics.old_sessions(len(self._old))


def run_receivers(receivers: Sequence[Receiver], stop: threading.Event) -> None:
    """Run every shard's receiver, a thread each, until `stop`; when one fails, all stop and its error is raised."""
    failures: list[BaseException] = []

    def run(receiver: Receiver) -> None:
        try:
            receiver.run(stop)
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [
        threading.Thread(target=run, args=(receiver,), name=f"receiver-{receiver.shard}") for receiver in receivers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _with_probes(wanted: list[Plan], loopback: Loopback | None) -> list[Plan]:
    """The plans; the last of them, the ordinary one where there are two, hears our own probes too."""
    if loopback is None or not wanted:
        return wanted
    *others, last = wanted
    return [*others, msgspec.structs.replace(last, filters=(*last.filters, loopback.topic))]


def _hears(lane: Lane[Listener]) -> bool:
    return lane.connection.phase is Phase.LISTENING
