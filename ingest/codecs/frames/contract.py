"""What every device frame promises: bytes of one LoRaWAN payload in, reports out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from ingest.codecs.contract import CodecMemory, Decode, Decoded
from ingest.codecs.naming import placed
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Micros, Observation

if TYPE_CHECKING:
    from ingest.sources import Source

#: LoRaWAN 1.1 allows 242 bytes in its fastest setting; whatever is longer is no frame.
FRAME_LIMIT = 255
ALIVE: Mapping[str, bool] = {"online": True}


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a frame says of one time. `at` is the device's own clock, None = now; `historical`: it was stored."""

    values: dict[str, float] = {}
    states: dict[str, bool] = {}
    at: Micros | None = None
    historical: bool = False


class Read(Protocol):
    """Reads one frame; Undecodable for anything else.

    `port` is the LoRaWAN port, 0 where nobody told it. Empty: the device is alive and says nothing of interest.
    """

    def __call__(self, frame: bytes, port: int) -> tuple[Report, ...]: ...


def codec_of(read: Read) -> Decode:
    """A codec for sources whose payload is the bare frame.

    A frame names no device: it is the source's, else the EUI among the topic's levels, else "" (which nobody can
    register, so that such a message is set aside).
    """

    def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
        site, device = placed(source, message.topic, None, eui_in(message.topic))
        reports = checked(read, payload, 0)
        return Decoded(observations=tuple(observation(report, site, device) for report in reports))

    return decode


def checked(read: Read, frame: bytes, port: int) -> tuple[Report, ...]:
    """The reports of a frame of sensible length; a frame that says nothing still says that its device is alive."""
    if not frame:
        raise Undecodable("empty frame; send the bytes of the uplink")
    if len(frame) > FRAME_LIMIT:
        raise Undecodable(f"a frame of {len(frame)} bytes; LoRaWAN carries at most {FRAME_LIMIT}")
    return read(frame, port) or (Report(states=dict(ALIVE)),)


def observation(report: Report, site: str | None, device: str) -> Observation:
    """A report as it stands, without a frame counter: a device may send what it stored twice."""
    return Observation(
        device=device,
        site=site,
        observed_at=report.at,
        values=report.values,
        states=report.states,
        historical=report.historical,
    )


def eui_in(topic: str) -> str:
    """The first level of a topic that is an EUI, in lower case; "" without one."""
    for level in topic.split("/", 16)[:16]:
        if (eui := eui_of(level)) is not None:
            return eui
    return ""


def eui_of(text: str) -> str | None:
    """16 hexadecimal digits in lower case, with - or : between pairs or without; None when it is no EUI."""
    digits = text.replace("-", "").replace(":", "").lower() if len(text) == 23 else text.lower()
    return digits if len(digits) == 16 and _HEX.issuperset(digits) else None


_HEX = frozenset("0123456789abcdef")
