"""How a long-running role waits out a server that is away: longer each time, logged once per change of the reason."""

from __future__ import annotations

import threading

import structlog

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0

log = structlog.get_logger()


class Patience:
    """One role's waiting. `what` names the work in the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seconds = FIRST_SECONDS
        self._reason = ""

    def failed(self, error: Exception, stop: threading.Event) -> None:
        """Say why, if that is news, and wait; returns at once on `stop`."""
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason != self._reason:
            log.warning(f"{self._what} waits", reason=reason)
            self._reason = reason
        stop.wait(self._seconds)
        self._seconds = min(LONGEST_SECONDS, self._seconds * 2)

    def worked(self) -> None:
        """Say that it goes on again, and be quick the next time."""
        if self._reason:
            log.info(f"{self._what} goes on")
        self._seconds, self._reason = FIRST_SECONDS, ""
