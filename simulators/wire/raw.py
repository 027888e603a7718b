"""One MQTT 3.1.1 connection that only publishes ready packets with QoS 1 and knows which are acknowledged.

Brokers acknowledge in the order of the messages (MQTT 3.1.1, 4.6); one that does not is understood too. What is not
acknowledged is kept, and sent again when the connection is cut and comes back.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
from collections import deque

import numpy as np
import numpy.typing as npt

from ingest.errors import Unavailable
from ingest.mqtt import BrokerAddress
from simulators.wire.entry import enter
from simulators.wire.packets import (
    DISCONNECT,
    DUP,
    MAX_PACKET_ID,
    PINGREQ,
    connect,
    packet_ids,
    read_acknowledgements,
)

KEEPALIVE_S = 60
#: Closing a socket so, the other side hears that the connection broke, and what was on its way is gone.
_ABORT = struct.pack("ii", 1, 0)

#: Packets of equal length, one a row.
Rows = npt.NDArray[np.uint8]


class Wire:
    """One connection; `sent` counts the messages handed over, and gives the next its packet id.

    `clean=False`: the broker keeps the session while the connection is cut; `forget` ends it.
    """

    def __init__(self, *, broker: BrokerAddress, number: int, window: int, clean: bool = True) -> None:
        self.sent = 0
        self.sent_again = 0
        self.away = False  #: cut, and not back yet
        self._broker, self._window, self._clean = broker, window, clean
        self._client_id = f"load-{number}-{random.randrange(16**10):010x}"
        self._oldest = 0  #: position of the first message that is not acknowledged
        self._early: set[int] = set()  #: positions behind it that are
        self._kept: deque[tuple[int, Rows]] = deque()  #: what is not acknowledged: position of the first row, rows
        self._pending: deque[memoryview] = deque()
        self._answers = b""
        self._socket = self.open()

    @property
    def acknowledged(self) -> int:
        """How many messages the broker has taken."""
        return self._oldest + len(self._early)

    @property
    def waiting(self) -> int:
        """Sent and not acknowledged."""
        return self.sent - self.acknowledged

    @property
    def stuck(self) -> bool:
        """Whether some bytes wait for the socket."""
        return bool(self._pending)

    @property
    def room(self) -> int:
        """How many more may go out now; none while the last are not written yet."""
        return 0 if self._pending or self.away else self._window - (self.sent - self._oldest)

    def fileno(self) -> int:
        """For the selector."""
        return self._socket.fileno()

    def write(self, rows: Rows) -> None:
        """Send packets, one a row, with the packet ids of the next positions; not more than there is room for."""
        self._kept.append((self.sent, rows))
        self.sent += len(rows)
        self._pending.append(rows.data.cast("B"))
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes now, the rest when it takes more."""
        try:
            while self._pending:
                count = self._socket.send(self._pending[0])
                if count == len(self._pending[0]):
                    self._pending.popleft()
                else:
                    self._pending[0] = self._pending[0][count:]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise self._lost(error) from None

    def read(self) -> None:
        """Take in the acknowledgements that have come."""
        try:
            while data := self._socket.recv(262_144):
                ids, self._answers = read_acknowledgements(self._answers + data)
                self._take(ids)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, ValueError) as error:
            raise self._lost(error) from None
        raise self._lost("closed the connection")

    def ping(self) -> None:
        """Say that we are still here."""
        if not self.away:
            self._pending.append(memoryview(PINGREQ))
            self.flush()

    def cut(self) -> None:
        """Break the connection as a lost network does: without DISCONNECT."""
        self.away, self._answers = True, b""
        self._pending.clear()
        self._early.clear()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._socket.close()

    def open(self) -> socket.socket:
        """A new connection for this client; Unavailable when there is none. It may be called on any thread."""
        return self._connected(clean=self._clean)

    def resume(self, connection: socket.socket) -> None:
        """Go on over it: first what is not acknowledged, once more, in order and marked as such (DUP)."""
        self._socket, self.away = connection, False
        for first, rows in self._kept:
            again = rows[max(0, self._oldest - first) :].copy()
            again[:, 0] |= DUP
            self.sent_again += len(again)
            self._pending.append(again.data.cast("B"))
        self.flush()

    def close(self) -> None:
        """Leave in good order; in the middle of a packet there is none."""
        if self._pending:
            self._socket.close()
        elif not self.away:
            _leave(self._socket)

    def forget(self) -> None:
        """Have the broker drop a session it keeps for us; after `close`."""
        if not self._clean:
            _leave(self._connected(clean=True))

    def _take(self, ids: npt.NDArray[np.int64]) -> None:
        count = len(ids)
        if not self._early and np.array_equal(ids, packet_ids(np.arange(self._oldest, self._oldest + count))):
            self._oldest += count
        else:
            for number in ids.tolist():
                self._take_one(number)
        if self._oldest > self.sent:
            raise ValueError("it acknowledged more than was sent")
        while self._kept and self._kept[0][0] + len(self._kept[0][1]) <= self._oldest:
            self._kept.popleft()

    def _take_one(self, number: int) -> None:
        position = self._oldest + (number - 1 - self._oldest) % MAX_PACKET_ID
        if position >= self.sent or position in self._early:
            raise ValueError(f"it acknowledged packet id {number}, which is not on its way")
        self._early.add(position)
        while self._oldest in self._early:
            self._early.remove(self._oldest)
            self._oldest += 1

    def _lost(self, error: object) -> Unavailable:
        what = f"{self.acknowledged} of {self.sent} messages of this connection were acknowledged"
        return Unavailable(f"{self._broker}: connection lost: {error}; {what}")

    def _connected(self, *, clean: bool) -> socket.socket:
        user, password = self._broker.user, self._broker.password
        words = connect(client_id=self._client_id, keepalive_s=KEEPALIVE_S, user=user, password=password, clean=clean)
        return enter(self._broker, words)


def _leave(wire: socket.socket) -> None:
    try:
        wire.setblocking(True)
        wire.settimeout(1.0)
        wire.sendall(DISCONNECT)
    except OSError:
        pass  # it is gone already
    wire.close()
