"""sources.yaml: what loads, and how everything wrong with one is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.codecs import CODECS
from ingest.errors import ConfigError
from ingest.sources import Clock, allow_list
from ingest.sources_file import load_sources, parse_sources

ROOT = Path(__file__).parents[2]


def problems(*entries: str) -> list[str]:
    """What is wrong with these sources, one a line from line 2 on."""
    text = "sources:\n" + "".join(f"  - {entry}\n" for entry in entries)
    with pytest.raises(ConfigError) as caught:
        parse_sources(text, "s.yaml")
    return caught.value.problems


def test_the_packaged_sources_take_in_the_native_topics() -> None:
    sources = load_sources(None)
    assert {(source.filter, source.urgent) for source in sources.sources} == {
        ("ember/v1/+/+/alarm", True),
        ("ember/v1/+/+/telemetry", False),
        ("ember/v1/+/telemetry", False),
        ("ember/v1/+/+/status", False),
        ("ember/v1/+/+/command/ack", False),
        ("gb26875/+", True),
    }
    assert {source.filter for source in sources.sources if not source.by_broker} == {"gb26875/+"}
    assert sources.shards() == {"main": Clock.RECEIVED}
    assert "ember/v1/+/+/alarm" in sources.text
    assert parse_sources(sources.text, "again") == sources


def test_the_commented_example_loads_and_explains_every_key() -> None:
    path = ROOT / "deploy" / "config" / "sources.yaml"
    sources = load_sources(path)
    assert sources.shards() == {"main": Clock.RECEIVED, "recording": Clock.OBSERVED}
    text = path.read_text(encoding="utf-8")
    for key in sources.sources[0].__struct_fields__:
        assert f"{key}:" in text, key
    assert all(source in sources.sources for source in load_sources(None).sources)


def test_the_recording_of_the_interfaces_loads() -> None:
    text = """sources:
  - {filter: "recording/#", codec: json-map, clock: observed, enrol: true, site: lab, device: "$.device_id",
     time: "$.ts", fields: {temperature: "$.data.temp", humidity: "$.data.humidity", co: null}}
