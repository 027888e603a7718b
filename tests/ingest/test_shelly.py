from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.contract import CodecMemory
from ingest.codecs.shelly import PREFIX_LIMIT
from tests.support.promises import keeps_its_promises, mangled, tell

SAMPLES = [
    f"shelly_gen2/{name}"
    for name in (
        "notifystatus_smoke_alarm_composed.json",
        "notifyfullstatus_ht_real.json",
        "notifyfullstatus_plus1_real.json",
        "notifystatus_switch_real.json",
        "status_topic_smoke_composed.json",
        "online_true.txt",
    )
]
TOPICS = ["x/events/rpc", "x/status/smoke:0", "x/status/wifi", "x/online", "/online", "/events/rpc", "x/rpc", "-"]


def frame(src: str, **components: object) -> bytes:
    return json.dumps({"src": src, "method": "NotifyStatus", "params": {"ts": 1736604018.38, **components}}).encode()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TOPICS), mangled(*SAMPLES)), min_size=1, max_size=4))
def test_whatever_arrives_is_decoded_or_refused_in_one_line(told: list[tuple[str, bytes]]) -> None:
    memory: CodecMemory = {}
    for topic, payload in told:
        keeps_its_promises("shelly", topic, payload, memory)


def test_a_flood_of_invented_prefixes_does_not_grow_the_memory() -> None:
    memory: CodecMemory = {}
    for number in range(PREFIX_LIMIT + 10):
        tell("shelly", f"p{number}/events/rpc", frame(f"shellyplussmoke-{number:012x}"), memory)
    tell("shelly", "x" * 300 + "/events/rpc", frame("shellyplussmoke-a0dd6cffee02"), memory)
    assert len(memory) == PREFIX_LIMIT
    assert "p9" not in memory
    assert memory["p10"] == ["shellyplussmoke-00000000000a", True]


def test_a_prefix_handed_on_to_another_device_speaks_for_that_one() -> None:
    memory: CodecMemory = {}
    for src in ("shellyplussmoke-a0dd6cffee02", "shellyplus1-08b61fd141e8"):
        tell("shelly", "shed/events/rpc", frame(src), memory)
        (status,) = tell("shelly", "shed/status/smoke:0", b'{"alarm":true}', memory).observations
        assert status.device == src
    (gone,) = tell("shelly", "shed/online", b"false", memory).observations
    assert gone.states == {"online": False}


def test_a_missing_key_is_not_reported_as_no_smoke() -> None:
    found = tell("shelly", "x/events/rpc", frame("shellyplussmoke-a0dd6cffee02", **{"smoke:0": {"mute": True}}))
    assert [item.states for item in found.observations] == [{"muted": True}]


def test_one_of_two_heads_in_alarm_is_an_alarm() -> None:
    both = {"smoke:0": {"alarm": True}, "smoke:1": {"alarm": False}}
    (item,) = tell("shelly", "x/events/rpc", frame("shellyplussmoke-a0dd6cffee02", **both)).observations
    assert item.states == {"smoke_alarm": True}
