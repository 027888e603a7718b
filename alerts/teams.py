"""teams.yaml: response teams, centres and the channels that reach them; every slip is named with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ingest.configfile import ConfigFile, load_config_file


class TeamKind(StrEnum):
    """How a team is staffed."""

    FULL_TIME = "full_time"  #: on duty around the clock
    PART_TIME = "part_time"  #: called in


class ChannelType(StrEnum):
    """Ways to reach a team; each is a module of alerts/channels."""

    WEBHOOK = "webhook"  #: an HTTP POST to the team's own system
    CONSOLE = "console"  #: a line in the dispatcher's log


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One way to reach somebody. `secret` signs webhook bodies; it comes from a file and never enters the log."""

    name: str
    type: ChannelType
    url: str = ""
    secret_file: str = ""
    secret: bytes = b""
    timeout_s: float = 10.0

    def __repr__(self) -> str:
        return f"Channel({self.name}, {self.type})"


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A response team and the areas it answers for."""

    id: str
    name: str = ""
    areas: tuple[str, ...] = ()
    kind: TeamKind = TeamKind.FULL_TIME
    channels: tuple[str, ...] = ()


class CentreDesk(msgspec.Struct, frozen=True, kw_only=True):
    """Where pages for a fire-safety centre go: faults of our own, fires nobody can place."""

    id: str
    name: str = ""
    areas: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Teams(msgspec.Struct, frozen=True, kw_only=True):
    """All of teams.yaml; `text` is the YAML it came from, which the log carries as Kind.TEAMS."""

    teams: tuple[Team, ...]
    default_team: str
    channels: dict[str, Channel]
    centres: tuple[CentreDesk, ...] = ()
    text: str = ""

    def default(self) -> Team:
        """The team for sites of no team's area."""
        return next(team for team in self.teams if team.id == self.default_team)


TOP_KEYS = ("teams", "default_team", "channels", "centres")
TEAM_KEYS = ("id", "name", "areas", "kind", "channels")
CENTRE_KEYS = ("id", "name", "areas", "channels")
CHANNEL_KEYS: dict[ChannelType, tuple[str, ...]] = {
    ChannelType.WEBHOOK: ("type", "url", "secret_file", "timeout"),
    ChannelType.CONSOLE: ("type",),
}
LONGEST_TIMEOUT_S = 60.0

_Path = tuple[str | int, ...]


def load_teams(path: Path | None) -> Teams:
    """The teams of this file, or the packaged ones; secret files are relative to it. ConfigError: every problem."""
    if path is None:
        text = resources.files("alerts").joinpath("defaults/teams.yaml").read_text(encoding="utf-8")
        return parse_teams(text, "alerts/defaults/teams.yaml")
    file = load_config_file(path)
    return _Reader(file, path.parent).teams(path.read_text(encoding="utf-8"))


def parse_teams(text: str, name: str, folder: Path | None = None) -> Teams:
    """Teams of a YAML text; without the `folder` that secret files are relative to, secrets stay unread (b"")."""
    return _Reader(ConfigFile(text, name), folder).teams(text)


