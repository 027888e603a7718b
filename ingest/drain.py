"""How the receiver tells what waited in the broker while it was away from what is new. Pure."""

from __future__ import annotations


class Drain:
    """Whether what arrives now waited in the broker while we were away: never ended too early, and ended soon.

    A broker sends from its queue as long as fewer than `window` messages are unacknowledged, and answers in
    order. So when a question is asked while `waiting` messages are unacknowledged, and fewer than
    window - waiting messages arrive before its answer, its queue is empty: had there been more, they would have
    come first. The largest number acknowledged at once is a window the broker was seen to have. The question is
    an UNSUBSCRIBE of a filter that nobody subscribed to.
    """

    def __init__(self) -> None:
        self.active = False
        self.came = 0
        self._window = 1
        self._waiting = 0
        self._question: int | None = None
        self._asked_at = 0.0

    def begin(self) -> None:
        self.active = True

    def wants_probe(self) -> bool:
        return self.active and self._question is None

    def asked(self, number: int, *, waiting: int, monotonic: float) -> None:
        self._question, self._waiting, self.came, self._asked_at = number, waiting, 0, monotonic

    def acknowledged(self, count: int) -> None:
        self._window = max(self._window, count)

    def answered(self, number: int, *, waiting: int) -> bool:
        """Note an answer; True when the question should be asked again at once."""
        if number != self._question:
            return False
        self._question = None
        if self.came < self._window - self._waiting:
            self.active = False
        return self.active and waiting == 0

    def give_up(self, monotonic: float) -> None:
        """A broker that does not answer the question within a minute leaves us without a way to tell."""
        if self.active and self._question is not None and monotonic - self._asked_at > 60:
            self.active = False
