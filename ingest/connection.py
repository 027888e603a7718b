"""One MQTT connection of the receiver: connects, subscribes, reads, acknowledges what it is told to.

State: offline → connecting → subscribing → listening; refused (some filter) when the broker's answer says so;
back to offline from everywhere. Never parses a payload, never appends; holds at most one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import structlog
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.backoff import Backoff
from ingest.brokertrouble import trouble
from ingest.drain import Drain
from ingest.errors import OperatorError
from ingest.journal import Entry
from ingest.loopback import PERMISSION, PROBES, Loopback
from ingest.message import MESSAGE, Kind, Message, Probe, encode
from ingest.mqtt import V5, V311, BrokerAddress, PacketClient, make_client, open_client
from ingest.packets import DUP, NO_PROPERTIES, QOS_1, RETAIN, Publish, is_plain_publish, read_publish
from ingest.readings import SECOND
from ingest.subscriptions import Plan, SessionMemory
from ingest.topics import Matcher

BATCH_MESSAGES = 500
BATCH_BYTES = 8 << 20
READ_S = 0.010  #: how long one pass may read before it appends
ANSWER_S = 10.0  #: how long the broker may take to answer CONNECT and SUBSCRIBE
ANSWER_V5_S = 2.0  #: the same for CONNECT of MQTT 5, which some brokers of MQTT 3.1.1 do not answer at all
AWAY = 10 * SECOND  #: away for longer: what the broker queued meanwhile is backlog
FILTERS_A_PACKET = 50
SETTLED_S = 5.0  #: a connection that lived so long starts its next backoff anew

log = structlog.get_logger()


class Phase(StrEnum):
    """Where a connection stands."""

    OFFLINE = "offline"  #: waiting to try again
    CONNECTING = "connecting"  #: CONNECT is sent
    SUBSCRIBING = "subscribing"  #: let in; SUBSCRIBE is sent
    LISTENING = "listening"  #: everything wanted is subscribed to
    REFUSED = "refused"  #: let in, but some filter was refused


class Batch:
    """What was read and is not appended yet. `acks` are whole packets, in order, for connection `number`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.acks: list[bytes] = []
        self.bytes = 0
        self.counts: dict[str, int] = {}
        self.probes: list[int] = []  #: when those among the entries were sent
        self.strays = 0  #: what came on our probes' topics and is no probe of ours

    def full(self) -> bool:
        return len(self.entries) >= BATCH_MESSAGES or self.bytes >= BATCH_BYTES

    def clear(self) -> None:
        self.entries.clear()
        self.acks.clear()
        self.bytes = 0
        self.counts.clear()
        self.probes.clear()
        self.strays = 0


