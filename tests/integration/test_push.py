"""What platforms push over HTTP, through a real socket into a real log, and what admit makes of it there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from api.commands.check import Report, _pushes
from api.push_log import PushLog
from api.pushes import make_pushes, push_shards, secrets_of
from api.tokens import digest, issue
from ingest.admission import Outcome
from ingest.admit import admit
from ingest.broker import Broker
from ingest.codecs.contract import PAYLOAD_LIMIT
from ingest.errors import ConfigError
from ingest.inventory import Device, Inventory, InventoryDelta
from ingest.journal import BEGINNING, Record
from ingest.journal_sqlite import SqliteJournal
from ingest.memory import Memory
from ingest.message import Kind, Message, decode_message
from ingest.readings import Reading
from ingest.role import announce
from ingest.settings import Settings
from ingest.sources_file import parse_sources
from tests.support.data import sample
from tests.support.database import fresh_database
from tests.support.http import TOKEN, Served, clock, served
from tests.support.program import Program

pytestmark = pytest.mark.integration

SECRET = "a-secret-of-the-platform"
AWAY = "postgresql://nobody@127.0.0.1:9/nothing"
SOURCES = """sources:
  - {filter: "push/onenet", codec: onenet, secret_file: onenet.key}
  - {filter: "push/huawei", codec: huawei-iotda, secret_file: huawei.key, urgent: true}
  - {filter: "push/onem2m", codec: onem2m, secret_file: onem2m.key}
  - {filter: "push/ctwing", codec: ctwing, secret_file: ctwing.key, urgent: true}
  - {filter: "push/hook", codec: cloudevents}
  - {filter: "push/notices", codec: onem2m}
