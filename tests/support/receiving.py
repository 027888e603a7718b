"""Receivers that run in a thread of a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.receiver import Receiver, run_receivers


@contextmanager
def running(*receivers: Receiver) -> Iterator[None]:
    """They receive until the block ends, and must end with it."""
    stop = threading.Event()
    thread = threading.Thread(target=run_receivers, args=(receivers, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
