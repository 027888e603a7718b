"""How much room a shard's log has left, looked up now and then rather than at each append."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from ingest import metrics
from ingest.errors import LogFull, OperatorError

_SAMPLE_SECONDS = 1.0
_SAMPLE_BYTES = 4 << 20  #: appended since the last look
_RETRY_SECONDS = 0.05  #: how soon a refusal looks again: somebody may have made room


class Space:
    """What the quota and the disk leave to this folder. Refuses before the log is full, urgent appends last."""

    def __init__(self, folder: Path, *, shard: str, quota_bytes: int, reserve_bytes: int) -> None:
        if 0 < quota_bytes <= reserve_bytes:
            raise OperatorError(
                f"{folder}: a quota of {quota_bytes} bytes is not more than the {reserve_bytes} bytes reserved for"
                " urgent sources; raise EMBERWATCH_JOURNAL_QUOTA_BYTES or lower EMBERWATCH_JOURNAL_RESERVE_BYTES"
            )
        self._folder = folder
        self._quota = quota_bytes
        self._reserve = reserve_bytes
        self._used_gauge = metrics.LOG_USED_BYTES.labels(shard)
        self._left_gauge = metrics.LOG_LEFT_BYTES.labels(shard)
        self._guard = threading.Lock()
        self.look()

    @property
    def left(self) -> int:
        """Bytes that urgent appends may still take, as of the last look less what was appended since."""
        return self._left

    def take(self, size: int, *, urgent: bool) -> None:
        """Claim room for an append of this size; LogFull when there is none."""
        keep = 0 if urgent else self._reserve
        with self._guard:
            age = time.monotonic() - self._looked
            refusing = self._left - keep < size
            if age > (_RETRY_SECONDS if refusing else _SAMPLE_SECONDS) or self._taken > _SAMPLE_BYTES:
                self._look()
            if self._left - keep < size:
                reserved = f", {keep} of them reserved for urgent sources" if keep else ""
                raise LogFull(
                    f"{self._folder}: no room for {size} bytes: {max(self._left, 0)} bytes left{reserved};"
                    " free disk space or raise EMBERWATCH_JOURNAL_QUOTA_BYTES"
                )
            self._left -= size
            self._taken += size

    def look(self) -> None:
        """Measure now."""
        with self._guard:
            self._look()

    def _look(self) -> None:
        used = _bytes_under(self._folder)
        disk = os.statvfs(self._folder)
        left = disk.f_bavail * disk.f_frsize
        if self._quota:
            left = min(left, self._quota - used)
        self._left = left
        self._taken = 0
        self._looked = time.monotonic()
        self._used_gauge.set(used)
        self._left_gauge.set(max(left, 0))


def _bytes_under(folder: Path | str) -> int:
    total = 0
    try:
        with os.scandir(folder) as found:
            for entry in found:
                try:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    total += _bytes_under(entry.path) if is_folder else entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # trimmed in between
                    continue
    except FileNotFoundError:
        pass
    return total
