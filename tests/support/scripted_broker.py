"""A broker that does what a test tells it, in bytes: for what no real broker does on request."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import NamedTuple


class Packet(NamedTuple):
    first: int
    body: bytes


def packet(first: int, body: bytes) -> bytes:
    """A packet with its length; bodies under 16 KiB."""
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([first]) + length + body


class ScriptedBroker:
    """`accepts`: protocol levels let in (4, 5); others get `refusal`, or the connection closed when that is empty.
    `grant`: the answer to every filter but those of `grants`. `publishes`: packets sent after each SUBSCRIBE.
    `holds`: client ids whose sessions were kept. `strangers`: client ids that are turned away.
    `silent`: SUBSCRIBE is not answered."""

    def __init__(self) -> None:
        self.accepts = {4, 5}
        self.refusal = b""
        self.grant = 1
        self.grants: dict[str, int] = {}
        self.publishes: list[bytes] = []
        self.holds: set[str] = set()
        self.strangers: set[str] = set()
        self.silent = False
        self.heard: list[tuple[str, str]] = []  #: client id, and which of CONNECT, SUBSCRIBE, UNSUBSCRIBE, PROBE
        self.levels: list[int] = []  #: protocol level of every CONNECT
        self.acknowledged: list[int] = []
        self.subscribed = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._clients: list[socket.socket] = []
        self._threads[0].start()

    def send(self, some: bytes) -> None:
        """To the client that came last."""
        self._clients[-1].sendall(some)

    def hang_up(self) -> None:
        """Close every connection."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(5)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._clients.append(client)
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, contextlib.suppress(OSError):
            v5, client_id = False, ""
            while first := stream.read(1):
                length, shift = 0, 0
                while (byte := stream.read(1)[0]) & 128:
                    length, shift = length | (byte & 127) << shift, shift + 7
                body = stream.read(length | byte << shift)
                if first[0] == 0x10:
                    self.levels.append(body[6])
                    v5 = body[6] == 5
                    client_id = _client_id(body)
                    self.heard.append((client_id, "CONNECT"))
                    if client_id in self.strangers:
                        client.sendall(b"\x20\x03\x00\x85\x00" if v5 else b"\x20\x02\x00\x02")
                        return
                    if body[6] not in self.accepts:
                        client.sendall(self.refusal)
                        return
                for answer in self._answers(Packet(first[0], body), v5, client_id):
                    client.sendall(answer)

    def _answers(self, got: Packet, v5: bool, client_id: str) -> list[bytes]:
        properties = b"\0" if v5 else b""
        if got.first == 0x10:
            return [packet(0x20, bytes([client_id in self.holds, 0]) + properties)]
        if got.first == 0x40:
            self.acknowledged.append(int.from_bytes(got.body[:2], "big"))
        if got.first == 0x82:
            self.heard.append((client_id, "SUBSCRIBE"))
            self.subscribed += 1
            if self.silent:
                return []
            filters = _filters(got.body[3:] if v5 else got.body[2:])
            codes = bytes(self.grants.get(filter_, self.grant) for filter_ in filters)
            return [packet(0x90, got.body[:2] + properties + codes), *self.publishes]
        if got.first == 0xA2:
            self.heard.append((client_id, "PROBE" if b"emberwatch/drained/" in got.body else "UNSUBSCRIBE"))
            return [packet(0xB0, got.body[:2] + (properties + b"\x11" if v5 else b""))]
        return [b"\xd0\0"] if got.first == 0xC0 else []


def _client_id(connect: bytes) -> str:
    at = 10 + (1 + connect[10] if connect[6] == 5 else 0)
    return connect[at + 2 : at + 2 + connect[at + 1]].decode()


def _filters(body: bytes) -> list[str]:
    found, at = [], 0
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        found.append(body[at + 2 : end].decode())
        at = end + 1
    return found


def publish(topic: str, payload: bytes, packet_id: int, *, v5: bool) -> bytes:
    """A PUBLISH of QoS 1."""
    name = topic.encode()
    number = packet_id.to_bytes(2, "big")
    return packet(0x32, len(name).to_bytes(2, "big") + name + number + (b"\0" if v5 else b"") + payload)
