"""Feeds that verify looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.verifying import Feed


@pytest.fixture
def feed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Feed:
    """Three readings of one head, and a fire of another at another site, told at once."""
    feed = Feed(tmp_path, capsys)
    for second in range(3):
        feed.say(second, "shed-1/h1/telemetry", temperature=20 + second, seq=second + 1)
    feed.told(feed.say(4, "shed-2/h2/alarm", smoke_alarm=True), "shed-2", "h2")
    feed.say(5, "shed-2/h2/alarm", smoke_alarm=True, seq=9)
    return feed
