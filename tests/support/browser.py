"""A real headless Chromium, spoken to by its DevTools protocol over a pipe; no driver needed.

Chromium started with --remote-debugging-pipe reads commands from descriptor 3 and answers on 4, JSON ended by NUL.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INSTALL_LINE = "apt-get install chromium"
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --lang=en"
    " --remote-debugging-pipe"
)


def find_chromium() -> str | None:
    """The Chromium of this machine."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of a browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb", 0)
        self._number = 0
        self._rest = b""
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.said: list[str] = []  #: errors and refusals of the page's console
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Page.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=1280, height=1000, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; its result."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    def go(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=url)

    def eval(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 15) -> Any:
        """The value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.eval(script)):
            assert time.monotonic() < deadline, (
                f"never true: {script}; the page: {self.eval('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def picture(self, path: Path) -> None:
        """A PNG of what is seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            if entry["level"] == "error":
                self.said.append(entry["text"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(event["params"]["exceptionDetails"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._answers.read(1 << 16)
            assert part, "the browser ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def close(self) -> None:
        self._commands.close()
        self._answers.close()


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`, ended with the context."""
    program = find_chromium()
    assert program, INSTALL_LINE
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()

    def place() -> None:
        for number, handle in ((3, commands), (4, answers)):
            os.dup2(handle, number)

    # out of the way of 3 and 4 first, whatever numbers the pipes have got
    commands, answers = (fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10) for handle in (read_commands, write_answers))
    process = subprocess.Popen(
        [program, *_FLAGS.split(), f"--user-data-dir={folder}", "about:blank"],
        close_fds=False,  # Python's own descriptors close themselves; 3 and 4 must not
        preexec_fn=place,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    os.close(read_commands)
    os.close(write_answers)
    try:
        browser = Browser(write_commands, read_answers)
        yield browser
        browser.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
