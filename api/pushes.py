"""Who may push what: the sources that are pushed over HTTP, their secrets, and their way into the log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from api.push_log import PushLog
from ingest.errors import ConfigError
from ingest.readings import MINUTE, Micros
from ingest.sources import Source, Sources

_log = structlog.get_logger()


class SecretFile:
    """A secret in a file, read again whenever the file has changed.

    While it cannot be read or is empty, the last good one counts, so that nobody is locked out by a slip.
    """

    def __init__(self, path: Path) -> None:
        """ConfigError when there is no secret to begin with."""
        self._path = path
        self._seen = _changed(path)
        self._secret = _read(path)
        if isinstance(self._secret, _Wrong):
            raise ConfigError([self._secret.line])

    def secret(self) -> str:
        """The secret as it is now."""
        seen = _changed(self._path)
        if seen != self._seen:
            self._seen = seen
            found = _read(self._path)
            if isinstance(found, _Wrong):
                _log.warning("secret of a push kept as it was", reason=found.line)
            else:
                _log.info("secret of a push read anew", file=str(self._path))
                self._secret = found
        assert isinstance(self._secret, str)
        return self._secret


class _Wrong(NamedTuple):
    line: str


def _read(path: Path) -> str | _Wrong:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        return _Wrong(f"secret_file {path}: {(error.strerror or str(error)).lower()}; name a readable file")
    except UnicodeDecodeError:
        return _Wrong(f"secret_file {path}: is no text; put the shared secret in it")
    return secret or _Wrong(f"secret_file {path}: is empty; put the shared secret in it")


def _changed(path: Path) -> tuple[int, ...]:
    """What differs once the file was written or replaced; () while there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


class Trouble:
    """What was said in the log about one source of late; its reasons are few, so it stays small."""

    def __init__(self) -> None:
        self._quiet_until: dict[str, int] = {}

    def is_news(self, reason: str, now: Micros) -> bool:
        """Whether to say it: once a minute for each reason."""
        if self._quiet_until.get(reason, 0) > now:
            return False
        self._quiet_until[reason] = now + MINUTE
        return True


class Pushed(NamedTuple):
    """One source that is pushed. Without `secret` only API tokens with the scope may push it."""

    source: Source
    secret: SecretFile | None
    log: PushLog
    trouble: Trouble


class Pushes:
    """All sources that are pushed, by the names of their addresses."""

    def __init__(self, by_name: Mapping[str, Pushed], logs: Sequence[PushLog]) -> None:
        self._by_name, self._logs = dict(by_name), list(logs)

    def find(self, name: str) -> Pushed | None:
        return self._by_name.get(name)

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def start(self) -> None:
        """Inside the event loop that will serve them."""
        for log in self._logs:
            log.start()

    async def stop(self) -> None:
        """What was handed in is on disk, or refused."""
        for log in self._logs:
            await log.stop()


def push_shards(sources: Sources) -> set[str]:
    """The shards whose log the pushes go into."""
    return {source.shard for source in sources.sources if source.pushed}


def make_pushes(sources: Sources, folder: Path, logs: Mapping[str, PushLog]) -> Pushes:
    """The pushes of these sources; `folder` is where sources.yaml lies. ConfigError: every secret that is missing."""
    secrets = secrets_of(sources, folder)
    by_name = {
        source.pushed: Pushed(source, secrets.get(source.pushed), logs[source.shard], Trouble())
        for source in sources.sources
        if source.pushed
    }
    return Pushes(by_name, list(logs.values()))


def secrets_of(sources: Sources, folder: Path) -> dict[str, SecretFile]:
    """The secrets of all pushes that name a file, by the push; ConfigError with every file that is none."""
    found, problems = {}, []
    for source in sources.sources:
        if source.pushed and source.secret_file:
            try:
                found[source.pushed] = SecretFile(folder / source.secret_file)
            except ConfigError as error:
                problems += [f"source {source.filter}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return found
