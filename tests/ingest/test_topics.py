"""Topics and filters: MQTT's rules by table, and overlap proved against matches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.topics import (
    EmberKind,
    EmberTopic,
    Matcher,
    ember_topic,
    matches,
    overlap,
    parse_ember,
    valid_filter,
    valid_topic,
)

MATCHES = [
    ("a/b", "a/b", True),
    ("a/b", "a/c", False),
    ("a/b", "a/b/c", False),
    ("a/b/c", "a/b", False),
    ("a/+", "a/b", True),
    ("a/+", "a", False),
    ("a/+", "a/", True),
    ("a/+", "a/b/c", False),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("a/#", "a", True),
    ("a/#", "a/b/c", True),
    ("a/#", "ab", False),
    ("#", "a/b", True),
    ("#", "/", True),
    ("#", "$SYS/broker", False),
    ("+/broker", "$SYS/broker", False),
    ("$SYS/#", "$SYS/broker", True),
    ("a/#", "a/$SYS", True),
    ("a/+/c", "a/$x/c", True),
    ("火/+/烟", "火/一/烟", True),
    ("a.c", "abc", False),
    ("a/#", "a/b\nc", True),
]


@pytest.mark.parametrize(("filter_", "topic", "expected"), MATCHES)
def test_a_filter_matches_as_mqtt_says(filter_: str, topic: str, expected: bool) -> None:
    assert matches(filter_, topic) is expected
    assert (Matcher([filter_]).match(topic) == filter_) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a/+", "+/b", True),
        ("a/+", "b/+", False),
        ("a/#", "a", True),
        ("a/#", "+", True),
        ("a/b/#", "a", False),
        ("a/b/#", "a/+/c", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/#", False),
        ("$SYS/#", "$SYS/+/y", True),
        ("+", "+/+", False),
        ("ember/v1/+/+/alarm", "ember/v1/+/+/telemetry", False),
        ("ember/v1/+/+/telemetry", "ember/v1/+/telemetry", False),
        ("ember/v1/+/+/alarm", "ember/#", True),
    ],
)
def test_filters_overlap_when_a_topic_can_match_both(a: str, b: str, expected: bool) -> None:
    assert overlap(a, b) is expected
    assert overlap(b, a) is expected


LEVEL = st.sampled_from(["a", "b", "", "$s"])
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, rest: "/".join(levels + rest),
    st.lists(st.one_of(LEVEL, st.just("+")), max_size=3),
    st.sampled_from([[], ["#"]]),
).filter(bool)


@given(FILTERS, FILTERS, TOPICS)
def test_a_topic_that_matches_both_filters_proves_their_overlap(a: str, b: str, topic: str) -> None:
    if matches(a, topic) and matches(b, topic):
        assert overlap(a, b)


def _levels(a: list[str], b: list[str]) -> list[str]:
    """A topic in the overlap of two filters: the named level of the two, else a plain one."""
    width = max(len(part) - (part[-1] == "#") for part in (a, b)) or 1
    chosen = []
    for index in range(width):
        named = [part[index] for part in (a, b) if index < len(part) and part[index] not in ("+", "#")]
        chosen.append(named[0] if named else "a")
    return chosen


@given(FILTERS, FILTERS)
def test_filters_that_overlap_have_a_topic_that_matches_both(a: str, b: str) -> None:
    topic = "/".join(_levels(a.split("/"), b.split("/")))
    if topic:
        assert overlap(a, b) is (matches(a, topic) and matches(b, topic))


@given(st.lists(FILTERS, max_size=5), TOPICS)
def test_the_matcher_finds_a_filter_exactly_when_one_matches(filters: list[str], topic: str) -> None:
    matcher = Matcher(filters, cache=2)
    found = matcher.match(topic)
    assert (found is not None) is any(matches(filter_, topic) for filter_ in filters)
    assert found is None or matches(found, topic)
    assert Matcher(reversed(filters)).match(topic) == found
    assert matcher.match(topic) == found


def test_the_most_specific_filter_wins_in_any_order() -> None:
    filters = ["#", "a/#", "a/+/c", "a/b/#", "a/b/+", "a/b/c"]
    for topic, expected in [
        ("a/b/c", "a/b/c"),
        ("a/b/d", "a/b/+"),
        ("a/b", "a/b/#"),
        ("a/x/c", "a/+/c"),
        ("a/x/y", "a/#"),
        ("z", "#"),
        ("$SYS/a", None),
    ]:
        assert Matcher(filters).match(topic) == expected


def test_the_cache_stays_within_its_bound() -> None:
    matcher = Matcher(["a/#"], cache=10)
    for number in range(100):
        assert matcher.match(f"a/{number}") == "a/#"
    assert len(matcher._cache) <= 10


@pytest.mark.parametrize("filter_", ["a", "/", "+", "#", "a/#", "+/+/x", "$SYS/#", "a//b", "a/ b"])
def test_a_sound_filter_has_no_problem(filter_: str) -> None:
    assert valid_filter(filter_) is None


@pytest.mark.parametrize(
    "filter_", ["", "a#", "a/#/b", "#/a", "a+/b", "a/b+", "\0", "x" * 65_536, "$share/g/a", "\ud800"]
)
def test_an_unsound_filter_has_a_problem_in_words(filter_: str) -> None:
    problem = valid_filter(filter_)
    assert problem and "\n" not in problem


@pytest.mark.parametrize("topic", ["", "a/+", "#", "\0", "火" * 30_000])
def test_an_unsound_topic_has_a_problem_in_words(topic: str) -> None:
    assert valid_topic(topic)
    assert valid_topic("a/b/火") is None


@pytest.mark.parametrize(
    ("kind", "topic"),
    [
        (EmberKind.TELEMETRY, "ember/v1/s1/d1/telemetry"),
        (EmberKind.ALARM, "ember/v1/s1/d1/alarm"),
        (EmberKind.STATUS, "ember/v1/s1/d1/status"),
        (EmberKind.COMMAND, "ember/v1/s1/d1/command"),
        (EmberKind.COMMAND_ACK, "ember/v1/s1/d1/command/ack"),
    ],
)
def test_native_topics_are_built_and_read_back(kind: EmberKind, topic: str) -> None:
    assert ember_topic(kind=kind, site="s1", device="d1") == topic
    assert parse_ember(topic) == EmberTopic(kind=kind, site="s1", device="d1")
    assert str(parse_ember(topic)) == topic


def test_a_gateway_speaks_for_its_site() -> None:
    topic = ember_topic(kind=EmberKind.GATEWAY_TELEMETRY, site="s1")
    assert topic == "ember/v1/s1/telemetry"
    assert parse_ember(topic) == EmberTopic(kind=EmberKind.GATEWAY_TELEMETRY, site="s1")


@pytest.mark.parametrize(
    "topic",
    [
        "ember/v2/s/d/telemetry",
        "ember/v1/s",
        "ember/v1//d/alarm",
        "ember/v1/s//alarm",
        "ember/v1/s/d/other",
        "ember/v1/s/d/telemetry/x",
        "ember/v1/s/alarm",
        "",
    ],
)
def test_other_topics_are_not_native(topic: str) -> None:
    assert parse_ember(topic) is None


@pytest.mark.parametrize("name", ["", "a/b", "+", "x#", "\0"])
def test_a_name_that_is_no_topic_level_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="topic level"):
        ember_topic(kind=EmberKind.TELEMETRY, site="s", device=name)
