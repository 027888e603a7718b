"""From the events of a story to the plan the town carries out, and the truth about it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import count

import msgspec

from ingest.readings import SECOND, iso
from simulators.physics.exposure import Place
from simulators.scenarios.happening import Event, Fire, Here, Piece, Tempting, joined
from simulators.scenarios.picking import Picked, Picker
from simulators.town import plan as town_plan
from simulators.town.layout import Site, Town
from simulators.town.models import SMOKE
from simulators.town.plan import Plan, Trouble
from simulators.truth import Burning, Mark, Span, Truth

#: What each kind of trouble is called in a truth.
FAULTS: dict[type[Trouble], str] = {
    town_plan.Away: "away",
    town_plan.Stuck: "stuck",
    town_plan.Drift: "drift",
    town_plan.Glitch: "glitch",
    town_plan.Battery: "low_battery",
    town_plan.Clock: "clock",
    town_plan.Reboot: "reboot",
    town_plan.Mains: "mains_lost",
    town_plan.States: "states",
}
#: The words of simulators.physics.fire for what can be seen when, as programs read them in a truth.
MARKS = {"first vapour": "runaway", "first flame": "flaming", "57 °C at the ceiling above": "heat"}


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """Who tells which story, and when: what planning needs besides the events and the town."""

    name: str
    seed: int
    start_at: int  #: µs, of the event at 0 s
    lasts_s: float
    sites: tuple[str, ...]
    times: int
    every_s: float


def make_plan(events: Sequence[tuple[str, Event]], town: Town, telling: Telling) -> tuple[Plan, Piece]:
    """The plan of all tellings, and what is true of it. `events` have their kinds."""
    picker = Picker(town, seed=f"{telling.seed}/{telling.name}", named=telling.sites)
    pieces = [piece for number in range(telling.times) for piece in _tell(events, picker, telling, number)]
    whole = joined(pieces)
    sources = tuple(sorted(whole.sources, key=lambda source: (source.start_at, source.site)))
    return Plan(sources=sources, troubles=whole.troubles, spells=whole.spells), whole


def _tell(events: Sequence[tuple[str, Event]], picker: Picker, telling: Telling, number: int) -> Iterable[Piece]:
    picker.begin()
    begin = telling.start_at + round(number * telling.every_s * SECOND)
    counts: dict[str, count[int]] = {}
    for kind, event in events:
        name = event.called or f"{kind} {next(counts.setdefault(kind, count(1)))}"
        picked = picker.pick(event.where, name=f"{telling.name}: {name}", called=event.called, parked=event.parked)
        seed = f"{telling.seed}/{telling.name}/{name}/{number}"
        yield event.over(
            picked.area, [_here(picked, site, f"{seed}/{site.id}", begin, event, telling) for site in picked.sites]
        )


def _here(picked: Picked, site: Site, seed: str, begin: int, event: Event, telling: Telling) -> Here:
    return Here(
        site=site,
        devices=picked.devices[site.id],
        place=picked.places[site.id],
        start_at=begin + round(event.at * SECOND),
        end_at=begin + round(telling.lasts_s * SECOND),
        seed=seed,
    )


# --- the truth --------------------------------------------------------------------------------------------------


def make_truth(true: Piece, town: Town, telling: Telling, *, begin: int, end: int, interval_s: float) -> Truth:
    """What is known of a recording of this town from `begin` until before `end` (µs)."""
    known = sorted((fire for fire in true.fires if fire.warm_at < end), key=lambda fire: fire.ignition)
    fires = [fire for fire in known if fire.ignition < end]
    return Truth(
        recording=telling.name,
        source=f"invented: python -m simulators town --scenario {telling.name} --seed {telling.seed}",
        site=town.sites[0].id if len(town.sites) == 1 else "",
        fire=bool(fires),
        clock="the town's own, exact; devices state theirs",
        interval_s=interval_s,
        ignition=iso(fires[0].ignition) if fires else None,
        fires=[_burning(fire, fires, town) for fire in fires],
        references=_marks(known, end),
        quiet=_quiet(known, begin, end, alone=len(town.sites) == 1),
        nuisances=_spans(true.nuisances, begin, end),
        faults=_spans([_fault(trouble) for trouble in true.troubles if type(trouble) in FAULTS], begin, end),
    )


def _burning(fire: Fire, fires: Sequence[Fire], town: Town) -> Burning:
    before = [other for other in fires if other.source.site == fire.source.site and other.ignition < fire.ignition]
    site = town.site(fire.source.site)
    assert site is not None
    return Burning(
        what=fire.what,
        site=site.id,
        ignition=iso(fire.ignition),
        first_flame=None if fire.first_flame is None else iso(fire.first_flame),
        out=None if fire.out is None else iso(fire.out),
        nearest=nearest_head(site, fire.place),
        again_of=iso(before[-1].ignition) if before else None,
    )


def nearest_head(site: Site, place: Place) -> str:
    """The id of the smoke head nearest to a place, "" where there is none."""
    heads = [device for device in site.devices if device.model in SMOKE]
    away = {head.id: math.dist((head.place.x_m, head.place.y_m), (place.x_m, place.y_m)) for head in heads}
    return min(away, key=lambda id: (away[id], id), default="")


def _marks(fires: Sequence[Fire], end: int) -> list[Mark]:
    marks = [
        (at, Mark(what=what, kind=MARKS.get(what, ""), at=iso(at), site=fire.source.site, after_s=_after_s(fire, at)))
        for fire in fires
        for what, at in fire.marks
        if at < end
    ]
    return [mark for _, mark in sorted(marks, key=lambda pair: (pair[0], pair[1].site))]


def _after_s(fire: Fire, at: int) -> float:
    return round((at - fire.ignition) / SECOND, 3)


def _quiet(fires: Sequence[Fire], begin: int, end: int, *, alone: bool) -> list[Span]:
    """Sites that never burn the whole time, burning ones until their first fire can be noticed.

    `alone`: there is but one site. A pack that warms at the end of the recording and vents after it is no fire of the
    recording, but then it is not quiet either.
    """
    first: dict[str, int] = {}
    for fire in fires:
        first[fire.source.site] = min(fire.warm_at, first.get(fire.source.site, fire.warm_at))
    before = [
        Span(what="before the fire", site=site, start=iso(begin), end=iso(at))
        for site, at in first.items()
        if at > begin
    ]
    burning = {fire.source.site for fire in fires if fire.ignition < end}
    what = "no fire at other sites" if burning else "no fire"
    until = min((at for site, at in first.items() if site not in burning), default=end)
    return before if alone and fires else [*before, Span(what=what, start=iso(begin), end=iso(until))]


def _spans(told: Sequence[Tempting], begin: int, end: int) -> list[Span]:
    return [
        Span(
            what=each.what,
            site=each.site,
            device=each.device,
            start=iso(max(each.start_at, begin)),
            end=iso(min(each.end_at, end)),
        )
        for each in sorted(told, key=lambda each: (each.start_at, each.site, each.device))
        if each.start_at < end and each.end_at > begin
    ]


def _fault(trouble: Trouble) -> Tempting:
    about = getattr(trouble, "quantity", "") or " ".join(sorted(getattr(trouble, "states", {})))
    what = FAULTS[type(trouble)]
    return Tempting(
        what=f"{what} {about}" if about else what,
        site=trouble.site,
        device=trouble.device,
        start_at=trouble.start_at,
        end_at=trouble.end_at,
    )
