"""Skipping for want of a tool, which strict runs do not allow."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it when EMBERWATCH_TEST_STRICT=1; `reason` is the line that installs the tool."""
    if os.environ.get("EMBERWATCH_TEST_STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def require_tool(program: str, install: str) -> str:
    """Path of a program; else skips or fails with its install line."""
    path = shutil.which(program)
    return path if path else skip_or_fail(f"{program} is not installed: {install}")
