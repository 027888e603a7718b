"""The connection by which a shard hears: subscribes to all its filters and tells whether it listens.

Away for long, it goes on with a session that is new to the broker, so that a fire does not wait behind everything
that was queued meanwhile; what the session it left holds comes by ingest.old_session. A connection has two sessions
at most: as long as one is left over, the other is gone on with, and what waited in it comes first, as backlog. So it
does where only the log was full: then the order is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.connection import ANSWER_S, AWAY, Connection, Phase, Shared
from ingest.journal import Entry
from ingest.loopback import PERMISSION, PROBES, Loopback
from ingest.message import Kind, Probe, encode
from ingest.mqtt import V5
from ingest.overlap import Overlap, print_of
from ingest.packets import DUP, RETAIN, Publish
from ingest.subscriptions import Plan

FILTERS_A_PACKET = 50
FRESH_TRIES = 4  #: a broker that lets no new session of ours in so often is asked for the one it knows

_IF_NEW = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
_ALWAYS = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
_NEVER = SubscribeOptions.RETAIN_DO_NOT_SEND

log = structlog.get_logger()


class Listener(Connection):
    """See the module. `in_order`: nothing may overtake what was queued; a recording's clock follows its messages."""

    def __init__(self, plan: Plan, shared: Shared, *, in_order: bool = False, loopback: Loopback | None = None) -> None:
        super().__init__(plan, shared.memory.current(plan.name), shared)
        self.heard_until: int | None = None  #: log time until which the shard is known to have listened
        self.refused: list[str] = []
        self._in_order = in_order
        self._loopback = loopback
        self._turned_away = 0
        self._expected: dict[int, list[str]] = {}  #: SUBSCRIBE packets without answer: their filters

    @property
    def answered(self) -> bool:
        """Whether the broker has answered for every filter, so that what is published from now on is ours."""
        return self.phase in (Phase.LISTENING, Phase.REFUSED) and not self._expected

    def step(self, monotonic: float) -> None:
        if self.phase is Phase.REFUSED and monotonic >= self._due and not self.paused:
            self._request(frozenset(), frozenset())
        super().step(monotonic)

    def _open(self, monotonic: float) -> None:
        self._choose_session()
        self._expected.clear()
        super()._open(monotonic)
        if self._client is not None:
            self._client.on_subscribe = self._on_subscribe

    def _lose(self, why: str, *, refused_protocol: bool | None = None, reached: bool = True) -> None:
        if reached and self.phase is Phase.CONNECTING:
            self._not_let_in()
        super()._lose(why, refused_protocol=refused_protocol, reached=reached)

    # sessions

    def _choose_session(self) -> None:
        memory, name = self._memory, self.plan.name
        in_order = self._in_order or self.held_up
        if self._away() and not in_order and memory.filters(self.session) and not memory.other(name):
            memory.change(name)
        self.session = memory.current(name)

    def _away(self) -> bool:
        return self.heard_until is None or self._now() - self.heard_until > AWAY

    def _let_in(self, *, present: bool) -> None:
        self._turned_away = 0
        memory = self._memory
        held = memory.filters(self.session)
        other = memory.other(self.plan.name)
        covered = memory.filters(other)
        if present and self._away():
            self._stamp = self._first_stamp()
            self._begin_drain()
        if held and not present:
            if not covered:
                self._report_loss()
            held = frozenset()
        if covered and not present:
            self.overlap = self.overlap or Overlap()
        if other and not memory.stamp(other):
            memory.keep_stamp(other, self._first_stamp())
        self._request(held, covered if not present else frozenset())
        if held == frozenset(self.plan.filters):
            self._listen()  # the broker has been queueing all of it; the answer only confirms

    def _not_let_in(self) -> None:
        memory, name = self._memory, self.plan.name
        if memory.filters(self.session) or not memory.other(name):
            return
        self._turned_away += 1
        if self._turned_away >= FRESH_TRIES:
            log.warning(
                "the broker does not let a new session of ours in: what was queued comes first, in the old one",
                remedy="let our user connect with the client ids of both sessions",
                client_id=self.plan.client_id(self._shared.client_id, self.session),
                shard=self.plan.shard,
            )
            memory.change(name)
            self._in_order = True

    # subscribing

    def _request(self, held: frozenset[str], covered: frozenset[str]) -> None:
        """Subscribe to the full set; drop what an earlier run had subscribed to and nobody wants now.

        `covered`: what the session we left still brings, retained messages that changed meanwhile included.
        """
        self.phase, self._due = Phase.SUBSCRIBING, self._monotonic() + ANSWER_S
        self.refused = []
        wanted = self.plan.filters
        self._memory.remember(self.session, held.union(wanted))
        self._send_subscribe([filter_ for filter_ in wanted if filter_ in covered], _NEVER)
        self._send_subscribe([filter_ for filter_ in wanted if filter_ not in covered], _IF_NEW)
        if surplus := held.difference(wanted):
            log.info("dropping filters that are no longer configured", filters=sorted(surplus), shard=self.plan.shard)
            self._unsubscribe(surplus)

    def ask_for_retained(self) -> None:
        """Have retained messages sent, where the session that should have brought their changes was not kept."""
        if self._protocol == V5 and self.connected:
            self._send_subscribe(self.plan.filters, _ALWAYS)

    def _send_subscribe(self, filters: Iterable[str], retained: int) -> None:
        wanted, client = list(filters), self._client
        if client is None:
            return
        for at in range(0, len(wanted), FILTERS_A_PACKET):
            some = wanted[at : at + FILTERS_A_PACKET]
            wishes: list[tuple[str, Any]] = [(filter_, 1) for filter_ in some]
            if self._protocol == V5:
                options = SubscribeOptions(qos=1, retainHandling=retained)
                wishes = [(filter_, options) for filter_ in some]
            _, number = client.subscribe(wishes)
            if number is not None:
                self._expected[number] = some

    def _on_subscribe(self, client: Any, _: Any, number: int, codes: list[ReasonCode], properties: Any) -> None:
        filters = self._expected.pop(number, [])
        for filter_, code in zip(filters, codes, strict=False):
            if code.is_failure and filter_.startswith(PROBES):  # nobody's message: all others are heard
                log.warning("the broker refuses us our own probes", remedy=PERMISSION, shard=self.plan.shard)
            elif code.is_failure:
                self.refused.append(filter_)
                log.error(
                    "the broker refused a subscription; its messages do not reach us",
                    filter=filter_,
                    reason=code.getName(),
                    shard=self.plan.shard,
                )
            elif code.value == 0:
                log.error("the broker grants only QoS 0; messages can be lost on the way to us", filter=filter_)
        if self.refused:
            self.phase, self._due = Phase.REFUSED, self._monotonic() + ANSWER_S
            self.error = f"refused subscriptions: {', '.join(self.refused)}"
        elif not self._expected:
            self._listen()

    def _unsubscribed(self) -> None:
        self._memory.remember(self.session, self.plan.filters)

    def _listen(self) -> None:
        self.phase = Phase.LISTENING
        self.error = ""

    # messages

    def _overlaps(self, publish: Publish, first: int) -> bool:
        """Note what the session that was left has too; a repeat, or what is retained, it need not have."""
        if self.overlap is not None and self.overlap.open and not first & (DUP | RETAIN):
            self.batch.prints.append(print_of(publish.topic, publish.payload, first >> 1 & 3))
        return False

    def _take_probe(self, topic: str, payload: bytes) -> None:
        sent_at = self._loopback.take(topic, payload) if self._loopback else None
        if sent_at is None:
            self.batch.strays += 1
        else:
            self.batch.entries.append(Entry(Kind.PROBE, value=encode(Probe(sent_at=sent_at))))
            self.batch.probes.append(sent_at)
