"""Our own probes through the whole program: health is their age, and readyz names who holds them up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.broker import Broker, start_broker
from tests.support.broker import missing_mosquitto
from tests.support.collector import Collector
from tests.support.program import Program
from tests.support.skip import skip_or_fail

pytestmark = pytest.mark.acceptance


@pytest.fixture
def program(tmp_path: Path, own_broker: Broker, database: str, collector: Collector) -> Iterator[Program]:
    """The program, with every stage passed by a probe."""
    with Program(tmp_path / "program", mqtt=own_broker.url, database=database, hook=collector.url) as program:
        program.until(lambda: all(ages(program).values()), what="passed by a probe at every stage")
        yield program


def readyz(program: Program) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"http://127.0.0.1:{program.port}/readyz", timeout=10)
    body: dict[str, Any] = answer.json()
    return answer.status_code, body


def ages(program: Program) -> dict[str, float | None]:
    status, body = readyz(program)
    found: dict[str, float | None] = body["probe"]["main"] if status == httpx.codes.OK else {"": None}
    return found


def blames(program: Program, *words: str) -> bool:
    """Whether readyz is 503 for exactly these reasons."""
    status, body = readyz(program)
    reasons = [error["what"] for error in body.get("errors", ())]
    return status == 503 and len(reasons) == len(words) and all(map(str.__contains__, reasons, words))


def test_who_holds_probes_up_is_named_and_forgiven(program: Program, tmp_path: Path, own_broker: Broker) -> None:
    found = ages(program)
    assert set(found) == {"log", "writer", "evaluator"} and all(age is not None and age < 15 for age in found.values())
    stopped = [program.pid(role) for role in ("writer", "evaluator")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        program.until(
            lambda: blames(program, "by the writer of shard main", "by the evaluator of shard main"),
            seconds=40,
            what="blaming writer and evaluator",
        )
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    program.until(program.is_ready, what="ready again")
    own_broker.stop()
    program.until(
        lambda: blames(program, "back through the broker into the log"), seconds=40, what="blaming the broker"
    )
    with start_broker(tmp_path / "broker", own_broker.port, kind="mosquitto"):
        program.until(program.is_ready, what="ready again")
        assert program.ledger()["messages"]["received"] == 0, "probes are in no books"
    assert program.log().count("our own probes do not come back") == 0, "the broker was away, it did not forbid them"


def test_a_broker_that_forbids_our_probes_is_named_with_what_to_allow(
    tmp_path: Path, database: str, collector: Collector
) -> None:
    if reason := missing_mosquitto():
        skip_or_fail(reason)
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "acl").write_text("topic readwrite ember/#\n", encoding="utf-8")
    settings = {"persistence": "true", "acl_file": "acl"}
    with (
        start_broker(folder, kind="mosquitto", settings=settings) as broker,
        Program(tmp_path / "program", mqtt=broker.url, database=database, hook=collector.url) as program,
    ):
        program.until(lambda: "our own probes do not come back" in program.log(), seconds=40, what="said in the log")
        program.until(lambda: blames(program, "let our user read and write emberwatch/probe/#"), what="blamed")
        program.until(lambda: program.in_log("main", "TICK"), what="listening all the same")
        assert program.log().count("our own probes do not come back") == 1
