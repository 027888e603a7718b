"""One transmitter's link: who speaks there, and the commands we sent it that it has not confirmed. No socket here.

Clause 6.5: an answer is waited for at most 10 s, and a command without one, or denied, is sent again three times.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from ingest.codecs.gb26875_frame import CONFIRM, CONTROL, DENY, NO_ADDRESS, SEND, Frame, build, time_label
from ingest.gb26875_stream import Reassembler

ANSWER_S = 10.0
SENDINGS = 4
WAITING_LIMIT = 8  #: commands of one link without an answer
_CLOCK_FLAG, _DUTY_FLAG = 90, 91
_OPERATION_FLAG, _OPERATION = 24, 2 + 6  #: records of what was done at the transmitter; bytes of one
_ANSWERS_DUTY = 1 << 5
#: See Link.name for the first part, and ingest.codecs.gb26875 for what may follow.
_OF_PANEL = re.compile(r"([0-9a-f]{12}|ip-[0-9a-f.:]+)(?:-.+)?")


class Command(StrEnum):
    """What we send on our own."""

    CLOCK_SYNC = "clock_sync"
    DUTY_CHECK = "duty_check"  #: 查岗: is somebody at the panel?


@dataclass(kw_only=True, slots=True)
class _Sent:
    command: Command
    minutes: int
    due: float
    left: int = SENDINGS


@dataclass(kw_only=True, slots=True, eq=False)
class Link:
    """`where` is the peer's IP address and port, `send` never blocks. Times are of the monotonic clock."""

    number: int
    send: Callable[[bytes], None]
    host: str
    where: str
    transport: str
    heard: float  #: when it began, then when the last intact frame came
    peer: object = None  #: its socket address (UDP)
    known_as: str = ""  #: its name in topics, once an intact frame came
    stream: Reassembler = field(default_factory=Reassembler)
    address: bytes | None = None  #: of the first intact frame
    wasted: int = 0  #: bytes since the last intact frame that were none of one
    arrived: float = 0.0  #: when the last bytes came, if a frame may be waiting behind a false beginning; else 0
    sync_due: float = 0.0
    _centre: bytes = NO_ADDRESS
    _version: bytes = b"\x01\x01"
    _serial: int = 0
    _waiting: dict[int, _Sent] = field(default_factory=dict)

    def name(self, frame: Frame) -> str:
        """How the transmitter is called in topics: by its address, else by the host it speaks from."""
        address = frame.source if frame.sum_ok or self.address is None else self.address
        return f"ip-{self.host}" if address == NO_ADDRESS else address.hex()

    def learn(self, frame: Frame, monotonic: float) -> bool:
        """Take note of an intact frame; whether it is the first."""
        self.heard, self.wasted = monotonic, 0
        if self.address is not None:
            return False
        self.address, self._centre, self._version = frame.source, frame.destination, frame.version
        return True

    def order(self, command: Command, minutes: int = 0) -> bool:
        """Send a command with the next call of `commands_due`; False when too many wait already."""
        if len(self._waiting) >= WAITING_LIMIT:
            return False
        self._waiting[self._serial] = _Sent(command=command, minutes=minutes, due=0.0)
        self._serial = self._serial + 1 & 0xFFFF
        return True

    def commands_due(self, monotonic: float, now: int, zone: str, tell: Callable[[Command, str], None]) -> list[bytes]:
        """Commands to send now, first or again; `tell` is told of each that was sent and each that is given up."""
        frames = []
        for serial, sent in list(self._waiting.items()):
            if sent.due > monotonic:
                continue
            if not sent.left:
                del self._waiting[serial]
                tell(sent.command, "unanswered")
                continue
            sent.left, sent.due = sent.left - 1, monotonic + ANSWER_S
            frames.append(self._command(serial, sent, time_label(now, zone)))
            tell(sent.command, "sent")
        return frames

    def settle(self, frame: Frame) -> Command | None:
        """The command that this confirmation ends; None when there is none, or when it is denied and sent again."""
        sent = self._waiting.get(frame.serial)
        if sent is None:
            return None
        if frame.command == DENY:
            sent.due = 0.0
            return None
        del self._waiting[frame.serial]
        return sent.command

    def _command(self, serial: int, sent: _Sent, label: bytes) -> bytes:
        if sent.command is Command.CLOCK_SYNC:
            unit = bytes((_CLOCK_FLAG, 1)) + label
        else:
            unit = bytes((_DUTY_FLAG, 1, sent.minutes))
        return build(
            Frame(
                serial=serial,
                version=self._version,
                sent=label,
                source=self._centre,
                destination=self.address or NO_ADDRESS,
                command=CONTROL,
                unit=unit,
            )
        )


def transmitter_of(device: str) -> str | None:
    """How the transmitter is called through which this device speaks, by the device's id; None: it is of no panel."""
    match = _OF_PANEL.fullmatch(device)
    return match[1] if match else None


def answers_duty(frame: Frame) -> bool:
    """Whether an upload says that somebody answered a duty check at the transmitter."""
    unit = frame.unit
    if frame.command != SEND or not frame.sum_ok or unit[:1] != bytes((_OPERATION_FLAG,)):
        return False
    return any(bits & _ANSWERS_DUTY for bits in unit[2::_OPERATION])


def answer(frame: Frame, label: bytes, *, deny: bool) -> bytes:
    """The confirmation or denial of a frame: its serial and version, addresses exchanged, no data."""
    return build(
        Frame(
            serial=frame.serial,
            version=frame.version,
            sent=label,
            source=frame.destination,
            destination=frame.source,
            command=DENY if deny else CONFIRM,
        )
    )
