"""The connections of a town: one for each speaker, shared when there are many."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import msgspec
from paho.mqtt.enums import MQTTProtocolVersion

from ingest.mqtt import BrokerAddress
from simulators.wire.messages import Outgoing, status
from simulators.wire.publisher import PATIENCE_S, Publisher, Will

#: Each gateway and each head without one has a connection of its own, up to so many; more share these.
MAX_CONNECTIONS = 64


class Speaker(msgspec.Struct, frozen=True, kw_only=True):
    """What has a connection to the broker: a gateway, or a head that speaks for itself."""

    site: str
    device: str


class Wires:
    """Sends each message over its speaker's connection, so that order holds for each device."""

    def __init__(self, *, broker: BrokerAddress, stop: threading.Event) -> None:
        self._broker = broker
        self._stop = stop
        self._publishers: list[Publisher] = []
        self._of_device: dict[tuple[str, str], Publisher] = {}
        self._of_site: dict[str, Publisher] = {}

    def connect(self, speakers: list[Speaker], *, at: int) -> None:
        """Open the connections; Unavailable when the broker is not there."""
        scout = Publisher(broker=self._broker, stop=self._stop, name="town")  # amqtt never answers MQTT 5 with a will
        scout.close()
        for number, speaker in enumerate(speakers):
            if number < MAX_CONNECTIONS:
                self._publishers.append(self._open(speaker, at, scout.protocols))
            publisher = self._publishers[number % MAX_CONNECTIONS]
            self._of_device[speaker.site, speaker.device] = publisher
            self._of_site.setdefault(speaker.site, publisher)

    def send(self, message: Outgoing) -> bool:
        """Publish; False when stopped instead. A broker that is away is waited for."""
        publisher = self._of_device.get((message.site, message.device)) or self._of_site[message.site]
        return publisher.publish(message.topic, message.payload, retain=message.retain)

    def finish(self, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until everything is acknowledged."""
        for publisher in self._publishers:
            publisher.finish(patience_s=patience_s)

    def close(self) -> None:
        """Leave in good order."""
        for publisher in self._publishers:
            with contextlib.suppress(OSError):
                publisher.close()

    def _open(self, speaker: Speaker, at: int, protocols: Sequence[MQTTProtocolVersion]) -> Publisher:
        offline = status(site=speaker.site, device=speaker.device, at=at, online=False)
        return Publisher(
            broker=self._broker,
            stop=self._stop,
            name=f"town-{speaker.device}",
            will=Will(topic=offline.topic, payload=offline.payload),
            patience_s=float("inf"),
            protocols=protocols,
        )
