"""`emberwatch rules check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alerts.rulebook import load_rulebook
from ingest.errors import ConfigError


def rules_check(files: Sequence[Path]) -> int:
    """Print what each rulebook holds; ConfigError with the problems of all of them."""
    problems: list[str] = []
    for file in files:
        try:
            rulebook = load_rulebook(file)
        except ConfigError as error:
            problems += error.problems
        else:
            print(f"{file}: {len(rulebook.rules)} rules, version {rulebook.version}")
    if problems:
        raise ConfigError(problems)
    return 0
