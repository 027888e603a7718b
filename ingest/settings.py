"""Settings: environment `EMBERWATCH_*` (each also as `…_FILE`), then `emberwatch.toml`, then defaults.

Touched only by composition roots; everything else is handed what it needs.
"""

from __future__ import annotations

import difflib
import os
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ingest.errors import ConfigError

PREFIX = "EMBERWATCH_"
LONGEST_PROBE = 60  #: s; longer apart, they would say too late that something stands still


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, checked. Documented for people in deploy/config/emberwatch.toml."""

    database_url: str = ""  #: "" = the embedded server under data_dir
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    mqtt_client_id: str = "emberwatch"  #: fixed, so that the broker keeps our session
    journal: str = ""  #: "" = sqlite under data_dir/journal
    journal_quota_bytes: int = 0  #: per shard; 0 = what the disk holds, less the reserve
    journal_reserve_bytes: int = 1 << 30  #: kept for urgent sources
    rules: str = ""  #: "" = the packaged rulebook
    teams: str = ""
    sources: str = ""
    data_dir: str = "./emberwatch-data"
    http_bind: str = "127.0.0.1:8080"
    metrics_bind: str = "127.0.0.1:9464"  #: first of one port a role; port 0 = any free ones
    gb26875_bind: str = ""
    probe_seconds: int = 3  #: between two probes of our own through the broker; 0 = none
    public_url: str = ""
    secret_key: str = ""  #: generated into data_dir/secret.key when empty
    log_format: str = "auto"  #: auto (console on a terminal, else json), console, json

    @property
    def data(self) -> Path:
        """data_dir as an absolute path."""
        return Path(self.data_dir).expanduser().resolve()

    @property
    def journal_dir(self) -> Path:
        """Folder of the SQLite log."""
        if not self.journal:
            return self.data / "journal"
        return Path(self.journal.removeprefix("sqlite://")).expanduser().resolve()

    def file(self, name: str) -> Path | None:
        """The file that `rules`, `teams` or `sources` names; None: the packaged one."""
        path: str = getattr(self, name)
        return Path(path).expanduser() if path else None

    def metrics_address(self, role_index: int) -> tuple[str, int]:
        """Host and port for the metrics of one role; port 0 = any free one."""
        host, port = split_bind(self.metrics_bind)
        return host, port + role_index if port else 0


KEYS = tuple(Settings.__struct_fields__)


def split_bind(bind: str) -> tuple[str, int]:
    """`host:port` as its two parts; `[::1]:80` works too."""
    host, _, port = bind.rpartition(":")
    return host.strip("[]"), int(port)


def load_settings(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Settings from the environment and emberwatch.toml; ConfigError with every problem at once."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values = _from_toml(environ, folder or Path.cwd(), problems)
    values.update(_from_environment(environ, problems))
    converted: dict[str, object] = {}
    for key, (value, where) in values.items():
        number = isinstance(getattr(Settings(), key), int)
        if number and not value.isdecimal():
            problems.append(f"{where}: {value!r} is no whole number; give one, such as 0")
        else:
            converted[key] = int(value) if number else value
    settings = msgspec.convert(converted, Settings, strict=False)
    problems += _wrong_values(settings, {key: where for key, (_, where) in values.items()})
    if problems:
        raise ConfigError(problems)
    return settings


def _from_toml(environ: Mapping[str, str], folder: Path, problems: list[str]) -> dict[str, tuple[str, str]]:
    named = environ.get(PREFIX + "CONFIG")
    path = Path(named) if named else folder / "emberwatch.toml"
    if not named and not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: {(error.strerror or str(error)).lower()}; name an existing file")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: not valid TOML: {error}")
        return {}
    values: dict[str, tuple[str, str]] = {}
    for key, value in table.items():
        if key not in KEYS:
            problems.append(f"{path}: unknown key {key}{_guess(key)}")
        elif isinstance(value, str | int) and not isinstance(value, bool):
            values[key] = (str(value), f"{path}: {key}")
        else:
            problems.append(f"{path}: {key} must be a string or a whole number")
    return values


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, tuple[str, str]]:
    values: dict[str, tuple[str, str]] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == PREFIX + "CONFIG" or name.startswith(PREFIX + "TEST_"):
            continue
        key = name.removeprefix(PREFIX).lower()
        if key in KEYS:
            values[key] = (environ[name], name)
        elif key.endswith("_file") and key.removesuffix("_file") in KEYS:
            try:
                text = Path(environ[name]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{name}: cannot read {environ[name]}: {error}; name a readable text file")
                continue
            values.setdefault(key.removesuffix("_file"), (text, name))
        else:
            problems.append(f"{name}: unknown setting{_guess(key)}")
    return values


def _guess(key: str) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(KEYS)}"


def _wrong_values(settings: Settings, where: Mapping[str, str]) -> list[str]:
    problems: list[str] = []

    def wrong(key: str, what: str) -> None:
        problems.append(f"{where.get(key, PREFIX + key.upper())}: {what}")

    if settings.database_url and urlsplit(settings.database_url).scheme not in ("postgresql", "postgres"):
        wrong(
            "database_url",
            "must start with postgresql://, such as postgresql://user:pass@127.0.0.1/emberwatch",
        )
    mqtt = urlsplit(settings.mqtt_url)
    if mqtt.scheme not in ("mqtt", "mqtts") or not mqtt.hostname:
        wrong("mqtt_url", "must be mqtt://host:1883 or mqtts://host:8883")
    if settings.journal.startswith("kafka://"):
        wrong("journal", "kafka:// is reserved and not built yet; use sqlite:///path")
    elif settings.journal and not settings.journal.startswith("sqlite://"):
        wrong("journal", "must be sqlite:///path")
    for key in ("http_bind", "metrics_bind", "gb26875_bind"):
        bind = getattr(settings, key)
        host, _, port = bind.rpartition(":")
        if bind and (not host or not port.isdecimal() or int(port) > 65535):
            wrong(key, f"{bind!r} is no address; write host:port, such as 127.0.0.1:8080")
    if settings.probe_seconds > LONGEST_PROBE:
        wrong("probe_seconds", f"must be 0 (no probes) to {LONGEST_PROBE}")
    if settings.log_format not in ("auto", "console", "json"):
        wrong("log_format", "must be auto, console or json")
    return problems


def secret_key(settings: Settings) -> bytes:
    """The key that signs sessions and links; made once, readable by the owner alone."""
    return (settings.secret_key or kept_secret(settings.data / "secret.key")).encode()


def kept_secret(path: Path) -> str:
    """The secret kept in this file, made on first use with mode 600; safe when several processes ask at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        os.link(draft, path)  # fails when another process was first: then theirs counts
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text(encoding="ascii").strip()
