"""The connections of a town: one for each speaker, shared when there are many."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Sequence

import msgspec
from paho.mqtt.enums import MQTTProtocolVersion

from ingest.mqtt import BrokerAddress
from simulators.wire.messages import Outgoing, status
from simulators.wire.pipe import Pipe
from simulators.wire.publisher import PATIENCE_S, Publisher, Will

#: Each that keeps a status has a connection of its own, up to so many; more share these, by their sites.
MAX_CONNECTIONS = 64


class Speaker(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps a connection to the broker, and a status there: a gateway, or a device that speaks for itself."""

    site: str
    device: str


class Wires:
    """Sends each message over its speaker's connection, so that order holds for each device."""

    def __init__(self, *, broker: BrokerAddress, stop: threading.Event) -> None:
        self._broker = broker
        self._stop = stop
        self._publishers: list[Publisher | Pipe] = []
        self._of_device: dict[str, Publisher | Pipe] = {}
        self._of_site: dict[str, Publisher | Pipe] = {}

    def connect(self, speakers: list[Speaker], *, at: int) -> None:
        """Open the connections; Unavailable when the broker is not there."""
        if len(speakers) > MAX_CONNECTIONS:
            self._publishers = [self._pipe(speaker, at) for speaker in speakers[:MAX_CONNECTIONS]]
            return
        scout = Publisher(broker=self._broker, stop=self._stop, name="town")  # amqtt never answers MQTT 5 with a will
        scout.close()
        for speaker in speakers:
            publisher = self._open(speaker, at, scout.protocols)
            self._publishers.append(publisher)
            self._of_device[speaker.device] = publisher
            self._of_site.setdefault(speaker.site, publisher)
        if not self._publishers:  # a town of sleepers, that connect to speak and leave
            self._publishers.append(self._open(None, at, scout.protocols))

    def send(self, message: Outgoing) -> bool:
        """Publish; False when stopped instead. A broker that is away is waited for."""
        publisher = self._of_device.get(message.device) or self._of_site.get(message.site)
        if publisher is None:
            publisher = self._publishers[zlib.crc32(message.site.encode()) % len(self._publishers)]
        return publisher.publish(message.topic, message.payload, retain=message.retain)

    def flush(self) -> None:
        """Nothing more is to be said for now: what waits goes out."""
        for publisher in self._publishers:
            if isinstance(publisher, Pipe):
                publisher.flush()

    def finish(self, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until everything is acknowledged."""
        for publisher in self._publishers:
            publisher.finish(patience_s=patience_s)

    def close(self) -> None:
        """Leave in good order."""
        for publisher in self._publishers:
            with contextlib.suppress(OSError):
                publisher.close()

    def _open(self, speaker: Speaker | None, at: int, protocols: Sequence[MQTTProtocolVersion]) -> Publisher:
        return Publisher(
            broker=self._broker,
            stop=self._stop,
            name=f"town-{speaker.device}" if speaker else "town",
            will=_last_will(speaker, at) if speaker else None,
            patience_s=float("inf"),
            protocols=protocols,
        )

    def _pipe(self, speaker: Speaker, at: int) -> Pipe:
        will = _last_will(speaker, at)
        return Pipe(broker=self._broker, stop=self._stop, name=f"town-{speaker.device}", will=will)


def _last_will(speaker: Speaker, at: int) -> Will:
    offline, online = (status(site=speaker.site, device=speaker.device, at=at, online=word) for word in (False, True))
    return Will(topic=offline.topic, payload=offline.payload, back=online.payload)
