"""`python -m simulators scenario`: what the scenarios are, whether a file is right, and how one looks."""

from __future__ import annotations

import argparse
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
from tqdm import tqdm

from ingest.errors import ConfigError, OperatorError
from ingest.readings import QUANTITIES, SECOND
from ingest.readings_file import FileRow, read_readings
from simulators.options import not_over, os_errors, span, whole
from simulators.scenarios.events import EVENTS
from simulators.scenarios.happening import Event, Where
from simulators.scenarios.plot import picture, png
from simulators.scenarios.schema import Seconds, expected, suggest
from simulators.scenarios.story import Story, load, names, text_of
from simulators.town.layout import Site, Town, build_town
from simulators.town.life import reports
from simulators.town.plan import Plan
from simulators.town.report import row_of
from simulators.truth import Truth, read_truth

#: A picture shows at most so many sites: those with a fire first, then those with a nuisance or a fault.
SITES = 3

EPILOG = """\
A scenario is a YAML file: what happens, where and when. `scenario show battery_fire` prints one to begin your own with,
`scenario events` tells every word an event may use, deploy/config/scenario.yaml explains every key.
`python -m simulators town --scenario NAME|FILE.yaml` plays one, over MQTT or into a readings file with its truth.

examples:
  python -m simulators scenario list
  python -m simulators scenario plot neighbour_spread --png spread.png
  python -m simulators convert nist_smoke_alarms fires
  python -m simulators scenario plot --readings fires/SDC05.csv --png sdc05.png
"""

PLOT_EPILOG = f"""\
What is true stands on top: fires red, nuisances yellow, faults grey, spans without a fire green, reference times blue.
Lines across: ignition, and dashed the first flame. Below, each quantity of each device; smoke by its powers of ten
where there is much. At the bottom what devices said. Of a scenario at most {SITES} sites are drawn: those that burn
first, then those with a nuisance or a fault. The same arguments give the same bytes.

examples:
  python -m simulators scenario plot hot_roof --png roof.png
  python -m simulators scenario plot cooking --seed 7 --show smoke --png smoke.png
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `scenario`."""
    about, form = "what may happen in a town: list, show, check, plot", argparse.RawDescriptionHelpFormatter
    top = commands.add_parser("scenario", help=about, epilog=EPILOG, formatter_class=form)
    acts = top.add_subparsers(title="what to do", metavar="WHAT", required=True)
    acts.add_parser("list", help="the packaged scenarios").set_defaults(run=_list)
    acts.add_parser("events", help="every kind of event, its keys and defaults").set_defaults(run=_events)
    show = acts.add_parser("show", help="the file of a packaged scenario")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=_show)
    check = acts.add_parser("check", help="whether files are right; exit code 1 when one is not")
    check.add_argument("files", metavar="FILE.yaml", nargs="+")
    check.set_defaults(run=_check)
    _add_plot(acts)


