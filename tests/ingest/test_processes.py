"""Roles run as children, come back when they die and never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.errors import OperatorError
from ingest.processes import GIVE_UP, Supervisor, stop_on_signals

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def until(true: Callable[[], object], seconds: float = 15) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def exists(pid: int) -> bool:
    """Whether this process runs; one that ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Running:
    """A supervisor whose run() goes on in a thread."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.stop = threading.Event()
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run(self.stop)

    def end(self) -> int | None:
        self.stop.set()
        self._thread.join(20)
        return self.code


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "run")
    yield made
    made.stop(timeout=1)


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *words]


def read_pid(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def test_roles_are_started_with_a_pid_file_each_and_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add("one", SLEEP)
    supervisor.add("two", SLEEP)
    supervisor.start()
    pids = {name: read_pid(tmp_path / "run" / f"{name}.pid") for name in ("one", "two")}
    assert pids == {"one": supervisor.pid("one"), "two": supervisor.pid("two")}
    assert supervisor.alive("one") and supervisor.alive("two")
    assert all(os.getsid(pid) == pid for pid in pids.values())
    supervisor.stop()
    assert not any(exists(pid) for pid in pids.values())
    assert not supervisor.alive("one") and supervisor.pid("one") is None
    assert list((tmp_path / "run").iterdir()) == []


def test_a_killed_role_is_started_again_at_once_and_the_second_time_after_a_pause(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.add("role", SLEEP)
    pid_file = tmp_path / "run" / "role.pid"
    running = Running(supervisor)
    pids: list[int] = []
    for _ in range(3):
        until(lambda: read_pid(pid_file) not in (0, *pids))
        pids.append(read_pid(pid_file))
        os.kill(pids[-1], signal.SIGKILL)
    assert supervisor._roles["role"].pause >= 0.2
    until(lambda: read_pid(pid_file) not in (0, *pids))
    pids.append(read_pid(pid_file))
    assert running.end() == 0
    assert not any(exists(pid) for pid in pids)
    assert not pid_file.exists()


def test_a_role_that_gives_up_ends_everything_with_its_code(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add("steady", SLEEP)
    supervisor.add("wrong", python("import sys; sys.exit(2)"))
    running = Running(supervisor)
    running._thread.join(20)
    assert running.code == GIVE_UP == 2
    assert not supervisor.alive("steady")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_role_that_may_end_is_not_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    supervisor.add(
        "once", python("import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)", str(marks)), None, False
    )
    supervisor.add("steady", SLEEP)
    running = Running(supervisor)
    until(lambda: marks.exists() and not (tmp_path / "run" / "once.pid").exists())
    time.sleep(0.3)  # nothing to wait for: it must not come back
    assert marks.read_text() == "x"
    assert supervisor.alive("steady") and not supervisor.alive("once")
    assert running.end() == 0


def test_the_environment_is_added_to_ours(supervisor: Supervisor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['ADDED'] + str('PATH' in os.environ))"
    supervisor.add("role", python(code, str(out)), {"ADDED": "yes"}, restart=False)
    supervisor.start()
    until(lambda: out.exists() and out.read_text())
    assert out.read_text() == "yesTrue"


def test_a_role_that_does_not_listen_is_killed_with_its_children(supervisor: Supervisor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(sys.argv[1], "w").write(f"{child.pid} ")
        time.sleep(600)
        """
    supervisor.add("deaf", python(code, str(out)))
    supervisor.start()
    until(lambda: out.exists() and out.read_text().endswith(" "))
    pid, child = supervisor.pid("deaf"), int(out.read_text())
    assert pid is not None
    began = time.monotonic()
    supervisor.stop(timeout=0.3)
    assert time.monotonic() - began >= 0.3
    until(lambda: not exists(pid) and not exists(child))


def test_roles_are_stopped_from_the_last_to_the_first(supervisor: Supervisor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = """
        import signal, sys
        def note(*_):
            open(sys.argv[1], "a").write(sys.argv[2])
            sys.exit(0)
        signal.signal(signal.SIGTERM, note)
        open(sys.argv[1] + sys.argv[2], "w").close()
        while True:
            signal.pause()
        """
    for name in "abc":
        supervisor.add(name, python(code, str(out), name))
    supervisor.start()
    until(lambda: all(Path(f"{out}{name}").exists() for name in "abc"))
    supervisor.stop()
    assert out.read_text() == "cba"


def test_a_program_that_is_not_there_is_named_and_nothing_is_left(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add("fine", SLEEP)
    supervisor.add("missing", ["/no/such/program"])
    with pytest.raises(OperatorError, match="cannot start missing: /no/such/program: No such file"):
        supervisor.start()
    assert not supervisor.alive("fine")


PARENT = """
    import sys
    from pathlib import Path
    from ingest.processes import Supervisor, stop_on_signals
    stop = stop_on_signals()
    supervisor = Supervisor(Path(sys.argv[1]))
    for name in ("one", "two"):
        supervisor.add(name, [sys.executable, "-c", "import time; time.sleep(600)"])
    sys.exit(supervisor.run(stop))
    """


def start_parent(run_dir: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    parent = subprocess.Popen(python(PARENT, str(run_dir)), cwd=ROOT, stdout=subprocess.DEVNULL)
    files = [run_dir / "one.pid", run_dir / "two.pid"]
    until(lambda: all(read_pid(file) for file in files))
    return parent, [read_pid(file) for file in files]


def test_no_child_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    parent, children = start_parent(tmp_path)
    assert all(exists(pid) for pid in children)
    parent.kill()
    parent.wait()
    until(lambda: not any(exists(pid) for pid in children))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_stops_all_and_ends_with_zero(tmp_path: Path, number: int) -> None:
    parent, children = start_parent(tmp_path)
    parent.send_signal(number)
    assert parent.wait(15) == 0
    assert not any(exists(pid) for pid in children)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_is_heard_while_its_event_is_being_waited_for() -> None:
    words = """
    import os, signal
    from ingest.processes import stop_on_signals
    stop = stop_on_signals()
    with stop._cond:  # where the main thread is for a moment whenever it waits
        os.kill(os.getpid(), signal.SIGTERM)
    print(stop.wait(30))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(words)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True\n"


def test_a_signal_is_heard_while_the_main_thread_waits_for_another() -> None:
    words = """
    import os, pathlib, signal, sys, threading
    from ingest.processes import stop_on_signals
    stop = stop_on_signals()
    main, state = threading.get_ident(), pathlib.Path(f"/proc/self/task/{os.getpid()}/stat")
    def waits():
        return "wait" in sys._current_frames()[main].f_code.co_name and state.read_text().split()[2] == "S"
    def other():
        while not (waits() and stop.wait(0.01) is False and waits()):
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # so that it does not wake the main thread
        print(stop.wait(30))
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(words)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True\n"


def test_signals_become_an_event() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop = stop_on_signals()
        assert not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
