"""A whole district comes to life on one machine: 620,000 devices in under 30 s and 2 GB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.data import ROOT

pytestmark = pytest.mark.acceptance

DEVICES, SECONDS, BYTES = 620_000, 30.0, 2 * 1024**3


def test_620000_devices_start_in_under_30_s_and_2_gb(tmp_path: Path) -> None:
    """From the command to the end of the first second's rows, in the process's own time: others may share the cores."""
    arguments = ["--devices", str(DEVICES), "--seconds", "1", "--readings", str(tmp_path / "first.parquet")]
    with subprocess.Popen([sys.executable, "-m", "simulators", "town", *arguments], cwd=ROOT) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_utime + used.ru_stime < SECONDS
    assert used.ru_maxrss * 1024 < BYTES
    assert (tmp_path / "first.parquet").stat().st_size > 50_000  # thousands of readings
