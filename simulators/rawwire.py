"""One MQTT 3.1.1 connection that only publishes ready packets and counts their acknowledgements."""

from __future__ import annotations

import random
import socket
import ssl

from ingest.errors import Unavailable
from simulators.options import Broker
from simulators.packets import DISCONNECT, MAX_PACKET_ID, PACKET_IDS, PINGREQ, connect, count_pubacks

KEEPALIVE_S = 60


class Wire:
    """One connection; keeps count of what is on the way."""

    def __init__(self, *, broker: Broker, number: int, window: int) -> None:
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
        broker = self._broker
        try:
            plain = socket.create_connection((broker.host, broker.port), timeout=5.0)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            raise Unavailable(f"{broker}: {what}; start a broker there or name another with --broker") from None
        try:
            return self._introduce(plain, client_id)
        except OSError as error:
            plain.close()
            what = (error.strerror or str(error)).lower()
            raise Unavailable(f"{broker}: the broker did not let us in: {what}; is it an MQTT broker?") from None

    def _introduce(self, plain: socket.socket, client_id: str) -> socket.socket:
        broker = self._broker
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = ssl.create_default_context() if broker.tls else None
        wire = tls.wrap_socket(plain, server_hostname=broker.host) if tls else plain
        wire.sendall(connect(client_id=client_id, keepalive_s=KEEPALIVE_S, user=broker.user, password=broker.password))
        answer = wire.recv(4)
        if answer[:1] != b"\x20" or answer[3:4] != b"\x00":
            raise ConnectionError(f"it answered {answer.hex(' ') or 'nothing'}")
        wire.setblocking(False)
        return wire
