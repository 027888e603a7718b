"""`python -m simulators town`: an invented town that reports over MQTT or into a file, and may catch fire."""

from __future__ import annotations

import argparse
import gc
import sys
import threading
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import msgspec

from ingest.errors import OperatorError
from ingest.readings import SECOND, iso
from ingest.readings_file import write_readings
from simulators.options import DEFAULT_BROKER, add_sent, delay, factor, moment, positive, span, whole
from simulators.scenarios.story import Story, load
from simulators.town.buildings import write_buildings
from simulators.town.inventory import write_inventory
from simulators.town.layout import Town, build_town
from simulators.town.plan import ORDINARY
from simulators.town.playing import Play, Progress, publish
from simulators.town.report import row_of
from simulators.truth import write_truth

COLUMNS = (
    *("temperature", "smoke", "humidity", "battery", "voltage", "current", "device_temperature", "rssi"),
    *("smoke_alarm", "heat_alarm", "manual_alarm", "tamper", "fault", "low_battery", "test", "muted"),
    *("mains_lost", "online"),
)
SITES, DEVICES = 8, 48
#: When a scenario is told first, and from one telling to the next.
FIRE_AT_S, FIRE_EVERY_S = 20.0, 60.0
#: Time stamps have milliseconds.
LEAST_S = 0.001

EPILOG = """\
Heads on the mains report each minute, gateways too, piles each three minutes, surface probes each five, LoRa heads
each hour, battery heads once a day (--interval gives all the same), and at once when a smoke or heat alarm of their
own changes (topic …/alarm). Every third shed has a gateway that speaks for its devices (ember/v1/{site}/telemetry).
Gateways, and mains devices that speak for themselves, keep a retained status. Each of these has a connection of its
own, with offline as its last will; where there are more than 64 they share 64 of MQTT 3.1.1, by their sites, and the
will is that of the first on each. MQTT 3.1.1 cannot say that a broker refuses messages: check its access rules.
The same seed and start give the same bytes. With --speed the time stamps run ahead of the clock: take such a feed
in by a source with `clock: observed`.

A scenario is a name of `python -m simulators scenario list`, or a file of your own. It sets size, rhythm and (without
a broker) start of the town where you do not: ask for the inventory with the same options. Its first event is at
--fire-at. With --readings its truth (fires, nuisances, faults, quiet spans) is written beside the readings: day.csv
gets day.truth.json.

examples:
  python -m simulators town --inventory town.csv                     the inventory to import, no broker needed
  python -m simulators town --scenario battery_fire --fire-at 20     a fire 20 s after the start
  python -m simulators town --readings day.csv.gz --seconds 86400    a day as a readings file, no broker needed
  python -m simulators town --devices 620000 --readings d.parquet --seconds 600    a district
  python -m simulators town --scenario hot_roof --readings hot.csv
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `town`."""
    parser = commands.add_parser(
        "town",
        help="an invented town of sheds, shops and stairwells, with fires and other trouble",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        help=f"mqtt://[user:password@]host[:port] (default {DEFAULT_BROKER}, but none when only files are asked for)",
    )
    parser.add_argument(
        "--sites",
        type=positive,
        metavar="N",
        help=f"sheds, from 20 on also shops and stairwells (default {SITES}, with --devices alone by these)",
    )
    parser.add_argument(
        "--devices", type=positive, metavar="N", help=f"of all kinds (default {DEVICES}, 6 for each of --sites)"
    )
    parser.add_argument("--seed", type=whole, default=1, metavar="S", help="another seed, another town (default 1)")
    parser.add_argument(
        "--interval", type=span, metavar="S", help="seconds between reports, for all (default: each model its own)"
    )
    parser.add_argument(
        "--seconds",
        type=span,
        metavar="N",
        help="how long, in the town's time (default: until Ctrl-C; with --readings: as the scenario lasts)",
    )
    parser.add_argument("--start", type=moment, metavar="TIME", help="the town's time at the start (default: now)")
    parser.add_argument("--speed", type=factor, default=1.0, metavar="X", help="1, 10, … times as fast, or max")
    _add_fires(parser.add_argument_group("what happens"))
    out = parser.add_argument_group("files; with one of the first three, publishes only with --broker")
    out.add_argument("--inventory", metavar="FILE.csv", help="write the inventory, for emberwatch inventory import")
    out.add_argument("--buildings", metavar="FILE.geojson", help="write the outlines of all sites and houses")
    out.add_argument("--readings", metavar="FILE", help="write a readings file: .csv, .jsonl (also .gz) or .parquet")
    out.add_argument("--truth", metavar="FILE.json", help="write what is true of it (default: beside --readings)")
    add_sent(out)
    parser.set_defaults(run=run)