"""
    (source,) = parse_sources(text, "s.yaml").sources
    assert (source.shard, source.clock, source.enrol) == ("recording", Clock.OBSERVED, True)
    assert source.fields == {"temperature": "$.data.temp", "humidity": "$.data.humidity", "co": None}


def test_every_problem_is_said_at_once_with_its_line() -> None:
    assert problems('{filtr: "a/#", codec: ember-json}', '{filter: "a/#/b", codec: ember-jsn}', "7") == [
        "s.yaml:4: a source is a mapping such as {filter: …, codec: …}",
        "s.yaml:2: unknown key filtr; did you mean filter?",
        "s.yaml:2: filter is missing; name the topics, such as zigbee2mqtt/#",
        "s.yaml:3: filter 'a/#/b': # must stand alone as the last level, such as a/b/#",
        "s.yaml:3: unknown codec ember-jsn; did you mean ember-json?",
    ]


MAP = 'filter: "m/#", codec: json-map, device: x'


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ('{filter: "a", codec: zigbee2mqt}', "unknown codec zigbee2mqt; did you mean zigbee2mqtt?"),
        ('{filter: "a"}', f"codec is missing; known: {', '.join(CODECS)}"),
        ('{filter: "a", codec: ember-json, urgent: "yes"}', "urgent: 'yes' is neither true nor false"),
        ('{filter: "a", codec: ember-json, shard: 7}', "shard: 7 is no text; put it into quotes"),
        (
            '{filter: "a", codec: ember-json, shard: "../x"}',
            "shard '../x' cannot be a folder's name; use at most 32 of a-z, 0-9, - and _,"
            " beginning with a letter or digit",
        ),
        ('{filter: "a", codec: ember-json, clock: obsrved}', "clock: 'obsrved' is none; did you mean observed?"),
        ('{filter: "a", codec: ember-json, site: x}', "site: ember-json finds this by itself; remove the key"),
        (
            '{filter: "a", codec: ember-json, zone: Mars}',
            "zone: unknown time zone 'Mars'; write one such as Asia/Shanghai, UTC or +08:00",
        ),
        (
            "{" + MAP + ", fields: {temprature: $.x, co: $.c}}",
            "fields: unknown quantity or state temprature; did you mean temperature?",
        ),
        ("{" + MAP + ", fields: {co: 3, fault: $.f}}", "fields: co: 3 is no path; write one such as $.co"),
        (
            "{" + MAP + ', fields: {co: "$.a[*]", fault: $.f}}',
            "fields: co: path '$.a[*]': cannot read '[*]'; plain look-ups only, such as $.a.b, $.a[0].b or $['x y']",
        ),
        (
            "{" + MAP + ", fields: {co: a.b, fault: $.f}}",
            "fields: co: 'a.b' is no path; a path starts at the root, such as $.data.temp",
        ),
        (
            "{" + MAP + ", fields: {co: null}}",
            "fields: nothing is mapped; write at least one such as {temperature: $.temp}",
        ),
        ("{" + MAP + ", fields: [co]}", "fields: maps names to paths, such as {temperature: $.temp}"),
        (
            "{" + MAP + ", time: ts, fields: {co: $.c}}",
            "time: 'ts' is no path; a path starts at the root, such as $.data.temp",
        ),
        (
            '{filter: "m/#", codec: json-map, fields: {co: $.c}}',
            "device: json-map must know it; write $.path, topic:2 or the id itself",
        ),
        (
            '{filter: "m/#", codec: json-map, device: "topic:0", fields: {co: $.c}}',
            "device: 'topic:0' is no topic level; count levels from 1, such as topic:2",
        ),
        (
            '{filter: "m/#", codec: json-map, device: "a/b", fields: {co: $.c}}',
            "device: 'a/b' is no name; write one without /, topic:2, $.path or inventory",
        ),
        (
            "{" + MAP + ", enrol: true, fields: {co: $.c}}",
            "enrol: unknown devices need a site; write site: as $.path, topic:2 or a name",
        ),
        (
            "{" + MAP + ", enrol: yes please, fields: {co: $.c}}",
            "enrol: 'yes please' is neither true, false nor a list such as [00158d*, shed-7/*]",
        ),
        (
            '{filter: "a", codec: zigbee2mqtt, enrol: []}',
            "enrol: [] is neither true, false nor a list such as [00158d*, shed-7/*]",
        ),
        (
            '{filter: "a", codec: zigbee2mqtt, enrol: ["x*", 15]}',
            "enrol: 15 is no pattern; write a device id or site/id, in quotes, where * stands for anything",
        ),
        (
            '{filter: "a", codec: zigbee2mqtt, gateway: $.gw}',
            "gateway: '$.gw' is what a device says of itself; only a topic can vouch for a gateway: write topic:2, or"
            " its id where there is one alone",
        ),
        ('{filter: "a/+", codec: zigbee2mqtt, gateway: "topic:3"}', "gateway: a/+ has 2 levels, not topic:3"),
        ('{filter: "a", codec: ember-json, gateway: g1}', "gateway: ember-json finds this by itself; remove the key"),
        (
            '{filter: "a", codec: zigbee2mqtt, rate_per_minute: 59}',
            "rate_per_minute: 59 is no limit; write readings a minute, 60 or more, or 0 for no limit",
        ),
        (
            '{filter: "a", codec: zigbee2mqtt, gateway_rate_per_minute: true}',
            "gateway_rate_per_minute: True is no limit; write readings a minute, 60 or more, or 0 for no limit",
        ),
    ],
)
def test_one_problem_of_one_source(entry: str, problem: str) -> None:
    found = [line.removeprefix("s.yaml:2: ") for line in problems(entry)]
    assert problem in found
    assert len(found) == 1 or "fields: nothing is mapped" in found[-1]


def test_an_allow_list_and_limits_are_read() -> None:
    text = """sources:
  - {filter: "z/#", codec: zigbee2mqtt, enrol: ["00158d*", "shed-7/*"], gateway: "topic:2", rate_per_minute: 0}
