"""Real recordings, read in place: ../shared/data from the project's root, or where EMBERWATCH_TEST_DATA says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def data_folder() -> Path:
    """Where the data sets should be."""
    return Path(os.environ.get("EMBERWATCH_TEST_DATA") or ROOT.parent / "shared" / "data")


def recorded(path: str) -> Path:
    """A file or folder of the data sets; skips loudly when it is absent, fails when tests are strict."""
    found = data_folder() / path
    if not found.exists():
        reason = f"NO TEST DATA: {found} is absent; set EMBERWATCH_TEST_DATA to the folder of the data sets"
        if os.environ.get("EMBERWATCH_TEST_STRICT") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
