"""One MQTT 3.1.1 connection that only publishes ready packets and counts their acknowledgements."""

from __future__ import annotations

import random
import socket
import ssl

from ingest.errors import Unavailable
from ingest.mqtt import BrokerAddress, connect_socket
from simulators.options import no_connection
from simulators.wire.packets import DISCONNECT, MAX_PACKET_ID, PACKET_IDS, PINGREQ, connect, count_pubacks

KEEPALIVE_S = 60


class Wire:
    """One connection; keeps count of what is on the way."""

    def __init__(self, *, broker: BrokerAddress, number: int, window: int) -> None:
        self.sent = 0
        self.acknowledged = 0
        self._broker = broker
        self._window = window
        self._next_id = 1
        self._pending = bytearray()
        self._answers = b""
        self._socket = self._open(f"load-{number}-{random.randrange(16**10):010x}")

    @property
    def room(self) -> int:
        """How many more may go out now; none while the last are not written yet."""
        return 0 if self._pending else self._window - (self.sent - self.acknowledged)

    @property
    def waiting(self) -> int:
        """Sent and not acknowledged."""
        return self.sent - self.acknowledged

    def fileno(self) -> int:
        """For the selector."""
        return self._socket.fileno()

    def packet_ids(self, count: int) -> list[bytes]:
        """The next `count` packet ids; MQTT has 65,535, and the window is smaller."""
        first, self._next_id = self._next_id, self._next_id + count
        if self._next_id <= MAX_PACKET_ID + 1:
            return list(PACKET_IDS[first : self._next_id])
        self._next_id -= MAX_PACKET_ID
        return list(PACKET_IDS[first:] + PACKET_IDS[1 : self._next_id])

    def write(self, packets: bytes, count: int) -> None:
        """Send `count` packets, the rest of their bytes when the socket takes them."""
        self.sent += count
        self._pending += packets
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes now."""
        try:
            while self._pending:
                del self._pending[: self._socket.send(self._pending)]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise self._lost(error) from None

    def read(self) -> None:
        """Count the acknowledgements that have come."""
        try:
            while data := self._socket.recv(262_144):
                count, self._answers = count_pubacks(self._answers + data)
                self.acknowledged += count
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, ValueError) as error:
            raise self._lost(error) from None
        raise self._lost("closed the connection")

    def ping(self) -> None:
        """Say that we are still here."""
        self._pending += PINGREQ
        self.flush()

    def close(self) -> None:
        """Leave in good order."""
        try:
            self._socket.setblocking(True)
            self._socket.settimeout(1.0)
            self._socket.sendall(DISCONNECT)
        except OSError:
            pass  # it is gone already
        self._socket.close()

    def _lost(self, error: object) -> Unavailable:
        what = f"{self.acknowledged} of {self.sent} messages of this connection were acknowledged"
        return Unavailable(f"{self._broker}: connection lost: {error}; {what}")

    def _open(self, client_id: str) -> socket.socket:
        try:
            wire = connect_socket(self._broker)
        except OSError as error:
            raise Unavailable(no_connection(self._broker, error)) from None
        try:
            self._introduce(wire, client_id)
        except OSError as error:
            wire.close()
            what = (error.strerror or str(error)).lower()
            raise Unavailable(f"{self._broker}: the broker did not let us in: {what}; is it an MQTT broker?") from None
        return wire

    def _introduce(self, wire: socket.socket, client_id: str) -> None:
        user, password = self._broker.user, self._broker.password
        wire.settimeout(5.0)
        wire.sendall(connect(client_id=client_id, keepalive_s=KEEPALIVE_S, user=user, password=password))
        answer = wire.recv(4)
        if answer[:1] != b"\x20" or answer[3:4] != b"\x00":
            raise ConnectionError(f"it answered {answer.hex(' ') or 'nothing'}")
        wire.setblocking(False)
