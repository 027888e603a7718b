"""Real recordings and published sample messages, read in place: ../shared/data from the project's root, or where
EMBERWATCH_TEST_DATA says, and ../shared/payloads beside it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from tests.support.skip import skip_or_fail

ROOT = Path(__file__).resolve().parents[2]
#: The 50,270 original messages of three room nodes.
RECORDING = "iot_telemetry/raw_data_xlarge.json.zip"


def data_folder() -> Path:
    """Where the data sets should be."""
    return Path(os.environ.get("EMBERWATCH_TEST_DATA") or ROOT.parent / "shared" / "data")


def recorded(path: str) -> Path:
    """A file or folder of the data sets; skips loudly when it is absent, fails when tests are strict."""
    found = data_folder() / path
    if not found.exists():
        reason = f"NO TEST DATA: {found} is absent; set EMBERWATCH_TEST_DATA to the folder of the data sets"
        skip_or_fail(reason)
    return found


#: Published messages of real devices and gateways, one folder a format.
SAMPLES = data_folder().parent / "payloads"


def sample(name: str) -> Path:
    """The file of a sample, such as `tts_v3/join.json`; skips loudly when it is absent, fails when tests are strict."""
    found = SAMPLES / name
    if not found.exists():
        skip_or_fail(f"NO SAMPLES: {found} is absent; it belongs into the folder beside the data sets")
    return found


@cache
def published_frames() -> dict[str, bytes]:
    """The GB/T 26875.3 frames of the samples by their labels."""
    lines = sample("gb26875/sample_frames.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("|") for line in lines if "|" in line and not line.startswith("#"))
    return {label.strip(): bytes.fromhex(text) for label, text in pairs}
