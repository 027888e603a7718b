"""A tape is replayed as it is; where ids or times are to change, nothing else does."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingest.errors import OperatorError
from ingest.readings import SECOND
from simulators.__main__ import main
from simulators.tapes.fields import Fields
from simulators.tapes.messagetape import MessageTape
from simulators.tapes.tapefile import Properties, Taped, TapeWriter, read_tape
from simulators.tapes.times import TimeMap, TimeMode
from simulators.wire.messages import Outgoing
from simulators.wire.pace import Pace

NOW = 1_800_000_000 * SECOND
FIRST = 1_700_000_000 * SECOND
TELEMETRY = "ember/v1/s/d/telemetry"


def played(
    messages: list[Taped],
    path: Path,
    *,
    ids: dict[str, str] | None = None,
    fields: Fields | None = None,
    mode: TimeMode = TimeMode.ORIGINAL,
) -> list[Outgoing]:
    with TapeWriter(path) as writer:
        for message in messages:
            writer.put(message)
    tape = MessageTape(path, ids=ids or {}, fields=fields or Fields())
    assert len(tape) == len(messages)
    first, last = tape.span()
    assert (first, last) == (min(m.at for m in messages), max(m.at for m in messages))
    pace = Pace(now=lambda: NOW, stop=threading.Event(), origin=first)
    return list(tape.messages(TimeMap(mode=mode, first=first, moved=0, pace=pace)))


def one(topic: str, payload: bytes, path: Path, **options: object) -> Outgoing:
    (message,) = played([Taped(at=FIRST, topic=topic, payload=payload)], path, **options)  # type: ignore[arg-type]
    return message


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("messages") / "a.tape"


@given(payload=some.binary(max_size=50), mode=some.sampled_from(TimeMode), qos=some.integers(0, 2))
def test_what_holds_no_ids_or_times_is_played_byte_for_byte(
    payload: bytes, mode: TimeMode, qos: int, path: Path
) -> None:
    properties = Properties(content_type="a/b", user={"k": "v"})
    message = Taped(at=FIRST, topic="other/x", payload=payload, qos=qos, retain=True, properties=properties)
    (told,) = played([message], path, mode=mode, ids={"old": "new"})
    assert (told.topic, told.payload, told.qos, told.retain) == ("other/x", payload, qos, True)
    assert told.properties == properties


def test_ids_change_in_topic_levels_and_in_payloads(path: Path) -> None:
    ids = {"d": "new", "e": "other"}
    told = one(TELEMETRY, b'{"ts": 1, "temperature": 2.50}', path, ids=ids)
    assert (told.topic, told.payload) == ("ember/v1/s/new/telemetry", b'{"ts": 1, "temperature": 2.50}')
    told = one("ember/v1/s/telemetry", b'[{"device":"e","ts":1},{"device":"x"}]', path, ids=ids)
    assert json.loads(told.payload) == [{"device": "other", "ts": 1}, {"device": "x"}]
    assert one("a/d/dd", b"online", path, ids=ids).topic == "a/new/dd"
    assert one("a/b", b'{"device":"d"}', path, ids=ids).payload == b'{"device":"d"}'  # not ember-json
    told = one("a/b", b'{"who":{"id":"d"}}', path, ids=ids, fields=Fields(id_field="who.id", anywhere=True))
    assert json.loads(told.payload) == {"who": {"id": "new"}}


@pytest.mark.parametrize(
    ("stated", "then"),
    [
        (1_700_000_000_000, 1_800_000_000_000),
        (1_699_999_900, 1_799_999_900),
        (1_699_999_900.5, 1_799_999_900.5),
        ("2023-11-14T22:13:20Z", "2027-01-15T08:00:00+00:00"),
    ],
)
def test_times_move_with_their_message_and_keep_their_form_and_lateness(
    stated: object, then: object, path: Path
) -> None:
    payload = json.dumps([{"ts": stated}, {"seq": 1}]).encode()
    told = one(TELEMETRY, payload, path, mode=TimeMode.SHIFT_TO_NOW)
    assert json.loads(told.payload) == [{"ts": then}, {"seq": 1}]


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (TELEMETRY, b'{"temperature": 2.50}'),  # without ts it is of when it came
        (TELEMETRY, b'{"ts": "noon"}'),
        (TELEMETRY, b'{"ts": null}'),
        (TELEMETRY, b'{"ts": true}'),
        (TELEMETRY, b"[1, {}]"),
        (TELEMETRY, b"\xff"),
        (TELEMETRY, b"[" * 5_000),
        ("ember/v1/s/d/status", b'{"ts": 1}'),
        ("zigbee2mqtt/d", b'{"ts": 1}'),
    ],
)
def test_what_has_no_time_of_ember_json_is_not_touched(topic: str, payload: bytes, path: Path) -> None:
    assert one(topic, payload, path, mode=TimeMode.SHIFT_TO_NOW).payload == payload


def test_other_payloads_have_times_where_they_are_said_to_be(path: Path) -> None:
    fields = Fields(time_field="data.at", anywhere=True)
    told = one("zigbee2mqtt/d", b'{"data":{"at":1700000001}}', path, mode=TimeMode.SHIFT_TO_NOW, fields=fields)
    assert json.loads(told.payload) == {"data": {"at": 1_800_000_001}}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Taped(at=0, topic="", payload=b""), "cannot be published: "),
        (Taped(at=0, topic="a/#", payload=b""), "cannot be published: topic 'a/#' has a wildcard"),
        (Taped(at=0, topic="a", payload=b"", qos=3), "cannot be published: QoS 3"),
    ],
)
def test_what_no_broker_takes_is_named_by_its_number(message: Taped, said: str, path: Path) -> None:
    with pytest.raises(OperatorError, match=f"message 2: {said}"):
        played([Taped(at=0, topic="fine", payload=b""), message], path)


def test_what_a_tape_cannot_is_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one("t", b"", path)
    for arguments, said in (
        (("--topic", "x"), "--topic: messages of a tape go to their own topics; change levels with --id-map old=new"),
        (("--fires", "1"), "--fires: are mixed into raw-json alone"),
        (("--format", "raw-json"), "a.tape: message 1: not JSON"),
        (("--fire-sites", "a"), "--fire-sites: 1 sites for --fires 0"),
        (("--sent", str(path)), "a.tape: is a file of this command already; name another to write to"),
        (("--done", str(path)), "a.tape: is a file of this command already; name another to write to"),
    ):
        assert main(["replay", str(path), *arguments]) == 1
        complaint = capsys.readouterr().err
        assert said in complaint
        assert complaint.count("\n") == 1
    assert len(list(read_tape(path))) == 1  # it is still there


def test_an_empty_tape_has_nothing_to_replay(tmp_path: Path) -> None:
    TapeWriter(tmp_path / "x.tape").close()
    with pytest.raises(OperatorError, match=r"x\.tape: no messages in it; nothing to replay"):
        MessageTape(tmp_path / "x.tape", ids={}, fields=Fields())
