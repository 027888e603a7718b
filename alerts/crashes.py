"""Which record was being judged when the process died, so that none can kill the evaluator for ever. Edge.

A page of memory that is a file: the kernel keeps what was written to it when the process is killed or crashes. It need
not survive a power cut, which is not a record's doing.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

#: A record that was being judged at this many ends in a row, of a process that did not stop by itself, is set aside.
MOST_CRASHES = 3

_FIELDS = struct.Struct("=qqq")  # being judged, suspected, crashes of the suspected
_FIRST = struct.Struct("=q")
_NONE = -1


class Crashes:
    """The count of one shard, in the file `path`."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fresh = os.fstat(handle).st_size < _FIELDS.size
            if fresh:
                os.write(handle, _FIELDS.pack(_NONE, _NONE, 0))
            self._page = mmap.mmap(handle, _FIELDS.size)
        finally:
            os.close(handle)
        judged, suspected, crashes = _FIELDS.unpack_from(self._page)
        if judged != _NONE:
            crashes = crashes + 1 if judged == suspected else 1
            suspected = judged
            _FIELDS.pack_into(self._page, 0, _NONE, suspected, crashes)
        #: The record to set aside, or -1: none.
        self.deadly = suspected if crashes >= MOST_CRASHES else _NONE

    def judging(self, offset: int) -> None:
        """This record is judged now."""
        _FIRST.pack_into(self._page, 0, offset)

    def done(self) -> None:
        """Nothing is judged now."""
        _FIRST.pack_into(self._page, 0, _NONE)

    def close(self) -> None:
        self._page.close()


def accused(path: Path) -> frozenset[int]:
    """The records that another process's count in `path` names: being judged just now, or when it last ended."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return frozenset()
    if len(content) < _FIELDS.size:
        return frozenset()
    judged, suspected, _ = _FIELDS.unpack_from(content)
    return frozenset({judged, suspected} - {_NONE})
