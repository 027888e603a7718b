"""Duty checks (查岗) out of the log to transmitters, and back into the log what came of each."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from ingest.errors import BelowFloor, Unavailable
from ingest.journal import BEGINNING, Entry, Record, Stream
from ingest.message import DutyCheck, DutyOutcome, DutyState, Kind, encode
from ingest.metrics import DUTY_CHECKS
from ingest.patience import Patience
from ingest.readings import MINUTE

#: Looking at control records twice a second costs next to nothing; a wait for the log would end with each message.
LOOK_S = 0.5
BATCH = 500

_decode = msgspec.msgpack.Decoder(DutyCheck).decode

log = structlog.get_logger()


class DutyChecks:
    """The duty checks of one shard. `ask` sends one and says whether its transmitter is connected.

    `file` keeps how far the log was read, so that what was asked while we were away is sent, if its minutes are not
    over. Checks that wait for their answer are forgotten at a restart: these stay `sent`.
    """

    def __init__(self, *, messages: Stream, file: Path, ask: Callable[[str, int], bool], now: Callable[[], int]):
        self._messages, self._file, self._ask, self._now = messages, file, ask, now
        self._after = BEGINNING
        self._open: dict[str, list[DutyCheck]] = {}  # by address, until answered or over
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._outcomes: list[DutyOutcome] = []

    def heard(self, address: str) -> None:
        """Somebody answered at this transmitter. From any thread."""
        self._heard.put(address)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; waits out a full log."""
        patience = Patience("duty checks")
        self.resume()
        while not stop.is_set():
            try:
                self.turn()
            except Unavailable as error:
                patience.failed(error, stop)
            else:
                patience.worked()
                stop.wait(LOOK_S)

    def resume(self) -> None:
        """Go on where the last process ended; at the head of a log that is another one, or was never read."""
        head = self._messages.head()
        try:
            self._after = min(int(self._file.read_text(encoding="ascii")), head)
        except (OSError, ValueError):
            self._after = head
        self._remember()

    def turn(self) -> None:
        """Send what is new in the log, note what was answered and what is over. Unavailable: try again."""
        head = self._messages.head()
        records = self._read()
        for record in records:
            if record.kind == Kind.DUTY_CHECK:
                self._send(_decode(record.value))
        self._after = records[-1].offset if len(records) == BATCH else max(self._after, head)
        while not self._heard.empty():
            for check in self._open.pop(self._heard.get(), []):
                self._note(check, DutyState.ANSWERED)
        self._give_up()
        self._keep()

    def _read(self) -> list[Record]:
        try:
            return self._messages.read(self._after, BATCH, control_only=True)
        except BelowFloor:  # older than any check is long
            self._after = self._messages.floor()
            return self._messages.read(self._after, BATCH, control_only=True)

    def _send(self, check: DutyCheck) -> None:
        if _over(check, self._now()):
            self._note(check, DutyState.EXPIRED)
        elif not self._ask(check.address, check.minutes):
            self._note(check, DutyState.NOT_CONNECTED)
        else:
            self._open.setdefault(check.address, []).append(check)
            self._note(check, DutyState.SENT)

    def _give_up(self) -> None:
        now = self._now()
        for address, checks in list(self._open.items()):
            for check in checks:
                if _over(check, now):
                    self._note(check, DutyState.UNANSWERED)
            left = [check for check in checks if not _over(check, now)]
            if left:
                self._open[address] = left
            else:
                del self._open[address]

    def _note(self, check: DutyCheck, state: DutyState) -> None:
        self._outcomes.append(DutyOutcome(id=check.id, state=state, at=self._now()))
        DUTY_CHECKS.labels(state.value).inc()
        log.info("duty check", address=check.address, state=state.value, minutes=check.minutes, by=check.by)

    def _keep(self) -> None:
        if not self._outcomes:
            return
        entries = [Entry(Kind.DUTY_OUTCOME, value=encode(outcome)) for outcome in self._outcomes]
        self._messages.append(entries, now=self._now())
        self._outcomes = []
        self._remember()

    def _remember(self) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(str(self._after), encoding="ascii")
        draft.replace(self._file)


def _over(check: DutyCheck, now: int) -> bool:
    return now - check.at > check.minutes * MINUTE
