"""Who is told about a site: the first team, or the centre, up the tree of areas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from alerts.incident import Audience
from alerts.teams import CentreDesk, Team, Teams
from ingest.inventory import Inventory

Named = TypeVar("Named", Team, CentreDesk)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a page goes to, by which channels, and why."""

    target: str
    channels: tuple[str, ...]
    reason: str


def route(teams: Teams, inventory: Inventory, site: str, audience: Audience) -> Route:
    """Always an answer: the nearest area up from the site that a team (or centre) has, else the default."""
    path, where = _areas_of(inventory, site)
    if audience is Audience.CENTRE:
        return _route_to_centre(teams, path, where)
    team, area = _nearest(teams.teams, path)
    if team is not None:
        return Route(target=team.id, channels=team.channels, reason=f"team {team.id} has area {area} of {site}")
    return _to_default(teams, where)


def centre_of(inventory: Inventory, site: str) -> str:
    """Id of the inventory's centre responsible for this site's area or the nearest above it; "" for none."""
    path, _ = _areas_of(inventory, site)
    for area in path:
        for centre in inventory.centres.values():
            if centre.parent == area:
                return centre.id
    return ""


def _route_to_centre(teams: Teams, path: list[str], where: str) -> Route:
    if not teams.centres:
        route = _to_default(teams, "no centre is listed in teams.yaml")
        return msgspec.structs.replace(route, reason=f"{route.reason}, acts for the centre")
    centre, area = _nearest(teams.centres, path)
    if centre is not None:
        reason = f"centre {centre.id} has area {area}"
    else:
        centre = teams.centres[0]
        reason = f"{where}: the first centre, {centre.id}"
    return Route(target=centre.id, channels=centre.channels, reason=reason)


def _areas_of(inventory: Inventory, site: str) -> tuple[list[str], str]:
    """The areas up from a site, and what to say when none of them leads to anybody."""
    known = inventory.sites.get(site)
    if known is None:
        return [], f"site {site} is not in the inventory"
    path = inventory.path(known.parent)
    if not path:
        return [], f"site {site} has no area"
    return path, f"nobody has {' or '.join(path)}, the area of {site}"


def _nearest(them: Sequence[Named], path: list[str]) -> tuple[Named | None, str]:
    for area in path:
        for one in them:
            if area in one.areas:
                return one, area
    return None, ""


def _to_default(teams: Teams, where: str) -> Route:
    team = teams.default()
    return Route(target=team.id, channels=team.channels, reason=f"{where}: the default team, {team.id}")
