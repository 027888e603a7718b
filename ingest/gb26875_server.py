"""The server that fire panels' transmitters (用户信息传输装置) report to by GB/T 26875.3, over TCP and UDP.

Every upload goes into the log as it came, and only what the log has kept is confirmed. One thread serves all links
and appends what it read from all of them at once. Nobody proves who he is in this protocol: the bind address and the
network around it decide who may speak, the inventory what is believed.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
import structlog

from ingest.codecs.gb26875 import BEIJING, SERVER_TOPIC
from ingest.errors import ConfigError, OperatorError
from ingest.gb26875_intake import Append, Intake, Outcome
from ingest.gb26875_link import Command, Link, answers_duty
from ingest.metrics import Gb26875Metrics
from ingest.sources import Source, Sources

WAIT_S = 0.2  #: the longest wait for the network: how soon `stop` is seen
CHORES_S = 0.5
PAUSE_S = 1.0  #: nothing for so long behind the beginning of a frame: look whether it is one
READ_BYTES = 4096
READS = 64  #: connections taken, and datagrams read, in one pass
UNSENT_LIMIT = 16 * 1024
SYNC_S = 24 * 3600.0

log = structlog.get_logger()


class Why(StrEnum):
    """Why a link ended."""

    PEER = "peer"  #: closed or broken by the other side
    SILENT = "silent"  #: no frame since it began
    IDLE = "idle"  #: no frame for too long
    NOISE = "noise"  #: too many bytes that were no frame's
    SLOW = "slow"  #: does not read what we send
    FULL = "full"  #: too many links; one that never said anything makes way, else the new one
    STOPPED = "stopped"  #: we leave


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of us the network may take."""

    links: int = 2_000  #: of each transport
    links_a_host: int = 256  #: mobile carriers put many transmitters behind one address
    first_frame_s: float = 120.0
    idle_s: float = 900.0  #: the standard knows no keep-alive; vendors send one every half minute
    wasted_bytes: int = 64 * 1024


