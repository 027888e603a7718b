"""Publishes our own probes, which must come back to the receiver by way of the broker. Edge.

A connection of its own: what hears must not be what speaks, else a broken subscription would look healthy.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from paho.mqtt.client import Client

from ingest.errors import OperatorError
from ingest.loopback import PERMISSION, Loopback
from ingest.mqtt import background_client, parse_mqtt_url
from ingest.readings import SECOND

#: A probe that is not back by then is worth a line in the log.
SILENT = 15 * SECOND
LOOK_S = 0.2  #: how soon a new connection is used

log = structlog.get_logger()


class Prober:
    """Probes each of `loopbacks` every so many seconds while there is a connection. `now` is the wall clock in µs."""

    def __init__(
        self,
        mqtt_url: str,
        *,
        client_id: str,
        loopbacks: Sequence[Loopback],
        every: float,
        now: Callable[[], int],
    ) -> None:
        self._address = parse_mqtt_url(mqtt_url)
        self._client_id = client_id
        self._loopbacks = loopbacks
        self._every = every
        self._now = now
        self._connected_at = 0
        self._refusal = ""
        self._silent: set[str] = set()  #: shards whose silence is in our log

    def run(self, stop: threading.Event) -> None:
        """Probe until `stop`."""
        client = self._patient_client(stop)
        if client is None:
            return
        try:
            while not stop.is_set():
                connected = client.is_connected()
                if connected:
                    self._probe(client, self._now())
                stop.wait(self._every if connected else LOOK_S)
        finally:
            client.disconnect()
            client.loop_stop()

    def _probe(self, client: Client, now: int) -> None:
        for loopback in self._loopbacks:
            self._watch(loopback, now)
            client.publish(loopback.topic, loopback.send(now), qos=1)

    def _watch(self, loopback: Loopback, now: int) -> None:
        """Say once that probes stay away, and once that they come back: a broker drops in silence what it forbids."""
        since = loopback.waiting_since()
        silent = since is not None and now - max(since, self._connected_at) > SILENT
        if silent and loopback.shard not in self._silent:
            self._silent.add(loopback.shard)
            remedy = f"see that broker and log take messages, and {PERMISSION}"
            log.warning("our own probes do not come back through the broker", shard=loopback.shard, remedy=remedy)
        elif not silent and loopback.shard in self._silent:
            self._silent.discard(loopback.shard)
            log.info("our own probes come back again", shard=loopback.shard)

    def _patient_client(self, stop: threading.Event) -> Client | None:
        """None when stopped before the files of MQTT_URL could be used; the receiver's own connections say so."""
        while not stop.is_set():
            with contextlib.suppress(OperatorError):
                return background_client(self._address, client_id=self._client_id, on_connect=self._connected)
            stop.wait(self._every)
        return None

    def _connected(self, client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._connected_at = self._now()
        refusal = str(reason) if reason.is_failure else ""
        if refusal and refusal != self._refusal:
            log.warning("the broker refuses the connection for our own probes", reason=refusal)
        self._refusal = refusal
