"""What the process of every role does alike. Touched by composition roots only."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from ingest.errors import ConfigError, EmberwatchError, OperatorError, Unavailable
from ingest.journal import Entry, Journal, Stream
from ingest.journal_sqlite import SqliteJournal
from ingest.message import Kind
from ingest.patience import Patience
from ingest.processes import GIVE_UP, Supervisor, stop_on_signals
from ingest.settings import Settings, load_settings
from ingest.telemetry import set_up_logging

Part = Callable[[threading.Event], None]
RunRole = Callable[[str, Settings, threading.Event], None]

log = structlog.get_logger()

#: Objects made and not freed between two looks of Python's collector of cycles; a batch of messages stays below it.
COLLECT_AFTER = 50_000
#: Niceness of roles that can wait: about a third of the time of one that cannot, where both want all of it.
GIVES_WAY = 5


def run_room(room: str, roles: Mapping[str, int], run_role: RunRole, argv: list[str]) -> int:
    """What `python -m ROOM [ROLE]` does: one role, or all of the room as children, until a signal.

    The exit code: 0 stopped, 1 to be started again, 2 a person must help.
    """
    try:
        if argv and argv not in [[role] for role in roles]:
            raise OperatorError(f"usage: python -m {room} [{'|'.join(roles)}]; found {' '.join(argv)}")
        stop = stop_on_signals()
        settings = load_settings()
        if not argv:
            return _supervise(room, roles, settings, stop)
        set_up_logging(argv[0], settings.log_format)
        run_role(argv[0], settings, stop)
        return 0
    except OperatorError as error:
        for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
            print(problem, file=sys.stderr)
        return GIVE_UP
    except EmberwatchError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception:  # a slip of ours: kept in the log, and the supervisor starts the role again
        log.exception("the role broke")
        return 1


def _supervise(room: str, roles: Iterable[str], settings: Settings, stop: threading.Event) -> int:
    set_up_logging(room, settings.log_format)
    supervisor = Supervisor(settings.data / "run")
    for role in roles:
        supervisor.add(role, [sys.executable, "-m", room, role])
    return supervisor.run(stop)


@contextlib.contextmanager
def open_journals(settings: Settings, shards: Iterable[str]) -> Iterator[dict[str, SqliteJournal]]:
    """The log of every shard."""
    with contextlib.ExitStack() as stack:
        yield {shard: stack.enter_context(contextlib.closing(open_journal(settings, shard))) for shard in shards}


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
