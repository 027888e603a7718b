"""The inventory file of a town, as `emberwatch inventory import` reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec
from tqdm import tqdm

from simulators.options import os_errors
from simulators.physics.exposure import Place
from simulators.town.ground import degrees, metres
from simulators.town.layout import Site, Town
from simulators.town.models import MODELS, Model

HEADER = "kind,id,parent,name,class,lat,lon,expected_interval_s,credential,attributes"
NAMES = {
    Model.MAINS_HEAD: "烟温探测器",
    Model.BATTERY_HEAD: "独立式烟感",
    Model.LORA_HEAD: "无线烟温探测器",
    Model.HEAT_HEAD: "温感探测器",
    Model.SURFACE_PROBE: "车位温度探头",
    Model.GATEWAY: "网关",
    Model.PILE: "充电桩",
    Model.CALL_POINT: "手动报警按钮",
    Model.SIREN: "声光警报器",
}

Row = tuple[object, ...]


def write_inventory(path: str, town: Town, *, interval_s: float | None = None) -> None:
    """Areas, centres, sites and devices; devices report each `interval_s`, or each at its model's own interval."""
    with (
        os_errors(f"--inventory {path}", "name a file to write to"),
        Path(path).open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER.split(","))
        writer.writerows(_places(town))
        for site in tqdm(town.sites, desc="inventory", unit=" sites", disable=None, leave=False):
            file.writelines(_device_lines(site, interval_s))


def _places(town: Town) -> Iterator[Row]:
    for area in town.areas:
        yield "area", area.id, area.parent, area.name, "", area.lat, area.lon, "", "", ""
    for centre in town.centres:
        yield "centre", centre.id, centre.parent, centre.name, "", centre.lat, centre.lon, "", "", ""
    for site in town.sites:
        yield "site", site.id, site.area, site.name, "", site.lat, site.lon, "", "", _about_site(site)


def _about_site(site: Site) -> str:
    about = {"kind": site.kind, "roof": site.roof, "bays": site.bays, **msgspec.structs.asdict(site.enclosure)}
    return msgspec.json.encode(about).decode()


def _device_lines(site: Site, interval_s: float | None) -> Iterator[str]:
    """Lines of CSV. Ids and numbers never need quotes; what may is quoted once for all devices that share it."""
    x, y = metres(site.lat, site.lon)
    west, south = x - site.enclosure.length_m / 2, y - site.enclosure.width_m / 2
    for device in site.devices:
        place = device.place
        lat, lon = degrees((west + place.x_m, south + place.y_m))
        name = _name(device.model, device.id.removeprefix(site.id))
        about = _about(device.model, place, interval_s)
        yield f"device,{device.id},{device.gateway or site.id},{name},{lat},{lon},{about}\n"


@lru_cache(maxsize=4096)
def _name(model: Model, ending: str) -> str:
    """The cells name and class: its number at the site, which its id ends with, and what it is."""
    number = ending.lstrip("-abcdefghijklmnopqrstuvwxyz")
    return _cells(f"{int(number)}号{NAMES[model]}" if number else NAMES[model], MODELS[model].device_class)


@lru_cache(maxsize=16384)
def _about(model: Model, place: Place, interval_s: float | None) -> str:
    """The cells interval, credential and attributes."""
    about = {"model": model.value, **msgspec.structs.asdict(place)}
    if place.bay < 0:
        del about["bay"]
    every = MODELS[model].interval_s if interval_s is None else interval_s
    return _cells(f"{every:.10g}", "", msgspec.json.encode(about).decode())


def _cells(*cells: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()
