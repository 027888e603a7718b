"""From frames of transmitters to the log and back to their answers. Knows links, but no sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import structlog

from ingest.codecs.gb26875 import SERVER_TOPIC
from ingest.codecs.gb26875_frame import CONFIRM, DENY, RESPONSE, SEND, Frame, read_frame, time_label
from ingest.errors import Unavailable
from ingest.gb26875_link import Link, answer
from ingest.journal import Entry
from ingest.message import MESSAGE, Message, encode
from ingest.metrics import Gb26875Metrics

BATCH = 500

log = structlog.get_logger()


class Append(Protocol):
    """Stream.append of ingest.journal."""

    def __call__(self, entries: Sequence[Entry], *, now: int, urgent: bool = False) -> list[int]: ...


class Outcome(StrEnum):
    """What becomes of a frame; every one is counted once."""

    CONFIRMED = "confirmed"  #: an upload, kept and confirmed
    KEPT = "kept"  #: an answer to a request, which needs no confirmation
    KEPT_BAD_SUM = "kept_bad_sum"  #: the same with a wrong checksum: real peers copy the request's
    SETTLED = "settled"  #: a confirmation or denial of ours
    SETTLED_BAD_SUM = "settled_bad_sum"  #: the same with a wrong checksum
    DENIED_SUM = "denied_sum"  #: a wrong checksum; kept, so that quarantine shows who sends it
    DENIED_COMMAND = "denied_command"  #: nothing a transmitter may send; kept likewise
    REFUSED = "refused"  #: the log did not take it


class _Waiting(NamedTuple):
    """A frame for the next append."""

    link: Link
    frame: Frame
    outcome: Outcome


class Intake:
    """Frames of all links, appended together. A transmitter repeats what is not confirmed."""

    def __init__(
        self, *, append: Append, source: str, zone: str, now: Callable[[], int], metrics: Gb26875Metrics
    ) -> None:
        self._append = append
        self._source = source
        self._zone = zone
        self._now = now
        self._metrics = metrics
        self._entries: list[Entry] = []
        self._waiting: list[_Waiting] = []
        self._error = ""

    def take(self, link: Link, raw: bytes) -> Frame:
        """One frame that came over a link; appended with the next flush, if it belongs into the log."""
        frame = read_frame(raw, 0, len(raw))
        if frame.command in (CONFIRM, DENY):
            self._settle(link, frame)
            return frame
        meta = Message(
            topic=f"{SERVER_TOPIC}/{link.name(frame)}",
            source=self._source,
            received_at=self._now(),
            qos=0,
            packet_id=frame.serial,
            connection=link.number,
            properties={"peer": link.where, "transport": link.transport},
        )
        self._entries.append(Entry(MESSAGE, encode(meta), raw))
        self._waiting.append(_Waiting(link, frame, _outcome(frame)))
        if len(self._entries) >= BATCH:
            self.flush()
        return frame

    def flush(self) -> None:
        """Append what was taken, then answer it. What the log does not take is forgotten here, and not confirmed."""
        if not self._entries:
            return
        entries, waiting = self._entries, self._waiting
        self._entries, self._waiting = [], []
        kept = self._keep(entries)
        label = time_label(self._now(), self._zone)
        for link, frame, outcome in waiting:
            deny = outcome in (Outcome.DENIED_SUM, Outcome.DENIED_COMMAND)
            if deny or (kept and outcome is Outcome.CONFIRMED):
                link.send(answer(frame, label, deny=deny))
            self._metrics.frame(outcome if kept else Outcome.REFUSED)

    def _keep(self, entries: list[Entry]) -> bool:
        try:
            self._append(entries, now=self._now(), urgent=True)
        except Unavailable as error:
            self._metrics.refused()
            if str(error) != self._error:
                self._error = str(error)
                log.error("the log takes no frames: nothing is confirmed, transmitters repeat it", error=self._error)
            return False
        self._metrics.appended(len(entries), sum(len(entry.value) for entry in entries))
        if self._error:
            self._error = ""
            log.info("the log takes frames again")
        return True

    def _settle(self, link: Link, frame: Frame) -> None:
        self._metrics.frame(Outcome.SETTLED if frame.sum_ok else Outcome.SETTLED_BAD_SUM)
        command = link.settle(frame)
        if command is not None:
            self._metrics.command(command, "confirmed")


def _outcome(frame: Frame) -> Outcome:
    """What becomes of a frame that goes into the log, once it is there."""
    if frame.command == RESPONSE:
        return Outcome.KEPT if frame.sum_ok else Outcome.KEPT_BAD_SUM
    if not frame.sum_ok:
        return Outcome.DENIED_SUM
    return Outcome.CONFIRMED if frame.command == SEND else Outcome.DENIED_COMMAND
