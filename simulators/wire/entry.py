"""A connection to a broker for those who make their packets themselves (MQTT 3.1.1)."""

from __future__ import annotations

import socket

from ingest.errors import Unavailable
from ingest.mqtt import BrokerAddress, connect_socket
from simulators.options import no_connection

_ANSWER_S = 5.0
_CONNACK, _ACCEPTED = b"\x20", b"\x00"
#: What the answer to CONNECT says when it is a refusal (MQTT 3.1.1, 3.2.2.3).
_REFUSALS = {
    b"\x01": "it does not speak MQTT 3.1.1",
    b"\x02": "it does not take our client id",
    b"\x03": "it is not available now",
    b"\x04": "user or password is wrong",
    b"\x05": "not authorised; name a user who is: mqtt://user:password@…",
}


def enter(broker: BrokerAddress, connect: bytes) -> socket.socket:
    """A socket on which the broker has accepted this CONNECT, and which does not block; Unavailable: it has not."""
    try:
        wire = connect_socket(broker)
    except OSError as error:
        raise Unavailable(no_connection(broker, error)) from None
    try:
        _introduce(wire, connect)
    except OSError as error:
        wire.close()
        what = (error.strerror or str(error)).lower()
        hint = "" if isinstance(error, ConnectionRefusedError) else "; is it an MQTT broker?"
        raise Unavailable(f"{broker}: the broker did not let us in: {what}{hint}") from None
    return wire


def _introduce(wire: socket.socket, connect: bytes) -> None:
    wire.settimeout(_ANSWER_S)
    wire.sendall(connect)
    answer = wire.recv(4)
    kind, code = answer[:1], answer[3:4]
    if kind == _CONNACK and code in _REFUSALS:
        raise ConnectionRefusedError(_REFUSALS[code])
    if kind != _CONNACK or code != _ACCEPTED:
        raise ConnectionError(f"it answered {answer.hex(' ') or 'nothing'}")
    wire.setblocking(False)