class Connection:
    """See the module. All methods are for the one thread that runs the shard."""

    def __init__(
        self,
        *,
        plan: Plan,
        address: BrokerAddress,
        client_id: str,
        matcher: Matcher,
        memory: SessionMemory,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        loopback: Loopback | None = None,
    ) -> None:
        self.plan = plan
        self.phase = Phase.OFFLINE
        self.error = "not connected yet"
        self.batch = Batch()
        self.heard_until: int | None = None  #: log time until which the shard is known to have listened
        self.losses = 0
        self.paused = False  #: the log takes nothing: the broker shall keep it, and may close the connection
        self.refused: list[str] = []
        self._address = address
        self._client_id = client_id
        self._match = matcher.match
        self._memory = memory
        self._now = now
        self._monotonic = monotonic
        self._loopback = loopback
        self._client: PacketClient | None = None
        self._number = 0
        self._protocol: MQTTProtocolVersion = V5
        self._backoff = Backoff()
        self._due = 0.0  #: when to try again (offline, refused) or to give up waiting (connecting, subscribing)
        self._since = 0.0
        self._misc_due = 0.0
        self._expected: dict[int, list[str]] = {}  #: SUBSCRIBE packets without answer: their filters
        self._unsubscribing: set[int] = set()
        self._drain = Drain()

    @property
    def connected(self) -> bool:
        """Whether the broker has let us in."""
        return self.phase in (Phase.SUBSCRIBING, Phase.LISTENING, Phase.REFUSED)

    @property
    def protocol(self) -> str:
        """The protocol spoken, for logs."""
        return "MQTT 5" if self._protocol == V5 else "MQTT 3.1.1"

    @property
    def due(self) -> float:
        """When the next attempt is due."""
        return self._due

    @property
    def backlog(self) -> bool:
        """Whether what arrives now waited in the broker while we were away."""
        return self._drain.active

    def fileno(self) -> int:
        """The socket to wait for; -1 when there is none."""
        return self._client.packets.fileno() if self._client and self._client.packets else -1

    def wants_write(self) -> bool:
        return bool(self._client and self._client.packets and self._client.packets.wants_write)

    def has_packet(self) -> bool:
        """Whether more may be here already, so that waiting for the network would be wrong."""
        packets = self._client.packets if self._client else None
        return packets is not None and (packets.closed or not packets.drained or packets.next_packet() is not None)

    # the pass

    def step(self, monotonic: float) -> None:
        """Whatever is due: connect, give up, keep alive, send."""
        if self.paused:
            return
        if monotonic >= self._due:
            if self.phase is Phase.OFFLINE:
                self._open(monotonic)
            elif self.phase in (Phase.CONNECTING, Phase.SUBSCRIBING):
                self._lose(f"the broker did not answer while {self.phase} by {self.protocol}")
            elif self.phase is Phase.REFUSED:
                self._subscribe()
        if self._client and monotonic >= self._misc_due:
            self._misc_due = monotonic + 1.0
            self._drain.give_up(monotonic)
            self._client.loop_misc()
        self._send()

    def read(self) -> None:
        """Fill the batch until the socket is drained, the batch is full, or its time is up."""
        packets = self._client.packets if self._client else None
        if packets is None or self._client is None:
            return
        client, batch = self._client, self.batch
        stop_at = self._monotonic() + READ_S
        v5 = self._protocol == V5
        while not batch.full():
            found = packets.next_packet()
            if found is None:
                if not packets.fill():
                    if packets.closed:
                        client.loop_read()  # paho finds the end of the stream and reports it
                    break
                if self._monotonic() > stop_at:
                    break
                continue
            first, start, end = found
            publish = _publish(first, packets.buffer, start, end, v5) if is_plain_publish(first) else None
            if publish is not None and self.connected:
                packets.at = end
                self._take(publish, first)
                continue
            packets.expose(end)
            client.loop_read()
            if self._client is not client:
                break
        self._send()

    def acknowledge(self) -> None:
        """The batch is on disk: tell the broker, in order, and forget it."""
        packets = self._client.packets if self._client else None
        if packets is not None and self.batch.acks:
            packets.send(b"".join(self.batch.acks))
            self._drain.acknowledged(len(self.batch.acks))
        self.batch.clear()
        if self._drain.wants_probe():
            self._probe()
        self._send()

    def close(self) -> None:
        """Leave, so that the broker goes on queueing for us; nothing is unsubscribed."""
        client, self._client = self._client, None
        self.phase = Phase.OFFLINE
        if client is not None:
            _deafen(client)
            client.disconnect()
            if client.packets:
                client.packets.close()

    def _take(self, publish: Publish, first: int, ack: bytes = b"\x40\x02") -> None:
        topic, payload, packet_id, properties, content_type = publish
        batch = self.batch
        if packet_id:
            batch.acks.append(ack + packet_id)
            self._drain.came += 1
        if topic.startswith(PROBES):
            self._take_probe(topic, payload)
            return
        source = self._match(topic) or ""
        meta = Message(
            topic=topic,
            source=source,
            received_at=self._now(),
            qos=(first >> 1) & 3,
            dup=first & DUP != 0,
            retain=first & RETAIN != 0,
            packet_id=int.from_bytes(packet_id, "big"),
            connection=self._number,
            backlog=self._drain.active,
            properties=properties,
            content_type=content_type,
        )
        batch.entries.append(Entry(MESSAGE, encode(meta), payload))
        batch.bytes += len(payload) + len(topic)
        batch.counts[source] = batch.counts.get(source, 0) + 1

    def _take_probe(self, topic: str, payload: bytes) -> None:
        sent_at = self._loopback.take(topic, payload) if self._loopback else None
        if sent_at is None:
            self.batch.strays += 1
        else:
            self.batch.entries.append(Entry(Kind.PROBE, value=encode(Probe(sent_at=sent_at))))
            self.batch.probes.append(sent_at)

    # connecting

    def _open(self, monotonic: float) -> None:
        self._client = client = make_client(self._address, client_id=self._client_id, protocol=self._protocol)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        self.phase = Phase.CONNECTING
        patience = ANSWER_V5_S if self._protocol == V5 else ANSWER_S
        self._since, self._due, self._misc_due = monotonic, monotonic + patience, monotonic + 1.0
        self._expected.clear()
        self._unsubscribing.clear()
        self._drain = Drain()
        try:
            open_client(client, self._address)
        except (OSError, OperatorError) as error:
            self._lose(str(trouble(error, self._address)), refused_protocol=False)

    def _lose(self, why: str, *, refused_protocol: bool | None = None) -> None:
        """The connection is gone. What the batch holds is still appended, but the broker will send it again."""
        client, self._client = self._client, None
        if client is not None:
            _deafen(client)
            if client.packets:
                client.packets.close()
        if refused_protocol is None:  # closed before it let us in: perhaps it does not know MQTT 5
            refused_protocol = self.phase is Phase.CONNECTING
        self._protocol = V311 if refused_protocol and self._protocol == V5 else V5
        if self._monotonic() - self._since > SETTLED_S:
            self._backoff.reset()
        self._due = self._monotonic() + self._backoff.next()
        self.phase = Phase.OFFLINE
        self.batch.acks.clear()
        self.losses += 1
        if why != self.error:
            self.error = why
            log.warning("broker connection lost", connection=self.plan.name, shard=self.plan.shard, error=why)

    def _on_connect(
        self, client: Any, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            unknown_protocol = reason.getName() == "Unsupported protocol version"
            self._lose(f"the broker refused us: {reason.getName()}", refused_protocol=unknown_protocol)
            return
        self._number = self._memory.next_connection()
        away = self.heard_until is None or self._now() - self.heard_until > AWAY
        if flags.session_present and away:
            self._drain.begin()
            self._probe()
        log.info(
            "connected to the broker",
            broker=str(self._address),
            shard=self.plan.shard,
            connection=self.plan.name,
            protocol=self.protocol,
            session_present=flags.session_present,
            backlog=self._drain.active,
        )
        held = self._memory.filters(self.plan.name)
        if held and not flags.session_present:
            log.error(
                "the broker has not kept our session: what was published while we were away is lost",
                remedy="emberwatch check",
                shard=self.plan.shard,
                connection=self.plan.name,
            )
            held = frozenset()
        self._subscribe(held)
        if not self.plan.filters or held == frozenset(self.plan.filters):
            self._listen()  # the broker has been queueing all of it; the answer only confirms

    # subscribing

    def _subscribe(self, held: frozenset[str] = frozenset()) -> None:
        """Subscribe to the full set; drop what an earlier run had subscribed to and nobody wants now."""
        client = self._client
        if client is None:
            return
        self.phase, self._due = Phase.SUBSCRIBING, self._monotonic() + ANSWER_S
        self.refused = []
        wanted = list(self.plan.filters)
        self._memory.remember(self.plan.name, held.union(wanted))
        for at in range(0, len(wanted), FILTERS_A_PACKET):
            some = wanted[at : at + FILTERS_A_PACKET]
            _, number = client.subscribe(self._wishes(some))
            if number is not None:
                self._expected[number] = some
        if surplus := sorted(held.difference(wanted)):
            log.info("dropping filters that are no longer configured", filters=surplus, shard=self.plan.shard)
            _, number = client.unsubscribe(surplus)
            if number is not None:
                self._unsubscribing.add(number)

    def _wishes(self, filters: list[str]) -> list[tuple[str, Any]]:
        if self._protocol == V5:  # retained messages again only where the session did not have the filter
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            return [(filter_, options) for filter_ in filters]
        return [(filter_, 1) for filter_ in filters]

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

    def _on_unsubscribe(self, client: Any, _: Any, number: int, codes: Any, properties: Any) -> None:
        if number in self._unsubscribing:
            self._unsubscribing.discard(number)
            self._memory.remember(self.plan.name, self.plan.filters)
        elif self._drain.answered(number, waiting=len(self.batch.acks)):
            self._probe()

    def _listen(self) -> None:
        self.phase = Phase.LISTENING
        self.error = ""

    def _probe(self) -> None:
        """Ask for an answer that comes behind everything the broker sends us first; see Drain."""
        if self._client is not None:
            _, number = self._client.unsubscribe(f"emberwatch/drained/{self._client_id}")
            if number is not None:
                self._drain.asked(number, waiting=len(self.batch.acks), monotonic=self._monotonic())

    # paho

    def _on_disconnect(self, client: Any, _: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Any) -> None:
        if self._address.tls and client.packets.error and self.phase is Phase.CONNECTING:
            self._lose(str(trouble(client.packets.error, self._address)), refused_protocol=False)
            return
        who = "the broker closed the connection" if flags.is_disconnect_packet_from_server else "connection lost"
        name = reason.getName()
        taken = "; is another receiver running with the same client id?" if name == "Session taken over" else ""
        self._lose(f"{who}: {name}{taken}")

    def _on_message(self, client: Any, _: Any, message: MQTTMessage) -> None:
        """What is no plain PUBLISH: QoS 2, which only a session of somebody else's making can bring."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        first = message.qos << 1 | (DUP if message.dup else 0) | (RETAIN if message.retain else 0)
        packet_id = message.mid.to_bytes(2, "big") if message.qos else b""
        publish = Publish(topic, bytes(message.payload), packet_id, NO_PROPERTIES, "")
        self._take(publish, first, b"\x40\x02" if first & QOS_1 else b"\x70\x02")

    def _send(self) -> None:
        if self._client is None or self._client.packets is None:
            return
        if self._client.want_write() and self._client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return
        if self._client is not None and self._client.packets is not None:
            self._client.packets.flush()


def _publish(first: int, buffer: bytes, start: int, end: int, v5: bool) -> Publish | None:
    try:
        return read_publish(first, buffer, start, end, v5=v5)
    except (IndexError, ValueError):
        return None  # paho shall say what is wrong with it


def _deafen(client: PacketClient) -> None:
    """No callback of a client we are done with."""
    client.on_connect = client.on_disconnect = client.on_subscribe = None
    client.on_unsubscribe = client.on_message = None
