"""Publishes what codecs ask devices for, such as Sparkplug's rebirth. Edge.

Best effort: a codec goes on asking as long as it must. Nothing connects to the broker before there is something to ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog
from paho.mqtt.client import Client

from ingest.codecs.contract import Request
from ingest.errors import OperatorError
from ingest.metrics import ASKED
from ingest.mqtt import background_client, parse_mqtt_url

#: Requests that wait for a connection; what is asked for beyond that is asked for again.
MOST_WAITING = 1_000

log = structlog.get_logger()


class Asker:
    """A connection of its own to the broker. `ask` never blocks and may be called from any thread."""

    def __init__(self, mqtt_url: str, *, client_id: str) -> None:
        self._address = parse_mqtt_url(mqtt_url)
        self._client_id = client_id
        self._client: Client | None = None
        self._said = ""  #: what was last wrong
        self._waiting: deque[Request] = deque(maxlen=MOST_WAITING)

    def ask(self, requests: Sequence[Request]) -> None:
        """Publish these (QoS 0, not retained) as soon as there is a connection."""
        self._waiting.extend(requests)
        if self._client is None:
            self._client = self._try_to_connect()
        elif self._client.is_connected():
            self._send(self._client)

    def close(self) -> None:
        """Leave the broker; what still waits is dropped."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    def _try_to_connect(self) -> Client | None:
        try:
            return background_client(self._address, client_id=self._client_id, on_connect=self._connected)
        except OperatorError as error:  # a file of MQTT_URL: no reason to keep the writer from its work
            if str(error) != self._said:
                self._said = str(error)
                log.warning("requests to devices cannot be sent", error=self._said)
            return None

    def _connected(self, client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            log.warning("the broker refuses the connection for requests to devices", reason=str(reason))
        else:
            self._send(client)

    def _send(self, client: Client) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            client.publish(request.topic, request.payload)
            ASKED.inc()
            log.info("asked", topic=request.topic)
