"""How a long-running role waits out a server that is away: longer each time, logged once per change of the reason."""

from __future__ import annotations

import threading

import structlog

from ingest.backoff import Backoff

log = structlog.get_logger()


class Patience:
    """One role's waiting. `what` names the work in the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._delays = Backoff()
        self._reason = ""

    def failed(self, error: Exception, stop: threading.Event) -> None:
        """Say why, if that is news, and wait; returns at once on `stop`."""
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason != self._reason:
            log.warning(f"{self._what} waits", reason=reason)
            self._reason = reason
        stop.wait(self._delays.next())

    def worked(self) -> None:
        """Say that it goes on again, and be quick the next time."""
        if self._reason:
            log.info(f"{self._what} goes on")
            self._delays.reset()
            self._reason = ""
