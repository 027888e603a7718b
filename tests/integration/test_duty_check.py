"""Duty checks from outside: HTTP and command line, the relay, a transmitter over TCP, and what came of it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from alerts.relay import Relay
from api.tokens import digest, issue
from ingest.broker import Broker
from ingest.codecs.gb26875_frame import CONFIRM
from ingest.database import open_pool
from ingest.journal import Entry
from ingest.message import DutyOutcome, DutyState, Kind, encode
from tests.support.broker import wait_until
from tests.support.http import Served, clock, served
from tests.support.memory_log import MemoryJournal
from tests.support.ports import free_port
from tests.support.program import Program
from tests.support.rows import Rows
from tests.support.transmitter import SENT, Transmitter, frame
from tests.support.writing import Log, write_all

pytestmark = pytest.mark.integration

PANEL = "790300000000"
ANSWER = b"\x18\x01" + bytes((1 << 5, 0)) + SENT


@pytest.fixture
def api(database: str, rows: Rows) -> Iterator[Served]:
    rows.site("shed")
    for device in (PANEL, f"{PANEL}-1.1", "head-1"):
        rows.device("shed", device)
    with served(database, panel_shard="main") as running:
        yield running


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


def ask(api: Served, device: str = PANEL, **more: Any) -> httpx.Response:
    return api.client.post(f"/api/v1/devices/shed/{device}/duty-check", **more)


def test_a_check_is_a_row_for_the_relay_and_its_state_is_shown(api: Served, database: str, tmp_path: Path) -> None:
    answer = ask(api, f"{PANEL}-1.1", json={"minutes": 7})
    check = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/api/v1/duty-checks/{check['id']}"
    assert (check["state"], check["minutes"], check["author"], check["address"]) == ("pending", 7, "owner", PANEL)
    journal = MemoryJournal()
    with open_pool(database, name="relay") as pool, pool.connection() as connection:
        connection.autocommit = True
        relay = Relay({"main": journal}, pool, clock)
        assert relay.turn(connection) == 1 and relay.turn(connection) == 0
    (record,) = journal.messages.records
    assert record.kind == Kind.DUTY_CHECK and check["id"].encode() in record.value and PANEL.encode() in record.value
    shown = api.client.get(f"/api/v1/duty-checks/{check['id']}").json()
    assert shown["state"] == "pending", "to those outside, on its way is pending"
    log = Log(tmp_path)
    for state in (DutyState.SENT, DutyState.ANSWERED):
        outcome = DutyOutcome(id=check["id"], state=state, at=clock())
        log.journal.messages.append([Entry(Kind.DUTY_OUTCOME, value=encode(outcome))], now=clock())
    stranger = DutyOutcome(id="of another database", state=DutyState.SENT, at=clock())
    log.journal.messages.append([Entry(Kind.DUTY_OUTCOME, value=encode(stranger))], now=clock())
    write_all(log, database)
    log.close()
    assert api.client.get(f"/api/v1/duty-checks/{check['id']}").json()["state"] == "answered"
    listed = api.client.get("/api/v1/duty-checks", params={"site": "shed", "device": f"{PANEL}-1.1"}).json()
    assert [each["id"] for each in listed["items"]] == [check["id"]] and listed["next"] is None
    assert api.client.get("/api/v1/duty-checks", params={"device": "other"}).json()["items"] == []


def test_mistakes_are_named_and_nothing_is_asked(api: Served, database: str, rows: Rows) -> None:
    assert "no device" in problem(ask(api, "790300000009"), 404)
    assert "fire panel" in problem(ask(api, "head-1"), 422)
    for minutes in (0, 256, "ten"):
        assert "minutes" in problem(ask(api, json={"minutes": minutes}), 422)
    assert "mood" in problem(ask(api, json={"mood": "good"}), 422)
    problem(api.client.get(f"/api/v1/duty-checks/{uuid.uuid4()}"), 404)
    with served(database) as without:
        assert "gb26875_bind" in problem(ask(without), 409)
    assert rows.execute("SELECT count(*) FROM duty_checks") == [(0,)]


def test_a_repeat_under_the_same_key_asks_once(api: Served, rows: Rows) -> None:
    key = {"Idempotency-Key": "k"}
    first = ask(api, headers=key).json()
    assert ask(api, headers=key).json()["id"] == first["id"]
    assert "new key" in problem(ask(api, headers=key, json={"minutes": 3}), 422)
    assert rows.execute("SELECT count(*) FROM duty_checks") == [(1,)]


def test_only_who_may_act_for_the_centre_may_ask(api: Served, database: str, rows: Rows) -> None:
    for area, centre in (("east", "c-east"), ("west", "c-west")):
        rows.insert("areas", id=area)
        rows.insert("centres", id=centre, parent=area)
    rows.execute("UPDATE sites SET parent = 'east' WHERE id = 'shed'")
    said = {}
    for name, role, centre in (("v", "viewer", ""), ("w", "operator", "c-west"), ("e", "dispatcher", "c-east")):
        rows.insert("users", name=name, role=role, centres=[centre] if centre else [], password="x")
        said[name] = ask(api, headers=_token(database, name)).status_code
    assert said == {"v": 403, "w": 403, "e": 202}


def _token(database: str, user: str) -> dict[str, str]:
    issued = issue()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tokens (id, name, user_name, digest, scopes) VALUES (%s, %s, %s, %s, %s)",
            (issued.id, f"of-{user}", user, digest(issued.text), ["read", "act"]),
        )
    return {"Authorization": f"Bearer {issued.text}"}


# --- the whole program


@contextlib.contextmanager
def panel_of(port: int) -> Iterator[Transmitter]:
    transmitter = Transmitter(port)
    try:
        transmitter.send(frame(b"\x16"))
        yield transmitter
    finally:
        transmitter.sock.close()


def test_a_check_reaches_the_panel_and_its_answer_whoever_asked(
    database: str, tmp_path: Path, own_broker: Broker, rows: Rows
) -> None:
    rows.site("shed")
    rows.device("shed", PANEL)
    rows.device("shed", "000000000009")
    port = free_port()
    bind = {"EMBERWATCH_GB26875_BIND": f"127.0.0.1:{port}"}
    with Program(tmp_path, mqtt=own_broker.url, database=database, more=bind) as program, panel_of(port) as panel:
        panel.answer()  # it is known now
        check = program.post(f"devices/shed/{PANEL}/duty-check", {"minutes": 7})
        assert next_check(panel) == bytes((91, 1, 7))
        wait_until(lambda: _state(program, check["id"]) == "sent")
        panel.send(frame(ANSWER, serial=9))
        wait_until(lambda: _state(program, check["id"]) == "answered")
        said = program.call("duty-check", f"shed/{PANEL}-1.1", check=False)
        assert said.returncode == 1 and "no device" in said.stderr
        assert "sent" in program.call("duty-check", f"shed/{PANEL}", "--minutes", "3").stdout
        assert next_check(panel) == bytes((91, 1, 3))
        said = program.call("duty-check", "shed/000000000009", check=False)
        assert said.returncode == 1 and "no transmitter 000000000009 is connected" in said.stdout
        states = [each["state"] for each in program.get("duty-checks")["items"]]
        assert states == ["not_connected", "sent", "answered"]


def next_check(panel: Transmitter) -> bytes:
    """The next duty check, confirmed; so is the setting of the clock before it."""
    while True:
        command = panel.command()
        panel.send(frame(b"", serial=command.serial, command=CONFIRM))
        if command.unit[0] == 91:
            return command.unit


def _state(program: Program, check: str) -> str:
    return str(program.get(f"duty-checks/{check}")["state"])
