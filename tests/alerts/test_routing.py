"""Who is told about which site, and the reason given."""

import pytest

from alerts.incident import INTAKE_SITE, UNLOCATED_SITE, Audience
from alerts.routing import centre_of, route
from alerts.teams import Teams, parse_teams
from ingest.inventory import Area, Centre, Inventory, InventoryDelta, Site

TEAMS = """\
teams:
  - {id: first, areas: [city.south], channels: [a]}
  - {id: grid, areas: [city.north.g1], channels: [b]}
  - {id: street, areas: [city.north, city.south], channels: [a, b]}
default_team: first
channels: {a: {type: console}, b: {type: console}, c: {type: console}}
"""
CENTRES = TEAMS + "centres: [{id: one, areas: [elsewhere], channels: [c]}, {id: two, areas: [city], channels: [b]}]\n"


@pytest.fixture
def inventory() -> Inventory:
    inventory = Inventory()
    inventory.apply(
        InventoryDelta(
            areas=[
                Area(id="city"),
                Area(id="city.north", parent="city"),
                Area(id="city.north.g1", parent="city.north"),
                Area(id="city.south", parent="city"),
                Area(id="lost", parent="nowhere"),
            ],
            centres=[Centre(id="c-city", parent="city"), Centre(id="c-north", parent="city.north")],
            sites=[
                Site(id="in-grid", parent="city.north.g1"),
                Site(id="in-street", parent="city.north"),
                Site(id="in-south", parent="city.south"),
                Site(id="in-city", parent="city"),
                Site(id="in-lost", parent="lost"),
                Site(id="nowhere"),
            ],
        )
    )
    return inventory


@pytest.fixture
def teams() -> Teams:
    return parse_teams(TEAMS, "teams.yaml")


@pytest.mark.parametrize(
    ("site", "target", "reason"),
    [
        ("in-grid", "grid", "team grid has area city.north.g1 of in-grid"),
        ("in-street", "street", "team street has area city.north of in-street"),
        ("in-south", "first", "team first has area city.south of in-south"),
        ("in-city", "first", "nobody has city, the area of in-city: the default team, first"),
        ("in-lost", "first", "nobody has lost or nowhere, the area of in-lost: the default team, first"),
        ("nowhere", "first", "site nowhere has no area: the default team, first"),
        ("unheard-of", "first", "site unheard-of is not in the inventory: the default team, first"),
        (UNLOCATED_SITE, "first", "site unlocated is not in the inventory: the default team, first"),
    ],
)
def test_the_nearest_area_decides_then_the_order_of_the_file(
    teams: Teams, inventory: Inventory, site: str, target: str, reason: str
) -> None:
    answer = route(teams, inventory, site, Audience.TEAM)
    assert (answer.target, answer.reason) == (target, reason)
    assert answer.channels


def test_without_centres_the_default_team_acts_for_the_centre(teams: Teams, inventory: Inventory) -> None:
    answer = route(teams, inventory, "in-grid", Audience.CENTRE)
    assert (answer.target, answer.channels) == ("first", ("a",))
    assert answer.reason == "no centre is listed in teams.yaml: the default team, first, acts for the centre"


@pytest.mark.parametrize(
    ("site", "target", "reason"),
    [
        ("in-grid", "two", "centre two has area city"),
        (INTAKE_SITE, "one", "site intake is not in the inventory: the first centre, one"),
    ],
)
def test_a_listed_centre_is_found_by_area_and_else_the_first_one_acts(
    inventory: Inventory, site: str, target: str, reason: str
) -> None:
    answer = route(parse_teams(CENTRES, "t"), inventory, site, Audience.CENTRE)
    assert (answer.target, answer.reason) == (target, reason)


@pytest.mark.parametrize(
    ("site", "centre"), [("in-grid", "c-north"), ("in-city", "c-city"), ("nowhere", ""), ("unheard-of", "")]
)
def test_the_centre_of_a_site_is_the_one_of_its_nearest_area(inventory: Inventory, site: str, centre: str) -> None:
    assert centre_of(inventory, site) == centre