class _Connection:
    """A TCP link's socket, and what it has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unsent = bytearray()


class Gb26875Server:
    """See the module. `append` is that of a shard's messages stream; `source` the filter in sources.yaml whose codec
    reads the frames, with topics `gb26875/<address>`; `zone` the panels' own. `now` in µs, `monotonic` in s.
    `on_duty` is told the address of a transmitter at which somebody answered a duty check; it must not block.

    Binds at once, TCP and UDP on the same port (0: any); OperatorError when it cannot.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        append: Append,
        shard: str,
        now: Callable[[], int],
        source: str = f"{SERVER_TOPIC}/+",
        zone: str = BEIJING,
        limits: Limits | None = None,
        on_duty: Callable[[str], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or Limits()
        self._zone = zone
        self._now = now
        self._on_duty = on_duty
        self._monotonic = monotonic
        self._metrics = Gb26875Metrics(
            shard=shard, source=source, outcomes=list(Outcome), whys=list(Why), commands=list(Command)
        )
        self._intake = Intake(append=append, source=source, zone=zone, now=now, metrics=self._metrics)
        self._listener, self._datagrams = _bound(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._datagrams, selectors.EVENT_READ)
        self._tcp: dict[Link, _Connection] = {}
        self._mute: dict[Link, None] = {}  #: TCP links without a frame yet, oldest first
        self._hosts: dict[str, int] = {}  #: TCP links by host
        self._udp: dict[Any, Link] = {}  #: by the peer's socket address, least recently heard first
        self._by_address: dict[str, Link] = {}
        self._wishes: queue.SimpleQueue[tuple[Link, int]] = queue.SimpleQueue()
        self._number = 0
        self._chores_due = 0.0

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop`; the sockets are closed then."""
        try:
            while not stop.is_set():
                self._once()
        finally:
            self.close()

    def close(self) -> None:
        """Leave everything; for a server that is not running."""
        for link in list(self._tcp):
            self._close(link, Why.STOPPED)
        self._udp.clear()
        self._by_address.clear()
        self._selector.close()
        self._listener.close()
        self._datagrams.close()
        self._metrics.links(tcp=0, udp=0)

    def duty_check(self, address: str, minutes: int = 10) -> bool:
        """Ask whether somebody is at the panel (查岗); False when no such transmitter is connected now.

        `address` is the transmitter's, as in its topic. It answers within `minutes` (1 to 255) with an operation
        record, which reaches the log as any upload. May be called from any thread.
        """
        if not 1 <= minutes <= 255:
            raise ValueError(f"{minutes} minutes; a duty check allows 1 to 255")
        link = self._by_address.get(address)
        if link is None:
            return False
        self._wishes.put((link, minutes))
        return True

    # the pass

    def _once(self) -> None:
        for key, events in self._selector.select(WAIT_S):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._datagrams:
                self._read_datagrams()
            else:
                self._serve(key.data, events)
        self._intake.flush()
        monotonic = self._monotonic()
        if monotonic >= self._chores_due:
            self._chores_due = monotonic + CHORES_S
            self._chores(monotonic)

    def _chores(self, monotonic: float) -> None:
        """Whatever is due: frames behind false beginnings, commands, links that said nothing for too long."""
        while not self._wishes.empty():
            link, minutes = self._wishes.get()
            link.order(Command.DUTY_CHECK, minutes)
        for link in [*self._tcp, *self._udp.values()]:
            if link.arrived and monotonic - link.arrived >= PAUSE_S:
                link.arrived = 0.0
                self._take(link, link.stream.pause(), monotonic)
            if link.address is not None:
                self._command(link, monotonic)
            silent = link.address is None
            if monotonic - link.heard > (self._limits.first_frame_s if silent else self._limits.idle_s):
                self._close(link, Why.SILENT if silent else Why.IDLE)
        self._intake.flush()
        self._metrics.links(tcp=len(self._tcp), udp=len(self._udp))

    def _command(self, link: Link, monotonic: float) -> None:
        if monotonic >= link.sync_due and link.order(Command.CLOCK_SYNC):
            link.sync_due = monotonic + SYNC_S
        for frame in link.commands_due(monotonic, self._now(), self._zone, self._metrics.command):
            link.send(frame)

    def _take(self, link: Link, frames: list[bytes], monotonic: float) -> None:
        """Frames of a link, in order, and the garbage that was between them."""
        garbage, link.stream.garbage = link.stream.garbage, 0
        self._metrics.garbage(garbage)
        link.wasted += garbage
        for raw in frames:
            frame = self._intake.take(link, raw)
            if not frame.sum_ok:
                link.wasted += len(raw)
            elif link.learn(frame, monotonic):
                self._mute.pop(link, None)
                link.known_as = link.name(frame)
                self._by_address[link.known_as] = link
                self._chores_due = monotonic  # a clock to set
                log.info("transmitter speaks", address=link.known_as, peer=link.where, transport=link.transport)
            if answers_duty(frame):
                self._on_duty(link.known_as)

    # TCP

    def _accept(self) -> None:
        for _ in range(READS):
            try:
                sock, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # gone again, or we have no descriptor left
                log.warning("cannot take a connection", error=error.strerror)
                time.sleep(0.01)
                return
            self._welcome(sock, peer[0], peer[1])

    def _welcome(self, sock: socket.socket, host: str, port: int) -> None:
        full = len(self._tcp) >= self._limits.links
        if self._hosts.get(host, 0) >= self._limits.links_a_host or (full and not self._mute):
            self._metrics.closed(Why.FULL)
            sock.close()
            return
        if full:
            self._close(next(iter(self._mute)), Why.FULL)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_LIMIT)
        connection = _Connection(sock)
        link = self._link(host, port, "tcp", lambda data: self._send(link, data))
        self._tcp[link] = connection
        self._mute[link] = None
        self._hosts[host] = self._hosts.get(host, 0) + 1
        self._selector.register(sock, selectors.EVENT_READ, link)

    def _serve(self, link: Link, events: int) -> None:
        connection = self._tcp.get(link)
        if connection is None:  # closed in this very pass
            return
        if events & selectors.EVENT_WRITE:
            self._send(link, b"")
        if not events & selectors.EVENT_READ:
            return
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(link, Why.PEER)
            return
        monotonic = self._monotonic()
        self._take(link, link.stream.feed(data), monotonic)
        link.arrived = monotonic if link.stream.waiting else 0.0
        if link.wasted > self._limits.wasted_bytes:
            self._close(link, Why.NOISE)

    def _send(self, link: Link, data: bytes) -> None:
        connection = self._tcp.get(link)
        if connection is None:
            return
        unsent = connection.unsent
        unsent += data
        try:
            del unsent[: connection.sock.send(unsent)]
        except BlockingIOError:
            pass  # it goes on when the socket can be written to
        except OSError:
            self._close(link, Why.PEER)
            return
        if len(unsent) > UNSENT_LIMIT:
            self._close(link, Why.SLOW)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
        if self._selector.get_key(connection.sock).events != events:
            self._selector.modify(connection.sock, events, link)

    # UDP

    def _read_datagrams(self) -> None:
        for _ in range(READS):
            try:
                data, peer = self._datagrams.recvfrom(READ_BYTES)
            except OSError:  # nothing more, or an earlier answer could not be delivered
                return
            self._take_datagram(data, peer)

    def _take_datagram(self, data: bytes, peer: Any) -> None:
        """A datagram is whole in itself: what is left of it is garbage."""
        link = self._udp.pop(peer, None)
        if link is None:
            link = self._link(peer[0], peer[1], "udp", lambda answer: self._send_datagram(answer, peer))
            link.peer = peer
        frames = link.stream.feed(data)
        frames += link.stream.pause()
        link.stream.drop()
        self._take(link, frames, self._monotonic())
        if link.address is None:
            return  # nobody we know anything of
        if len(self._udp) >= self._limits.links:
            self._close(next(iter(self._udp.values())), Why.FULL)
        self._udp[peer] = link

    def _send_datagram(self, data: bytes, peer: Any) -> None:
        with contextlib.suppress(OSError):  # a lost answer: the transmitter repeats
            self._datagrams.sendto(data, peer)

    # both

    def _link(self, host: str, port: int, transport: str, send: Callable[[bytes], None]) -> Link:
        self._number += 1
        return Link(
            number=self._number,
            send=send,
            host=host,
            where=f"{host}:{port}",
            transport=transport,
            heard=self._monotonic(),
        )

    def _close(self, link: Link, why: Why) -> None:
        """End a link, unless it has ended already."""
        connection = self._tcp.pop(link, None)
        if connection is not None:
            self._mute.pop(link, None)
            self._hosts[link.host] -= 1
            if not self._hosts[link.host]:
                del self._hosts[link.host]
            self._selector.unregister(connection.sock)
            connection.sock.close()
        elif self._udp.get(link.peer) is link:
            del self._udp[link.peer]
        else:
            return
        self._metrics.closed(why)
        if self._by_address.get(link.known_as) is link:
            del self._by_address[link.known_as]


def server_source(sources: Sources) -> Source:
    """The source that takes in what this server hears; ConfigError when sources.yaml has none."""
    for source in sources.sources:
        if source.codec == SERVER_TOPIC and source.filter.partition("/")[0] == SERVER_TOPIC:
            return source
    raise ConfigError(
        [f"gb26875_bind is set, but sources has no {{filter: {SERVER_TOPIC}/+, codec: {SERVER_TOPIC}, urgent: true}}"]
    )


def _bound(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A listening TCP and a UDP socket on the same port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
        datagrams.bind((host, listener.getsockname()[1]))
    except OSError as error:
        listener.close()
        datagrams.close()
        raise OperatorError(f"cannot bind {host}:{port} for GB 26875: {error.strerror}; choose another") from None
    listener.setblocking(False)
    datagrams.setblocking(False)
    return listener, datagrams
