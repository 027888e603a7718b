"""What the process of every role does alike. Touched by composition roots only."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client import start_http_server

from ingest.errors import OperatorError, Unavailable
from ingest.journal import Entry, Journal, Stream
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.patience import Patience
from ingest.settings import Settings

Part = Callable[[threading.Event], None]

#: Objects made and not freed between two looks of Python's collector of cycles; a batch of messages stays below it.
COLLECT_AFTER = 50_000
#: Niceness of roles that can wait: about a third of the time of one that cannot, where both want all of it.
GIVES_WAY = 5


def spare_the_collector() -> None:
    """Let the collector of cycles look seldom, and at nothing twice that stays.

    What writer and evaluator remember of a district is millions of objects without a cycle. By default a quarter of
    their time goes into looking at them, and a full pass lets a fire wait. Here what outlived a full pass is never
    looked at again; were it to become part of a cycle later, it would stay, which for connections is little.
    """
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    if _keep_what_stays not in gc.callbacks:
        gc.callbacks.append(_keep_what_stays)


def give_way() -> None:
    """Go behind the roles between a sensor and a page when processors are short: our work can wait in the log."""
    os.nice(GIVES_WAY)
    if os.getsid(0) == os.getpid():  # Linux may share time out to sessions first: then ours gives way as a whole
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(GIVES_WAY), encoding="ascii")


def _keep_what_stays(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


def run_parts(parts: Mapping[str, Part], stop: threading.Event) -> None:
    """Run each part on a thread of its own until `stop`; what the first broken one raised, after all have ended."""
    broken: list[BaseException] = []

    def run(part: Part) -> None:
        try:
            part(stop)
        except BaseException as error:  # whatever it is, the others must not go on as if all were well
            broken.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(part,), name=name) for name, part in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]


def announce(messages: Stream, kind: Kind, text: str, now: Callable[[], int]) -> bool:
    """Put this text (RULEBOOK, TEAMS or SOURCES) into the log, unless it is what the log says already; did it?"""
    newest = messages.last(kind)
    if newest is not None and newest.value == text.encode():
        return False
    messages.append([Entry(kind, value=text.encode())], now=now(), urgent=True)
    return True


def announce_patiently(journal: Journal, kind: Kind, text: str, stop: threading.Event) -> None:
    """Put a text into the log if it is news there; waits while the log is full."""
    patience = Patience(f"putting {kind.name.lower()} into the log of {journal.shard}")
    while not stop.is_set():
        try:
            announce(journal.messages, kind, text, wall)
            return
        except Unavailable as error:
            patience.failed(error, stop)


def open_journal(settings: Settings, shard: str) -> SqliteJournal:
    """The log of a shard."""
    return SqliteJournal(
        settings.journal_dir,
        shard,
        quota_bytes=settings.journal_quota_bytes,
        reserve_bytes=settings.journal_reserve_bytes,
    )


def serve_metrics(address: tuple[str, int]) -> None:
    """Answer Prometheus on this address, on a thread that ends with the process."""
    host, port = address
    try:
        start_http_server(port, host)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise OperatorError(
            f"EMBERWATCH_METRICS_BIND: cannot listen at {host}:{port}: {what}; choose another first port"
        ) from None


def wall() -> int:
    """The wall clock in µs; handed to everything that needs the time."""
    return time.time_ns() // 1000
