"""Sparkplug B beyond what golden folders can show: sessions, aliases, rebirths, bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs import sparkplug_nodes
from ingest.codecs.contract import PAYLOAD_LIMIT, CodecMemory, Decoded, UndecodableYet
from ingest.codecs.sparkplug_b import decode
from ingest.codecs.sparkplug_payload import number, read, rebirth_request
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import QUANTITIES, SECOND, STATES
from ingest.sources import Source
from tests.support.data import sample
from tests.support.hostile import affordable
from tests.support.sparkplug import TYPES, block, metric, payload, properties, varint
from tests.support.sparkplug import number as number_field

NBIRTH, NDATA, NDEATH = (f"spBv1.0/Sheds/{kind}/gw-01" for kind in ("NBIRTH", "NDATA", "NDEATH"))
DBIRTH, DDATA, DDEATH = (f"spBv1.0/Sheds/{kind}/gw-01/head-1" for kind in ("DBIRTH", "DDATA", "DDEATH"))
NOW = 1_795_284_000 * SECOND
AT = NOW // 1000
SOURCE = Source(filter="spBv1.0/#", codec="sparkplug-b")
TWINS = ("nbirth", "dbirth", "ndata", "ddata", "ndeath", "ncmd", "dcmd")
SHED = ("shed_1_nbirth", "shed_2_dbirth_alias", "shed_3_ddata_alias_only", "shed_4_ddata_gap", "shed_5_ddata_null")


class Host:
    """A listener that has heard of nobody."""

    def __init__(self) -> None:
        self.memory: CodecMemory = {}
        self.now = NOW

    def hears(self, topic: str, body: bytes, **headers: Any) -> Decoded:
        message = Message(topic=topic, source=SOURCE.filter, received_at=self.now, **headers)
        return decode(message, body, SOURCE, self.memory)

    def session(self, *, bd_seq: int = 0, smoke_alias: int = 1) -> Host:
        """A birth of the node and one of its head."""
        self.hears(NBIRTH, payload(metric("bdSeq", bd_seq, kind="UInt64"), seq=0, at=AT))
        self.hears(DBIRTH, payload(metric("Smoke", False, alias=smoke_alias), seq=1, at=AT))
        return self


def hexed(name: str) -> bytes:
    return bytes.fromhex(sample(f"sparkplug_b/{name}.hex").read_text())


def smoke(value: bool = True, *, alias: int = 1, seq: int | None = 2) -> bytes:
    return payload(metric("", value, alias=alias, typed=False), seq=seq, at=AT)


@pytest.mark.parametrize("name", TWINS)
def test_bytes_say_what_their_twin_in_json_says(name: str) -> None:
    twin = json.loads(sample(f"sparkplug_b/spec_{name}.json").read_text())
    found = read(hexed(f"spec_{name}"))
    said = [
        {
            "name": each.name,
            "timestamp": each.timestamp,
            "dataType": each.datatype,
            "value": number(each, each.datatype),
        }
        for each in found.metrics
    ]
    assert said == [{**each, "dataType": TYPES[each["dataType"]]} for each in twin["metrics"]]
    assert (found.timestamp, found.seq) == (twin["timestamp"], twin.get("seq"))


def test_the_request_for_a_rebirth_is_that_of_the_specification() -> None:
    assert rebirth_request(1486144502122) == hexed("spec_ncmd")


def test_unknown_aliases_are_set_aside_and_their_birth_is_asked_for_once() -> None:
    host = Host()
    with pytest.raises(UndecodableYet, match=r'alias 1 .* "Sheds/gw-01"') as caught:
        host.hears(DDATA, smoke())
    (request,) = caught.value.requests
    assert (request.topic, request.payload) == ("spBv1.0/Sheds/NCMD/gw-01", rebirth_request(AT))
    with pytest.raises(UndecodableYet) as again:
        host.hears(DDATA, smoke(seq=3))
    assert again.value.requests == ()
    assert host.session().hears(DDATA, smoke()).observations[0].states == {"smoke_alarm": True}


def test_a_node_that_does_not_answer_is_asked_again_after_a_minute() -> None:
    host = Host()
    named = payload(metric("Smoke", True), seq=2, at=AT)
    assert host.hears(DDATA, named).requests
    host.now += 59 * SECOND
    assert not host.hears(DDATA, named).requests
    host.now += 2 * SECOND
    assert host.hears(DDATA, named).requests


def test_a_gap_asks_for_a_rebirth_and_loses_nothing_that_is_known() -> None:
    host = Host().session()
    assert not host.hears(DDATA, smoke(seq=2)).requests
    gap = host.hears(DDATA, smoke(seq=4))
    assert len(gap.requests) == 1
    assert gap.observations[0].states == {"smoke_alarm": True}
    assert not host.hears(DDATA, smoke(seq=9)).requests, "asked already"
    host.session()
    assert host.hears(DDATA, smoke(seq=3)).requests, "a birth came since"


def test_known_metrics_are_told_beside_unknown_ones() -> None:
    host = Host().session()
    mixed = payload(metric("", True, alias=1, typed=False), metric("", 5, alias=99, typed=False), seq=2, at=AT)
    decoded = host.hears(DDATA, mixed)
    assert decoded.observations[0].states == {"smoke_alarm": True}
    assert len(decoded.requests) == 1


def test_data_with_a_name_do_not_take_away_what_the_birth_said() -> None:
    host = Host()
    host.hears(DBIRTH, payload(metric("Temperature", 77, alias=1, kind="Int8", props=properties(engUnit="°F")), seq=1))
    for named in ("Temperature", ""):
        body = payload(metric(named, -40, alias=1, kind="Int8", typed=False), seq=2, at=AT)
        assert host.hears(DDATA, body).observations[0].values == {"temperature": pytest.approx(-40.0)}


def test_numbers_wrap_and_may_come_twice_or_be_left_out_where_they_are_0() -> None:
    host = Host().session()
    for seq in [*range(2, 256), 255, 0, 1, 2]:
        assert not host.hears(DDATA, smoke(seq=seq)).requests, seq
    host.hears(NBIRTH, payload(metric("bdSeq", 0, kind="UInt64"), seq=255, at=AT))
    assert not host.hears(DBIRTH, payload(metric("Smoke", False, alias=1), at=AT)).requests
    assert not host.hears(DDATA, smoke(seq=1)).requests


def test_node_and_devices_share_one_count() -> None:
    host = Host().session()
    assert not host.hears(NDATA, payload(metric("Temperature", 21.5), seq=2, at=AT)).requests
    assert not host.hears(DDATA, smoke(seq=3)).requests
    assert not host.hears(DDEATH, payload(seq=4, at=AT)).requests
    assert host.hears(NDATA, payload(metric("Temperature", 21.5), seq=4 + 2, at=AT)).requests


def test_a_new_session_makes_old_aliases_unknown() -> None:
    host = Host().session(smoke_alias=1)
    host.hears(NBIRTH, payload(metric("bdSeq", 1, kind="UInt64"), seq=0, at=AT))
    with pytest.raises(UndecodableYet):
        host.hears(DDATA, smoke(alias=1, seq=1))


@pytest.mark.parametrize("headers", [{"retain": True}, {"backlog": True}])
def test_what_a_broker_kept_neither_counts_nor_replaces_what_is_known(headers: dict[str, bool]) -> None:
    host = Host().session(bd_seq=5)
    old = payload(metric("bdSeq", 3, kind="UInt64"), metric("Temperature", 20.0, alias=1), seq=77, at=AT)
    assert host.hears(NBIRTH, old, **headers).requests == ()
    assert host.hears(DDATA, smoke(seq=2)).observations[0].states == {"smoke_alarm": True}
    assert host.hears(NDEATH, payload(metric("bdSeq", 3, kind="UInt64"))).observations == ()
    assert Host().hears(NBIRTH, old, **headers).observations[0].states == {"online": True}
    with pytest.raises(UndecodableYet) as caught:
        host.hears(DDATA, smoke(alias=2, seq=9), **headers)
    assert caught.value.requests == ()


def test_a_death_takes_all_living_devices_with_it_once() -> None:
    host = Host().session(bd_seq=7)
    host.hears("spBv1.0/Sheds/DBIRTH/gw-01/head-2", payload(metric("Smoke", False, alias=2), seq=2, at=AT))
    host.hears("spBv1.0/Sheds/DDEATH/gw-01/head-2", payload(seq=3, at=AT))
    died = host.hears(NDEATH, payload(metric("bdSeq", 7, kind="Int64"), at=AT))
    assert [each.device for each in died.observations] == ["gw-01", "head-1"]
    assert {each.states["online"] for each in died.observations} == {False}
    assert {each.observed_at for each in died.observations} == {None}, "a will tells the time of the connect"
    assert [each.device for each in host.hears(NDEATH, b"").observations] == ["gw-01"]
    assert host.hears(DDATA, smoke(seq=4)).requests, "data without a birth after a death"


def test_history_is_told_as_history() -> None:
    body = payload(
        metric("Smoke", True, at=AT - 5000, historical=True), metric("Smoke", False, at=AT - 5000), seq=0, at=AT
    )
    old, new = Host().hears(DDATA, body).observations
    assert (old.historical, old.states) == (True, {"smoke_alarm": True})
    assert (new.historical, new.states) == (False, {"smoke_alarm": False})
    assert old.observed_at == new.observed_at == NOW - 5 * SECOND


def test_a_fire_is_told_beside_what_makes_no_sense() -> None:
    odd = metric("Heat Alarm", "perhaps")
    with pytest.raises(Undecodable, match="heat_alarm"):
        Host().hears(DDATA, payload(odd, seq=0, at=AT))
    (told,) = Host().hears(DDATA, payload(odd, metric("Smoke", True), seq=0, at=AT)).observations
    assert told.states == {"smoke_alarm": True}


def test_what_is_remembered_survives_a_checkpoint() -> None:
    host = Host()
    host.hears(NBIRTH, hexed("shed_1_nbirth"))
    host.hears("spBv1.0/Sheds/DBIRTH/gw-01/head-1", hexed("shed_2_dbirth_alias"))
    carried = Host()
    carried.memory = msgspec.msgpack.decode(msgspec.msgpack.encode(host.memory), type=dict[str, object])
    for name in ("shed_3_ddata_alias_only", "shed_4_ddata_gap", "shed_7_ndeath"):
        topic = NDEATH if "ndeath" in name else DDATA
        assert carried.hears(topic, hexed(name)) == host.hears(topic, hexed(name))
    assert carried.memory == host.memory


def test_invented_names_do_not_grow_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, bound in {"NODES": 20, "OF_NODE": 30, "OF_ALL": 100}.items():
        monkeypatch.setattr(sparkplug_nodes, name, bound)
    host = Host()
    for index in range(200):
        many = [
            metric(f"m{index}.{alias}", 1.5, alias=alias, props=properties(engUnit="x" * 500)) for alias in range(9)
        ]
        host.hears(f"spBv1.0/Sheds/DBIRTH/gw-{index // 3}/{index}", payload(*many, seq=0, at=AT))
        nodes: Any = host.memory["nodes"]
        entries = [len(node["metrics"]) + len(node["devices"]) for node in nodes.values()]
        assert host.memory["size"] == sum(entries) <= 100
        assert len(nodes) <= 20
        assert max(entries) <= 30
    assert len(msgspec.msgpack.encode(host.memory)) < 100 * 200
    host.session().hears(DDATA, smoke())


def test_a_node_that_speaks_is_not_the_one_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparkplug_nodes, "NODES", 3)
    host = Host().session()
    for index in range(10):
        host.hears(f"spBv1.0/Sheds/NBIRTH/invented-{index}", payload(metric("bdSeq", 0, kind="UInt64"), seq=0, at=AT))
        assert host.hears(DDATA, smoke(seq=2)).observations[0].states == {"smoke_alarm": True}


@given(value=st.integers(-(2**31), 2**31 - 1), kind=st.sampled_from(["Int8", "Int16", "Int32", "Int64"]))
def test_signed_numbers_come_back_by_the_type_of_the_birth(value: int, kind: str) -> None:
    bits = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}[kind]
    value = (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    for typed in (True, False):
        (sent,) = read(payload(metric("x", value, kind=kind, typed=typed))).metrics
        assert number(sent, TYPES[kind]) == value


@given(value=st.floats(-1000, 1000, width=32))
def test_single_precision_is_read_as_it_was_written(value: float) -> None:
    shortest = float(f"{value:.7g}")
    (sent,) = read(payload(metric("x", shortest, kind="Float"))).metrics
    assert sent.value == pytest.approx(shortest, rel=1e-6, abs=1e-30)
    assert len(repr(sent.value)) <= 14


topics = st.sampled_from([NBIRTH, NDATA, NDEATH, DBIRTH, DDATA, DDEATH, "-"])
samples = st.sampled_from([*(f"spec_{name}" for name in TWINS), *SHED, "shed_7_ndeath"])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = bytearray(hexed(draw(samples)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


def holds(host: Host, topic: str, body: bytes) -> None:
    """Whatever the bytes: understood with sound values, or set aside in one line."""
    try:
        decoded = host.hears(topic, body)
    except Undecodable as error:
        assert str(error).isprintable()
        return
    for each in decoded.observations:
        assert each.device
        assert set(each.values) <= set(QUANTITIES) and all(math.isfinite(value) for value in each.values.values())
        assert set(each.states) <= set(STATES) and all(type(value) is bool for value in each.states.values())
    msgspec.msgpack.encode(host.memory)


@settings(max_examples=300, deadline=None)
@given(sent=st.lists(st.tuples(topics, st.one_of(mutated(), st.binary(max_size=80))), max_size=6))
def test_no_bytes_break_it(sent: list[tuple[str, bytes]]) -> None:
    host = Host()
    for topic, body in sent:
        holds(host, topic, body)


@settings(max_examples=100, deadline=None)
@given(
    topic=st.one_of(st.text(max_size=40), st.lists(st.sampled_from(["spBv1.0", "STATE", "NDATA", "DDATA", "", "a"])))
)
def test_no_topic_breaks_it(topic: str | list[str]) -> None:
    text = topic if isinstance(topic, str) else "/".join(topic)
    holds(Host(), text, payload(metric("Smoke", True), seq=0, at=AT))


def nested(depth: int) -> bytes:
    inner = metric("Smoke", True)
    for _ in range(depth):
        inner = metric("t", kind="Template", template=[inner])
    return payload(inner, seq=0, at=AT)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "metrics of nothing": lambda: b"\x12\x00" * (PAYLOAD_LIMIT // 2),
    "fields nobody knows": lambda: b"\x78\x01" * (PAYLOAD_LIMIT // 2),
    "numbers of ten bytes": lambda: (b"\xf8" + b"\xff" * 9 + b"\x01") * (PAYLOAD_LIMIT // 11),
    "a number without an end": lambda: b"\xff" * PAYLOAD_LIMIT,
    "unknown aliases": lambda: b"".join(block(2, number_field(2, alias)) for alias in range(9_000)),
    "a time each": lambda: payload(*(metric("Temperature", 1.5, at=AT + each) for each in range(4_000)), seq=0),
    "a name each": lambda: payload(*(metric(f"{each}/Temperature", 1.5, alias=each) for each in range(3_900)), seq=0),
    "one name of all bytes": lambda: payload(metric("/" * (PAYLOAD_LIMIT - 100), 1.5, alias=1), seq=0),
    "names that match late": lambda: payload(*(metric("1/" * 95, 1.5, alias=each) for each in range(1_000)), seq=0),
    "templates in templates": lambda: nested(3_000),
    "a length beyond all": lambda: b"\x12" + varint(2**63),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_payloads_cost_little(what: str) -> None:
    body = HOSTILE[what]()
    assert len(body) <= PAYLOAD_LIMIT
    assert affordable(lambda: holds(Host(), DBIRTH, body))
