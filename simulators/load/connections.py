"""The connections of a load: opened together, listened to together, cut and back together."""

from __future__ import annotations

import contextlib
import resource
import selectors
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from socket import socket
from types import TracebackType
from typing import Self

import msgspec

from ingest.errors import OperatorError, Unavailable
from ingest.mqtt import BrokerAddress
from ingest.readings import SECOND
from simulators.wire.raw import Wire

#: So many connects are under way at once; brokers let a hundred or so wait to be accepted.
AT_ONCE = 64
#: A cut connection tries to come back so long, so often.
PATIENCE_S, RETRY_S = 30.0, 0.2
#: Files a process has open besides its connections.
_OTHER_FILES = 64


class Cut(msgspec.Struct, kw_only=True):
    """Connections cut at once: how many, how many of them are not back, and after how many µs all were."""

    count: int
    away: int
    at: int
    back_after: int | None = None


class Connections:
    """Wires to one broker. Unavailable from any method: the broker went away."""

    def __init__(
        self,
        *,
        broker: BrokerAddress,
        count: int,
        window: int,
        clean: bool,
        now: Callable[[], int],
        stop: threading.Event,
    ) -> None:
        self.cuts: list[Cut] = []
        self._now, self._stop = now, stop
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._selector = selectors.DefaultSelector()
        self._away: dict[Future[socket], tuple[Wire, Cut]] = {}
        self._stuck: set[Wire] = set()
        began = now()
        self.wires = self._opened(lambda number: Wire(broker=broker, number=number, window=window, clean=clean), count)
        self.opened_in = now() - began  #: µs
        for wire in self.wires:
            self._selector.register(wire, selectors.EVENT_READ)

    @property
    def unfinished(self) -> int:
        """How many messages are not acknowledged, and connections not back."""
        return sum(wire.waiting for wire in self.wires) + len(self._away)

    def wrote(self, wire: Wire) -> None:
        """After `Wire.write`: what the socket did not take is written while listening."""
        if wire.stuck:
            self._stuck.add(wire)

    def rest(self, wait: int) -> None:
        """Wait so many µs, then take in all that came meanwhile: cheaper than to wake for each acknowledgement."""
        self._stop.wait(max(0, wait) / SECOND)
        self.listen(0)

    def listen(self, wait: int) -> list[Wire]:
        """Wait at most so many µs for answers, take them in; who got some."""
        heard = []
        for key, _ in self._selector.select(wait / SECOND):
            wire = key.fileobj
            assert isinstance(wire, Wire)
            wire.read()
            heard.append(wire)
        for wire in list(self._stuck):
            wire.flush()
            if not wire.stuck:
                self._stuck.remove(wire)
        self._take_back()
        return heard

    def ping(self) -> None:
        """Say on all of them that we are still here."""
        for wire in self.wires:
            wire.ping()
            self.wrote(wire)

    def cut(self, count: int) -> None:
        """Break the first `count` that are not away, and have them come back."""
        chosen = [wire for wire in self.wires if not wire.away][:count]
        for wire in chosen:
            self._selector.unregister(wire)
            self._stuck.discard(wire)
            wire.cut()
        cut = Cut(count=len(chosen), away=len(chosen), at=self._now())
        self.cuts.append(cut)
        self._away |= {self._pool.submit(self._reopened, wire): (wire, cut) for wire in chosen}

    def close(self) -> None:
        """Leave in good order; the broker keeps nothing of us."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)
        self._selector.close()
        for future in self._away:
            if not future.cancelled() and future.exception() is None:
                future.result().close()
        for wire in self.wires:
            wire.close()
        with contextlib.suppress(Unavailable), ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(Wire.forget, self.wires))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, open_one: Callable[[int], Wire], count: int) -> list[Wire]:
        futures = [self._pool.submit(open_one, number) for number in range(count)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            self._pool.shutdown(cancel_futures=True)
            self._selector.close()
            _close_all(futures)
            raise

    def _take_back(self) -> None:
        for future in [future for future in self._away if future.done()]:
            wire, cut = self._away.pop(future)
            if future.exception() is not None and self._stop.is_set():
                continue  # it did not try on
            wire.resume(future.result())
            self._selector.register(wire, selectors.EVENT_READ)
            self.wrote(wire)
            cut.away -= 1
            if not cut.away:
                cut.back_after = self._now() - cut.at

    def _reopened(self, wire: Wire) -> socket:
        """On a thread of the pool."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return wire.open()
            except Unavailable:
                if time.monotonic() > deadline or self._stop.is_set() or self._closing.wait(RETRY_S):
                    raise


def _close_all(futures: Iterable[Future[Wire]]) -> None:
    for future in futures:
        if not future.cancelled() and future.exception() is None:
            future.result().close()


def allow(count: int) -> None:
    """Let this process open so many connections; OperatorError when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OperatorError(
            f"--connections {count}: a process may open {hard} files here (ulimit -Hn);"
            f" ask for {hard - _OTHER_FILES} or fewer, or have the limit raised"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
