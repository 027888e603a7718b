"""Killed anywhere: the recording with its fires comes out the same, whatever is killed, stopped or full meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import missing_mosquitto
from tests.support.data import RECORDING, recorded
from tests.support.havoc import ROLES, Database, plan
from tests.support.recorded_run import SHARDS, Run, differences, own_database
from tests.support.skip import skip_or_fail

FIRES = 3
SECONDS = 140.0
KILLS = 100

pytestmark = pytest.mark.acceptance


@pytest.fixture
def server() -> Iterator[Database]:
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    recorded(RECORDING)
    with own_database() as server:
        yield server


def test_a_run_under_havoc_comes_out_as_one_in_peace(tmp_path: Path, server: Database) -> None:
    seed = int(os.environ.get("EMBERWATCH_TEST_SEED", "1"))
    planned = plan(seed, seconds=SECONDS, shards=SHARDS, fires=FIRES, kills=KILLS)
    print(*planned.lines(), sep="\n")
    calm = Run(tmp_path / "calm", server, fires=FIRES).result()
    assert len(calm.pages) == FIRES
    assert calm.rows["readings"].total() == calm.books["readings"]["stored"] > 50_000
    run = Run(tmp_path / "rough", server, fires=FIRES, plan=planned)
    rough = run.result(calm)
    assert run.havoc
    found = differences(calm, rough)
    kills = run.havoc.kills
    summary = f"{kills.total()} kills {dict(kills)}, {rough.doubles()} doubles, books looked at {rough.ledgers} times"
    print(*run.havoc.done, summary, sep="\n")
    assert not found, "\n".join(found)
    assert set(kills) == set(ROLES)
    assert kills.total() >= KILLS, summary
    assert rough.ledgers >= 5, summary
    assert calm.doubles() == 0