def _add_fires(fire: argparse._ArgumentGroup) -> None:
    fire.add_argument("--scenario", metavar="NAME|FILE.yaml", help="python -m simulators scenario list names them")
    fire.add_argument(
        "--fire-at",
        type=delay,
        metavar="S",
        help=f"when it is told first: its first event, seconds after the start (default {FIRE_AT_S:g})",
    )
    fire.add_argument("--fires", type=positive, metavar="N", help="tell it so often, each at another site (default 1)")
    fire.add_argument(
        "--fire-every", type=span, metavar="S", help=f"from one telling to the next (default {FIRE_EVERY_S:g})"
    )
    fire.add_argument("--fire-site", metavar="ID[,ID…]", help="at these sites (default: by the seed)")


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """When, how often and where a scenario is told, as the --fire options say."""

    first_s: float
    every_s: float
    times: int
    sites: list[str]


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Write what was asked for, then publish until the end or the stop; 130 when a file was stopped before its end."""
    gc.disable()  # hundreds of thousands of devices come to life: nothing to look for among them
    try:
        _check(args)
        play = set_up(args, now())
        if args.inventory:
            write_inventory(args.inventory, play.town, interval_s=play.interval_s)
        if args.buildings:
            write_buildings(args.buildings, play.town)
        if args.readings:
            _write_readings(args.readings, play, stop)
            if stop.is_set():
                return 130
        _write_truth(args, play)
        if _publishes(args):
            publish(args, play, now=now, stop=stop)
    finally:
        gc.enable()
        gc.unfreeze()
    return 0


def _publishes(args: argparse.Namespace) -> bool:
    return bool(args.broker or not (args.inventory or args.buildings or args.readings))


def _check(args: argparse.Namespace) -> None:
    """OperatorError for options that would do nothing."""
    needs_story = ("fire_at", "fires", "fire_every", "fire_site", "truth")
    given = [name for name in needs_story if getattr(args, name) is not None]
    if given and not args.scenario:
        raise OperatorError(f"--{given[0].replace('_', '-')}: of which scenario? Give --scenario NAME")
    if args.sent and not _publishes(args):
        raise OperatorError(f"--sent {args.sent}: nothing is sent while only files are written; give --broker URL")


def set_up(args: argparse.Namespace, now: int) -> Play:
    """The town and its plan, as the options and the scenario say."""
    story = load(args.scenario) if args.scenario else None
    town = _build(args, story)
    repeats = _repeats(args, town)
    interval = args.interval or (story.town.interval if story else None)
    if interval is not None and interval < LEAST_S:
        raise OperatorError(f"--interval {interval:g}: time stamps have milliseconds; give {LEAST_S:g} s or more")
    start = args.start if args.start is not None else _usual_start(args, story, now)
    start -= start % 1000  # time stamps have milliseconds
    seconds = args.seconds if args.seconds is not None or not args.readings else _as_long_as_told(args, story, repeats)
    end = None if seconds is None else start + int(seconds * SECOND)
    plan, truth = ORDINARY, None
    if story:
        plan, truth = story.plan(
            town=town,
            start_at=start + int(repeats.first_s * SECOND),
            seed=args.seed,
            sites=repeats.sites,
            times=repeats.times,
            every_s=repeats.every_s,
            begin=start,
            end=end,
            interval_s=interval or 0.0,
        )
    return Play(town=town, start=start, end=end, interval_s=interval, seed=args.seed, plan=plan, truth=truth)


def _build(args: argparse.Namespace, story: Story | None) -> Town:
    sites, devices = args.sites, args.devices
    if sites is None and devices is None:
        sites, devices = (story.town.sites, story.town.devices) if story else (SITES, DEVICES)
    elif devices is None:
        devices = sites * DEVICES // SITES
    if sites is not None and devices < sites:
        raise OperatorError(f"--devices {devices}: fewer devices than sites; give at least {sites}")
    return build_town(devices=devices, sites=sites, seed=args.seed)


def _usual_start(args: argparse.Namespace, story: Story | None, now: int) -> int:
    """A scenario has its season, but what goes to a broker begins now."""
    return story.town.start if story and args.readings and not args.broker else now


def _as_long_as_told(args: argparse.Namespace, story: Story | None, repeats: Repeats) -> float:
    """Seconds until the last telling of the story ends; OperatorError without one, as a file must end."""
    if story is None:
        raise OperatorError(f"--readings {args.readings}: say how long with --seconds N")
    return float(repeats.first_s + (repeats.times - 1) * repeats.every_s + story.lasts_s)


def _repeats(args: argparse.Namespace, town: Town) -> Repeats:
    sites = [site for site in (args.fire_site or "").split(",") if site]
    for site in sites:
        if town.site(site) is None:
            raise OperatorError(
                f"--fire-site {site}: no such site; there are {town.sites[0].id} to {town.sites[-1].id}"
            )
        if sites.count(site) > 1:
            raise OperatorError(f"--fire-site {site}: named twice; each telling is at another site")
    times = max(args.fires or 1, len(sites))
    if times > len(town.sites):
        raise OperatorError(f"--fires {times}: there are only {len(town.sites)} sites; give fewer, or more --sites")
    return Repeats(
        first_s=FIRE_AT_S if args.fire_at is None else args.fire_at,
        every_s=args.fire_every or FIRE_EVERY_S,
        times=times,
        sites=sites,
    )


def _write_readings(path: str, play: Play, stop: threading.Event) -> None:
    with Progress(play.start, play.end) as progress:
        told = takewhile(lambda _: not stop.is_set(), progress.over(play.reports()))
        rows = (row_of(report) for report in told)
        count = write_readings(path, rows, columns=COLUMNS)
    print(f"town: {count} readings from {iso(play.start)} on written to {path}")
    if stop.is_set():
        print("town: stopped before the end", file=sys.stderr)


def _write_truth(args: argparse.Namespace, play: Play) -> None:
    path = Path(args.truth) if args.truth else _beside(Path(args.readings)) if args.readings else None
    if play.truth is not None and path is not None:
        write_truth(path, play.truth)


def _beside(readings: Path) -> Path:
    """day.truth.json for day.csv, day.csv.gz and all others."""
    return readings.with_name(readings.name.removesuffix(".gz").rpartition(".")[0] + ".truth.json")
