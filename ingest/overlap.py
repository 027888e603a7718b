"""What the broker handed both to our new session and to the one we left. Pure.

For a moment both are subscribed, and what is published then comes twice. The new session's copies are noted once they
are on disk, and the old session's are then acknowledged without being appended. Only what the new session had
*before* we asked to unsubscribe the old one is noted: all of it is surely in the old one's queue too. So a copy that
is taken for a double always is one, or stands for one of the very same bytes: however alike messages are, never are
more left out than came twice. What is published until the broker has done what we asked may come twice; admit then
decides, as for anything a broker repeats.
"""

from __future__ import annotations

from collections.abc import Iterable

#: More than ten seconds of a district; what comes twice beyond that is appended twice.
MOST = 100_000


def print_of(topic: str, payload: bytes, qos: int) -> int:
    """The same for both copies of a message. Keyed anew in each process, so nobody can make two alike."""
    return hash((topic, payload, qos))


class Overlap:
    """The messages of one connection that may come twice."""

    def __init__(self) -> None:
        self.open = True  #: what the new session has now, the old one has too
        self._noted: dict[int, int] = {}
        self._count = 0

    def close(self) -> None:
        """The old session is asked to take nothing more."""
        self.open = False

    def logged(self, prints: Iterable[int]) -> None:
        """These came by the new session while this was open, and are on disk."""
        for mark in prints:
            if self._count < MOST:
                self._noted[mark] = self._noted.get(mark, 0) + 1
                self._count += 1

    def is_double(self, mark: int) -> bool:
        """Whether this message of the old session is such a copy; each counts once."""
        left = self._noted.get(mark, 0)
        if not left:
            return False
        self._count -= 1
        if left > 1:
            self._noted[mark] = left - 1
        else:
            del self._noted[mark]
        return True