"""
DEVICES = ("861931046156398", "860374051096202", "head-1", "d1")


class Platform:
    """An API that takes pushes, its log, and a client that carries no token."""

    def __init__(self, api: Served, journal: SqliteJournal, folder: Path) -> None:
        self.api, self.journal, self.folder = api, journal, folder
        self.client = httpx.Client(base_url=f"{api.url}/api/v1/push/", timeout=20)

    def records(self, kind: Kind = Kind.MESSAGE) -> list[Record]:
        return [record for record in self.journal.messages.read(BEGINNING, 10_000) if record.kind == kind]

    def messages(self) -> list[tuple[Message, bytes]]:
        return [(decode_message(record.meta), record.value) for record in self.records()]

    def readings(self, *more: str) -> list[Reading]:
        """What writer and evaluator read in the log, with all of its devices registered."""
        (sources,) = self.records(Kind.SOURCES)
        inventory = Inventory()
        inventory.apply(InventoryDelta(devices=[Device(id=device, site="shed") for device in (*DEVICES, *more)]))
        memory = Memory(parse_sources(sources.value.decode(), "the log"), inventory)
        admitted = [admit(record, memory) for record in self.records()]
        assert {each.outcome for each in admitted} == {Outcome.STORED}, admitted
        return [reading for each in admitted for reading in each.readings]


@contextlib.contextmanager
def platform(folder: Path, database: str = AWAY, *, quota: int = 0, reserve: int = 0) -> Iterator[Platform]:
    sources = parse_sources(SOURCES, "sources.yaml")
    for source in sources.sources:
        if source.secret_file and not (folder / source.secret_file).exists():
            (folder / source.secret_file).write_text(f"{SECRET}\n", encoding="ascii")
    with contextlib.closing(
        SqliteJournal(folder / "journal", "main", quota_bytes=quota, reserve_bytes=reserve)
    ) as journal:
        assert push_shards(sources) == {"main"}
        logs = {"main": PushLog(journal.messages, shard="main", sources=sources, now=clock)}
        with served(database, pushes=make_pushes(sources, folder, logs)) as api:
            made = Platform(api, journal, folder)
            with made.client:
                yield made


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Platform]:
    """The database is away: nothing on this path may need it."""
    with platform(tmp_path) as made:
        yield made


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text
    return str(answer.json()["detail"])


def counted(source: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("emberwatch_api_pushes_total", {"source": source, "outcome": outcome}) or 0.0


def onenet(msg: str, token: str = SECRET, nonce: str = "C1z3?giR") -> bytes:
    """A classic push as OneNET signs it."""
    signature = base64.b64encode(hashlib.md5((token + nonce + msg).encode()).digest()).decode()
    return f'{{"msg":{msg},"msg_signature":"{signature}","nonce":"{nonce}"}}'.encode()


def huawei(at: int, nonce: str = "n0nce") -> dict[str, str]:
    """The headers that Huawei signs a push with."""
    stamp = str(at // 1000)
    signed = hashlib.sha256("".join(sorted((SECRET, stamp, nonce))).encode()).hexdigest()
    return {"timestamp": stamp, "nonce": nonce, "signature": signed}


def msg_of(path: Path) -> str:
    """The signed part of a recorded push, byte for byte."""
    text = path.read_text(encoding="utf-8")
    return text[text.index('"msg":') + 6 : text.index(',"msg_signature"')]


# --- real messages


def test_a_push_of_onenet_reaches_the_log_as_it_came_and_becomes_a_reading(away: Platform) -> None:
    body = onenet(msg_of(sample("onenet/classic_push_rssi.json")))
    answer = away.client.post("onenet", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert answer.status_code == 200
    ((message, payload),) = away.messages()
    assert payload == body
    assert (message.topic, message.source, message.qos, message.retain) == ("push/onenet", "push/onenet", 1, False)
    assert message.content_type == "application/json; charset=utf-8"
    assert abs(message.received_at - clock()) < 60_000_000
    (reading,) = away.readings()
    assert (reading.site, reading.device) == ("shed", "861931046156398")
    assert reading.device_at == 1_555_904_805_407_000


def test_a_push_of_onenet_studio_is_signed_as_a_text(away: Platform) -> None:
    text = sample("onenet/studio_property_cleaned.json").read_text(encoding="utf-8").strip()
    nonce = "Vz4XqGHa"
    signature = base64.b64encode(hashlib.md5((SECRET + nonce + text).encode()).digest()).decode()
    body = {"msg": text, "nonce": nonce, "signature": signature, "time": 1612768757420, "id": "x"}
    assert away.client.post("onenet", json=body).status_code == 200
    assert {reading.device for reading in away.readings("iot-0001")} == {"iot-0001"}


def test_a_push_of_huawei_becomes_a_fire(away: Platform) -> None:
    body = sample("huawei_iotda/push_property_smoke_composed.json").read_bytes()
    answer = away.client.post("huawei", content=body, headers=huawei(clock()))
    assert answer.status_code == 200
    device = json.loads(body)["notify_data"]["header"]["device_id"]
    states: dict[str, bool] = {}
    for reading in away.readings(device):
        states |= reading.states
    assert states["smoke_alarm"] is True


def test_a_push_of_ctwing_comes_with_a_token_in_its_address(away: Platform) -> None:
    body = sample("ctwing_aep/lian_smoke_dataReport.json").read_bytes()
    assert away.client.post("ctwing", content=body, params={"token": SECRET}).status_code == 200
    assert away.readings()[0].values["temperature"] == 30.0


def test_a_notification_of_onem2m_hears_its_own_code_and_a_check_of_the_address_is_not_logged(away: Platform) -> None:
    check = sample("onem2m/notify_verify.json").read_bytes()
    headers = {"Authorization": f"Bearer {SECRET}", "X-M2M-RI": "rq-1"}
    answer = away.client.post("onem2m", content=check, headers=headers)
    assert (answer.status_code, answer.headers["x-m2m-rsc"], answer.headers["x-m2m-ri"]) == (200, "2000", "rq-1")
    assert away.messages() == []
    body = sample("onem2m/notify_cin_odour.json").read_bytes()
    assert away.client.post("onem2m", content=body, headers=headers).headers["x-m2m-rsc"] == "2000"
    ((_, payload),) = away.messages()
    assert payload == body


def test_attributes_of_a_cloudevent_in_headers_reach_the_codec(away: Platform) -> None:
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/sheds/%E9%87%91", "ce-type": "t", "ce-subject": "d1"}
    # the owner may do everything, so may the owner's token
    answer = away.api.client.post("/api/v1/push/hook", json={"temperature": 21.5}, headers=event)
    assert answer.status_code == 200
    ((message, _),) = away.messages()
    assert message.properties["source"] == "/sheds/金"
    assert [(reading.device, reading.values) for reading in away.readings()] == [("d1", {"temperature": 21.5})]


# --- who may


def test_the_address_check_of_onenet_is_answered_with_its_message(away: Platform) -> None:
    nonce, msg = "abc", "Kq3x"
    signature = base64.b64encode(hashlib.md5((SECRET + nonce + msg).encode()).digest()).decode()
    query = {"msg": msg, "nonce": nonce, "signature": signature}
    answer = away.client.get("onenet", params=query)
    assert (answer.status_code, answer.text) == (200, msg)
    assert "does not fit" in problem(away.client.get("onenet", params=query | {"msg": "other"}), 401)
    assert away.messages() == []


def test_a_wrong_proof_is_refused_and_counted_and_nothing_is_logged(
    away: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {source: counted(source, "refused") for source in ("onenet", "huawei", "ctwing", "onem2m", "hook")}
    old = huawei(clock() - 30 * 3600 * 1_000_000)
    answers = [
        away.client.post("onenet", content=onenet("{}", token="another")),
        away.client.post("huawei", content=b"{}", headers=huawei(clock()) | {"nonce": "other"}),
        away.client.post("huawei", content=b"{}", headers=old),
        away.client.post("ctwing", content=b"{}", params={"token": "guess"}),
        away.client.post("onem2m", content=b"{}"),
        away.client.post("hook", content=b"{}"),
        away.client.post("hook", content=b"{}", headers={"Authorization": "Bearer guess"}),
        away.client.post("onenet", content=b"{}", headers={"Authorization": f"Bearer {TOKEN}"}),
    ]
    for answer in answers:
        problem(answer, 401)
        assert "www-authenticate" in answer.headers
    assert away.messages() == [] == away.records(Kind.SOURCES)
    after = {source: counted(source, "refused") - count for source, count in before.items()}
    assert after == {"onenet": 2, "huawei": 2, "ctwing": 1, "onem2m": 1, "hook": 2}
    said = capsys.readouterr()
    assert "push refused" in said.out + said.err and SECRET not in said.out + said.err


def test_the_same_push_again_is_a_duplicate(away: Platform) -> None:
    """OneNET's signature holds for ever: who repeats a push repeats what it says."""
    body = onenet(msg_of(sample("onenet/classic_push_rssi.json")))
    for _ in range(2):
        assert away.client.post("onenet", content=body).status_code == 200
    memory = Memory(parse_sources(SOURCES, "s"), Inventory())
    memory.inventory.apply(InventoryDelta(devices=[Device(id="861931046156398", site="shed")]))
    outcomes = [admit(record, memory).outcome for record in away.records()]
    assert outcomes == [Outcome.STORED, Outcome.DUPLICATE]


