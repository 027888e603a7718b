"""One MQTT 3.1.1 connection for many devices: publishes with QoS 1 in order, without a thread of its own.

A third of the cost of paho. Nothing is sent before `flush`, or before much of it waits. A broker that goes away is
waited for; what it did not acknowledge is sent again, in order and marked so (DUP). MQTT 3.1.1 has no words for a
message that the broker refuses, so nobody hears of those.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
import uuid

from ingest.errors import Unavailable
from ingest.mqtt import BrokerAddress
from simulators.wire.entry import enter
from simulators.wire.packets import DISCONNECT, DUP, MAX_PACKET_ID, connect, publish_head, read_acknowledgements
from simulators.wire.publisher import PATIENCE_S, Will

#: So many bytes are sent at once.
ENOUGH = 32_768
_LOOK_S, _AGAIN_S = 0.2, 1.0
_RETAIN = 0x01
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Pipe:
    """Publish in order; `acknowledged` counts the broker's answers."""

    def __init__(
        self, *, broker: BrokerAddress, stop: threading.Event, name: str, window: int = 1_000, will: Will | None = None
    ) -> None:
        self.acknowledged = 0
        self._broker, self._stop, self._window, self._will = broker, stop, window, will
        self._client_id = f"{name}-{uuid.uuid4().hex[:10]}"
        self._open: dict[int, bytearray] = {}  # packets that are not acknowledged, in order, by their ids
        self._last_id = 0
        self._buffer = bytearray()
        self._answers = b""
        self._socket = self._connect()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Take one message once the window allows; False when stopped instead."""
        while len(self._open) >= self._window:
            self.flush()
            if len(self._open) >= self._window and not self._listen(_LOOK_S) and self._stop.is_set():
                return False
        self._take(topic, payload, retain=retain)
        if len(self._buffer) >= ENOUGH:
            self.flush()
        return True

    def _take(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._last_id = self._last_id % MAX_PACKET_ID + 1
        packet = bytearray(publish_head(topic=topic, payload_size=len(payload)))
        packet[0] |= _RETAIN if retain else 0
        packet += self._last_id.to_bytes(2, "big")
        packet += payload
        self._open[self._last_id] = packet
        self._buffer += packet

    def flush(self) -> None:
        """Send what waits, and take in what was answered; ends early when stopped while the broker is away."""
        while self._buffer:
            try:
                del self._buffer[: self._socket.send(self._buffer)]
            except _LATER:
                self._listen(_LOOK_S, writable=True)
            except OSError:
                if not self._again():
                    return
        self._listen(0.0)

    def finish(self, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until all is acknowledged; Unavailable when the broker does not."""
        self.flush()
        last, deadline = self.acknowledged, time.monotonic() + patience_s
        while self._open:
            self._listen(_LOOK_S)
            self.flush()
            if self.acknowledged != last:
                last, deadline = self.acknowledged, time.monotonic() + patience_s
            elif time.monotonic() > deadline or self._socket.fileno() < 0:
                what = f"{len(self._open)} messages not acknowledged for {patience_s:.0f} s"
                raise Unavailable(f"{self._broker}: {what}; is the broker still there?")

    def close(self) -> None:
        """Leave in good order: no will is published."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(1.0)
            self._socket.sendall(DISCONNECT)
        self._socket.close()

    def _listen(self, seconds: float, *, writable: bool = False) -> bool:
        """Take in acknowledgements, waiting so long for the first, or until more can be sent; whether some came."""
        before = self.acknowledged
        try:
            select.select([self._socket], [self._socket] if writable else [], [], seconds)
            while data := self._socket.recv(65_536):
                ids, self._answers = read_acknowledgements(self._answers + data)
                for number in ids.tolist():
                    self.acknowledged += self._open.pop(number, None) is not None
            self._again()  # the broker has closed the connection
        except _LATER:
            pass
        except (OSError, ValueError):
            self._again()
        return self.acknowledged > before

    def _again(self) -> bool:
        """Connect once more, however long it takes, and send what is not acknowledged; False when stopped instead."""
        self._socket.close()
        while not self._stop.wait(_AGAIN_S):
            try:
                self._socket = self._connect()
            except Unavailable:
                continue
            self._begin_again()
            return True
        return False

    def _begin_again(self) -> None:
        """First that we are back, so that a farewell among the rest is the last word."""
        earlier, self._open = self._open, {}
        self._answers = b""
        self._buffer.clear()
        if self._will:
            self._take(self._will.topic, self._will.back, retain=True)
        for packet in earlier.values():
            packet[0] |= DUP
            self._buffer += packet
        self._open |= earlier

    def _connect(self) -> socket.socket:
        """No keepalive: a town may be silent for long, and has no thread to say that it is there."""
        will = (self._will.topic, self._will.payload) if self._will else None
        user, password = self._broker.user, self._broker.password
        words = connect(client_id=self._client_id, keepalive_s=0, user=user, password=password, will=will)
        return enter(self._broker, words)
