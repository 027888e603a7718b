"""The examples of deploy/ are the manual: each loads, and each knows every key there is."""

from __future__ import annotations

import configparser
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
import yaml

from alerts.rulebook import COMMON, OWN_KEYS, load_rulebook
from alerts.teams import load_teams
from ingest.broker import Broker
from ingest.inventory import Inventory
from ingest.inventory_file import parse_inventory
from ingest.settings import KEYS, Settings, load_settings
from ingest.sources_file import load_sources
from simulators.scenarios.events import EVENTS
from simulators.scenarios.happening import Where
from simulators.scenarios.story import KEYS as STORY_KEYS
from simulators.scenarios.story import Setting, load
from simulators.town.layout import build_town
from tests.support.trust import caller, trusting_mosquitto

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CONFIG = DEPLOY / "config"


def test_the_settings_example_loads_and_shows_the_defaults() -> None:
    settings = load_settings({"EMBERWATCH_CONFIG": str(CONFIG / "emberwatch.toml")})
    assert settings == Settings()


def test_the_settings_example_explains_every_key() -> None:
    text = (CONFIG / "emberwatch.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([a-z0-9_]+) = ", text, flags=re.MULTILINE))
    assert named == set(KEYS)
    uncommented = re.sub(r"^# ([a-z0-9_]+ = )", r"\1", text, flags=re.MULTILINE)
    assert set(tomllib.loads(uncommented)) == set(KEYS)


def test_the_rulebook_example_loads_and_uses_every_key() -> None:
    load_rulebook(CONFIG / "rules.yaml")
    rules = yaml.safe_load((CONFIG / "rules.yaml").read_text(encoding="utf-8"))["rules"]
    assert {key for rule in rules for key in rule} == {*COMMON, *(key for keys in OWN_KEYS.values() for key in keys)}


def test_the_teams_example_loads(tmp_path: Path) -> None:
    copy = tmp_path / "teams.yaml"
    copy.write_bytes((CONFIG / "teams.yaml").read_bytes())
    (tmp_path / "hook.key").write_text("a key of the team", encoding="ascii")
    assert [team.id for team in load_teams(copy).teams] == ["north", "south"]


def test_the_sources_example_and_the_packaged_files_load() -> None:
    assert load_sources(CONFIG / "sources.yaml").sources
    assert load_sources(None).sources
    assert load_teams(None).teams


def test_the_inventory_example_loads_and_its_gateway_speaks_for_a_head() -> None:
    inventory = Inventory()
    inventory.apply(parse_inventory(CONFIG / "inventory.csv"))
    head = inventory.find("shed-12", "head-2")
    assert head is not None and head.gateway == "gw-12"
    assert inventory.path("daishan-1-grid-3") == ["daishan-1-grid-3", "daishan-1", "yuhua.daishan", "yuhua", "nanjing"]


def test_the_scenario_example_loads_and_is_told_in_its_own_town() -> None:
    story = load(str(CONFIG / "scenario.yaml"))
    town = build_town(devices=story.town.devices, sites=story.town.sites, seed=1)
    plan, truth = story.plan(town=town, start_at=story.town.start, seed=1)
    assert len(truth.fires) == 3 and plan.troubles and plan.spells


def test_the_scenario_example_uses_every_key_of_every_event() -> None:
    written = yaml.safe_load((CONFIG / "scenario.yaml").read_text(encoding="utf-8"))
    assert set(written) == set(STORY_KEYS) and set(written["town"]) == set(Setting.__struct_fields__)
    common = {"at", "where", "called"}
    used = {(row["what"], key) for row in written["events"] for key in row if key not in common | {"what"}}
    assert used == {(kind, key) for kind, cls in EVENTS.items() for key in cls.__struct_fields__ if key not in common}
    assert {key for row in written["events"] for key in row.get("where", {})} == set(Where.__struct_fields__)


def test_the_packaged_rulebook_reaches_the_wheel() -> None:
    for room, name in (("alerts", "rules.yaml"), ("alerts", "teams.yaml"), ("ingest", "sources.yaml")):
        assert resources.files(room).joinpath("defaults", name).is_file()


def test_compose_runs_every_role_and_keeps_the_fire_path_off_the_database() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    roles = {"receiver", "writer", "evaluator", "recorder", "dispatcher", "api"}
    assert roles <= set(services)
    assert not any("depends_on" in services[role] for role in ("receiver", "evaluator", "dispatcher"))


@pytest.mark.integration
def test_mosquitto_starts_with_the_examples_for_devices_and_lets_nobody_in_unknown(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with trusting_mosquitto(tmp_path, users=[], sources=[source.filter for source in load_sources(None).sources]) as at:
        with caller(at.own_url) as ours, caller(f"mqtt://127.0.0.1:{at.ports[1883]}") as stranger:
            assert ours.refusal == "" and stranger.refusal == "Not authorized"
        assert "Warning" not in at.log() and "Error" not in at.log()


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_each_systemd_unit_is_well_formed(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit, encoding="utf-8")
    assert parser["Unit"]["Description"]
    if unit.suffix == ".service":
        assert parser["Service"]["User"] == "emberwatch" and parser["Service"]["ExecStart"].startswith("/")