def test_without_a_secret_a_token_with_the_scope_is_needed_and_lasts_while_the_database_is_away(
    postgres: str, tmp_path: Path
) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "x", "type": "t", "subject": "d1", "data": {"co": 1}}
    with fresh_database(postgres) as database, platform(tmp_path, database) as made:
        right, other = token(database, "push:hook"), token(database, "push:other")
        assert made.client.post("hook", json=event, headers=right).status_code == 200
        assert "push:hook" in problem(made.client.post("hook", json=event, headers=other), 403)
        check = made.client.post(
            "notices", json={"m2m:sgn": {"vrq": True}}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert (check.status_code, check.headers["x-m2m-rsc"]) == (200, "2000")
        with taken_away(postgres, database):
            assert made.client.post("hook", json=event, headers=right).status_code == 200
        assert len(made.messages()) == 2


def token(database: str, scope: str) -> dict[str, str]:
    """The header of a new token."""
    issued = issue()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tokens (id, name, digest, scopes) VALUES (%s, %s, %s, %s)",
            (issued.id, scope, digest(issued.text), [scope]),
        )
    return {"Authorization": f"Bearer {issued.text}"}


@contextlib.contextmanager
def taken_away(postgres: str, database: str) -> Iterator[None]:
    """The database is away as long as the context lasts."""
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_away".encode())
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name}_away RENAME TO {name}".encode())


