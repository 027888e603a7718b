"""Settings and the files they name, loaded together, so that all problems are told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from alerts.rulebook import Rulebook, load_rulebook
from alerts.teams import Teams, load_teams
from ingest.errors import ConfigError
from ingest.settings import Settings, load_settings
from ingest.sources import Sources
from ingest.sources_file import load_sources

T = TypeVar("T")


class Configuration(NamedTuple):
    """Everything an operator writes."""

    settings: Settings
    sources: Sources
    rulebook: Rulebook
    teams: Teams


def load_configuration() -> Configuration:
    """ConfigError with every problem of settings, sources, rulebook and teams."""
    settings = load_settings()
    problems: list[str] = []

    def loaded(load: Callable[[Path | None], T], name: str) -> T | None:
        try:
            return load(settings.file(name))
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    sources = loaded(load_sources, "sources")
    rulebook = loaded(load_rulebook, "rules")
    teams = loaded(load_teams, "teams")
    if sources is None or rulebook is None or teams is None:
        raise ConfigError(problems)
    return Configuration(settings, sources, rulebook, teams)
