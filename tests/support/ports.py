"""Ports of 127.0.0.1 for servers that tests start."""

from __future__ import annotations

import itertools
import os
import random
import socket

#: Below the range from which the system takes ports for connections and for servers that ask for any.
FIRST, SHARE = 20_000, 4_000
#: Test processes that run side by side (gw0, gw1 …) take from shares of their own.
_own = FIRST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 3 * SHARE
_steps = itertools.count(random.randrange(SHARE))


def free_port(count: int = 1) -> int:
    """The first of `count` free ports side by side; not given out again soon."""
    while True:
        first = _own + next(_steps) * count % (SHARE - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