def test_a_secret_that_is_missing_is_named_and_a_new_one_counts_at_once(tmp_path: Path) -> None:
    sources = parse_sources(SOURCES, "sources.yaml")
    (tmp_path / "onenet.key").write_text(" \n", encoding="ascii")
    with pytest.raises(ConfigError) as caught:
        secrets_of(sources, tmp_path)
    assert len(caught.value.problems) == 4
    assert caught.value.problems[0].endswith("onenet.key: is empty; put the shared secret in it")
    assert "source push/huawei" in caught.value.problems[1] and "no such file" in caught.value.problems[1]
    (tmp_path / "onenet.key").write_text(SECRET, encoding="ascii")
    with platform(tmp_path) as made:
        for content, taken in (("the next one", True), ("", True), (None, True), ("the third", True)):
            if content is None:
                (tmp_path / "onenet.key").unlink()
            else:
                (tmp_path / "onenet.key").write_text(content, encoding="ascii")
            secret = content or "the next one"
            answer = made.client.post("onenet", content=onenet("{}", token=secret))
            assert (answer.status_code == 200) is taken, content
        problem(made.client.post("onenet", content=onenet("{}")), 401)


def test_an_address_of_no_source_is_not_there(away: Platform) -> None:
    assert "push/nothing" in problem(away.client.post("nothing", content=b"{}"), 404)
    problem(away.client.post("a/b", content=b"{}"), 404)
    problem(away.client.put("onenet", content=b"{}"), 405)


# --- how much, and how it goes wrong


def test_what_is_too_large_is_refused_before_it_is_read(away: Platform) -> None:
    host, port = away.client.base_url.host, away.client.base_url.port or 0
    with socket.create_connection((host, port), timeout=10) as sock:
        head = f"POST /api/v1/push/ctwing?token={SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 413")

    def endless() -> Iterator[bytes]:
        for _ in range(PAYLOAD_LIMIT // 1000 + 2):
            yield b"x" * 1000

    answer = away.client.post("ctwing", content=endless(), params={"token": SECRET})
    assert str(PAYLOAD_LIMIT) in problem(answer, 413)
    body = b"x" * PAYLOAD_LIMIT
    assert away.client.post("ctwing", content=body, params={"token": SECRET}).status_code == 200
    assert len(away.messages()) == 1


def test_a_compressed_body_is_not_read(away: Platform) -> None:
    answer = away.client.post("ctwing", content=b"x", params={"token": SECRET}, headers={"Content-Encoding": "gzip"})
    assert "uncompressed" in problem(answer, 415)


def test_a_body_that_ends_early_is_nothing(away: Platform) -> None:
    host, port = away.client.base_url.host, away.client.base_url.port or 0
    before = counted("ctwing", "broken")
    with socket.create_connection((host, port), timeout=10) as sock:
        head = f"POST /api/v1/push/ctwing?token={SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
        sock.sendall(head.encode())
    deadline = time.monotonic() + 10
    while counted("ctwing", "broken") == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert away.messages() == []


def test_a_full_log_asks_to_come_again_and_urgent_pushes_have_the_reserve(tmp_path: Path) -> None:
    with platform(tmp_path, quota=4 << 20, reserve=2 << 20) as made:
        body, answer = onenet(f'{{"x":"{"x" * 200_000}"}}'), None
        for _ in range(40):
            answer = made.client.post("onenet", content=body)
            if answer.status_code != 200:
                break
        assert answer is not None and "again" in problem(answer, 503)
        assert answer.headers["retry-after"] == "5"
        kept = len(made.messages())
        assert made.client.post("ctwing", content=b"{}", params={"token": SECRET}).status_code == 200
        assert len(made.messages()) == kept + 1
        assert counted("onenet", "not_kept") >= 1


def test_two_hundred_pushes_at_once_are_all_kept_once_and_share_their_writes(away: Platform) -> None:
    appends: list[int] = []
    append = away.journal.messages.append

    def counting(entries: list[object], **more: object) -> list[int]:
        appends.append(len(entries))
        return append(entries, **more)  # type: ignore[arg-type]

    away.journal.messages.append = counting  # type: ignore[method-assign, assignment]
    bodies = [onenet(f'{{"at":{1_790_000_000_000 + number},"type":1}}') for number in range(200)]

    async def push_all() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=str(away.client.base_url), limits=limits, timeout=60) as client:
            answers = await asyncio.gather(*(client.post("onenet", content=body) for body in bodies))
            return [answer.status_code for answer in answers]

    assert asyncio.run(push_all()) == [200] * 200
    assert sorted(payload for _, payload in away.messages()) == sorted(bodies)
    assert len(appends) < 200


