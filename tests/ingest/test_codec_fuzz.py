"""`make fuzz` in small: every family keeps its promises under some hundred changed payloads, and a fault is found."""

from __future__ import annotations

import time

import msgspec
import pytest

from ingest.codecs import CODECS
from ingest.codecs.contract import CodecMemory, Decoded
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Observation
from ingest.sources import Source
from tests.support.fuzz import Finding, Trial, see_again
from tests.support.letters import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_keeps_its_promises(family: str) -> None:
    trial = Trial(family, 1)
    trial.run(400)
    assert [finding.what for finding in trial.tally.findings] == []
    assert trial.tally.payloads >= 400
    assert trial.tally.decoded > trial.tally.payloads / 8  # changed so that they reach deep


def test_the_same_seed_says_the_same() -> None:
    trials = [Trial("tasmota", 7), Trial("tasmota", 7), Trial("tasmota", 8)]
    said = [[trial.changed(told[0]).payload for told in trial.conversations] for trial in trials]
    assert said[0] == said[1] != said[2]


def raises(message: Message, memory: CodecMemory) -> Decoded:
    raise KeyError("temperature")


def dawdles(message: Message, memory: CodecMemory) -> Decoded:
    until = time.thread_time() + 0.06
    while time.thread_time() < until:
        pass
    return Decoded()


def hoards(message: Message, memory: CodecMemory) -> Decoded:
    memory[str(len(memory))] = b"x" * 90_000
    return Decoded()


def remembers_a_set(message: Message, memory: CodecMemory) -> Decoded:
    memory["seen"] = {1}
    return Decoded()


def refuses_in_two_lines(message: Message, memory: CodecMemory) -> Decoded:
    raise Undecodable("one\ntwo")


def speaks_of_nothing_known(message: Message, memory: CodecMemory) -> Decoded:
    return Decoded(observations=(Observation(device="d", site=None, states={"door": True}),))


FAULTS = {
    raises: "KeyError",
    dawdles: "ms of CPU",
    hoards: "remembers",
    remembers_a_set: "another one after a checkpoint",
    refuses_in_two_lines: "the reason is",
    speaks_of_nothing_known: "none of ours",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found_and_can_be_seen_again(fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
        assert callable(fault)
        found: Decoded = fault(message, memory)
        return found

    monkeypatch.setitem(CODECS, "shelly", decode)
    trial = Trial("shelly", 1)
    trial.run(1_100)
    finding = trial.tally.findings[0]
    assert FAULTS[fault] in finding.what  # type: ignore[index]  # parametrize says object
    if fault not in (hoards, remembers_a_set):  # those show at a checkpoint, not in one payload
        assert FAULTS[fault] in see_again(msgspec.json.decode(msgspec.json.encode(finding), type=Finding))  # type: ignore[index]
