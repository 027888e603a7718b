"""Frames of GB/T 26875.3 out of a stream of bytes that may hold anything. Pure.

At most one frame and one read are held; every byte is looked at a bounded number of times.
"""

from __future__ import annotations

from ingest.codecs.gb26875_frame import head_begins, intact_span, next_span, sum_ok


class Reassembler:
    """Cuts a stream into frames; `garbage` counts the bytes that were no frame's."""

    def __init__(self) -> None:
        self.garbage = 0
        self._held = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether the beginning of something is held."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; the frames that are whole now, those with a wrong checksum too."""
        held = self._held
        held += data
        frames: list[bytes] = []
        at = used = 0
        while True:
            span = next_span(held, at)
            if span is None:
                at = head_begins(held, at)
                break
            start, end = span
            if end > len(held):
                at = start
                break
            if not sum_ok(held, start, end):  # perhaps it only looks like one, and the next begins inside it
                start, end = intact_span(held, start + 1, end) or (start, end)
            frames.append(bytes(held[start:end]))
            used += end - start
            at = end
        self.garbage += at - used
        del held[:at]
        return frames

    def pause(self) -> list[bytes]:
        """Nothing has come for a while: frames behind a beginning that never became one.

        Without any, the beginning is kept, for a link may be slow.
        """
        span = intact_span(self._held, 1, len(self._held))
        if span is None:
            return []
        self.garbage += span[0]
        del self._held[: span[0]]
        return self.feed(b"")

    def drop(self) -> None:
        """Forget what is held: nothing more belongs to it."""
        self.garbage += len(self._held)
        self._held.clear()
