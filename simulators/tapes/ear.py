"""One MQTT connection that only listens. It has no thread: its owner calls `hear` again and again.

MQTT 5, or 3.1.1 where the broker speaks only that. Messages come with the QoS they were published with; with MQTT 5
also with their retain flag, content type and user properties.
"""

from __future__ import annotations

import select
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.errors import OperatorError, Unavailable
from ingest.mqtt import V5, V311, BrokerAddress, PacketSocket, make_client, open_client
from ingest.packets import QOS_1, RETAIN, Publish, is_plain_publish, read_publish
from ingest.topics import matches
from simulators.options import no_connection
from simulators.tapes.tapefile import Properties, Taped

ANSWER_S = 5.0
#: How long one call of `hear` may take in messages before its owner gets them.
READ_S = 0.02
#: How long to wait for what only mosquitto says.
COUNT_S = 0.3
#: Where mosquitto counts the messages that it dropped because a client was too slow.
DROPPED = "$SYS/broker/publish/messages/dropped"


class Ear:
    """Open on return, all filters subscribed; Unavailable or OperatorError when that cannot be.

    `lost` says why the connection is gone, "" while it is there; `silent_since` (µs) from when on nothing was heard,
    `hears_since` from when on all was.
    `dropped`: how many messages the broker says it dropped since, for all its clients; None when it says nothing.
    """

    def __init__(
        self, *, broker: BrokerAddress, filters: Sequence[str], now: Callable[[], int], protocol: MQTTProtocolVersion
    ) -> None:
        self.lost = ""
        self.silent_since = self.hears_since = self._heard_at = now()
        self.protocol = protocol
        self._broker, self._filters, self._now = broker, filters, now
        self._about_itself = any(matches(filter_, DROPPED) for filter_ in filters)
        self._counts: list[int] = []
        self._before = 0
        self._heard: list[Taped] = []
        self._entry: ReasonCode | None = None
        self._granted: list[ReasonCode] = []
        self._misc_due = 0.0
        self._client = client = make_client(
            broker, client_id=f"record-{uuid.uuid4().hex[:10]}", protocol=protocol, clean=True
        )
        client.manual_ack_set(False)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        try:
            open_client(client, broker, clean=True, expiry=0)
        except OSError as error:
            raise Unavailable(no_connection(broker, error)) from None
        self._enter()

    @property
    def dropped(self) -> int | None:
        return self._counts[-1] - self._before if self._counts else None

    def hear(self, wait_s: float) -> list[Taped]:
        """What has come, in order; waits so long for the first of it. Empty also when the connection is lost."""
        self._serve(wait_s)
        heard, self._heard = self._heard, []
        return heard

    def ask_dropped(self) -> None:
        """Have the broker say once more how many: what it said to a client that was too slow, it dropped too."""
        known = len(self._counts)
        if not self.lost:
            self._client.subscribe(DROPPED, 0)
            self._await(lambda: len(self._counts) > known, COUNT_S)

    def close(self) -> None:
        """Leave in good order."""
        self._client.on_disconnect = None
        if not self.lost:
            self._client.disconnect()
        if self._client.packets:
            self._client.packets.close()

    def _enter(self) -> None:
        try:
            self._await(lambda: self._entry is not None)
            if self._entry is None or self._entry.is_failure:
                what = str(self._entry or self.lost or f"no answer within {ANSWER_S:.0f} s; is it an MQTT broker?")
                raise Unavailable(f"{self._broker}: the broker did not let us in: {what.lower()}")
            self._client.subscribe([(filter_, self._wish()) for filter_ in self._filters])
            self._await(lambda: bool(self._granted))
            self._check_granted()
            self.ask_dropped()
            self._before = self._counts[0] if self._counts else 0
        except BaseException:
            self.close()
            raise

    def _wish(self) -> Any:
        v5 = self.protocol == V5
        return SubscribeOptions(qos=2, retainAsPublished=True) if v5 else 2

    def _check_granted(self) -> None:
        if not self._granted:
            raise Unavailable(f"{self._broker}: no answer to our subscription: {self.lost or 'gave up waiting'}")
        for filter_, code in zip(self._filters, self._granted, strict=False):
            if code.is_failure:
                what = f"the broker refuses the filter: {str(code).lower()}; check its access rules"
                raise OperatorError(f"--topic {filter_}: {self._broker}: {what}")

    def _await(self, done: Callable[[], bool], seconds: float = ANSWER_S) -> None:
        deadline = time.monotonic() + seconds
        while not done() and not self.lost and time.monotonic() < deadline:
            self._serve(0.1)

    def _serve(self, wait_s: float) -> None:
        packets = self._client.packets
        if packets is None or self.lost:
            return
        self._flush(packets)
        if packets.drained and packets.next_packet() is None:
            poll = select.poll()
            poll.register(packets.fileno(), select.POLLIN | (select.POLLOUT if packets.wants_write else 0))
            poll.poll(wait_s * 1000)
        acks: list[bytes] = []
        for first, start, end in self._whole_packets(packets):
            publish = self._publish(first, packets.buffer, start, end)
            if publish is not None:
                acks.append(self._take(publish, first))
                packets.at = end
                continue
            packets.expose(end)
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        packets.send(b"".join(acks))
        if time.monotonic() >= self._misc_due:
            self._misc_due = time.monotonic() + 1.0
            self._client.loop_misc()
        self._flush(packets)

    def _whole_packets(self, packets: PacketSocket) -> Iterator[tuple[int, int, int]]:
        """First byte, start and end of each packet that is here; an empty one when the other side has closed."""
        until = time.monotonic() + READ_S
        while time.monotonic() < until and not self.lost:
            found = packets.next_packet()
            if found is not None:
                yield found
            elif packets.fill():
                self._heard_at = self._now()
            else:
                if packets.closed:
                    yield 0, 0, 0
                return

    def _flush(self, packets: PacketSocket) -> None:
        while self._client.want_write() and self._client.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            pass
        packets.flush()

    # paho

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._entry = reason

    def _on_subscribe(self, _client: Any, _data: Any, _number: int, codes: list[ReasonCode], _properties: Any) -> None:
        if not self._granted:
            self._granted, self.hears_since = codes, self._now()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self.lost = str(reason).lower()
        unanswered = reason.getName() == "Keep alive timeout"  # then it may have been gone for long
        self.silent_since = self._heard_at if unanswered else self._now()

    def _on_message(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        """What is no plain PUBLISH: QoS 2."""
        given = message.properties
        properties = _kept(getattr(given, "ContentType", ""), dict(getattr(given, "UserProperty", ())))
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        self._keep(topic, bytes(message.payload), message.qos, message.retain, properties)

    # messages

    def _publish(self, first: int, buffer: bytes, start: int, end: int) -> Publish | None:
        """A PUBLISH of QoS 0 or 1, read here as paho takes much longer; None for what is left to it."""
        if self._entry is None or not is_plain_publish(first):
            return None
        try:
            return read_publish(first, buffer, start, end, v5=self.protocol == V5)
        except (IndexError, ValueError):
            return None

    def _take(self, found: Publish, first: int) -> bytes:
        """Keep a message; its acknowledgement."""
        properties = _kept(found.content_type, found.properties)
        self._keep(found.topic, found.payload, (first & QOS_1) >> 1, first & RETAIN != 0, properties)
        return b"\x40\x02" + found.packet_id if found.packet_id else b""

    def _keep(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> None:
        if topic == DROPPED:
            self._counts.append(int(payload) if payload.isdigit() else 0)
            if not self._about_itself:
                return
        at = self._now()
        self._heard.append(Taped(at=at, topic=topic, payload=payload, qos=qos, retain=retain, properties=properties))


def _kept(content_type: str, user: dict[str, str]) -> Properties | None:
    """What a tape keeps of them; None for nothing."""
    return Properties(content_type=content_type, user=user) if content_type or user else None


def open_ear(
    *,
    broker: BrokerAddress,
    filters: Sequence[str],
    now: Callable[[], int],
    protocols: Sequence[MQTTProtocolVersion] = (V5, V311),
) -> Ear:
    """An Ear with the first of the protocols that the broker speaks."""
    for protocol in protocols[:-1]:
        try:
            return Ear(broker=broker, filters=filters, now=now, protocol=protocol)
        except Unavailable:
            continue  # a broker of MQTT 3.1.1 refuses 5, hangs up or stays silent
    return Ear(broker=broker, filters=filters, now=now, protocol=protocols[-1])
