"""teams.yaml: what is understood, and that every slip is named at its line in one run."""

from pathlib import Path

import pytest

from alerts.teams import ChannelType, TeamKind, load_teams, parse_teams
from ingest.errors import ConfigError

ROOT = Path(__file__).parents[2]

MINIMAL = """\
teams:
  - {id: north, name: 北区快速处置队, areas: [yuhua.daishan], kind: full_time, channels: [hook]}
default_team: north
channels:
  hook: {type: webhook, url: "http://127.0.0.1:9000/hook", secret_file: hook.key}   # HMAC-SHA256, hex
"""


def problems(text: str, folder: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_teams(text, "teams.yaml", folder)
    return caught.value.problems


def test_the_minimal_example_is_understood_and_its_secret_is_read_beside_it(tmp_path: Path) -> None:
    (tmp_path / "hook.key").write_bytes(b" s3cret\n")
    (tmp_path / "teams.yaml").write_text(MINIMAL, encoding="utf-8")
    teams = load_teams(tmp_path / "teams.yaml")
    assert teams.default().name == "北区快速处置队"
    assert teams.default().kind is TeamKind.FULL_TIME
    assert teams.channels["hook"].secret == b"s3cret"
    assert teams.text == MINIMAL
    assert "s3cret" not in repr(teams)


def test_the_packaged_default_tells_one_team_by_the_log() -> None:
    teams = load_teams(None)
    assert [team.channels for team in teams.teams] == [("console",)]
    assert teams.channels["console"].type is ChannelType.CONSOLE


def test_the_commented_manual_is_a_valid_file_that_shows_every_key(tmp_path: Path) -> None:
    text = (ROOT / "deploy/config/teams.yaml").read_text(encoding="utf-8")
    (tmp_path / "teams.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "hook.key").write_text("k", encoding="utf-8")
    teams = load_teams(tmp_path / "teams.yaml")
    assert len(teams.teams) == 2 and len(teams.centres) == 1
    for key in ("id", "name", "areas", "kind", "channels", "url", "secret_file", "timeout", "type"):
        assert f"{key}:" in text


def test_two_teams_may_have_the_same_area() -> None:
    text = """\
teams:
  - {id: a, areas: [x], channels: [c]}
  - {id: b, areas: [x], channels: [c]}
default_team: a
channels: {c: {type: console}}
"""
    assert [team.areas for team in parse_teams(text, "t").teams] == [("x",), ("x",)]


def test_all_problems_are_named_in_one_run_with_line_and_suggestion(tmp_path: Path) -> None:
    text = """\
teams:
  - {id: north, area: [a], kind: fulltime, channels: [hok]}
  - {id: north, channels: []}
  - {name: nameless, channels: [hook]}
default_team: nort
channel: {}
channels:
  hook: {type: webhook, url: "ftp://x", timeout: 0, secret_file: none.key}
  log: {type: konsole}
  line: {type: console, url: "http://x"}
"""
    assert problems(text, tmp_path) == [
        "teams.yaml:6: unknown key channel; did you mean channels?",
        "teams.yaml:8: url 'ftp://x' is no web address; write http://host:port/path or https://host/path",
        f"teams.yaml:8: secret_file {tmp_path}/none.key: no such file or directory; name a readable file",
        "teams.yaml:8: timeout 0 is no usable time; give seconds above 0 and up to 60, such as 10",
        "teams.yaml:9: channel log has the unknown type konsole; did you mean console?",
        "teams.yaml:10: unknown key url; known: type",
        "teams.yaml:2: unknown key area; did you mean areas?",
        "teams.yaml:2: kind fulltime is unknown; did you mean full_time?",
        "teams.yaml:2: channel hok is not defined under channels:; none is defined",
        "teams.yaml:3: team north has no channels; name at least one, none is defined",
        "teams.yaml:4: id is missing; add it",
        "teams.yaml:3: the id north stands twice; give each its own",
        "teams.yaml:5: default_team nort is no team; did you mean north?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "t:1: teams is empty; list at least one team with an id and its channels"),
        ("teams: 5", "t:1: teams must be a list of entries, each starting with a dash"),
        ("- a", "t:1: the file must be a mapping of `key: value`, found ['a']"),
        ("teams: [3]", "t:1: an entry must be a mapping of `key: value`, found 3"),
        ("channels: {a: {type: webhook}}", "t:1: url is missing; add it"),
        (
            "teams: [{id: a, areas: north, channels: [c]}]",
            "t:1: areas must be a list such as [a, b], found 'north'",
        ),
        ("teams: [{id: a, channels: [c, c]}]", "t:1: channels names c twice; once is enough"),
        ("centres: [{id: a}]", "t:1: centre a has no channels; name at least one, none is defined"),
    ],
)
def test_each_slip_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_teams(text, "t")
    assert problem in caught.value.problems


def test_an_empty_secret_is_a_slip(tmp_path: Path) -> None:
    (tmp_path / "hook.key").write_bytes(b"\n")
    assert problems(MINIMAL, tmp_path) == [
        f"teams.yaml:5: secret_file {tmp_path}/hook.key is empty; put the shared key in it"
    ]


def test_a_text_from_the_log_is_understood_without_its_secrets() -> None:
    channel = parse_teams(MINIMAL, "the log").channels["hook"]
    assert (channel.secret_file, channel.secret) == ("hook.key", b"")


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory; name an existing file"):
        load_teams(tmp_path / "teams.yaml")
