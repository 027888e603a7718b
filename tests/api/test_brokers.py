"""What brokers are answered: the index, the desk, the words of each broker, what is kept of refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.brokers_desk import OUR_USER, Desk, Reason, What
from api.brokers_dialects import QUESTIONS, Unreadable, check_needs, read_fields
from api.brokers_index import BrokerIndex
from api.brokers_refusals import KEPT, LINES, QUIET, Herald, Refusals, Refused
from api.brokers_snapshot import MachineTokens, read_devices, write_devices
from api.tokens import Token
from ingest.credentials import mint
from ingest.inventory import Device, DeviceClass, InventoryDelta
from ingest.permissions import Action, allowed, permission

NOW = 1_772_352_000_000_000
HEAD, OTHER, CERTIFIED, BARE, BRIDGE, GATEWAY = "s/head", "s/other", "s/certified", "s/bare", "s/bridge", "s/gw"
MINTED = mint()
#: Words for passwords that differ in each run, so that tests keep their names.
PASSWORDS = {"its secret": MINTED.secret, "a sign more": MINTED.secret + "x", "its hash": MINTED.credential}
TOWN = [
    Device(id="head", site="s", credential=MINTED.credential),
    Device(id="other", site="s", gateway="gw", credential=mint().credential),
    Device(id="certified", site="s", credential="cert"),
    Device(id="bare", site="s"),
    Device(id="bridge", site="s", credential="cert", attributes={"publish": ["zigbee2mqtt/#"], "floor": 1}),
    Device(id="gw", site="s", device_class=DeviceClass.GATEWAY, credential="cert"),
    Device(id="a+b", site="s", credential=MINTED.credential),
    Device(id="head", site="t", gateway="gw", credential=MINTED.credential),
]


def desk(devices: list[Device] = TOWN) -> tuple[Desk, list[tuple[str, What, str, Reason]]]:
    """A desk over these devices, and what it was heard to refuse."""
    noted: list[tuple[str, What, str, Reason]] = []
    made = Desk(is_ours="ours".__eq__, sources=["ember/v1/#"], note=lambda *refused: noted.append(refused))
    made.index = BrokerIndex(devices)
    return made, noted


@pytest.mark.parametrize(
    ("user", "password", "common_name", "reason"),
    [
        (HEAD, "its secret", "", None),
        (HEAD, "a sign more", "", Reason.WRONG_SECRET),
        (HEAD, "its hash", "", Reason.WRONG_SECRET),
        (HEAD, "", "", Reason.WRONG_SECRET),
        (HEAD, "", HEAD, Reason.WRONG_SECRET),
        (OTHER, "its secret", "", Reason.WRONG_SECRET),
        (CERTIFIED, "", CERTIFIED, None),
        (CERTIFIED, "", HEAD, Reason.CERTIFICATE_NEEDED),
        (CERTIFIED, "cert", "", Reason.CERTIFICATE_NEEDED),
        (CERTIFIED, "", "undefined", Reason.CERTIFICATE_NEEDED),
        (BARE, "", "", Reason.NO_CREDENTIAL),
        (BARE, "", BARE, Reason.NO_CREDENTIAL),
        ("s/nobody", "its secret", "", Reason.UNKNOWN_USER),
        ("head", "its secret", "", Reason.UNKNOWN_USER),
        ("", "", "", Reason.NO_USER),
        ("s/a+b", "its secret", "", Reason.UNFIT_NAME),
        (OUR_USER, "ours", "", None),
        (OUR_USER, "theirs", OUR_USER, Reason.WRONG_SECRET),
    ],
)
def test_who_may_connect(user: str, password: str, common_name: str, reason: Reason | None) -> None:
    here, noted = desk()
    assert here.connect(user, PASSWORDS.get(password, password), common_name) is reason
    assert noted == ([] if reason is None else [(user, What.CONNECT, "", reason)])


@pytest.mark.parametrize(
    ("user", "action", "topic", "reason"),
    [
        (HEAD, Action.PUBLISH, "ember/v1/s/head/telemetry", None),
        (HEAD, Action.PUBLISH, "ember/v1/s/other/telemetry", Reason.NOT_ITS_TOPIC),
        (HEAD, Action.PUBLISH, "ember/v1/t/head/telemetry", Reason.NOT_ITS_TOPIC),
        (HEAD, Action.PUBLISH, "ember/v1/s/telemetry", Reason.NOT_ITS_TOPIC),
        (HEAD, Action.PUBLISH, "zigbee2mqtt/x", Reason.NOT_ITS_TOPIC),
        (HEAD, Action.PUBLISH, "", Reason.NOT_ITS_TOPIC),
        (HEAD, Action.SUBSCRIBE, "ember/v1/s/head/command", None),
        (HEAD, Action.SUBSCRIBE, "#", Reason.NOT_ITS_TOPIC),
        (HEAD, Action.SUBSCRIBE, "ember/v1/s/+/command", Reason.NOT_ITS_TOPIC),
        (GATEWAY, Action.PUBLISH, "ember/v1/s/telemetry", None),
        (GATEWAY, Action.PUBLISH, "ember/v1/s/other/alarm", None),
        (GATEWAY, Action.SUBSCRIBE, "ember/v1/s/other/command", None),
        (GATEWAY, Action.PUBLISH, "ember/v1/s/head/alarm", Reason.NOT_ITS_TOPIC),
        (GATEWAY, Action.PUBLISH, "ember/v1/t/head/alarm", Reason.NOT_ITS_TOPIC),
        (BRIDGE, Action.PUBLISH, "zigbee2mqtt/x", None),
        (BRIDGE, Action.PUBLISH, "zigbee2mqtt/+", Reason.NOT_ITS_TOPIC),
        ("s/nobody", Action.PUBLISH, "ember/v1/s/nobody/telemetry", Reason.UNKNOWN_USER),
        ("", Action.SUBSCRIBE, "#", Reason.NO_USER),
        ("s/a+b", Action.PUBLISH, "ember/v1/s/a+b/telemetry", Reason.UNFIT_NAME),
        (OUR_USER, Action.SUBSCRIBE, "ember/v1/+/+/alarm", None),
        (OUR_USER, Action.PUBLISH, "ember/v1/s/head/command", None),
        (OUR_USER, Action.PUBLISH, "ember/v1/s/head/alarm", Reason.NOT_ITS_TOPIC),
    ],
)
def test_who_may_publish_and_subscribe(user: str, action: Action, topic: str, reason: Reason | None) -> None:
    here, noted = desk()
    assert here.act(user, action, topic) is reason
    assert noted == ([] if reason is None else [(user, What(action.value), topic, reason)])


# --- the index

_devices = st.builds(
    Device,
    id=st.sampled_from(["a", "b", "g", "x/y"]),
    site=st.sampled_from(["s", "t"]),
    gateway=st.sampled_from(["", "g", "a"]),
    device_class=st.sampled_from([DeviceClass.GATEWAY, DeviceClass.SIREN]),
    credential=st.sampled_from(["", "cert", MINTED.credential]),
    attributes=st.sampled_from([{}, {"floor": 1}, {"publish": ["z2m/#"]}, {"subscribe": ["z2m/a"], "publish": 3}]),
)
TOPICS = [*(f"ember/v1/{s}/{d}/{k}" for s in "st" for d in "abg" for k in ("alarm", "command")), "z2m/a"]
ASKED = [(action, topic) for action in Action for topic in TOPICS]


@given(st.lists(st.lists(_devices, max_size=4), max_size=5))
def test_the_index_allows_what_the_whole_inventory_would(changes: list[list[Device]]) -> None:
    index = BrokerIndex()
    last: dict[str, Device] = {}
    for change in changes:
        index.apply(InventoryDelta(devices=change))
        last |= {f"{device.site}/{device.id}": device for device in change}
    assert len(index) == len(last)
    for user, device in last.items():
        held, whole = index.device(user), permission(device, last.values())
        assert held is not None
        for action, topic in ASKED:
            here = allowed(index.permission(held, topic), action, topic)
            assert here is allowed(whole, action, topic), (user, action, topic)


@given(st.lists(_devices, max_size=12))
def test_what_is_in_the_index_makes_the_same_index(devices: list[Device]) -> None:
    index, last = BrokerIndex(devices), {(device.site, device.id): device for device in devices}
    again = {(device.site, device.id): device for device in BrokerIndex(index.devices()).devices()}
    assert again == {(device.site, device.id): device for device in index.devices()}
    for key, device in last.items():
        assert (again[key].gateway, again[key].credential) == (device.gateway, device.credential)


def test_a_device_that_is_removed_is_nobody_any_more() -> None:
    index = BrokerIndex(TOWN)
    index.apply(InventoryDelta(removed_devices=[BRIDGE, OTHER, "s/nobody"]))
    assert index.device(BRIDGE) is None and index.credential(OTHER) is None and len(index) == len(TOWN) - 2


def test_the_file_brings_the_same_index_back_and_one_cut_short_is_noticed(tmp_path: Path) -> None:
    file, index = tmp_path / "data" / "devices", BrokerIndex(TOWN)
    write_devices(file, index.devices(), len(index))
    assert list(BrokerIndex(read_devices(file)).devices()) == list(index.devices())
    assert file.stat().st_mode & 0o777 == 0o600 and [path.name for path in file.parent.iterdir()] == ["devices"]
    lines = file.read_bytes().splitlines(keepends=True)
    for damaged in (lines[:-1], [*lines[:-1], lines[-1][:-5]], lines[1:], [b"\0" * 100]):
        file.write_bytes(b"".join(damaged))
        with pytest.raises((ValueError, msgspec.DecodeError)):
            BrokerIndex(read_devices(file))


def test_tokens_of_machines_are_kept_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    every = {
        name: Token(id=name, name=name, digest=name.encode(), scopes=(scope,), last_used_at=NOW)
        for name, scope in (("a", "hook"), ("b", "broker"), ("c", "push:ctwing"), ("d", "read"), ("e", "admin"))
    }
    assert MachineTokens(file).read() == {}
    kept = MachineTokens(file)
    kept.write(every)
    assert set(MachineTokens(file).read()) == {"a", "b", "c"} and file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    kept.write({id: msgspec.structs.replace(token, last_used_at=NOW + 1) for id, token in every.items()})
    assert not file.exists(), "that a token was used is no reason to write"
    file.write_bytes(b"[{")
    assert MachineTokens(file).read() == {}


# --- the words of each broker

JSON, FORM = "application/json; charset=utf-8", "application/x-www-form-urlencoded"


def asked(path: str, **fields: Any) -> tuple[int, bytes]:
    question = QUESTIONS[path]
    given = read_fields(msgspec.json.encode(fields), JSON)
    check_needs(question, given)
    status, _, body = question.answer(question.ask(desk()[0], given))
    return status, body


def test_emqx_is_always_answered_with_200_because_any_other_status_asks_the_next() -> None:
    certificate = {"username": CERTIFIED, "password": None, "cert_common_name": CERTIFIED, "clientid": "x"}
    assert asked("authenticate", **certificate) == (200, b'{"result": "allow"}')
    assert asked("authenticate", username=HEAD, password="x") == (200, b'{"result": "deny"}')
    topic = "ember/v1/s/head/alarm"
    assert asked("authorize", username=HEAD, topic=topic, action="publish", qos=1) == (200, b'{"result": "allow"}')
    assert asked("authorize", username=OTHER, topic=topic, action="publish") == (200, b'{"result": "deny"}')


def test_go_auth_and_amqtt_understand_status_and_json_alike() -> None:
    secret = {"username": HEAD, "password": MINTED.secret, "clientid": "x"}
    assert asked("go-auth/authenticate", **secret) == (200, b'{"ok":true,"error":""}')
    assert asked("go-auth/authenticate", username=CERTIFIED, password="", cert_common_name=CERTIFIED)[0] == 403
    for acc, topic, status in (
        (2, "ember/v1/s/head/alarm", 200),
        (2, "ember/v1/s/other/alarm", 403),
        (4, "ember/v1/s/head/command", 200),
        (4, "ember/v1/#", 403),
        (1, "ember/v1/s/head/command", 200),
        (1, "ember/v1/s/other/command", 403),
    ):
        assert asked("go-auth/authorize", username=HEAD, topic=topic, acc=acc, clientid="x")[0] == status


@pytest.mark.parametrize(
    ("path", "fields", "answer"),
    [
        ("user", {"password": MINTED.secret, "client_id": "c", "vhost": "/"}, b"allow"),
        ("user", {"password": "x"}, b"deny"),
        ("user", {}, b"deny"),
        ("user", {"username": CERTIFIED}, b"deny"),
        ("vhost", {"vhost": "/", "ip": "10.0.0.1", "tags": ""}, b"allow"),
        ("vhost", {"username": "guest", "vhost": "/"}, b"deny"),
        ("resource", {"resource": "queue", "name": "mqtt-subscription-cqos1", "permission": "configure"}, b"allow"),
        ("resource", {"resource": "exchange", "name": "amq.topic", "permission": "write"}, b"allow"),
        ("resource", {"resource": "exchange", "name": "amq.topic", "permission": "configure"}, b"deny"),
        ("resource", {"resource": "queue", "name": "orders", "permission": "read"}, b"deny"),
        ("resource", {"username": "guest", "resource": "exchange", "name": "amq.topic", "permission": "read"}, b"deny"),
        ("topic", {"name": "amq.topic", "permission": "write", "routing_key": "ember.v1.s.head.alarm"}, b"allow"),
        ("topic", {"name": "amq.topic", "permission": "write", "routing_key": "ember.v1.s.other.alarm"}, b"deny"),
        ("topic", {"name": "amq.topic", "permission": "read", "routing_key": "ember.v1.s.head.command"}, b"allow"),
        ("topic", {"name": "amq.topic", "permission": "read", "routing_key": "ember.v1.*.*.command"}, b"deny"),
    ],
)
def test_rabbitmq_is_told_allow_or_deny(path: str, fields: dict[str, str], answer: bytes) -> None:
    assert asked(f"rabbitmq/{path}", **{"username": HEAD} | fields) == (200, answer)


def test_a_form_says_the_same_as_json() -> None:
    form = b"username=s%2Fhead&password=a+b%26%E7%81%AB&empty="
    assert read_fields(form, FORM) == {"username": "s/head", "password": "a b&火", "empty": ""}
    assert read_fields('{"a": null, "b": 2, "c": "火"}'.encode(), JSON) == {"a": "", "b": "2", "c": "火"}


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b'{"a": {}}', b'{"a": "\\ud800"}', b"\xff", b'{"a": 1.5}'])
def test_a_body_in_another_form_is_unreadable_in_one_line_without_its_values(body: bytes) -> None:
    with pytest.raises(Unreadable, match="must be a JSON object of texts, or a form"):
        read_fields(body, JSON)
    with pytest.raises(Unreadable):
        read_fields(b"\xff", FORM)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("authorize", {"topic": "t", "action": "receive"}),
        ("go-auth/authorize", {"topic": "t", "acc": 3}),
        ("rabbitmq/topic", {"permission": "configure", "routing_key": "t"}),
        ("authorize", {"topic": "t"}),
    ],
)
def test_a_question_that_its_broker_does_not_ask_is_unreadable(path: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        asked(path, username=HEAD, **fields)


# --- what is kept of refusals


def test_the_same_refusal_is_one_row_and_what_could_not_be_written_comes_back() -> None:
    refusals = Refusals()
    for at in range(3):
        refusals.note(HEAD, What.PUBLISH, "t", Reason.NOT_ITS_TOPIC, NOW + at)
    taken = refusals.take()
    (row,) = taken
    assert (row.count, row.first_at, row.last_at) == (3, NOW, NOW + 2) and refusals.take() == []
    refusals.note(HEAD, What.PUBLISH, "t", Reason.NOT_ITS_TOPIC, NOW + 9)
    refusals.note(HEAD, What.SUBSCRIBE, "t", Reason.NOT_ITS_TOPIC, NOW + 9)
    refusals.give_back(taken)
    assert sorted(row.count for row in refusals.take()) == [1, 4]


def test_strangers_cannot_fill_the_memory_and_the_newest_are_kept() -> None:
    refusals = Refusals()
    for number in range(KEPT + 5):
        refusals.note(f"{number}" + "x" * 70_000, What.CONNECT, "\0" * 70_000, Reason.UNKNOWN_USER, NOW + number)
    rows = refusals.take()
    assert len(rows) == KEPT and rows[-1].user.startswith(str(KEPT + 4)) and rows[0].user.startswith("5x")
    assert all(len(row.user) == 200 and len(row.topic) == 400 and "\0" not in row.topic for row in rows)


def test_the_log_has_a_line_for_each_wish_and_reason_of_a_user_and_then_is_quiet() -> None:
    def refused(user: str, what: What = What.CONNECT, topic: str = "") -> Refused:
        return Refused(
            user=user, what=what, topic=topic, reason=Reason.NOT_ITS_TOPIC, count=2, first_at=NOW, last_at=NOW
        )

    herald = Herald()
    rows = [refused("a", What.PUBLISH, "t"), refused("a", What.PUBLISH, "u"), refused("a", What.SUBSCRIBE)]
    told = herald.worth_telling(rows, NOW)
    assert [(row.what, row.topic, row.count) for row in told] == [(What.PUBLISH, "t", 4), (What.SUBSCRIBE, "", 2)]
    assert herald.worth_telling(rows, NOW + QUIET - 1) == [] and len(herald.worth_telling(rows, NOW + QUIET)) == 2
    flood = [refused(str(number)) for number in range(100)]
    assert len(herald.worth_telling(flood, NOW)) == LINES
