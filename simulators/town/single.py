"""One battery fire under a row of heads in a shed of its own, for recordings that need one. Pure."""

from __future__ import annotations

from itertools import takewhile

from ingest.readings import SECOND
from simulators.physics.exposure import Enclosure, Place
from simulators.physics.fire import battery_fire
from simulators.town.layout import Device, Site
from simulators.town.life import reports
from simulators.town.models import Model
from simulators.town.noise import between, key_of, uniform
from simulators.town.plan import Plan
from simulators.town.report import Report

#: From head to head, and the row from the wall; m. domain.md 5.4: groups of bikes are at most 20 m long [S].
SPACING_M, ROW_M = 5.0, 2.0
#: First vapour to first flame, s. domain.md 5.1: flame at 20 s in Yiwu [S], the fast end, which tests us hardest.
LEAD_S = (15.0, 20.0)


def battery_fire_reports(
    *, site: str, start_at: int, prefix: str, seed: int, heads: int = 3, before_s: int = 120, after_s: int = 600
) -> list[Report]:
    """One battery fire as reports of heads `prefix`-h1, -h2, … of a shed of its own, first vapour at `start_at` (µs).

    It is near one of the heads. Each head reports every 10 s, and faster in alarm, from `before_s` before to `after_s`
    after. The same arguments give the same reports.
    """
    shed = _shed(site, prefix, heads)
    key = key_of(seed, f"fire/{site}")
    near = shed.devices[int(uniform(key, 0) * heads)].place
    place = Place(x_m=near.x_m + between(key, 1, 0.5, 1.5), y_m=near.y_m)
    fire = battery_fire(
        site=site,
        start_at=start_at,
        place=place,
        enclosure=shed.enclosure,
        seed=str(seed),
        lead_s=between(key, 2, *LEAD_S),
    )
    begin, end = start_at - before_s * SECOND, start_at + after_s * SECOND
    told = reports([shed], plan=Plan(sources=(fire,)), start_at=begin, interval_s=10.0, seed=seed)
    return list(takewhile(lambda report: report.at < end, told))


def _shed(site: str, prefix: str, heads: int) -> Site:
    enclosure = Enclosure(length_m=heads * SPACING_M, width_m=2 * ROW_M, ceiling_m=2.6, openness=0.7)
    return Site(
        id=site,
        number=0,
        name=site,
        kind="shed",
        area="",
        lat=0.0,
        lon=0.0,
        enclosure=enclosure,
        roof="metal",
        bays=0,
        devices=tuple(
            Device(
                id=f"{prefix}-h{number + 1}",
                site=site,
                model=Model.MAINS_HEAD,
                place=Place(x_m=(number + 0.5) * SPACING_M, y_m=ROW_M),
            )
            for number in range(heads)
        ),
    )
