"""What a recorder says at its end of what it could not hear."""

from __future__ import annotations

import argparse
import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.readings import SECOND
from simulators.options import parse_broker
from simulators.tapes import record
from simulators.tapes.record import Recorder
from simulators.tapes.tapefile import TapeWriter
from tests.support.ports import free_port


def test_what_the_broker_dropped_is_counted_once_when_it_never_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "AGAIN_S", 0.0)
    ear: Any = SimpleNamespace(
        lost="gone", dropped=7, silent_since=0, protocol=4, hear=lambda _: [], ask_dropped=bool, close=bool
    )
    clock = itertools.count(0, SECOND)
    recorder = Recorder(
        args=argparse.Namespace(file="x.tape", topic=["#"], count=None, seconds=20.0),
        broker=parse_broker(f"mqtt://127.0.0.1:{free_port()}"),
        ear=ear,
        now=lambda: next(clock),
        stop=threading.Event(),
    )
    with TapeWriter(tmp_path / "x.tape") as tape:
        assert recorder.run(tape) == 1
    assert "the broker says it dropped 7 messages meanwhile" in capsys.readouterr().err
