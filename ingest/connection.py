"""One MQTT connection of the receiver, to a session at the broker: connects, reads, acknowledges when told to.

State: offline → connecting → subscribing → listening; refused (some filter) when the broker's answer says so;
back to offline from everywhere. Never parses a payload, never appends; holds at most one batch. What it does once it
is let in, ingest.listener and ingest.old_session say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple

import structlog
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.backoff import Backoff
from ingest.brokertrouble import trouble
from ingest.drain import Drain
from ingest.errors import OperatorError
from ingest.intake_batch import Batch
from ingest.journal import Entry
from ingest.loopback import PROBES
from ingest.message import MESSAGE, Message, encode
from ingest.mqtt import NEVER, V5, V311, BrokerAddress, PacketClient, make_client, open_client
from ingest.overlap import Overlap
from ingest.packets import DUP, NO_PROPERTIES, QOS_1, RETAIN, Publish, is_plain_publish, read_publish
from ingest.readings import SECOND
from ingest.subscriptions import Plan, SessionMemory
from ingest.topics import Matcher

READ_S = 0.010  #: how long one pass may read before it appends
ANSWER_S = 10.0  #: how long the broker may take to answer CONNECT and SUBSCRIBE
ANSWER_V5_S = 2.0  #: the same for CONNECT of MQTT 5, which some brokers of MQTT 3.1.1 do not answer at all
AWAY = 10 * SECOND  #: away for longer: what the broker queued meanwhile is backlog
STAMPS = 5 * SECOND  #: what waited is put into the last so many µs before we came back; the broker's order counts
SETTLED_S = 5.0  #: a connection that lived so long starts its next backoff anew

log = structlog.get_logger()


class Phase(StrEnum):
    """Where a connection stands."""

    OFFLINE = "offline"  #: waiting to try again
    CONNECTING = "connecting"  #: CONNECT is sent
    SUBSCRIBING = "subscribing"  #: let in; SUBSCRIBE is sent
    LISTENING = "listening"  #: everything wanted is subscribed to
    REFUSED = "refused"  #: let in, but some filter was refused


class Shared(NamedTuple):
    """What all connections of a shard have in common."""

    address: BrokerAddress
    client_id: str  #: how all client ids begin
    matcher: Matcher
    memory: SessionMemory
    now: Callable[[], int]
    monotonic: Callable[[], float]
    newest: Callable[[], int]  #: log time of the newest record


class Connection(ABC):
    """See the module. All methods are for the one thread that runs the shard."""

    all_backlog = False  #: whether everything that comes had waited in the broker
    window = 65_535  #: how many messages the broker may send that are not acknowledged (MQTT 5)

    def __init__(self, plan: Plan, session: str, shared: Shared) -> None:
        self.plan = plan
        self.session = session
        self.phase = Phase.OFFLINE
        self.error = "not connected yet"
        self.batch = Batch()
        self.losses = 0
        self.paused = False  #: the log takes nothing: the broker shall keep it, and may close the connection
        self.held_up = False  #: it was paused, and what waited for the log meanwhile shall keep its order
        self.overlap: Overlap | None = None
        self._shared = shared
        self._address = shared.address
        self._match = shared.matcher.match
        self._memory = shared.memory
        self._now = shared.now
        self._monotonic = shared.monotonic
        self._client: PacketClient | None = None
        self._number = 0
        self._protocol: MQTTProtocolVersion = V5
        self._discards = False  #: connects to end the session at the broker
        self._backoff = Backoff()
        self._due = 0.0  #: when to try again (offline, refused) or to give up waiting (connecting, subscribing)
        self._since = 0.0
        self._misc_due = 0.0
        self._unsubscribing: set[int] = set()
        self._drain = Drain()
        self._stamp = 0

    # what is different between connections

    @abstractmethod
    def _let_in(self, *, present: bool) -> None:
        """The broker took our CONNECT; `present`: it has kept the session."""

    @abstractmethod
    def _unsubscribed(self) -> None:
        """The broker has done what was asked of it by a packet in `_unsubscribing`."""

    @abstractmethod
    def _overlaps(self, publish: Publish, first: int) -> bool:
        """While there is an `overlap`: whether this message is to be acknowledged and no more."""

    @abstractmethod
    def _take_probe(self, topic: str, payload: bytes) -> None:
        """A message on our probes' topics."""

    # what others ask

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
        if self.overlap is not None and self.batch.prints:
            self.overlap.logged(self.batch.prints)
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
        if self.overlap is not None and self._overlaps(publish, first):
            batch.doubles += 1
            return
        source = self._match(topic) or ""
        backlog = self.all_backlog or self._drain.active
        meta = Message(
            topic=topic,
            source=source,
            received_at=self._now(),
            qos=(first >> 1) & 3,
            dup=first & DUP != 0,
            retain=first & RETAIN != 0,
            packet_id=int.from_bytes(packet_id, "big"),
            connection=self._number,
            backlog=backlog,
            properties=properties,
            content_type=content_type,
            held_until=self._next_stamp() if backlog else 0,
        )
        batch.entries.append(Entry(MESSAGE, encode(meta), payload))
        batch.bytes += len(payload) + len(topic)
        batch.counts[source] = batch.counts.get(source, 0) + 1

    def _next_stamp(self) -> int:
        self._stamp += 1
        return self._stamp

    def _first_stamp(self) -> int:
        """The first of the times (µs) for what waited until now: later than all that was heard before."""
        return max(self._now() - STAMPS, self._shared.newest() + 1)

    # connecting

    def _open(self, monotonic: float) -> None:
        client_id = self.plan.client_id(self._shared.client_id, self.session)
        self._client = client = make_client(
            self._address, client_id=client_id, protocol=self._protocol, clean=self._discards
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        self.phase = Phase.CONNECTING
        patience = ANSWER_V5_S if self._protocol == V5 else ANSWER_S
        self._since, self._due, self._misc_due = monotonic, monotonic + patience, monotonic + 1.0
        self._unsubscribing.clear()
        self._drain = Drain()
        try:
            expiry = 0 if self._discards else NEVER
            open_client(client, self._address, clean=self._discards, expiry=expiry, window=self.window)
        except (OSError, OperatorError) as error:
            self._lose(str(trouble(error, self._address)), refused_protocol=False, reached=False)

    def _lose(self, why: str, *, refused_protocol: bool | None = None, reached: bool = True) -> None:
        """The connection is gone. What the batch holds is still appended, but the broker will send it again.

        `reached`: somebody was there who could have let us in.
        """
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
            log.warning("broker connection lost", connection=self.session, shard=self.plan.shard, error=why)

    def _on_connect(
        self, client: Any, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            unknown_protocol = reason.getName() == "Unsupported protocol version"
            self._lose(f"the broker refused us: {reason.getName()}", refused_protocol=unknown_protocol)
            return
        self._number = self._memory.next_connection()
        self._let_in(present=flags.session_present)
        log.info(
            "connected to the broker",
            broker=str(self._address),
            shard=self.plan.shard,
            connection=self.session,
            protocol=self.protocol,
            session_present=flags.session_present,
            backlog=self.all_backlog or self._drain.active,
        )

    def _on_unsubscribe(self, client: Any, _: Any, number: int, codes: Any, properties: Any) -> None:
        if number in self._unsubscribing:
            self._unsubscribing.discard(number)
            self._unsubscribed()
        elif self._drain.answered(number, waiting=len(self.batch.acks)):
            self._probe()

    def _begin_drain(self) -> None:
        self._drain.begin()
        self._probe()

    def _probe(self) -> None:
        """Ask for an answer that comes behind everything the broker sends us first; see Drain."""
        if self._client is not None:
            _, number = self._client.unsubscribe(f"emberwatch/drained/{self.session}")
            if number is not None:
                self._drain.asked(number, waiting=len(self.batch.acks), monotonic=self._monotonic())

    def _unsubscribe(self, filters: Iterable[str]) -> None:
        if self._client is not None:
            _, number = self._client.unsubscribe(sorted(filters))
            if number is not None:
                self._unsubscribing.add(number)

    def _report_loss(self) -> None:
        """Say that the broker did not keep what it had to keep."""
        log.error(
            "the broker has not kept our session: what was published while we were away is lost",
            remedy="emberwatch check",
            shard=self.plan.shard,
            connection=self.plan.name,
        )

    # paho

    def _on_disconnect(self, client: Any, _: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Any) -> None:
        if self._address.tls and client.packets.error and self.phase is Phase.CONNECTING:
            self._lose(str(trouble(client.packets.error, self._address)), refused_protocol=False, reached=False)
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
