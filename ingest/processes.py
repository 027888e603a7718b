"""Roles as child processes: started, restarted when they die, stopped in order, never left behind.

Each child has a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which then stops them.
The system ends them when the parent is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from ingest.errors import OperatorError

GIVE_UP = 2  #: exit code of a role that a person must help: starting it again would not
_POLL_SECONDS = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_STEADY_SECONDS = 10.0  #: who lived so long starts at once again
_HEAD_START = 1.0  #: a role gets so long to stop before the one it leans on is told
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger()


def stop_on_signals() -> threading.Event:
    """An Event that SIGINT and SIGTERM set. Call it in the main thread.

    Python runs a handler when the main thread next executes Python: never, while it waits for a thread and the signal
    came just before it began to. So the interpreter's own handler writes the signal to a pipe at once, and a thread
    that reads it sets the Event.
    """
    stop = threading.Event()
    heard, told = os.pipe()
    os.set_blocking(told, False)

    def set_when_told() -> None:
        if os.read(heard, 1):  # nothing: whoever asked last is told instead
            stop.set()
        os.close(heard)

    threading.Thread(target=set_when_told, name="signals", daemon=True).start()
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    if before >= 0:
        os.close(before)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _go_on)
    return stop


def _go_on(_number: int, _frame: object) -> None:
    """All that is to be done is done by the thread that hears of the signal."""


class _Role:
    """One child, alive or about to be started again."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, restart: bool) -> None:
        self.argv = list(argv)
        self.env = dict(env)
        self.restart = restart
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.pause = 0.0
        self.start_at: float | None = None  #: when to start it again

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs roles as children and keeps `<run_dir>/<role>.pid` of each. Used from one thread."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._roles: dict[str, _Role] = {}
        # The system ends a child with the *thread* that started it: this one lives until stop().
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")

    def add(self, role: str, argv: Sequence[str], env: Mapping[str, str] | None = None, restart: bool = True) -> None:
        """A role to run; `env` is added to this process's environment. Those added first are stopped last."""
        if role in self._roles:
            raise ValueError(f"{role} is there already")
        self._roles[role] = _Role(argv, {**os.environ, **(env or {})}, restart=restart)

    def start(self) -> None:
        """Start all roles, in order; OperatorError when one cannot be, then none is left running."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        for name, role in self._roles.items():
            if role.process is None:
                try:
                    self._start(name, role)
                except OSError as error:
                    self.stop()
                    raise OperatorError(f"cannot start {name}: {role.argv[0]}: {error.strerror}") from error

    def run(self, stop: threading.Event) -> int:
        """Start what is not started, keep it running until `stop`, then stop it all; the exit code.

        0 after `stop`; GIVE_UP when a role ended with it.
        """
        try:
            self.start()
            while not stop.wait(_POLL_SECONDS):
                for name, role in self._roles.items():
                    if self._look_after(name, role) == GIVE_UP:
                        return GIVE_UP
            return 0
        finally:
            self.stop()

    def alive(self, role: str) -> bool:
        """Whether this role's process runs now."""
        return self._roles[role].alive()

    def pid(self, role: str) -> int | None:
        """Process id of a role that runs."""
        process = self._roles[role].process
        return process.pid if process is not None and process.poll() is None else None

    def stop(self, timeout: float = 10) -> None:
        """Ask each to stop, the last added first; whoever is left after `timeout` seconds is killed."""
        deadline = time.monotonic() + timeout
        running = [(name, role.process) for name, role in reversed(self._roles.items()) if role.process]
        for _, process in running:
            process.terminate()
            _wait(process, min(_HEAD_START, deadline - time.monotonic()))
        for name, process in running:
            if not _wait(process, deadline - time.monotonic()):
                log.warning("role did not stop and is killed", role_name=name, pid=process.pid)
                _kill_session(process)
        for name, role in self._roles.items():
            role.process, role.start_at = None, None
            self._pid_file(name).unlink(missing_ok=True)
        self._starter.shutdown()
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")

    def _start(self, name: str, role: _Role) -> None:
        role.process = self._starter.submit(_spawn, role.argv, role.env).result()
        role.started = time.monotonic()
        role.start_at = None
        draft = self._run_dir / f".{name}.pid"
        draft.write_text(f"{role.process.pid}\n", encoding="ascii")
        draft.replace(self._pid_file(name))

    def _look_after(self, name: str, role: _Role) -> int | None:
        """Note that a role died, start it again when it is time; the code it ended with, once."""
        now = time.monotonic()
        if role.start_at is not None:
            if now >= role.start_at:
                self._start_again(name, role)
            return None
        if role.process is None or (code := role.process.poll()) is None:
            return None
        self._ended(name, role, code, now)
        return code

    def _ended(self, name: str, role: _Role, code: int, now: float) -> None:
        pid = role.process.pid if role.process else 0
        role.process = None
        self._pid_file(name).unlink(missing_ok=True)
        if code == GIVE_UP:
            log.error("role gave up; everything is stopped", role_name=name, pid=pid, code=code)
        elif not role.restart:
            log.info("role ended", role_name=name, pid=pid, code=code)
        else:
            role.pause = 0.0 if now - role.started >= _STEADY_SECONDS else role.pause
            role.start_at = now + role.pause
            log.error("role died and is started again", role_name=name, pid=pid, code=code, after=role.pause)
            role.pause = _longer(role.pause)

    def _start_again(self, name: str, role: _Role) -> None:
        try:
            self._start(name, role)
        except OSError as error:
            log.error("role cannot be started", role_name=name, error=str(error), again_after=role.pause)
            role.start_at = time.monotonic() + role.pause
            role.pause = _longer(role.pause)

    def _pid_file(self, name: str) -> Path:
        return self._run_dir / f"{name}.pid"


def _longer(pause: float) -> float:
    return min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)


def _spawn(argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_tie_to(os.getpid())
    )


def _tie_to(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes its program: end with its parent. All is looked up before the fork."""
    if sys.platform != "linux":
        return None
    control = ctypes.CDLL(None, use_errno=True).prctl
    arguments = (_PR_SET_PDEATHSIG, signal.SIGTERM.value, 0, 0, 0)

    def tie() -> None:
        control(*arguments)
        if os.getppid() != parent:  # killed between the fork and the line above
            os._exit(1)

    return tie


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a child with all that it started itself in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
