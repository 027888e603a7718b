"""The load alone, against a broker that does nothing but acknowledge: what it can offer, and what that costs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Run

#: A load that hangs is no figure.
LIMIT_S = 120.0


def offer(rate: int, seconds: float, devices: int, *, taped: bool = False) -> Run:
    """Messages a second that were sent, all of them acknowledged."""
    with _sink() as url, tempfile.TemporaryDirectory() as folder:
        tape = Path(folder) / "load.tape"
        words = ["simulators", "load", "--broker", url, "--rate", str(rate), "--seconds", f"{seconds:.3f}", "--json"]
        words += ["--devices", str(devices), *(["--sent", str(tape)] if taped else [])]
        done = subprocess.run(
            [sys.executable, "-m", *words], check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S
        )
        told = json.loads(done.stdout)
        size = tape.stat().st_size / told["sent"] if taped else 0.0
    late, each = told["late_ms"], told["per_second"]
    more = {"late p99 ms": late["p99"], "late at most ms": late["max"], "least in a second": each["min"]}
    more |= {"a core": told["cpu_s"] / told["seconds"], "tape bytes/message": size}
    return Run(told["rate"], {"load": told["cpu_s"]}, more)


@contextlib.contextmanager
def _sink() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.sink"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"mqtt://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
