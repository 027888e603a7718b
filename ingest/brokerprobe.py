"""A small MQTT client that does one thing after the other, for checking a broker."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import msgspec
from paho.mqtt.client import ConnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.mqtt import NEVER, V5, BrokerAddress, make_client, open_client

ANSWER_S = 2.0
LIMITS = (
    "ReceiveMaximum",
    "MaximumQoS",
    "RetainAvailable",
    "MaximumPacketSize",
    "SessionExpiryInterval",
    "WildcardSubscriptionAvailable",
    "SharedSubscriptionAvailable",
)
VERSION = "$SYS/broker/version"
LOAD_MESSAGES = "$SYS/broker/load/publish/received/1min"
LOAD_BYTES = "$SYS/broker/load/bytes/received/1min"
ABOUT_ITSELF = (VERSION, LOAD_MESSAGES, LOAD_BYTES)  #: as mosquitto names it


class Refused(Exception):
    """The broker did not let us in; `protocol` when an older protocol may help."""

    def __init__(self, message: str, *, protocol: bool) -> None:
        super().__init__(message)
        self.protocol = protocol


class Answer(msgspec.Struct, kw_only=True):
    """What the broker said when it let us in. `limits` as in CONNACK of MQTT 5, with "v5" set."""

    session_present: bool
    limits: dict[str, int]
    said: dict[str, str] = {}  #: what it says of itself under ABOUT_ITSELF

    @property
    def version(self) -> str:
        """ "" when it says nothing."""
        return self.said.get(VERSION, "")

    def a_second(self, topic: str) -> float | None:
        """One of its averages, which mosquitto gives by the minute."""
        try:
            return float(self.said[topic]) / 60
        except (KeyError, ValueError):
            return None


class Probe:
    """A connection to the broker, open on return; OSError or Refused when there is none."""

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        protocol: MQTTProtocolVersion,
        clean: bool,
        deadline: float,
    ) -> None:
        self.received: list[int] = []
        self.refusals = 0  #: publishes that the broker refused, as far as its protocol says so
        self.answer = Answer(session_present=False, limits={})
        self._address = address
        self._deadline = deadline
        self._acknowledged = 0
        self._granted: list[ReasonCode] = []
        self._fresh = False  #: something was received
        self._published = 0
        self._reason: ReasonCode | None = None
        self._lost = False
        self._client = make_client(address, client_id=client_id, protocol=protocol, clean=clean)
        self._client.max_inflight_messages_set(200)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        open_client(self._client, address, clean=clean)
        self._serve(lambda: self._reason is not None, seconds=ANSWER_S)
        self._check_entry()

    def _check_entry(self) -> None:
        v5 = self._client.protocol == V5
        error = self._client.packets.error if self._client.packets else None
        if self._reason is None and self._address.tls and error:
            self._close()
            raise error
        if self._reason is None:
            self._close()
            raise Refused(
                f"{self._address} does not answer as an MQTT broker; check host and port, and mqtt:// or mqtts://",
                protocol=v5,
            )
        if self._reason.is_failure:
            name = self._reason.getName()
            self._close()
            raise Refused(
                f"the broker at {self._address} refuses us: {name}; check user and password in MQTT_URL",
                protocol=v5 and name == "Unsupported protocol version",
            )

    def subscribe(self, filters: list[str], *, qos: int) -> dict[str, str]:
        """Subscribe; the filters that were refused, or granted with less, and why."""
        refused: dict[str, str] = {}
        for filter_ in filters:
            self._granted = []
            self._client.subscribe(filter_, qos)
            if not self._serve(lambda: bool(self._granted), seconds=ANSWER_S):
                refused[filter_] = "no answer"
            for code in self._granted:
                if code.is_failure or code.value < qos:
                    refused[filter_] = code.getName()
        return refused

    def ask_about_itself(self) -> None:
        """Put into the answer what the broker says of itself in $SYS, if it does so soon."""
        for topic in ABOUT_ITSELF:
            self._client.subscribe(topic, 0)
        self._serve(lambda: len(self.answer.said) == len(ABOUT_ITSELF), seconds=0.3)

    def publish(self, topic: str, count: int, *, until: float) -> int:
        """Publish `count` small messages with QoS 1; how many the broker acknowledged before `until`."""
        for number in range(count):
            self._client.publish(topic, b"%d" % number, 1)
        self._serve(lambda: self._published >= count, seconds=max(0.5, until - time.monotonic()))
        return self._published

    def receive(self, enough: int, *, quiet: float) -> None:
        """Read until `enough` messages came in all, or nothing came for `quiet` seconds."""
        while len(self.received) < enough:
            self._fresh = False
            if not self._serve(lambda: self._fresh, seconds=quiet):
                return

    def acknowledge(self) -> None:
        """Acknowledge everything that was received and is not acknowledged."""
        for number in self.received[self._acknowledged :]:
            self._client.ack(number, 1)
        self._acknowledged = len(self.received)
        self._flush()

    def leave(self, *, forget: bool) -> None:
        """Disconnect; with `forget` the broker shall end the session (MQTT 5)."""
        if self._client.protocol == V5 and forget:
            wish = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            wish.SessionExpiryInterval = 0
            self._client.disconnect(properties=wish)
        else:
            self._client.disconnect()
        self._close()

    def _close(self) -> None:
        self._client.on_disconnect = None
        if self._client.packets:
            self._client.packets.close()

    def _serve(self, done: Callable[[], bool], *, seconds: float) -> bool:
        """Let paho work until `done`; False when that did not come within `seconds` or the deadline."""
        until = min(time.monotonic() + seconds, self._deadline)
        while not done():
            packets = self._client.packets
            left = until - time.monotonic()
            if packets is None or self._lost or left <= 0:
                return False
            self._flush()
            found = packets.next_packet()
            if found is None and packets.fill():
                continue
            if found is not None or packets.closed:
                packets.expose(found[2] if found else 0)
                self._lost = self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or self._lost
                continue
            poll = select.poll()
            poll.register(packets.fileno(), select.POLLIN | (select.POLLOUT if packets.wants_write else 0))
            poll.poll(min(left, 0.2) * 1000)
        return True

    def _flush(self) -> None:
        while self._client.want_write() and self._client.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            pass
        if self._client.packets:
            self._client.packets.flush()

    def _on_connect(
        self, client: Any, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._reason = reason
        limits = {name: int(getattr(properties, name)) for name in LIMITS if hasattr(properties, name)}
        if self._client.protocol == V5:
            limits["v5"] = 1
            if limits.get("SessionExpiryInterval") == NEVER:
                del limits["SessionExpiryInterval"]
        self.answer = Answer(session_present=flags.session_present, limits=limits)

    def _on_disconnect(self, *_: object) -> None:
        self._lost = True

    def _on_subscribe(self, client: Any, _: Any, number: int, codes: list[ReasonCode], properties: Any) -> None:
        self._granted = codes

    def _on_publish(self, client: Any, _: Any, number: int, reason: ReasonCode, properties: Any) -> None:
        self._published += 1
        self.refusals += reason.is_failure

    def _on_message(self, client: Any, _: Any, message: MQTTMessage) -> None:
        if message.topic in ABOUT_ITSELF:
            self.answer.said[message.topic] = bytes(message.payload).decode("utf-8", "replace")[:60]
        elif message.qos == 1:
            self.received.append(message.mid)
            self._fresh = True
