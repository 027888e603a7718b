"""Devices at a real broker that asks us: who gets in, what is refused and seen, and what holds without the database."""

from __future__ import annotations

import csv
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from api import cli
from api.__main__ import bind
from ingest.database import connect
from ingest.inventory import Device, DeviceClass, InventoryDelta, Site
from ingest.inventory_file import export_inventory, import_inventory
from tests.support.asking_broker import asking_broker
from tests.support.broker import wait_until
from tests.support.database import fresh_database
from tests.support.http import TOKEN, Served, served
from tests.support.program import as_url

pytestmark = pytest.mark.integration

A, B = "shed-12/head-1", "shed-12/head-2"
TOWN = InventoryDelta(
    sites=[Site(id="shed-12")],
    devices=[
        Device(id="head-1", site="shed-12"),
        Device(id="head-2", site="shed-12", gateway="gw"),
        Device(id="head-3", site="shed-12", credential="cert"),
        Device(id="gw", site="shed-12", device_class=DeviceClass.GATEWAY),
    ],
)
SOURCES = ("ember/v1/+/+/telemetry", "ember/v1/+/+/alarm")


class Town:
    """A database with devices, the command line over it, and the secrets it gave them."""

    def __init__(self, database: str, folder: Path, call: Callable[..., str]) -> None:
        self.database, self.folder, self.call = database, folder, call
        with connect(database) as connection:
            import_inventory(connection, TOWN)
        call("device", "secrets", "--out", "secrets.csv")
        with (folder / "secrets.csv").open(encoding="utf-8") as file:
            self.secrets = {row["user"]: row["secret"] for row in csv.DictReader(file)}
        self.hook = call("token", "create", "broker", "--scope", "hook").strip()

    def served(self) -> Any:
        return served(self.database, data=self.folder / "data", sources=SOURCES)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBERWATCH_DATA_DIR", str(tmp_path / "data"))

    def call(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert cli.main(words) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return call


@pytest.fixture
def town(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., str]) -> Town:
    monkeypatch.setenv("EMBERWATCH_DATABASE_URL", as_url(database))
    return Town(database, tmp_path, call)


def answer(api: Served, town: Town, path: str, question: dict[str, Any], *, form: bool = False) -> httpx.Response:
    headers = {"Authorization": f"Bearer {town.hook}"}
    body: dict[str, Any] = {"data": question} if form else {"json": question}
    return httpx.post(f"{api.url}/api/v1/broker/{path}", headers=headers, **body)


def allows(api: Served, town: Town, user: str, secret: str) -> bool:
    """What EMQX is answered, once the inventory was read."""
    question = {"username": user, "password": secret}
    wait_until(lambda: answer(api, town, "authenticate", question).status_code == 200, what="the inventory read")
    result: str = answer(api, town, "authenticate", question).json()["result"]
    return result == "allow"


