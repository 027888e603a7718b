"""A mosquitto that runs on this machine: its configuration, read from the files it was started with, and its room."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
from pathlib import Path

import msgspec

from ingest.mqtt import BrokerAddress
from ingest.outage import Room


class LocalMosquitto(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its values in order; `path`: its file, `folder`: where it was started."""

    path: str
    folder: str
    settings: dict[str, list[str]]

    def last(self, key: str, default: str) -> str:
        """The value in force of a setting that has one."""
        return self.settings.get(key, [default])[-1]

    def open_listeners(self) -> list[str]:
        """Listeners that the network reaches and that let anybody in without a name."""
        if "true" not in self.settings.get("allow_anonymous", []):
            return []
        words = [value.split() for value in self.settings.get("listener", []) if value]
        return [" ".join(word) for word in words if len(word) == 1 or not is_loopback(word[1])]

    def room(self) -> Room:
        """What holds its queues."""
        limit = int(self.last("max_queued_messages", "1000"))
        most = int(self.last("memory_limit", "0"))
        free = _free_memory()
        folder = Path(self.folder) / self.last("persistence_location", ".")
        disk = None
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(folder).free if self.last("persistence", "false") == "true" else None
        return Room(messages=limit or None, memory=min(most, free) if most and free else free, disk=disk)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_mosquitto(address: BrokerAddress) -> LocalMosquitto | None:
    """The one here that listens on this port; None when there is none that we can see."""
    if not is_loopback(address.host):
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            path = _config_of(process)
            settings = read_mosquitto_files(path) if path else None
            if settings is not None and address.port in _ports(settings):
                return LocalMosquitto(path=str(path), folder=str((process / "cwd").readlink()), settings=settings)
    return None


def read_mosquitto_files(path: Path) -> dict[str, list[str]]:
    """The settings of a file and of the folder it names with include_dir; OSError when one cannot be read."""
    settings = read_mosquitto_config(path.read_text(encoding="utf-8"))
    for folder in settings.get("include_dir", []):
        for more in sorted(Path(folder).glob("*.conf")):
            for key, values in read_mosquitto_config(more.read_text(encoding="utf-8")).items():
                settings.setdefault(key, []).extend(values)
    return settings


def read_mosquitto_config(text: str) -> dict[str, list[str]]:
    """Every setting with its values in order; comments left out."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            settings.setdefault(key, []).append(value.strip())
    return settings


def _free_memory() -> int | None:
    """Bytes that this machine can give without swapping; None where nobody says."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _config_of(process: Path) -> Path | None:
    if (process / "comm").read_text().strip() != "mosquitto":
        return None
    words = (process / "cmdline").read_bytes().decode().split("\0")
    return (process / "cwd").readlink() / words[words.index("-c") + 1] if "-c" in words else None


def _ports(settings: dict[str, list[str]]) -> set[int]:
    stated = [value.split()[0] for value in settings.get("listener", []) if value] + settings.get("port", [])
    return {int(port) for port in stated if port.isdecimal()} or {1883}