def test_pushes_of_one_sender_stay_in_order_and_wait_while_another_process_writes(away: Platform) -> None:
    bodies = [onenet(f'{{"at":{number},"type":1}}') for number in range(30)]
    away.client.post("onenet", content=bodies[0])
    first = threading.Thread(target=lambda: [away.client.post("onenet", content=body) for body in bodies[1:]])
    with away.journal.messages._turn.taken():
        first.start()
        assert httpx.get(f"{away.api.url}/healthz", timeout=5).status_code == 200  # nobody else waits for the disk
    first.join(30)
    assert [payload for _, payload in away.messages()] == bodies


def test_the_log_is_told_our_sources_only_where_it_lacks_them(tmp_path: Path) -> None:
    text = SOURCES + '  - {filter: "more/#", codec: senml-json}\n'
    with platform(tmp_path) as made:
        made.client.post("ctwing", content=b"{}", params={"token": SECRET})
        assert [record.value.decode() for record in made.records(Kind.SOURCES)] == [SOURCES]
    with platform(tmp_path) as made:
        announce(made.journal.messages, Kind.SOURCES, text, clock)
        made.client.post("ctwing", content=b"{}", params={"token": SECRET})
        assert [record.value.decode() for record in made.records(Kind.SOURCES)] == [SOURCES, text]


def test_check_names_the_pushes_and_the_secrets_that_are_missing(tmp_path: Path) -> None:
    sources = parse_sources(SOURCES, "sources.yaml")
    settings = Settings(sources=str(tmp_path / "sources.yaml"))
    out = io.StringIO()
    report = Report(out)
    _pushes(report, settings, sources)
    assert len(report.problems) == 4 and "ctwing.key: no such file" in report.problems[3]
    for name in ("onenet", "huawei", "onem2m", "ctwing"):
        (tmp_path / f"{name}.key").write_text(SECRET, encoding="ascii")
    _pushes(report, settings, sources)
    assert "platforms push onenet, huawei, onem2m, ctwing, hook (by API token alone)" in out.getvalue()
    assert len(report.problems) == 4 and SECRET not in out.getvalue()


def test_the_program_books_what_is_pushed_and_starts_not_without_a_secret(
    database: str, tmp_path: Path, own_broker: Broker
) -> None:
    text = SOURCES + '  - {filter: "ember/v1/+/+/telemetry", codec: ember-json}\n'
    program = Program(tmp_path, mqtt=own_broker.url, database=database, sources=text)
    refused = subprocess.run(
        [sys.executable, "-m", "api"], env=program.environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert [line.partition(":")[0] for line in refused.stderr.splitlines()] == [
        f"source push/{name}" for name in ("onenet", "huawei", "onem2m", "ctwing")
    ]
    for name in ("onenet", "huawei", "onem2m", "ctwing"):
        (tmp_path / f"{name}.key").write_text(SECRET, encoding="ascii")
    with program:
        address = f"http://127.0.0.1:{program.port}/api/v1/push/"
        body = sample("ctwing_aep/lian_smoke_dataReport.json").read_bytes()
        assert httpx.post(f"{address}ctwing", params={"token": SECRET}, content=body).status_code == 200
        assert httpx.post(f"{address}ctwing", content=body).status_code == 401
        books = program.drained(1)
        assert books["messages"]["received"] == 1 == books["messages"]["quarantined"], "nobody registered the head"
        assert program.get("quarantine")["items"][0]["topic"] == "push/ctwing"
        assert SECRET not in program.log()
