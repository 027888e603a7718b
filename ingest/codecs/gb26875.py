"""GB/T 26875.3-2011: what fire panels' transmitters (用户信息传输装置) send, one or more frames a message. Pure.

Frames come from ingest.gb26875_server, or inside MQTT, there also as hex text. Device ids: the transmitter's is its
source address as twelve hex digits in the order of sending (or what the source's `device` says); `-T.A` behind it is
the system of type T and address A, and `-T.A-L.H` the component at the low and high word L and H of its address.
A transmitter that states no address is named by the second level of the server's topic.

Times are local. All of China keeps Beijing time, so that is what the unset zone means here; write +00:00 for a panel
that keeps UTC. User-defined analog types are mapped by number in `fields`: {smoke_raw: "130"}, as sent, unscaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from ingest.codecs.contract import CodecMemory, Decoded
from ingest.codecs.gb26875_frame import (
    CONFIRM,
    CONTROL,
    DENY,
    FRAME_LIMIT,
    HEAD,
    NO_ADDRESS,
    REQUEST,
    RESPONSE,
    SEND,
    Frame,
    moment,
    next_span,
    read_frame,
)
from ingest.codecs.gb26875_objects import OPERATIONS, USUAL_ANALOG, items
from ingest.codecs.naming import Keys, placed
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import FIRE_STATES, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

SERVER_TOPIC = "gb26875"  #: the server's topics are this and the transmitter's address
BEIJING = "+08:00"
_UNSET_ZONE = "UTC"
_READ_LIMIT = 32 * 1024  #: 31 of the longest frames
_SEARCH_LIMIT = 500  #: beginnings without an end, before the rest of a message is given up
_PADDING = b"\r\n\0 "
_HEX = b"4040", b"40 40"
_ANALOG = Keys(USUAL_ANALOG)
_DATA = frozenset((SEND, RESPONSE))
_NO_DATA = frozenset((CONTROL, CONFIRM, REQUEST, DENY))
_ANSWERS = frozenset((CONFIRM, RESPONSE, DENY))


def zone_of_panels(source: Source) -> str:
    """The zone of the times panels state and of the clock they are set to: Beijing unless the source says another."""
    return BEIJING if source.zone == _UNSET_ZONE else source.zone


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """Uploads and answers give readings; confirmations, denials and what a centre sends give none.

    A message with anything broken in it is set aside whole, unless what is intact tells a fire: that must not wait
    for the rest. A wrong checksum breaks a frame, but not a confirmation or an answer: real peers copy the request's.
    """
    found = _Found()
    trouble = ""
    for piece in _pieces(_binary(payload)):
        try:
            if isinstance(piece, str):
                raise Undecodable(piece)
            _read(piece[1], piece[0], message, source, found)
        except Undecodable as error:
            trouble = trouble or str(error)
    if trouble and not any(_burns(item) for item in found.items):
        raise Undecodable(trouble)
    return Decoded(observations=tuple(found.items))


class _Found:
    """Observations in order; what a device says of one time in several objects is one."""

    def __init__(self) -> None:
        self.items: list[Observation] = []
        self._last: dict[str, int] = {}

    def add(self, item: Observation) -> None:
        index = self._last.get(item.device)
        if index is not None and _joins(self.items[index], item):
            last = self.items[index]
            values, states = last.values | item.values, last.states | item.states
            self.items[index] = msgspec.structs.replace(last, values=values, states=states)
            return
        self._last[item.device] = len(self.items)
        self.items.append(item)


def _joins(last: Observation, item: Observation) -> bool:
    same = last.observed_at == item.observed_at is not None and last.historical == item.historical
    return same and not (last.values.keys() & item.values.keys() or last.states.keys() & item.states.keys())


def _burns(item: Observation) -> bool:
    return any(item.states.get(name) for name in FIRE_STATES)


def _binary(payload: bytes) -> bytes:
    if not payload.lstrip()[:5].startswith(_HEX):
        return payload
    try:
        return bytes.fromhex(payload[: 3 * _READ_LIMIT].decode("ascii"))
    except ValueError:
        raise Undecodable("byte 0: reads like hex text and is none; write pairs of 0-9 and a-f") from None


def _pieces(data: bytes) -> Iterator[tuple[int, Frame] | str]:
    """Frames with their places, and between them what is wrong."""
    size, data = len(data), data[: _READ_LIMIT + FRAME_LIMIT]  # nothing behind that is looked at
    if not data.strip(_PADDING):
        yield "empty; a frame begins with 40 40"
    at = begun = 0
    while at < len(data):
        start, end = next_span(data, at) or (len(data), len(data))
        if junk := data[at:start].strip(_PADDING):
            yield f"byte {at}: {len(junk)} bytes from {junk[:4].hex(' ')} on are no frame; one is 40 40 … 23 23"
        if start >= _READ_LIMIT or begun > _SEARCH_LIMIT:
            yield f"byte {start}: more than a transmitter sends at once; only what is before it is read"
            return
        if end > len(data):
            yield f"byte {start}: of a frame of {end - start} bytes only {len(data) - start} are there"
            begun, end = begun + 1, start + 2
        elif end > start:
            yield start, read_frame(data, start, end)
        at = end
    if size > len(data):
        yield f"byte {at}: more than a transmitter sends at once; only what is before it is read"


def _read(frame: Frame, start: int, message: Message, source: Source, found: _Found) -> None:
    """Add what one frame says to `found`; Undecodable, with its place, where it cannot be read on."""
    command = frame.command
    if command not in _DATA and command not in _NO_DATA:
        raise Undecodable(f"byte {start + HEAD - 1}: {command} is no command; 1 to 6 would be")
    if not frame.sum_ok and command not in _ANSWERS:
        raise Undecodable(f"byte {start}: the frame that begins here has a wrong checksum")
    if command in _NO_DATA:
        return
    site, transmitter = placed(source, message.topic, None, _name(frame, message.topic))
    zone = zone_of_panels(source)
    historical = command == RESPONSE and frame.unit[:1] in OPERATIONS
    try:
        for part, label, values, states in items(frame.unit, frame.sent, _ANALOG.of(source)):
            found.add(
                Observation(
                    device=transmitter + part,
                    site=site,
                    observed_at=moment(label, zone),
                    values=values,
                    states=states,
                    historical=historical,
                )
            )
    except Undecodable as error:
        raise Undecodable(f"byte {start + HEAD}: {error}") from None


def _name(frame: Frame, topic: str) -> str:
    if frame.source == NO_ADDRESS:
        first, _, second = topic.partition("/")
        if first == SERVER_TOPIC and second and "/" not in second:
            return second
    return frame.source.hex()
