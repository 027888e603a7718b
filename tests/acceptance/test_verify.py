"""The whole program, fed by a replay and paging a collector: verify finds nothing, then each planted fault by name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ingest.broker import Broker
from ingest.inventory import Device, InventoryDelta, Site
from ingest.inventory_file import write_inventory
from ingest.readings import SECOND, iso
from simulators.__main__ import main
from simulators.tapes.tapefile import TapeWriter, read_tape
from tests.support.broker import Publisher
from tests.support.ports import free_port
from tests.support.program import ROOT, Program, simulate

pytestmark = pytest.mark.acceptance

SITES = ("shed-1", "shed-2", "shed-3")
KEY = "a shared key"


@contextmanager
def collecting(folder: Path, port: int, *words: str) -> Iterator[Path]:
    """`collect` as people start it; the file it writes. It must end cleanly."""
    out = folder / f"pages{len(list(folder.glob('pages*')))}.jsonl"
    command = [sys.executable, "-m", "simulators", "collect", "--bind", f"127.0.0.1:{port}", "--out", str(out)]
    command += ["--secret-file", str(folder / "hook.key"), *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and "listening" in process.stdout.readline()
            yield out
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(20) == 0
            finally:
                process.kill()


def teams(port: int) -> str:
    return f"""
teams:
  - {{id: north, name: 北区快速处置队, areas: [], kind: full_time, channels: [hook]}}
default_team: north
channels:
  hook: {{type: webhook, url: "http://127.0.0.1:{port}/hook", secret_file: hook.key}}
"""


def burn(folder: Path, broker: Broker, site: str) -> Path:
    """Replay the last half minute of a shed: warmer, then the smoke alarm of its second head. The tape of it."""
    start = time.time_ns() // 1_000_000 * 1_000 - 30 * SECOND
    rows = ["time,site,device,temperature,smoke_alarm"]
    for step in range(30):
        at = iso(start + step * SECOND)
        rows += [f"{at},{site},{site}-head-{head},{20 + step / 10 + head},{step > 25 and head == 2}" for head in (1, 2)]
    readings, tape = folder / f"{site}.csv", folder / f"{site}.tape"
    readings.write_text("\n".join(rows) + "\n")
    simulate("replay", str(readings), "--broker", broker.url, "--speed", "max", "--sent", str(tape))
    return tape


def copy(tape: Path, name: str, *, also: bytes) -> Path:
    """The same tape with one message more, which was never sent: as if it had been dropped on the way."""
    with TapeWriter(tape.with_name(name)) as writer:
        for message in read_tape(tape):
            writer.add(at=message.at, topic=message.topic, payload=message.payload)
        writer.add(at=message.at, topic=message.topic, payload=also)
    return tape.with_name(name)


def settled(program: Program, *, messages: int, pages: int) -> None:
    """Wait until so many messages are in the books and none waits, and so many pages were accepted."""

    def done() -> bool:
        books = program.get("ledger")
        came = books["messages"]["received"] >= messages and not books["messages"]["waiting"]
        return came and bool(books["deliveries"]["accepted"] == pages)

    program.until(done, seconds=60, what=f"{messages} messages and {pages} pages in the books")


class Books:
    """What the program says of itself, saved to files, and `verify` over them."""

    def __init__(self, program: Program, capsys: pytest.CaptureFixture[str]) -> None:
        self._program, self._capsys = program, capsys
        self._number = 0

    def ledger(self) -> str:
        self._number += 1
        path = self._program.folder / f"ledger{self._number}.json"
        path.write_text(self._program.call("ledger", "--json").stdout)
        return str(path)

    def alerts(self) -> str:
        self._program.call("alerts", "export", "--out", "alerts.jsonl")
        return str(self._program.folder / "alerts.jsonl")

    def api(self) -> list[str]:
        token = str(self._program.data / "api.token")
        return ["--api", f"http://127.0.0.1:{self._program.port}", "--token-file", token]

    def verify(self, tape: Path, *words: str) -> tuple[int, list[str], str]:
        """Exit code, the findings' lines, and all that was printed."""
        code = main(["verify", "--sent", str(tape), *words])
        said = self._capsys.readouterr().out
        lines = [line for line in said.splitlines() if line.startswith(("lost:", "twice:", "late:", "wrong:"))]
        return code, lines, said