class _Reader:
    """Takes a parsed file apart, noting every problem at its line."""

    def __init__(self, file: ConfigFile, folder: Path | None) -> None:
        self.file = file
        self.folder = folder

    def teams(self, text: str) -> Teams:
        top = self._mapping(self.file.data, ())
        self._known_keys(top, TOP_KEYS, ())
        channels = self._channels(top.get("channels"))
        teams = [self._team(entry, ("teams", index), channels) for index, entry in self._entries(top, "teams")]
        centres = [self._centre(entry, ("centres", index), channels) for index, entry in self._entries(top, "centres")]
        if not teams:
            self.file.problem("teams is empty; list at least one team with an id and its channels", "teams")
        self._distinct([("teams", team.id) for team in teams] + [("centres", centre.id) for centre in centres])
        default = self._default_team(top, [team.id for team in teams])
        self.file.finish()
        return Teams(teams=tuple(teams), default_team=default, channels=channels, centres=tuple(centres), text=text)

    def _team(self, entry: dict[str, Any], path: _Path, channels: dict[str, Channel]) -> Team:
        self._known_keys(entry, TEAM_KEYS, path)
        kind = str(entry.get("kind", TeamKind.FULL_TIME))
        if kind not in list(TeamKind):
            self.file.problem(f"kind {kind} is unknown; {_right(kind, TeamKind)}", *path, "kind")
            kind = TeamKind.FULL_TIME
        return Team(
            id=self._name(entry, "id", path, required=True),
            name=self._name(entry, "name", path),
            areas=self._names(entry, "areas", path),
            kind=TeamKind(kind),
            channels=self._channels_of("team", entry, path, channels),
        )

    def _centre(self, entry: dict[str, Any], path: _Path, channels: dict[str, Channel]) -> CentreDesk:
        self._known_keys(entry, CENTRE_KEYS, path)
        return CentreDesk(
            id=self._name(entry, "id", path, required=True),
            name=self._name(entry, "name", path),
            areas=self._names(entry, "areas", path),
            channels=self._channels_of("centre", entry, path, channels),
        )

    def _channels_of(
        self, what: str, entry: dict[str, Any], path: _Path, channels: dict[str, Channel]
    ) -> tuple[str, ...]:
        names = self._names(entry, "channels", path)
        if not names and (entry.get("channels") is None or entry["channels"] == []):
            who = entry.get("id", "without id")
            self.file.problem(f"{what} {who} has no channels; name at least one, {_known(channels)}", *path)
        for index, name in enumerate(names):
            if name not in channels and name not in self._broken:
                self.file.problem(
                    f"channel {name} is not defined under channels:; {_right(name, channels)}",
                    *path,
                    "channels",
                    index,
                )
        return names

    def _channels(self, data: object) -> dict[str, Channel]:
        self._broken: set[str] = set()
        channels: dict[str, Channel] = {}
        for name, entry in self._mapping(data, ("channels",)).items():
            before = len(self.file.problems)
            channel = self._channel(name, self._mapping(entry, ("channels", name)))
            if channel is None or len(self.file.problems) > before:
                self._broken.add(name)
            else:
                channels[name] = channel
        return channels

    def _channel(self, name: str, entry: dict[str, Any]) -> Channel | None:
        path = ("channels", name)
        kind = entry.get("type")
        if kind not in list(ChannelType):
            found = "has no type" if kind is None else f"has the unknown type {kind}"
            self.file.problem(f"channel {name} {found}; {_right(str(kind), ChannelType)}", *path, "type")
            return None
        self._known_keys(entry, CHANNEL_KEYS[ChannelType(kind)], path)
        if kind == ChannelType.CONSOLE:
            return Channel(name=name, type=ChannelType.CONSOLE)
        secret_file = self._name(entry, "secret_file", path)
        return Channel(
            name=name,
            type=ChannelType.WEBHOOK,
            url=self._url(entry, path),
            secret_file=secret_file,
            secret=self._secret(secret_file, path),
            timeout_s=self._timeout(entry, path),
        )

    def _url(self, entry: dict[str, Any], path: _Path) -> str:
        url = self._name(entry, "url", path, required=True)
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if url and (not good or any(letter.isspace() for letter in url)):
            right = "write http://host:port/path or https://host/path"
            self.file.problem(f"url {url!r} is no web address; {right}", *path, "url")
        return url

    def _secret(self, secret_file: str, path: _Path) -> bytes:
        if not secret_file or self.folder is None:
            return b""
        where = self.folder / secret_file
        try:
            secret = where.read_bytes().strip()
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            self.file.problem(f"secret_file {where}: {what}; name a readable file", *path, "secret_file")
            return b""
        if not secret:
            self.file.problem(f"secret_file {where} is empty; put the shared key in it", *path, "secret_file")
        return secret

    def _timeout(self, entry: dict[str, Any], path: _Path) -> float:
        value = entry.get("timeout", 10)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT_S:
            right = f"give seconds above 0 and up to {LONGEST_TIMEOUT_S:.0f}, such as 10"
            self.file.problem(f"timeout {value!r} is no usable time; {right}", *path, "timeout")
            return 10.0
        return float(value)

    def _default_team(self, top: dict[str, Any], ids: list[str]) -> str:
        default = self._name(top, "default_team", (), required=True)
        if default and default not in ids:
            self.file.problem(f"default_team {default} is no team; {_right(default, ids)}", "default_team")
        return default

    def _distinct(self, ids: list[tuple[str, str]]) -> None:
        seen: set[str] = set()
        place = {"teams": 0, "centres": 0}
        for group, name in ids:
            if name and name in seen:
                self.file.problem(f"the id {name} stands twice; give each its own", group, place[group], "id")
            seen.add(name)
            place[group] += 1

    def _entries(self, top: dict[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
        data = top.get(key)
        if data is None:
            return []
        if not isinstance(data, list):
            self.file.problem(f"{key} must be a list of entries, each starting with a dash", key)
            return []
        return [(index, self._mapping(entry, (key, index))) for index, entry in enumerate(data)]

    def _mapping(self, data: object, path: _Path) -> dict[str, Any]:
        if data is None:
            return {}
        if not isinstance(data, dict):
            what = ("an entry" if isinstance(path[-1], int) else path[-1]) if path else "the file"
            self.file.problem(f"{what} must be a mapping of `key: value`, found {data!r}", *path)
            return {}
        return data

    def _known_keys(self, entry: dict[str, Any], known: tuple[str, ...], path: _Path) -> None:
        for key in entry:
            if key not in known:
                self.file.problem(f"unknown key {key}; {_right(key, known)}", *path, key)

    def _name(self, entry: dict[str, Any], key: str, path: _Path, *, required: bool = False) -> str:
        value = entry.get(key)
        if value is None and not required:
            return ""
        if value is None or value == "":
            self.file.problem(f"{key} is missing; add it", *path, key)
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.file.problem(f"{key} must be text, found {value!r}", *path, key)
            return ""
        return str(value)

    def _names(self, entry: dict[str, Any], key: str, path: _Path) -> tuple[str, ...]:
        value = entry.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(item, str | int) and not isinstance(item, bool) for item in value
        ):
            self.file.problem(f"{key} must be a list such as [a, b], found {value!r}", *path, key)
            return ()
        names = [str(item) for item in value]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.file.problem(f"{key} names {name} twice; once is enough", *path, key)
        return tuple(names)


def _right(found: str, known: Iterable[str]) -> str:
    names = [str(name) for name in known]
    near = difflib.get_close_matches(found, names, n=1)
    return f"did you mean {near[0]}?" if near else _known(names)


def _known(known: Iterable[str]) -> str:
    names = [str(name) for name in known]
    return f"known: {', '.join(names)}" if names else "none is defined"
