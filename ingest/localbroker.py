"""The configuration of a mosquitto that runs on this machine, read from the file it was started with."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ingest.mqtt import BrokerAddress

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def local_mosquitto(address: BrokerAddress) -> dict[str, str] | None:
    """Its settings with `path`, the file; None when no mosquitto here has a listener on this port that we can see."""
    if address.host not in LOOPBACK:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            path = _config_of(process)
            settings = read_mosquitto_config(path.read_text(encoding="utf-8")) if path else None
            if settings is not None and address.port in _ports(settings):
                return {key: values[-1] for key, values in settings.items()} | {"path": str(path)}
    return None


def read_mosquitto_config(text: str) -> dict[str, list[str]]:
    """Every setting with its values in order; comments left out."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            settings.setdefault(key, []).append(value.strip())
    return settings


def _config_of(process: Path) -> Path | None:
    if (process / "comm").read_text().strip() != "mosquitto":
        return None
    words = (process / "cmdline").read_bytes().decode().split("\0")
    return (process / "cwd").readlink() / words[words.index("-c") + 1] if "-c" in words else None


def _ports(settings: dict[str, list[str]]) -> set[int]:
    stated = [value.split()[0] for value in settings.get("listener", []) if value] + settings.get("port", [])
    return {int(port) for port in stated if port.isdecimal()} or {1883}
