"""A broker that only acknowledges: what a load reaches when nothing else limits it.

`python -m tests.support.sink` prints its port and serves until it is ended. It takes packets of one length on each
connection, and answers all that have come at once.
"""

from __future__ import annotations

import selectors
import socket

import numpy as np

_PUBLISH = 0x30
#: To CONNECT and PINGREQ.
_ANSWERS = {0x10: b"\x20\x02\x00\x00", 0xC0: b"\xd0\x00"}
_SHORTEST = 8


class Client:
    """One connection; its PUBLISH packets all have the length of the first, so a load has no fires here."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = b""

    def read(self) -> bool:
        """Answer what has come; False when the client has left."""
        data = self.connection.recv(1 << 20)
        self._buffer += data
        while (len(self._buffer) > _SHORTEST and self._acknowledge()) or self._answer_other():
            pass
        return bool(data)

    def _answer_other(self) -> bool:
        """CONNECT, PINGREQ, DISCONNECT; False when there is none."""
        if not self._buffer or self._buffer[0] & 0xF0 == _PUBLISH:
            return False
        if self._buffer[0] in _ANSWERS:
            self.connection.sendall(_ANSWERS[self._buffer[0]])
        self._buffer = self._buffer[self._buffer[1] + 2 :]
        return True

    def _acknowledge(self) -> bool:
        """All PUBLISH packets at the front; False when there is none."""
        at, size, shift = 1, 0, 0
        while True:
            digit = self._buffer[at]
            size, shift, at = size | (digit & 127) << shift, shift + 7, at + 1
            if digit < 128:
                break
        length = at + size
        packet_id = at + 2 + int.from_bytes(self._buffer[at : at + 2], "big")
        count = len(self._buffer) // length
        packets = np.frombuffer(self._buffer, np.uint8, count * length).reshape(count, length)
        others = np.flatnonzero(packets[:, 0] & 0xF0 != _PUBLISH)
        count = int(others[0]) if len(others) else count
        answers = np.empty((count, 4), np.uint8)
        answers[:, :2] = (0x40, 2)
        answers[:, 2:] = packets[:count, packet_id : packet_id + 2]
        self._buffer = self._buffer[count * length :]
        self.connection.sendall(answers.tobytes())
        return count > 0


def serve(server: socket.socket) -> None:
    """Until the process is ended."""
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                connection, _ = server.accept()
                selector.register(connection, selectors.EVENT_READ, Client(connection))
            elif not key.data.read():
                selector.unregister(key.fileobj)
                key.data.connection.close()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener)