class Caller:
    """An MQTT 3.1.1 client; `code` is what the broker answered its CONNECT with."""

    def __init__(self, address: str, user: str, secret: str) -> None:
        self.heard: list[str] = []
        self.code: int | None = None
        self.granted: list[int] = []
        answered, self._subscribed = threading.Event(), threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.username_pw_set(user, secret)

        def on_connect(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            self.code = code.value
            answered.set()

        def on_subscribe(_client: Any, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
            self.granted = [code.value for code in codes]
            self._subscribed.set()

        self._client.on_connect, self._client.on_subscribe = on_connect, on_subscribe
        self._client.on_message = lambda _client, _data, message: self.heard.append(message.topic)
        host, _, port = address.partition(":")
        self._client.connect(host, int(port))
        self._client.loop_start()
        assert answered.wait(20), "no CONNACK"

    def subscribe(self, filter_: str) -> list[int]:
        self._subscribed.clear()
        self._client.subscribe(filter_, 1)
        assert self._subscribed.wait(20), "no SUBACK"
        return self.granted

    def publish(self, topic: str) -> None:
        self._client.publish(topic, b"{}", 1).wait_for_publish(20)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def at(address: str, user: str, secret: str) -> Iterator[Caller]:
    caller = Caller(address, user, secret)
    try:
        yield caller
    finally:
        caller.close()


def refusals(api: Served, **wanted: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (
        api.client.get("/api/v1/broker/refusals", params=wanted).raise_for_status().json()["items"]
    )
    return items


def test_devices_at_a_real_broker(town: Town) -> None:
    ours = town.call("token", "create", "roles", "--scope", "broker").strip()
    with town.served() as api:
        wait_until(lambda: allows(api, town, A, town.secrets[A]), what="A known")
        with asking_broker(api.url, town.hook) as address:
            with at(address, "emberwatch", ours) as receiver, at(address, A, town.secrets[A]) as a:
                assert receiver.code == a.code == 0
                assert receiver.subscribe("ember/v1/+/+/telemetry") == [1]
                assert a.subscribe("ember/v1/+/+/telemetry") == [128]
                assert a.subscribe(f"ember/v1/{A}/command") == [1]
                a.publish(f"ember/v1/{B}/telemetry")
                a.publish(f"ember/v1/{A}/telemetry")
                wait_until(lambda: receiver.heard, what="A's own message")
                assert receiver.heard == [f"ember/v1/{A}/telemetry"], "A as B never came through"
                with at(address, "shed-12/gw", town.secrets["shed-12/gw"]) as gateway:
                    gateway.publish(f"ember/v1/{B}/telemetry")
                    wait_until(lambda: len(receiver.heard) == 2, what="B's message by its gateway")
            for user, secret in ((A, "wrong"), (A, town.secrets[B]), ("shed-12/head-3", ""), ("emberwatch", town.hook)):
                with at(address, user, secret) as stranger:
                    assert stranger.code != 0, user
        wait_until(lambda: len(refusals(api)) == 5, what="refusals kept")
        spoof = refusals(api, what="publish")
        assert [(row["user"], row["topic"], row["reason"], row["count"]) for row in spoof] == [
            (A, f"ember/v1/{B}/telemetry", "not_its_topic", 1)
        ]
        wrong = refusals(api, reason="wrong_secret")
        assert sorted((row["user"], row["count"]) for row in wrong) == [("emberwatch", 1), (A, 2)]
        assert [row["user"] for row in refusals(api, reason="certificate_needed")] == ["shed-12/head-3"]
        metrics = httpx.get(f"{api.url}/metrics").text
        assert 'emberwatch_api_broker_refused_total{reason="not_its_topic",what="publish"} ' in metrics
        assert town.secrets[A] not in metrics + api.client.get("/api/v1/broker/refusals").text


@contextmanager
def away(postgres: str, database: str) -> Iterator[None]:
    """Take a database from its users, and give it back."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]

    def rename(old: str, new: str) -> None:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (old,))
            connection.execute(f"ALTER DATABASE {old} RENAME TO {new}".encode())

    rename(str(name), f"{name}_away")
    try:
        yield
    finally:
        rename(f"{name}_away", str(name))


def test_devices_connect_while_the_database_is_away_and_after_a_restart_of_ours(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., str]
) -> None:
    with fresh_database(postgres) as database:
        monkeypatch.setenv("EMBERWATCH_DATABASE_URL", as_url(database))
        town = Town(database, tmp_path, call)
        with town.served() as api:
            assert allows(api, town, A, town.secrets[A])
            with away(postgres, database):
                assert allows(api, town, A, town.secrets[A]) and not allows(api, town, A, "wrong")
        for kept in ("broker-devices.jsonl", "broker-tokens.json"):
            file = tmp_path / "data" / kept
            assert file.stat().st_mode & 0o777 == 0o600
            assert not any(secret in file.read_text() for secret in (*town.secrets.values(), town.hook))
        with away(postgres, database), town.served() as api:
            assert allows(api, town, A, town.secrets[A]) and not allows(api, town, A, "wrong")
            topic = {"username": A, "action": "publish", "topic": f"ember/v1/{B}/alarm"}
            assert answer(api, town, "authorize", topic).json() == {"result": "deny"}
        with town.served() as api:  # what was refused without a database was not kept; from here on it is
            assert not allows(api, town, A, "wrong")
            wait_until(lambda: refusals(api), what="refusals kept")


def test_a_new_secret_counts_within_seconds_and_the_old_one_no_more(town: Town) -> None:
    with town.served() as api:
        assert allows(api, town, A, town.secrets[A])
        fresh = town.call("device", "secret", A).strip()
        assert len(fresh) == 43
        wait_until(lambda: allows(api, town, A, fresh), what="the new secret known")
        assert not allows(api, town, A, town.secrets[A])
        with connect(town.database) as connection:
            import_inventory(connection, InventoryDelta(devices=[Device(id="new", site="shed-12", credential="cert")]))
        certified = {"username": "shed-12/new", "password": "", "cert_common_name": "shed-12/new"}
        wait_until(
            lambda: answer(api, town, "authenticate", certified).json()["result"] == "allow", what="a new device"
        )
        assert answer(api, town, "authenticate", certified | {"cert_common_name": A}).json()["result"] == "deny"


def test_secrets_are_made_for_those_without_any_and_go_the_way_of_an_import(town: Town) -> None:
    assert set(town.secrets) == {A, B, "shed-12/gw"}
    assert (town.folder / "secrets.csv").stat().st_mode & 0o777 == 0o600
    with connect(town.database) as connection:
        before = export_inventory(connection)
        changes = connection.execute("SELECT count(*) FROM inventory_changes").fetchone()
        assert [device.credential for device in before.devices if device.id == "head-3"] == ["cert"]
    assert "0 devices" in town.call("device", "secrets", "--out", "more.csv")
    assert "exists already" in town.call("device", "secrets", "--out", "more.csv", code=1)
    assert "no device shed-12/head-9" in town.call("device", "secret", "shed-12/head-9", code=1)
    town.call("inventory", "export", "town.csv")
    assert not any(secret in (town.folder / "town.csv").read_text() for secret in town.secrets.values())
    town.call("inventory", "import", "town.csv")
    with connect(town.database) as connection:
        assert export_inventory(connection) == before
        assert connection.execute("SELECT count(*) FROM inventory_changes").fetchone() == changes
    assert town.call("device", "secret", A, "--out", "one") == ""
    assert (town.folder / "one").stat().st_mode & 0o777 == 0o600


def test_only_a_caller_with_the_right_may_ask_and_only_in_a_form_we_know(town: Town) -> None:
    read = town.call("token", "create", "r", "--scope", "read").strip()
    question = {"username": A, "password": town.secrets[A]}
    with town.served() as api:
        assert allows(api, town, A, town.secrets[A])
        url = f"{api.url}/api/v1/broker/authenticate"
        assert httpx.post(url, json=question).status_code == 401
        forbidden = httpx.post(url, json=question, headers={"Authorization": f"Bearer {read}"})
        assert forbidden.status_code == 403 and "scope hook" in forbidden.json()["detail"]
        basic = api.url.replace("http://", f"http://any:{quote(town.hook)}@")
        assert httpx.post(f"{basic}/api/v1/broker/authenticate", json=question).json() == {"result": "allow"}
        assert answer(api, town, "authenticate", question, form=True).json() == {"result": "allow"}
        for path, wrong in (("authenticate", {"username": A}), ("authorize", question), ("rabbitmq/topic", question)):
            refused = answer(api, town, path, wrong)
            assert refused.status_code == 422 and "the body has no" in refused.json()["detail"]
            assert town.secrets[A] not in refused.text
        assert answer(api, town, "nothing", question).status_code == 404
        assert answer(api, town, "authenticate", {"username": "x" * 500_000}).status_code == 413
        hook = {"Authorization": f"Bearer {town.hook}"}
        assert httpx.get(url, headers=hook).status_code == 405
        assert httpx.get(f"{api.url}/api/v1/broker/refusals", headers=hook).status_code == 403
        assert httpx.post(url, content=b"\xff", headers=hook).status_code == 422


def test_before_the_inventory_was_ever_read_a_broker_is_asked_to_come_again(tmp_path: Path) -> None:
    with served("postgresql://nobody@127.0.0.1:1/none", data=tmp_path) as api:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        question = {"username": A, "password": "x"}
        came = httpx.post(f"{api.url}/api/v1/broker/authenticate", json=question, headers=headers)
        assert came.status_code == 503 and came.headers["retry-after"] == "3"


def test_the_server_is_told_that_it_speaks_tcp() -> None:
    """Else asyncio leaves Nagle's algorithm on, and the second half of each answer waits 40 ms for a distant nod."""
    with bind("127.0.0.1:0") as listener:
        assert listener.proto == socket.IPPROTO_TCP
