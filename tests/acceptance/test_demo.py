"""`emberwatch demo`, as a newcomer sees it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.ports import free_port

pytestmark = pytest.mark.acceptance


class Screen:
    """A running demo and what it has printed."""

    def __init__(self, folder: Path, port: int, *words: str) -> None:
        self.output = folder / f"screen-{time.monotonic_ns()}.txt"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EMBERWATCH_")}
        environment["EMBERWATCH_DATA_DIR"] = str(folder / "data")
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("emberwatch")), "demo", "--port", str(port), *words],
                cwd=folder,
                env=environment,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def shows(self, pattern: str, seconds: float) -> re.Match[str]:
        """What stands on the screen, within so many seconds."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text())):
            assert self.process.poll() is None, f"the demo ended: {self.text()}"
            assert time.monotonic() < deadline, f"{pattern} not seen in: {self.text()}"
            time.sleep(0.1)
        return found

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter: as root the embedded server runs as nobody, from within it."""
    path = Path(tempfile.mkdtemp(prefix="emberwatch-demo-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def screens(folder: Path) -> Iterator[list[Screen]]:
    started: list[Screen] = []
    yield started
    for screen in started:
        screen.end()


def servers_of(folder: Path) -> list[int]:
    """Embedded database servers whose data lie in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "postgres -D" in line and str(folder) in line:
            found.append(process.pid)
    return found


def test_a_demo_tells_a_team_of_a_fire_and_leaves_nothing_behind(folder: Path, screens: list[Screen]) -> None:
    port = free_port()
    screen = Screen(folder, port)
    screens.append(screen)
    link = screen.shows(r"http://127\.0\.0\.1:\d+/login\?token=\S+", 90).group()
    screen.shows(r"TOLD +team .+ of fire at ", 90)
    with httpx.Client(follow_redirects=True, base_url=f"http://127.0.0.1:{port}") as browser:
        assert browser.get(link).url.path == "/"
        [fire] = [row for row in browser.get("/api/v1/incidents").json()["items"] if row["class"] == "fire"]
        assert fire["pages"][0]["state"] == "accepted" and fire["alerts"]
        assert browser.post(f"/api/v1/incidents/{fire['id']}/acknowledge").status_code == 202
        screen.shows(r"IN HAND ", 15)
        assert browser.get("/api/v1/quarantine").json()["items"] == []
        ready = browser.get("/readyz").json()
        assert (ready["ready"], ready["reasons"], set(ready["probe"])) == (True, [], {"main"})
        assert browser.get("/api/v1/ledger").json()["balanced"] is True
    run = folder / "data" / "run"
    assert servers_of(folder) != []
    roles = {path.stem for path in run.glob("*.pid")}
    assert {"receiver", "writer", "evaluator", "recorder", "dispatcher", "api"} <= roles
    family = screen.family()
    screen.process.send_signal(signal.SIGINT)
    assert screen.process.wait(60) == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert list(run.glob("*.pid")) == [] and servers_of(folder) == []
    assert "Traceback" not in screen.text()


def test_a_demo_works_again_after_one_that_was_killed_and_ends_by_itself(folder: Path, screens: list[Screen]) -> None:
    first = Screen(folder, free_port(), "--sites", "3")
    screens.append(first)
    first.shows(r"The town is up", 90)
    family = first.family()
    first.process.kill()
    first.process.wait(10)
    second = Screen(folder, free_port(), "--sites", "3", "--seconds", "60")
    screens.append(second)
    second.shows(r"FIRE +.*\n.*TOLD ", 90)
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert second.process.wait(120) == 0
    assert servers_of(folder) == []
