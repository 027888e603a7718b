"""Scenario files: what is wrong with one is said all at once, with its line and what would be right."""

from __future__ import annotations

import pytest

from ingest.errors import ConfigError, OperatorError
from simulators.scenarios.events import EVENTS
from simulators.scenarios.story import load, names, parse

GOOD = """\
name: mine
says: Something happens.
lasts: 10m
events:
  - {at: 60s, what: battery_fire, called: first, where: {kind: shed}, lead: 20s}
  - {at: 2m, what: growing_fire, where: {same_as: first, bay: next}}
  - {at: 3m, what: charges, called: pile, where: {device: pile}}
"""

WANTED = (
    "quiet_day battery_fire smoulder arson_two_sheds neighbour_spread re_ignition hot_roof fog cooking dust_drift "
    "welding stuck_sensor dying_batteries gateway_loss carrier_loss clock_drift device_reboot power_cut storm "
    "restart_after_protective_stop"
)


def wrong(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "mine.yaml")
    return caught.value.problems


def test_every_scenario_of_the_issue_is_packaged_and_named_like_its_file() -> None:
    assert set(WANTED.split()) == set(names())
    assert all(load(name).name == name and load(name).says.strip() for name in names())


def test_a_good_file_is_read_with_its_units() -> None:
    story = parse(GOOD, "mine.yaml")
    assert story.lasts_s == 600.0
    assert [kind for kind, _ in story.events] == ["battery_fire", "growing_fire", "charges"]
    assert [event.at for _, event in story.events] == [60.0, 120.0, 180.0]
    assert story.events[1][1].where.same_as == "first"


def test_all_problems_come_at_once_each_with_its_line() -> None:
    problems = wrong("""\
name: mine
says: Something happens.
lasts: soon
evnts: []
events:
  - {at: 60s, what: batery_fire}
  - {at: 60s, what: smoulder, lasts: 5 min}
  - {at: 60s, what: growing_fire, growth: fst, colour: red}
  - {at: 60s, what: stuck, quantity: temprature}
  - {at: 60s, what: hot_roof, sun: 7}
  - smoulder
""")
    assert [problem.split(": ")[0] for problem in problems] == [
        f"mine.yaml:{line}" for line in (4, 3, 6, 7, 8, 8, 9, 10, 11)
    ]
    said = "\n".join(problems)
    for right in (
        "did you mean events?",
        "a duration such as 10s",
        "did you mean battery_fire?",
        "'5 min' is not right",
        "did you mean fast?",
        "unknown key colour",
        "did you mean temperature?",
        "a number from 0 to 1",
        "such as {at: 60s, what: battery_fire}",
    ):
        assert right in said


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("{at: 20m, what: battery_fire}", "after the end of the story"),
        ("{what: battery_fire, where: {same_as: frist}}", "no earlier event is called frist; did you mean first?"),
        ("{what: battery_fire, where: {next_to: first, bay: same}}", "bay: same needs same_as"),
        ("{what: battery_fire, where: {whole: streat}}", "did you mean street?"),
        ("{what: battery_fire, where: shed}", "is no mapping"),
        ("{what: battery_fire, called: first}", "stands twice"),
        ("{what: drift, quantity: smoke}", "per_day is missing; give a number"),
        ("{what: says, states: {smokealarm: true}}", "is not right; give a mapping of"),
        ("{what: away, spread: -1s}", "a duration"),
        ("{what: glitches, quantity: smoke, by: .nan}", "by: nan is not right; give a number"),
        ("{what: battery_fire, lead: 20}", "lead: 20 is not right; give a duration"),
        ("{what: battery_fire, lead: 367d}", "lead: '367d' is not right; give a duration"),
        ("{what: glitches, quantity: smoke, by: 1.0e+300}", "by: 1e+300 is not right; give a number"),
        ("{what: dying_battery, percent: 101}", "percent: 101 is not right; give a number from 0 to 100"),
        ("{what: reboot, where: {device: head, count: -1}}", "count: -1 is not right; give a whole number from 0"),
        ("{what: battery_fire, where: {bay: -1}}", "bay: -1 is not right; give any or same or next or a whole number"),
        ("{what: cooking, where: {bay: 2}}", "bay: 2 is for fires; leave it out"),
        ("{what: smoulder, where: {same_as: pile, bay: next}}", "bay: next needs same_as: the name of an earlier fire"),
        ("{what: smoulder, where: {same_as: first, next_to: pile}}", "exclude each other; keep one"),
        ("{what: smoulder, where: {next_to: first, pick: 2}}", "exclude each other; keep one"),
        ("{what: fog, where: {kind: shop}}", "weather needs whole: street, … or no where at all"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_at_its_line(line: str, right: str) -> None:
    (problem,) = wrong(f"{GOOD}  - {line}\n")
    assert problem.startswith("mine.yaml:8: ") and right in problem


def test_an_event_that_is_wrong_itself_is_not_also_missing_to_those_that_name_it() -> None:
    (problem,) = wrong(GOOD.replace("lead: 20s", "lead: 20"))
    assert problem.startswith("mine.yaml:5: ")


def test_the_town_of_a_story_is_checked_too() -> None:
    problems = wrong(GOOD + "town: {sites: 0, devices: many, start: 2026-05-12T14:00:00, intervall: 10s}\n")
    assert len(problems) == 4
    assert any("a time before 2100 with its zone, quoted" in problem for problem in problems)
    for town, right in (
        ("{sites: 9, devices: 8}", "devices: 8 for 9 sites; give each site one at least"),
        ("{interval: 0s}", "interval: less than 1ms; give more, or leave it out"),
        ('{start: "9999-12-31T23:59:00Z"}', "a time before 2100"),
    ):
        (problem,) = wrong(f"{GOOD}town: {town}\n")
        assert problem.startswith("mine.yaml:8: ") and right in problem


def test_a_story_lasts() -> None:
    assert wrong(GOOD.replace("lasts: 10m", "lasts: 0s")) == [
        "mine.yaml:3: lasts: 0 is not right; give a duration above 0"
    ]


def test_what_is_no_story_at_all_is_said_in_one_line() -> None:
    assert len(wrong("- a\n- b\n")) == 1
    assert len(wrong("")) == 1
    assert "not valid YAML" in wrong("name: [\n")[0]


def test_a_name_that_is_none_brings_a_near_one_and_a_missing_file_its_path() -> None:
    with pytest.raises(OperatorError, match=r"no scenario batery_fire; did you mean battery_fire\?"):
        load("batery_fire")
    with pytest.raises(OperatorError, match=r"nowhere/mine.yaml: no such file"):
        load("nowhere/mine.yaml")


def test_every_kind_of_event_says_what_it_is() -> None:
    assert all(cls.__doc__ and not cls.__doc__.startswith(cls.__name__ + "(") for cls in EVENTS.values())
