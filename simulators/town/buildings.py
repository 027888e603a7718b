"""The buildings of a town as GeoJSON (RFC 7946): a rectangle for each site, and the residential blocks around them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tqdm import tqdm

from simulators.options import os_errors
from simulators.town.ground import BLOCK_DEPTH_M, BLOCK_LENGTH_M, COLUMNS, ROWS, Point, block, degrees, metres
from simulators.town.layout import Town

#: Storeys of a block, the usual heights of Chinese slabs and towers, and the height of one. A.
LEVELS, LEVEL_M = (6, 11, 18), 2.9

Ring = list[tuple[float, float]]


class Polygon(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="Polygon", gc=False):
    """One closed ring, counter-clockwise, each position longitude before latitude."""

    coordinates: tuple[Ring]


class Properties(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a map shows of a building."""

    id: str
    name: str
    kind: str  #: of a site, or "residence"
    area: str
    levels: int
    height_m: float


class Feature(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="Feature", gc=False):
    """One building."""

    geometry: Polygon
    properties: Properties


def write_buildings(path: str, town: Town) -> None:
    """One FeatureCollection, a building on each line."""
    with os_errors(f"--buildings {path}", "name a file to write to"), Path(path).open("wb") as file:
        file.writelines(buildings_geojson(town))


def buildings_geojson(town: Town) -> Iterator[bytes]:
    """The file in pieces: blocks first, so that sites are drawn over them."""
    encoder = msgspec.json.Encoder()
    yield b'{"type":"FeatureCollection","features":['
    before = b"\n"
    for feature in tqdm(features(town), desc="buildings", unit="", disable=None, leave=False):
        yield before + encoder.encode(feature)
        before = b",\n"
    yield b"\n]}\n"


def features(town: Town) -> Iterator[Feature]:
    """Every building."""
    yield from _blocks(town)
    for site in town.sites:
        room = site.enclosure
        yield Feature(
            geometry=_rectangle(metres(site.lat, site.lon), room.length_m, room.width_m),
            properties=Properties(
                id=site.id, name=site.name, kind=site.kind, area=site.area, levels=1, height_m=room.ceiling_m
            ),
        )


def _blocks(town: Town) -> Iterator[Feature]:
    chance = random.Random(f"blocks/{town.seed}")
    for area in town.areas:
        if area.level != 3:
            continue
        for number in range(COLUMNS * ROWS):
            levels = chance.choice(LEVELS)
            yield Feature(
                geometry=_rectangle(block(metres(area.lat, area.lon), number), BLOCK_LENGTH_M, BLOCK_DEPTH_M),
                properties=Properties(
                    id=f"{area.id}.b{number + 1}",
                    name=f"{area.name}{number + 1}号楼",
                    kind="residence",
                    area=area.id,
                    levels=levels,
                    height_m=round(levels * LEVEL_M, 1),
                ),
            )


def _rectangle(middle: Point, length: float, width: float) -> Polygon:
    x, y = middle
    west, east, south, north = x - length / 2, x + length / 2, y - width / 2, y + width / 2
    corners = [degrees(corner) for corner in ((west, south), (east, south), (east, north), (west, north))]
    return Polygon(coordinates=([(lon, lat) for lat, lon in (*corners, corners[0])],))
