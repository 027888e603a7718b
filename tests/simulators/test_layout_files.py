"""The files of a town's layout: the inventory that is imported, the buildings that are drawn."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import OperatorError
from ingest.inventory import InventoryDelta
from ingest.inventory_file import COLUMNS, parse_inventory
from simulators.town.buildings import buildings_geojson, write_buildings
from simulators.town.ground import degrees, metres
from simulators.town.inventory import HEADER, write_inventory
from simulators.town.layout import Town, build_town
from simulators.town.models import MODELS

BOTH_FILES = """
import sys
from simulators.town.buildings import write_buildings
from simulators.town.inventory import write_inventory
from simulators.town.layout import build_town
town = build_town(devices=300, seed=int(sys.argv[1]))
write_inventory(sys.argv[2] + ".csv", town)
write_buildings(sys.argv[2] + ".geojson", town)
"""


def imported(town: Town, path: Path, interval_s: float | None = None) -> InventoryDelta:
    write_inventory(str(path), town, interval_s=interval_s)
    return parse_inventory(path)


def drawn(town: Town) -> dict[str, Any]:
    collection: dict[str, Any] = json.loads(b"".join(buildings_geojson(town)))
    return collection


@pytest.mark.parametrize("devices", [1, 10, 48, 1_000, 20_000])
def test_the_importer_takes_every_size_without_complaint(devices: int, tmp_path: Path) -> None:
    town = build_town(devices=devices, seed=1)
    delta = imported(town, tmp_path / "town.csv")
    assert len(delta.devices) == devices
    assert [site.id for site in delta.sites] == [site.id for site in town.sites]
    assert [area.id for area in delta.areas] == [area.id for area in town.areas]
    assert [centre.parent for centre in delta.centres] == ["yj"]
    gateways = {device.id: device.gateway for site in town.sites for device in site.devices}
    assert {device.id: device.gateway for device in delta.devices} == gateways


def test_the_inventory_hangs_together_and_names_everything(tmp_path: Path) -> None:
    town = build_town(devices=500, seed=1)
    delta = imported(town, tmp_path / "town.csv")
    parents = {area.id: area.parent for area in delta.areas}
    for site in delta.sites:
        depth, area = 1, site.parent
        while parents[area]:
            depth, area = depth + 1, parents[area]
        assert depth == 5  # city, street, community, compound, grid
    assert all(place.name and place.lat and place.lon for place in delta.areas + delta.centres + delta.sites)
    assert all(device.name and device.lat and device.lon for device in delta.devices)
    assert max(Counter((device.site, device.name) for device in delta.devices).values()) == 1


def test_devices_report_as_often_as_their_model_or_as_was_asked(tmp_path: Path) -> None:
    town = build_town(devices=500, seed=1)
    models = {device.id: device.model for site in town.sites for device in site.devices}
    for device in imported(town, tmp_path / "town.csv").devices:
        facts = MODELS[models[device.id]]
        assert device.expected_interval_s == facts.interval_s
        assert device.device_class.value == facts.device_class
    for device in imported(town, tmp_path / "town.csv", interval_s=2.5).devices:
        assert device.expected_interval_s == 2.5


def test_a_row_tells_where_in_its_room_a_device_sits(tmp_path: Path) -> None:
    town = build_town(devices=12, sites=1, seed=1)
    delta = imported(town, tmp_path / "town.csv")
    site = town.sites[0]
    assert delta.sites[0].attributes == {
        "kind": "shed",
        "roof": site.roof,
        "bays": site.bays,
        "length_m": site.enclosure.length_m,
        "width_m": site.enclosure.width_m,
        "ceiling_m": site.enclosure.ceiling_m,
        "openness": site.enclosure.openness,
    }
    x, y = metres(site.lat, site.lon)
    west, south = x - site.enclosure.length_m / 2, y - site.enclosure.width_m / 2
    for row, device in zip(delta.devices, site.devices, strict=True):
        assert row.lat is not None and row.lon is not None
        there = west + device.place.x_m, south + device.place.y_m
        assert math.dist(metres(row.lat, row.lon), there) < 0.05
        assert row.attributes["model"] == device.model
        assert (row.attributes["x_m"], row.attributes["y_m"]) == (device.place.x_m, device.place.y_m)
        assert row.attributes.get("bay", -1) == device.place.bay


def test_the_header_is_the_importer_s() -> None:
    assert ",".join(COLUMNS) == HEADER


@pytest.mark.parametrize("devices", [1, 48, 2_000])
def test_every_building_is_a_closed_rectangle_that_turns_left(devices: int) -> None:
    collection = drawn(build_town(devices=devices, seed=2))
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Polygon")
        [ring] = feature["geometry"]["coordinates"]
        assert len(ring) == 5 and ring[0] == ring[-1]
        turns = [
            (bx - ax) * (cy - by) - (by - ay) * (cx - bx)
            for (ax, ay), (bx, by), (cx, cy) in zip(ring, ring[1:], [*ring[2:], ring[1]], strict=False)
        ]
        assert len(turns) == 4 and all(turn > 0 for turn in turns)  # convex, so it does not cross itself
        assert all((ax == bx) != (ay == by) for (ax, ay), (bx, by) in pairwise(ring))
        for lon, lat in ring:
            assert 119 < lon < 121 and 30 < lat < 32
            assert (round(lon, 7), round(lat, 7)) == (lon, lat)


def test_every_site_is_inside_its_own_building_and_there_are_houses_around() -> None:
    town = build_town(devices=2_000, seed=2)
    features = drawn(town)["features"]
    buildings = {feature["properties"]["id"]: feature for feature in features}
    assert len(buildings) == len(features)
    for site in town.sites:
        [ring] = buildings[site.id]["geometry"]["coordinates"]
        (west, south), (east, north) = ring[0], ring[2]
        assert west < site.lon < east and south < site.lat < north
        assert buildings[site.id]["properties"]["kind"] == site.kind
        assert buildings[site.id]["properties"]["name"] == site.name
    compounds = {area.id for area in town.areas if area.level == 3}
    houses = [row["properties"] for row in features if row["properties"]["kind"] == "residence"]
    assert {house["area"] for house in houses} == compounds
    assert all(house["levels"] >= 6 and house["height_m"] > 15 and house["name"] for house in houses)


def test_shops_and_stairwells_are_in_a_house_and_sheds_are_not() -> None:
    town = build_town(devices=2_000, seed=2)
    features = drawn(town)["features"]
    rings = {row["properties"]["id"]: row["geometry"]["coordinates"][0] for row in features}
    houses = [rings[row["properties"]["id"]] for row in features if row["properties"]["kind"] == "residence"]
    for site in town.sites:
        inside = any(h[0][0] < site.lon < h[2][0] and h[0][1] < site.lat < h[2][1] for h in houses)
        assert inside == (site.kind != "shed"), site.id


def test_the_middle_of_the_town_is_where_it_always_was() -> None:
    assert degrees((0.0, 0.0)) == (31.21, 120.15)


def digests(seed: int, hash_seed: str, folder: Path) -> list[str]:
    """Of both files, written by another process whose strings hash otherwise."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run([sys.executable, "-c", BOTH_FILES, str(seed), str(folder / "town")], check=True, env=environment)
    return [hashlib.sha256((folder / f"town.{kind}").read_bytes()).hexdigest() for kind in ("csv", "geojson")]


def test_the_same_seed_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    first = digests(7, "1", tmp_path)
    assert digests(7, "2", tmp_path) == first
    assert all(one != other for one, other in zip(digests(8, "1", tmp_path), first, strict=True))


@pytest.mark.parametrize(("write", "option"), [(write_inventory, "--inventory"), (write_buildings, "--buildings")])
def test_a_file_that_cannot_be_written_is_one_line(write: Any, option: str) -> None:
    with pytest.raises(OperatorError) as refused:
        write("/nowhere/town", build_town(devices=1, seed=1))
    assert str(refused.value) == f"{option} /nowhere/town: no such file or directory; name a file to write to"
