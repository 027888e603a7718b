"""What every MQTT connection of ours is made of: the address in MQTT_URL, and a paho client on a buffered socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.errors import OperatorError

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

V5 = MQTTProtocolVersion.MQTTv5
V311 = MQTTProtocolVersion.MQTTv311
KEEPALIVE_S = 60
CONNECT_TIMEOUT_S = 1.9  #: for TCP and TLS; a role must stop within 2 s
NEVER = 0xFFFF_FFFF  #: a session that does not expire
READ_SIZE = 262_144


class BrokerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is and how to be let in."""

    host: str
    port: int
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        """As people may see it: without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_mqtt_url(url: str, *, where: str = "MQTT_URL") -> BrokerAddress:
    """`mqtt://user:pass@host:1883` or `mqtts://host:8883?ca=…&cert=…&key=…`; OperatorError for anything else.

    `where`: what a person has to change then.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise OperatorError(f"{where}: the port is no number up to 65535; write mqtt://host:1883") from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise OperatorError(f"{where}: must be mqtt://host:1883 or mqtts://host:8883")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    tls = parts.scheme == "mqtts"
    for name in options:
        if name not in ("ca", "cert", "key") or not tls:
            raise OperatorError(f"{where}: unknown option {name!r}; mqtts:// takes ca, cert and key")
    return BrokerAddress(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        **options,
    )


def tls_context(address: BrokerAddress) -> ssl.SSLContext:
    """The TLS settings of an address; OperatorError names the file that cannot be used."""
    for what, path in (("ca", address.ca), ("cert", address.cert), ("key", address.key)):
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise OperatorError(f"MQTT_URL: {what}={path}: {(error.strerror or '').lower()}") from None
    try:
        context = ssl.create_default_context(cafile=address.ca or None)
        if address.cert:
            context.load_cert_chain(address.cert, address.key or None)
    except (ssl.SSLError, OSError) as error:
        raise OperatorError(f"MQTT_URL: the TLS files do not fit together: {error}; give PEM files") from None
    return context


def connect_socket(address: BrokerAddress) -> socket.socket:
    """A connection to the broker, behind TLS where the address says so; OSError when there is none."""
    plain = socket.create_connection((address.host, address.port), timeout=CONNECT_TIMEOUT_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not address.tls:
        return plain
    try:
        return tls_context(address).wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise


class PacketSocket:
    """A socket for paho that reads in large pieces, hands out whole packets, and writes when told to.

    paho by itself makes three system calls a message received and one an acknowledgement. paho sees a packet
    only when all of it is here (`expose`), so that between its calls the buffer always stands at the start of a
    packet and its owner may take PUBLISH packets itself.
    """

    def __init__(self, sock: SocketLike) -> None:
        self._sock = sock
        self.buffer = b""
        self.at = 0  #: where in `buffer` the next packet starts
        self._parts: list[bytes] = []
        self._held = 0
        self._wanted = 1
        self._exposed = 0
        self._out = bytearray()
        self.closed = False
        self.error: OSError | None = None  #: why it is closed, when the other side did not simply leave
        self.drained = True  #: the network had nothing more at the last look; TLS may hold what `poll` cannot see

    def next_packet(self) -> tuple[int, int, int] | None:
        """First byte, start and end of the body of the next packet; None when not all of it is here."""
        buffer, at, size = self.buffer, self.at, len(self.buffer)
        length, position, shift = 0, at + 1, 0
        while position < size:
            byte = buffer[position]
            length |= (byte & 0x7F) << shift
            position += 1
            if byte < 0x80 or shift == 21:  # four bytes at most; what is malformed paho shall refuse
                if position + length <= size:
                    return buffer[at], position, position + length
                self._wanted = position + length - size
                return None
            shift += 7
        self._wanted = 1
        return None

    def fill(self) -> bool:
        """Take from the network what is there; False when nothing was, or the other side closed."""
        try:
            piece = self._sock.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.drained = True
            return False
        except OSError as error:
            self.error, piece = error, b""
        if not piece:
            self.closed = self.drained = True
            return False
        self.drained = False
        self._parts.append(piece)
        self._held += len(piece)
        if self._held >= self._wanted:  # a large packet is joined once, when it is whole
            self.buffer = b"".join((self.buffer[self.at :], *self._parts))
            self.at, self._held = 0, 0
            self._parts.clear()
        return True

    def expose(self, end: int) -> None:
        """Let paho read up to `end` of the buffer."""
        self._exposed = end

    def flush(self) -> bool:
        """Send what waits; False when some of it must wait for the network."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            except OSError as error:
                self.error = error
                self._out.clear()
                self.fill()  # why may lie there unread: TLS 1.3 refuses our certificate after its handshake
                self.closed = True
                return True
            del self._out[:sent]
        return True

    @property
    def wants_write(self) -> bool:
        """Whether something waits for the network."""
        return bool(self._out)

    # what paho calls

    def recv(self, buffer_size: int) -> bytes:
        piece = self.buffer[self.at : min(self.at + buffer_size, self._exposed)]
        if not piece and not self.closed:
            raise BlockingIOError
        self.at += len(piece)
        return piece

    def send(self, buffer: bytes | bytearray) -> int:
        self._out += buffer
        return len(buffer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()  # a DISCONNECT tells the broker that we leave on purpose
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)


class PacketClient(Client):
    """A paho client on a PacketSocket; its owner runs the loop."""

    address: BrokerAddress
    packets: PacketSocket | None = None

    def _create_socket(self) -> SocketLike:
        """The one place where paho lets itself be given a socket."""
        self.packets = PacketSocket(connect_socket(self.address))
        return self.packets


def make_client(
    address: BrokerAddress, *, client_id: str, protocol: MQTTProtocolVersion, clean: bool = False
) -> PacketClient:
    """A client that acknowledges by hand and does not reconnect by itself; `clean` discards its session (3.1.1)."""
    client = PacketClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if protocol == V5 else clean,
        protocol=protocol,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.address = address
    if address.user:
        client.username_pw_set(address.user, address.password or None)
    return client


def background_client(address: BrokerAddress, *, client_id: str, on_connect: Callable[..., None]) -> Client:
    """A client that only publishes, connects on a thread of its own and comes back by itself.

    OperatorError names a TLS file that cannot be used.
    """
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id)
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.reconnect_delay_set(1, 5)
    if address.user:
        client.username_pw_set(address.user, address.password or None)
    if address.tls:
        client.tls_set_context(tls_context(address))
    client.on_connect = on_connect
    client.connect_async(address.host, address.port, KEEPALIVE_S)
    client.loop_start()
    return client


def open_client(
    client: PacketClient, address: BrokerAddress, *, clean: bool = False, expiry: int = NEVER, window: int = 65_535
) -> None:
    """Connect and send CONNECT; OSError when the broker cannot be reached.

    For MQTT 5: `expiry` of the session in s, and how many messages the broker may send that are not acknowledged.
    """
    if client.protocol == V5:
        wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wishes.SessionExpiryInterval = expiry
        wishes.ReceiveMaximum = window
        client.connect(address.host, address.port, KEEPALIVE_S, clean_start=clean, properties=wishes)
    else:
        client.connect(address.host, address.port, KEEPALIVE_S)
    if client.packets is None:
        raise RuntimeError("this paho-mqtt does not make its socket where we wrap it")
    client.packets.flush()