def prepared(folder: Path, broker: Broker, database: str, port: int) -> Program:
    """The program, its sheds imported; its team hears of fires at this port."""
    program = Program(folder, mqtt=broker.url, database=database, hook="hook", teams=teams(port))
    for name in (folder / "hook.key", folder / "data" / "hook.key"):
        name.parent.mkdir(exist_ok=True)
        name.write_text(KEY)
    program.call("migrate")
    heads = [Device(id=f"{site}-head-{head}", site=site, expected_interval_s=60) for site in SITES for head in (1, 2)]
    write_inventory(InventoryDelta(sites=[Site(id=site) for site in SITES], devices=heads), folder / "inventory.csv")
    program.call("inventory", "import", str(folder / "inventory.csv"))
    return program


def test_verify_finds_nothing_in_a_fire_that_went_well_and_each_planted_fault_by_name(
    tmp_path: Path, own_broker: Broker, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    program = prepared(tmp_path, own_broker, database, port)
    books = Books(program, capsys)
    with program:
        program.until(lambda: program.in_log("main", "INVENTORY"))
        before = books.ledger()
        with collecting(tmp_path, port) as pages:
            tape = burn(tmp_path, own_broker, "shed-1")
            sent = sum(1 for _ in read_tape(tape))
            settled(program, messages=sent, pages=1)
        rest = ["--ledger-before", before, "--alerts", books.alerts(), "--pages", str(pages), *books.api()]
        after = ["--ledger", books.ledger(), *rest]

        code, lines, said = books.verify(tape, *after)
        assert (code, lines) == (0, []), said
        assert "nothing found in what was checked" in said and "no --truth" in said

        dropped = json.dumps({"ts": iso(time.time_ns() // 1_000), "temperature": 39.5}).encode()
        code, lines, said = books.verify(copy(tape, "dropped.tape", also=dropped), *after)
        assert code == 1 and len(lines) == 2, said
        reading, message = lines
        assert reading.startswith("lost: a reading of shed-1/shed-1-head-2 at") and "temperature 39.5" in reading
        assert message.startswith("lost: 1 message: expected") and f"{sent + 1} sent" in message

        again = next(iter(read_tape(tape)))
        publisher = Publisher(own_broker.url)
        publisher.publish(again.topic, again.payload)
        publisher.close()
        settled(program, messages=sent + 1, pages=1)
        code, lines, said = books.verify(tape, "--ledger", books.ledger(), *rest)
        assert code == 1 and len(lines) == 1, said
        assert lines[0].startswith("twice: 1 message") and "1 duplicate" in lines[0]

        with psycopg.connect(database) as connection:
            connection.execute("UPDATE readings SET temperature = 98.6 WHERE temperature = 21.7")
        code, lines, said = books.verify(tape, *after)
        assert code == 1 and len(lines) == 1, said
        assert lines[0].startswith("wrong: a reading of shed-1/shed-1-head-1 at")
        assert "expected temperature 21.7" in lines[0] and "seen temperature 98.6" in lines[0]

        with collecting(tmp_path, port, "--swallow", "1") as pages:
            tape = burn(tmp_path, own_broker, "shed-2")
            settled(program, messages=2 * sent + 1, pages=2)
        code, lines, said = books.verify(tape, "--alerts", books.alerts(), "--pages", str(pages))
        assert code == 1 and len(lines) == 1, said
        assert lines[0].startswith("lost: a page of fire class of shed-2 at")

        with collecting(tmp_path, port, "--delay", "3") as pages:
            tape = burn(tmp_path, own_broker, "shed-3")
            settled(program, messages=3 * sent + 1, pages=3)
        code, lines, said = books.verify(tape, "--alerts", books.alerts(), "--pages", str(pages), "--late", "2.9")
        late = [line for line in lines if "page" in line]
        assert code == 1 and len(late) == 1, said
        assert late[0].startswith("late: the first page of fire class of shed-3 at")