"""
    (source,) = parse_sources(text, "s.yaml").sources
    assert (source.enrol, source.gateway) == (("00158d*", "shed-7/*"), "topic:2")
    assert (source.rate_per_minute, source.gateway_rate_per_minute) == (0, 60_000)


@pytest.mark.parametrize(
    ("patterns", "site", "device", "listed"),
    [
        (("00158d*",), "shed", "00158d01", True),
        (("00158d*",), "shed", "00158D01", False),
        (("00158d*",), "00158d", "x", False),
        (("head-?",), "shed", "head-1", True),
        (("head-?",), "shed", "head-12", False),
        (("head-[12]",), "shed", "head-2", True),
        (("x", "shed-7/*"), "shed-7", "anything", True),
        (("x", "shed-7/*"), "shed-77", "anything", False),
        (("*",), "shed", "a/b", True),
        (("shed/a*",), "shed", "a/b", True),
        (("a.c",), "shed", "abc", False),
    ],
)
def test_an_allow_list_takes_whole_ids(patterns: tuple[str, ...], site: str, device: str, listed: bool) -> None:
    allowed = allow_list(patterns)
    assert allowed is not None and allowed(site, device) is listed


def test_a_shard_has_one_clock() -> None:
    assert problems(
        '{filter: "a", codec: ember-json}', '{filter: "b", codec: ember-json, clock: observed, shard: main}'
    ) == ["s.yaml:3: shard main runs on clock received (s.yaml:2); name another shard for one of them"]


def test_a_filter_stands_once_and_connections_do_not_overlap() -> None:
    assert problems('{filter: "a", codec: ember-json}', '{filter: "a", codec: ember-json, urgent: true}') == [
        "s.yaml:3: filter a stands twice (s.yaml:2); keep one"
    ]
    assert problems('{filter: "a/#", codec: ember-json}', '{filter: "a/+/b", codec: ember-json, urgent: true}') == [
        "s.yaml:3: a/+/b and a/# (s.yaml:2) overlap and only one is urgent;"
        " a message would arrive twice: narrow one filter"
    ]
    assert problems('{filter: "a/#", codec: ember-json}', '{filter: "a/b", codec: ember-json, shard: s}') == [
        "s.yaml:3: a/b and a/# (s.yaml:2) overlap and are of two shards;"
        " a message would arrive twice: narrow one filter"
    ]


def test_ordinary_filters_of_one_shard_may_overlap() -> None:
    text = 'sources:\n  - {filter: "a/#", codec: ember-json}\n  - {filter: "a/+", codec: ember-json}\n'
    assert len(parse_sources(text, "s.yaml").of("main")) == 2


@pytest.mark.parametrize("text", ["", "[]", "sources:", "sources: []", "sources: {a: b}", "7"])
def test_a_file_without_sources_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^s\.yaml:1: no sources; write sources:"):
        parse_sources(text, "s.yaml")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file or directory; name an existing file$"):
        load_sources(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('{filter: "push/+", codec: onenet}', "s.yaml:2: filter push/+ names no push; write push/NAME"),
        ('{filter: "push/a/b", codec: onenet}', "s.yaml:2: filter push/a/b names no push"),
        ('{filter: "push", codec: onenet}', "s.yaml:2: filter push names no push"),
        (
            '{filter: "a/b", codec: onenet, secret_file: k}',
            "s.yaml:2: secret_file: only a source with filter push/NAME",
        ),
        ('{filter: "push/a", codec: ember-json}', "s.yaml:2: codec ember-json finds site and device in MQTT topics"),
    ],
)
def test_a_push_has_a_name_a_secret_may_be_of_a_push_alone(entry: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sources(f"sources:\n  - {entry}\n", "s.yaml")
    assert caught.value.problems[0].startswith(says)


def test_a_push_has_the_name_it_is_called_by() -> None:
    text = (
        'sources:\n  - {filter: "push/onenet-1", codec: onenet, secret_file: one.key}\n  - {filter: a, codec: onenet}\n'
    )
    pushed, other = parse_sources(text, "s.yaml").sources
    assert (pushed.pushed, pushed.secret_file, pushed.by_broker) == ("onenet-1", "one.key", False)
    assert other.pushed == ""
