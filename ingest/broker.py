"""The embedded broker of demo and tests: mosquitto as a child process when it is installed, else amqtt."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from ingest.errors import OperatorError

#: What keeps mosquitto from losing messages while we are down. deploy/config/mosquitto.conf says why, line by
#: line, and a test holds the two together.
SETTINGS = {
    "max_queued_messages": "0",
    "max_queued_bytes": "0",
    "queue_qos0_messages": "true",
    "max_inflight_messages": "2000",
    "persistence": "true",
    "autosave_interval": "30",
    "set_tcp_nodelay": "true",
}
START_S = 20.0
STOP_S = 10.0
INSTALL_LINE = "apt-get install mosquitto"

log = structlog.get_logger()


class Broker:
    """A running broker on 127.0.0.1; it ends with `stop`, and with the process that started it.

    To be started from a thread that lives as long as it is needed: Linux ends the child with that thread.
    """

    def __init__(self, *, kind: str, port: int, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.kind = kind  #: "mosquitto" or "amqtt"
        self.port = port
        self.folder = folder
        self.url = f"mqtt://127.0.0.1:{port}"
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """Whether the broker still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it; mosquitto writes its queues to disk first. To call twice does no harm."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find_mosquitto() -> str | None:
    """The mosquitto program, also where ordinary users' PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/sbin")


def start_broker(
    folder: Path, port: int = 0, *, kind: str = "", settings: dict[str, str] | None = None, config: str = ""
) -> Broker:
    """A broker that answers; port 0 = any free one. For tests of mosquitto alone: `settings` replaces SETTINGS, and
    `config`, which listens on `port`, the whole configuration.

    Its queues lie in `folder`, and a broker started there again has them back (amqtt keeps them in memory only).
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = kind or ("mosquitto" if find_mosquitto() else "amqtt")
    for attempt in range(5):
        chosen = port or _free_port()
        text = config or mosquitto_config(chosen, SETTINGS if settings is None else settings)
        process = _spawn_mosquitto(folder, text) if kind == "mosquitto" else _spawn_amqtt(folder, chosen)
        if _answers(process, chosen):
            break
        if port or attempt == 4:  # else somebody was faster at the free port
            raise OperatorError(f"the embedded broker ({kind}) did not start on port {chosen}: {_last_words(folder)}")
    if kind == "amqtt":
        log.warning(
            "mosquitto is not installed: the embedded broker is amqtt, for demo only (MQTT 3.1.1, about 1,000"
            " messages/s, queues in memory, messages on their way to a receiver that is killed are lost)",
            install=INSTALL_LINE,
        )
    return Broker(kind=kind, port=chosen, folder=folder, process=process)


def mosquitto_config(port: int, settings: dict[str, str]) -> str:
    """The configuration of an embedded mosquitto; its folder is the one it is started in."""
    own = {"listener": f"{port} 127.0.0.1", "allow_anonymous": "true", "log_dest": "stderr"}
    if settings.get("persistence") == "true":
        own["persistence_location"] = "./"
    return "".join(f"{key} {value}\n" for key, value in (own | settings).items())


def _spawn_mosquitto(folder: Path, text: str) -> subprocess.Popen[bytes]:
    program = find_mosquitto()
    if program is None:
        raise OperatorError(f"mosquitto is not installed; {INSTALL_LINE}")
    config = folder / "mosquitto.conf"
    config.write_text(text, encoding="utf-8")
    # Root's mosquitto would change to an unprivileged user that may not pass the folders above this one, and
    # would forget the signal that ends it with us. So it starts as that user, inside a folder it owns, and
    # names everything relative to it.
    identity = _unprivileged()
    if identity:
        os.chown(folder, *identity)
        for name in os.listdir(folder):
            os.chown(folder / name, *identity)
    return _spawn([program, "-c", config.name], folder, identity)


def _spawn_amqtt(folder: Path, port: int) -> subprocess.Popen[bytes]:
    return _spawn([sys.executable, "-m", "ingest.amqtt_broker", str(port)], folder, None)


def _spawn(command: list[str], folder: Path, identity: tuple[int, int] | None) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {"user": identity[0], "group": identity[1], "extra_groups": []} if identity else {}
    with (folder / "broker.log").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we stop the broker when everybody else has left
            preexec_fn=_dies_with(os.getpid()),
            **options,
        )


def _unprivileged() -> tuple[int, int] | None:
    """Whom mosquitto runs as when we are root: its own user, else nobody."""
    if os.geteuid() != 0:
        return None
    for name in ("mosquitto", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def _dies_with(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None)
    pr_set_pdeathsig = 1

    def in_the_child() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return in_the_child


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    return False


def _last_words(folder: Path) -> str:
    lines = (folder / "broker.log").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
