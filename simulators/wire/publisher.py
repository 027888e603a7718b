"""One MQTT connection that publishes with QoS 1, keeps order and knows what the broker acknowledged.

MQTT 5, or 3.1.1 where the broker speaks only that. Never more than `window` messages, nor more than the broker
allows, are unacknowledged. A broker that goes away is waited for; paho sends again what was not acknowledged, in
order. What is published with QoS 0 meanwhile is lost, and counted nowhere.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as MqttProperties

from ingest.errors import OperatorError, Unavailable
from ingest.mqtt import BrokerAddress, tls_context
from simulators.options import no_connection
from simulators.tapes.tapefile import Properties

#: Waiting this long without any acknowledgement, the broker is taken for gone.
PATIENCE_S = 60.0
PROTOCOLS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)
_ANSWER_S = 5.0


class Will(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker publishes, retained, when the connection breaks; `back` takes it back once there is another."""

    topic: str
    payload: bytes
    back: bytes


class Publisher:
    """Publish in order; `acknowledged` and `refused` count the broker's answers."""

    def __init__(
        self,
        *,
        broker: BrokerAddress,
        stop: threading.Event,
        name: str,
        window: int = 200,
        will: Will | None = None,
        patience_s: float = PATIENCE_S,
        protocols: Sequence[MQTTProtocolVersion] = PROTOCOLS,
    ) -> None:
        self.protocols = protocols  #: to try in this order; once connected, the one that worked
        self.acknowledged = 0
        self.refused: dict[str, int] = {}
        self._broker = broker
        self._stop = stop
        self._window = window
        self._patience_s = patience_s
        self._will = will
        self._open = 0
        self._unsure: list[MQTTMessageInfo] = []  # QoS 0: paho does not call back for what it loses
        self._changed = threading.Condition()
        self._client = self._connect(f"{name}-{uuid.uuid4().hex[:10]}")

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, properties: Properties | None = None
    ) -> bool:
        """Hand one message over once the window allows; False when stopped instead. Unavailable: broker gone.

        By MQTT 3.1.1 no properties go with it.
        """
        with self._changed:
            if not self._wait(lambda: self._open < self._window, heed_stop=True):
                return False
            self._open += 1
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=self._on_the_wire(properties))
        if qos == 0:
            self._unsure.append(info)
            with self._changed:
                self._leave_out_lost()
        return True

    def _leave_out_lost(self) -> None:
        """Nobody acknowledges these."""
        unsure, self._unsure = self._unsure, []
        for info in unsure:
            try:
                if not info.is_published():
                    self._unsure.append(info)
            except RuntimeError:  # there was no connection, or it broke before
                self._open -= 1

    def _on_the_wire(self, properties: Properties | None) -> MqttProperties | None:
        if properties is None or self.protocols[0] != MQTTProtocolVersion.MQTTv5:
            return None
        found = MqttProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if properties.content_type:
            found.ContentType = properties.content_type
        if properties.user:
            found.UserProperty = list(properties.user.items())
        return found

    def finish(self, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until all is acknowledged; Unavailable when the broker does not, OperatorError when it refused."""
        self._patience_s = patience_s
        with self._changed:
            self._wait(lambda: self._open == 0, heed_stop=False)
        if self.refused:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in sorted(self.refused.items()))
            raise OperatorError(f"{self._broker}: the broker refused messages: {reasons}; check its access rules")

    def close(self) -> None:
        """Leave in good order: no will is published."""
        with contextlib.suppress(OSError):
            self._client.disconnect()
        self._client.loop_stop()

    def _wait(self, reached: Callable[[], bool], *, heed_stop: bool) -> bool:
        last, deadline = self.acknowledged, time.monotonic() + self._patience_s
        while not reached():
            if heed_stop and self._stop.is_set():
                return False
            self._changed.wait(0.2)
            self._leave_out_lost()
            if self.acknowledged != last:
                last, deadline = self.acknowledged, time.monotonic() + self._patience_s
            elif time.monotonic() > deadline:
                what = f"{self._open} messages not acknowledged for {self._patience_s:.0f} s"
                raise Unavailable(f"{self._broker}: {what}; is the broker still there?")
        return True

    def _connect(self, client_id: str) -> Client:
        attempt = _Attempt()
        for protocol in self.protocols:
            attempt = _Attempt()
            client = self._client_for(client_id, protocol, attempt)
            try:
                client.connect(self._broker.host, self._broker.port, keepalive=30)
            except OSError as error:
                raise Unavailable(no_connection(self._broker, error)) from None
            if attempt.let_in(client):
                self.protocols = (protocol,)
                client.loop_start()
                return client
        what = attempt.refusal or f"no answer within {_ANSWER_S:.0f} s; is it an MQTT broker?"
        raise Unavailable(f"{self._broker}: the broker did not let us in: {what}")

    def _client_for(self, client_id: str, protocol: MQTTProtocolVersion, attempt: _Attempt) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        client.max_inflight_messages_set(65_535)  # our own window is the limit
        client.reconnect_delay_set(1, 5)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set_context(tls_context(self._broker))
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.user_data_set(attempt)
        client.on_disconnect = _on_disconnect
        return client

    def _on_connect(self, client: Client, attempt: _Attempt, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            attempt.refusal = str(reason).lower()
        else:
            self._window = min(self._window, getattr(properties, "ReceiveMaximum", self._window))
            if attempt.connected and self._will is not None:
                with self._changed:
                    self._open += 1
                client.publish(self._will.topic, self._will.back, qos=1, retain=True)
            attempt.connected = True

    def _on_publish(self, _client: Client, _data: Any, _mid: int, reason: Any, _properties: Any) -> None:
        with self._changed:
            self._open -= 1
            self.acknowledged += 1
            if reason.is_failure:
                self.refused[str(reason)] = self.refused.get(str(reason), 0) + 1
            self._changed.notify()


class _Attempt:
    """What became of one way to connect."""

    def __init__(self) -> None:
        self.connected = False
        self.refusal = ""

    def let_in(self, client: Client) -> bool:
        """Wait for the broker's answer. In this thread: paho's own would try again at once."""
        deadline = time.monotonic() + _ANSWER_S
        while not self.connected and not self.refusal and time.monotonic() < deadline:
            client.loop(0.1)
        return self.connected


def _on_disconnect(_client: Client, attempt: _Attempt, _flags: Any, reason: Any, _properties: Any) -> None:
    if not attempt.connected:
        attempt.refusal = attempt.refusal or f"closed the connection ({str(reason).lower()})"
