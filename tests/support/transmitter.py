"""A fire panel's transmitter (GB/T 26875.3) as the other end of a link."""

from __future__ import annotations

import socket
import time

from ingest.codecs.gb26875_frame import CONTROL, SEND, Frame, build, read_frame
from ingest.gb26875_stream import Reassembler

UTD = bytes.fromhex("790300000000")
CENTRE = bytes.fromhex("385b01000000")
SENT = bytes((5, 9, 9, 27, 7, 26))
FIRE = bytes((2, 1, 1, 1, 40, 1, 0, 1, 0, 3, 0)) + bytes(31) + SENT


def frame(unit: bytes = FIRE, *, serial: int = 7, command: int = SEND, source: bytes = UTD, bad: bool = False) -> bytes:
    raw = build(Frame(serial=serial, sent=SENT, source=source, destination=CENTRE, command=command, unit=unit))
    return raw[:-3] + bytes((raw[-3] ^ 1,)) + raw[-2:] if bad else raw


class Transmitter:
    """The other end of a link."""

    def __init__(self, port: int, *, udp: bool = False) -> None:
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.settimeout(10)
        self.sock.connect(("127.0.0.1", port))
        self._stream = Reassembler()
        self._got: list[Frame] = []

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self) -> Frame:
        """The next frame from the server."""
        while not self._got:
            data = self.sock.recv(4096)
            assert data, "the server closed the link"
            self._got += [read_frame(raw, 0, len(raw)) for raw in self._stream.feed(data)]
        return self._got.pop(0)

    def answer(self) -> Frame:
        """The next frame that is no command."""
        while (found := self.next()).command == CONTROL:
            pass
        return found

    def command(self) -> Frame:
        """The next frame that is one."""
        while (found := self.next()).command != CONTROL:
            pass
        return found

    def hears_nothing(self, seconds: float = 0.4) -> bool:
        """Whether neither a frame nor an end comes; commands are passed over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                if self.next().command != CONTROL:
                    return False
            except TimeoutError:
                break
        self.sock.settimeout(10)
        return True

    def is_closed(self) -> bool:
        """Whether the server ends the link within ten seconds."""
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True