def _add_plot(acts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about, form = "temperature, smoke, alarms and truth over time, as a PNG", argparse.RawDescriptionHelpFormatter
    plot = acts.add_parser("plot", help=about, epilog=PLOT_EPILOG, formatter_class=form)
    plot.add_argument("name", metavar="NAME|FILE.yaml", nargs="?", help="a scenario, played in its own town")
    plot.add_argument("--readings", metavar="FILE", help="instead of a scenario: a readings file")
    plot.add_argument("--truth", metavar="FILE", help="its truth (default: FILE.truth.json beside it, if there is one)")
    plot.add_argument("--png", metavar="OUT.png", required=True, help="where to write the picture")
    plot.add_argument("--seed", type=whole, default=1, metavar="S", help="of town and scenario (default 1)")
    plot.add_argument("--seconds", type=span, metavar="N", help="stop this long after the beginning (default: the end)")
    plot.add_argument(
        "--show", metavar="QUANTITY[,…]", default="", help="quantities to draw (default: the scenario's own)"
    )
    plot.set_defaults(run=_plot)


def _list(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    for name in names():
        print(textwrap.fill(load(name).says, 118, initial_indent=f"{name}: ", subsequent_indent="    "))
    return 0


def _show(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    print(text_of(args.name), end="")
    return 0


def _events(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    common = Event.__struct_fields__
    print("Keys of every event:\n  what: its kind, below")
    _print_keys(Event, common)
    print("\nKeys of where:")
    _print_keys(Where, Where.__struct_fields__)
    for kind, cls in EVENTS.items():
        says = textwrap.dedent(" " * 4 + (cls.__doc__ or ""))
        print(f"\n{kind}: {textwrap.indent(says, '  ').strip()}")
        _print_keys(cls, [name for name in cls.__struct_fields__ if name not in common])
    return 0


def _print_keys(cls: type[msgspec.Struct], shown: Sequence[str]) -> None:
    hints = get_type_hints(cls, include_extras=True)
    for field in msgspec.structs.fields(cls):
        if field.name in shown and field.name != "where":
            end = "needed" if field.required else f"default {_written(field.default, hints[field.name])}"
            print(textwrap.fill(f"{field.name}: {expected(hints[field.name])} ({end})", 116, initial_indent="  ",
                                subsequent_indent="      "))  # fmt: skip


def _written(value: object, hint: object) -> str:
    """A default as a file would say it."""
    if Seconds in (hint, *get_args(hint)) and isinstance(value, float):
        return f"{value:g}s"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, "") else str(value)


def _check(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    problems = []
    for name in args.files:
        try:
            story = load(name)
            _, _, truth = planned(story, seed=1)
            print(f"{name}: right; {len(story.events)} events, {len(truth.fires)} fires, {story.lasts_s:g} s")
        except ConfigError as error:
            problems += error.problems
        except OperatorError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigError(problems)
    return 0


def _plot(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    if (args.name is None) == (args.readings is None):
        raise OperatorError("plot: give either a scenario or --readings FILE")
    if args.truth and not args.readings:
        raise OperatorError("--truth needs --readings too; a scenario knows its own truth")
    not_over("--png", args.png, args.name, args.readings, args.truth)
    shows, during = _quantities(args.show), None
    if args.readings:
        rows, truth = _of_file(args)
        title = Path(args.readings).name
    else:
        story = load(args.name)
        rows, truth = played(story, seed=args.seed, seconds=args.seconds, stop=stop)
        shows, title, during = shows or story.shows, f"{story.name}, seed {args.seed}", bounds(story, args.seconds)
    if stop.is_set():
        return 130
    if not rows:
        raise OperatorError("plot: no readings to draw")
    drawn = png(picture(rows, truth, title=title, shows=shows, span=during))
    with os_errors(f"--png {args.png}", "name a file to write to"):
        Path(args.png).write_bytes(drawn)
    print(f"{args.png}: {len(rows)} readings of {len({(row.site, row.device) for row in rows})} devices")
    return 0


def _quantities(text: str) -> tuple[str, ...]:
    asked = tuple(word for word in text.split(",") if word)
    for word in asked:
        if word not in QUANTITIES:
            raise OperatorError(f"--show {word}: no quantity{suggest(word, QUANTITIES)}")
    return asked


def _of_file(args: argparse.Namespace) -> tuple[list[FileRow], Truth | None]:
    path = Path(args.readings)
    beside = path.with_name(path.name.removesuffix(".gz").rpartition(".")[0] + ".truth.json")
    rows = list(tqdm(read_readings(path), unit=" readings", disable=None))
    if args.seconds and rows:
        rows = [row for row in rows if row.at < rows[0].at + args.seconds * SECOND]
    if args.truth or beside.exists():
        return rows, read_truth(Path(args.truth or beside))
    return rows, None


# --- a scenario in its own town ---------------------------------------------------------------------------------


def played(story: Story, *, seed: int, seconds: float | None, stop: threading.Event) -> tuple[list[FileRow], Truth]:
    """What the devices of the sites concerned report while a story is told in its own town, and the truth."""
    town, plan, truth = planned(story, seed=seed)
    begin, end = bounds(story, seconds)
    told = reports(concerned(town, truth), plan=plan, start_at=begin, interval_s=story.town.interval, seed=seed)
    rows, last = [], begin
    with tqdm(total=(end - begin) // SECOND, unit="s", desc="town's time", disable=None) as bar:
        for report in told:
            if report.at >= end or stop.is_set():
                break
            bar.update((report.at - last) // SECOND)
            last += (report.at - last) // SECOND * SECOND
            rows.append(row_of(report))
    return rows, truth


def concerned(town: Town, truth: Truth) -> list[Site]:
    """The sites something happens at, at most SITES; where it happens everywhere, those with metal roofs first."""
    ids = [fire.site for fire in truth.fires] + [span.site for span in (*truth.nuisances, *truth.faults)]
    found = [site for id in dict.fromkeys(ids) if (site := town.site(id))]
    return found[:SITES] or sorted(town.sites, key=lambda site: (site.roof != "metal", site.number))[:SITES]


def planned(story: Story, *, seed: int) -> tuple[Town, Plan, Truth]:
    """The story in its own town; OperatorError where that has no place for it."""
    setting = story.town
    begin, end = bounds(story)
    start_at, interval_s = setting.start + round(setting.before * SECOND), setting.interval or 0.0
    town = build_town(devices=setting.devices, sites=setting.sites, seed=seed)
    try:
        plan, truth = story.plan(town=town, start_at=start_at, seed=seed, begin=begin, end=end, interval_s=interval_s)
    except OperatorError as error:
        raise OperatorError(f"in its own town: {error}") from None
    return town, plan, truth


def bounds(story: Story, seconds: float | None = None) -> tuple[int, int]:
    """From the beginning of the ordinary time before the story to its end, but at most so many seconds, µs."""
    lasts = story.town.before + story.lasts_s
    return story.town.start, story.town.start + round(min(lasts, seconds or lasts) * SECOND)
