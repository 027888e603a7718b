"""Readings and what is true of them as a picture: quantities over time, alarms said, fires, nuisances, faults.

The same rows and truth give the same bytes. Ids are shown, not names: no fonts beyond matplotlib's own are needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import msgspec
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ingest.file_rows import parse_time
from ingest.readings import QUANTITIES, SECOND, iso
from ingest.readings_file import FileRow
from simulators.truth import Span, Truth

#: Lines that people compare with: a common heat limit and a common smoke limit (D 3.1, 3.2 of ../shared/domain.md).
LIMITS = {"temperature": 57.0, "smoke": 0.15}
#: What a strip of states shows, and how; `online` false is shown as offline.
STATE_COLOURS = {
    "smoke_alarm": "#c0392b",
    "heat_alarm": "#e67e22",
    "manual_alarm": "#8e44ad",
    "mains_lost": "#2c3e50",
    "offline": "#95a5a6",
    "low_battery": "#16a085",
    "fault": "#7f8c8d",
    "tamper": "#34495e",
    "test": "#3498db",
}
FIRE, FLAME, NUISANCE, FAULT, QUIET, REFERENCE = "#c0392b", "#e67e22", "#f1c40f", "#7f8c8d", "#27ae60", "#2980b9"
#: More devices than this have no line of their own in the legend, more rows than that no strip.
NAMED, STRIPS = 14, 24
WIDTH_IN, DPI = 13.0, 100


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one device: µs and values, in order of time."""

    site: str
    device: str
    at: Any
    values: Any


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that is drawn."""

    title: str
    series: dict[str, list[Series]]
    devices: list[str]  #: by `name_of`; each has one colour in all panels
    stripes: list[tuple[str, str, int, int]]  #: (device by `name_of`, state, from, to) in µs
    truth: Truth | None
    zero: int  #: µs of 0 on the time axis: the first ignition, else the beginning
    begin: int
    end: int


def picture(
    rows: Iterable[FileRow],
    truth: Truth | None,
    *,
    title: str,
    shows: Sequence[str] = (),
    span: tuple[int, int] | None = None,
) -> Picture:
    """What there is to see in these rows; `shows` are quantities, none = temperature, smoke, and co if measured.

    `span` (µs): rows that state a time outside are left out, and counted in the title.
    """
    rows = sorted(rows, key=lambda row: row.at)
    kept = [row for row in rows if span is None or span[0] <= row.at < span[1]]
    if len(kept) < len(rows):
        title = f"{title} ({len(rows) - len(kept)} readings state times outside)"
    begin, end = (kept[0].at // SECOND * SECOND, kept[-1].at) if kept else (0, 1)
    ignition = parse_time(truth.ignition) if truth and truth.ignition else begin
    wanted = shows or ("temperature", "smoke", "co")
    series = {name: found for name in wanted if (found := _series(kept, name))}
    return Picture(
        title=title,
        series=series,
        devices=sorted({name_of(line.site, line.device) for lines in series.values() for line in lines}),
        stripes=_stripes(kept),
        truth=truth,
        zero=ignition,
        begin=begin,
        end=end,
    )


def name_of(site: str, device: str) -> str:
    """What a device is called in a picture: ids of towns begin with their site's."""
    return device if device.startswith(site) else f"{site} {device}"


def png(seen: Picture) -> bytes:
    """The picture as a PNG."""
    strips = sorted({name for name, *_ in seen.stripes})[:STRIPS]
    told = _told(seen)
    heights = [0.22 * len(told) + 0.35, *[2.3] * len(seen.series), *([0.2 * len(strips) + 0.4] if strips else [])]
    with matplotlib.rc_context({"font.size": 9, "font.family": "DejaVu Sans", "path.simplify": True}):
        figure = Figure(figsize=(WIDTH_IN, sum(heights) + 1.0), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        unit_us, unit = _unit(seen)
        for axis in axes:
            _marks(axis, seen, unit_us)
        _truth_panel(axes[0], told, seen, unit_us)
        for axis, (name, lines) in zip(axes[1:], seen.series.items(), strict=False):
            _quantity_panel(axis, name, lines, seen, unit_us)
        if strips:
            _strip_panel(axes[-1], strips, seen, unit_us)
        zero = "ignition" if seen.truth and seen.truth.ignition else "beginning"
        axes[-1].set_xlabel(f"{unit} after the {zero}, {iso(seen.zero)}")
        axes[-1].set_xlim((seen.begin - seen.zero) / unit_us, max(seen.end - seen.zero, 1) / unit_us)
        figure.suptitle(seen.title, fontsize=11)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


# --- what is drawn ----------------------------------------------------------------------------------------------


def _series(rows: Sequence[FileRow], name: str) -> list[Series]:
    found: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for row in rows:
        if name in row.values:
            times, values = found.setdefault((row.site, row.device), ([], []))
            times.append(row.at)
            values.append(row.values[name])
    return [
        Series(site=site, device=device, at=np.array(times), values=np.array(values))
        for (site, device), (times, values) in sorted(found.items())
    ]


def _stripes(rows: Sequence[FileRow]) -> list[tuple[str, str, int, int]]:
    """How long each device said each state that is worth showing."""
    since: dict[tuple[str, str], int] = {}
    stripes = []
    for row in rows:
        states = {**row.states, **({"offline": not row.states["online"]} if "online" in row.states else {})}
        for state in STATE_COLOURS.keys() & states.keys():
            key = (name_of(row.site, row.device), state)
            if states[state]:
                since.setdefault(key, row.at)
            elif key in since:
                stripes.append((*key, since.pop(key), row.at))
    return sorted([*stripes, *((name, state, at, rows[-1].at) for (name, state), at in since.items())])


def _told(seen: Picture) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Rows of the truth's panel: what, its colour, from when to when."""
    truth = seen.truth
    if truth is None:
        return []
    fires = [
        (fire.what + (f" {fire.site}" if fire.site else ""), FIRE, [(parse_time(fire.ignition), _end(fire.out, seen))])
        for fire in truth.fires
    ]
    tick = max(1, (seen.end - seen.begin) // 500)
    marked = [(at, at + tick) for mark in truth.references if (at := parse_time(mark.at)) < seen.end]
    return [
        *fires,
        *([("reference times", REFERENCE, marked)] if marked else []),
        *_merged(truth.nuisances, NUISANCE),
        *_merged(truth.faults, FAULT),
        *_merged(truth.quiet, QUIET),
    ][:20]


def _end(text: str | None, seen: Picture) -> int:
    return parse_time(text) if text else seen.end


def _merged(spans: Sequence[Span], colour: str) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Spans of one word and site in one row."""
    rows: dict[str, list[tuple[int, int]]] = {}
    for span in spans:
        name = f"{span.what} {span.device or span.site}".strip()
        rows.setdefault(name, []).append((parse_time(span.start), parse_time(span.end)))
    if len(rows) > 6:
        rows = {}
        for span in spans:
            rows.setdefault(span.what, []).append((parse_time(span.start), parse_time(span.end)))
    return [(name, colour, found) for name, found in rows.items()]


# --- panels -----------------------------------------------------------------------------------------------------


def _unit(seen: Picture) -> tuple[float, str]:
    seconds = (seen.end - seen.begin) / SECOND
    if seconds <= 4 * 3600:
        return 60e6, "minutes"
    return (3600e6, "hours") if seconds <= 4 * 86_400 else (86_400e6, "days")


def _marks(axis: Any, seen: Picture, unit_us: float) -> None:
    for fire in seen.truth.fires if seen.truth else []:
        for text, colour, style in ((fire.ignition, FIRE, "-"), (fire.first_flame, FLAME, "--")):
            if text:
                axis.axvline((parse_time(text) - seen.zero) / unit_us, color=colour, linestyle=style, linewidth=0.9)


def _truth_panel(axis: Any, told: list[tuple[str, str, list[tuple[int, int]]]], seen: Picture, unit_us: float) -> None:
    for number, (_, colour, spans) in enumerate(told):
        bars = [((start - seen.zero) / unit_us, (end - start) / unit_us) for start, end in spans]
        axis.broken_barh(bars, (number - 0.36, 0.72), color=colour, alpha=0.75)
    axis.set_yticks(range(len(told)), [name for name, *_ in told], fontsize=7)
    axis.set_ylim(len(told) - 0.4, -0.6)
    axis.set_title("what is true", loc="left", fontsize=8)


def _quantity_panel(axis: Any, name: str, lines: Sequence[Series], seen: Picture, unit_us: float) -> None:
    crowded = len(lines) > NAMED
    for line in lines:
        at, values = _with_gaps(line, (seen.truth.interval_s if seen.truth else 0.0) * SECOND)
        called = name_of(line.site, line.device)
        look = {"alpha": 0.5, "linewidth": 0.6} if crowded else {"linewidth": 1.0, "label": called}
        colour = _COLOURS[seen.devices.index(called) % len(_COLOURS)]
        axis.plot((at - seen.zero) / unit_us, values, color=colour, marker=".", markersize=2.0, **look)
    most = max(float(line.values.max()) for line in lines)
    if name in LIMITS and most > LIMITS[name] / 2:
        axis.axhline(LIMITS[name], color="black", linestyle=":", linewidth=0.8)
    if name == "smoke" and most > 4 * LIMITS[name]:  # what decides is far below what a fire ends at
        axis.set_yscale("symlog", linthresh=LIMITS[name], linscale=1.0)
        axis.set_ylim(bottom=-0.02)
    axis.set_ylabel(f"{name}\n{QUANTITIES[name].partition(',')[0]}")
    axis.grid(alpha=0.25)
    if not crowded:
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)


_COLOURS = [matplotlib.colormaps["tab20"](number) for number in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 1, 3, 5, 7)]


def _with_gaps(line: Series, interval: float) -> tuple[Any, Any]:
    """The same with a hole wherever it said nothing for much longer than usual."""
    at, values = line.at.astype(float), line.values
    if len(at) < 3:
        return at, values
    gaps = np.diff(at)
    holes = np.flatnonzero(gaps > 3 * max(float(np.quantile(gaps, 0.9)), interval)) + 1
    return np.insert(at, holes, np.nan), np.insert(values, holes, np.nan)


def _strip_panel(axis: Any, strips: Sequence[str], seen: Picture, unit_us: float) -> None:
    shown: set[str] = set()
    for name, state, start, end in seen.stripes:
        if name in strips:
            label = None if state in shown else state
            shown.add(state)
            left, width = (start - seen.zero) / unit_us, max(end - start, 0) / unit_us
            below = 0.0 if state != "heat_alarm" else -0.4
            axis.broken_barh(
                [(left, width)], (strips.index(name) + below, 0.4), color=STATE_COLOURS[state], label=label
            )
    axis.set_yticks(range(len(strips)), strips, fontsize=7)
    axis.set_ylim(len(strips) - 0.4, -0.6)
    axis.set_title("what devices say", loc="left", fontsize=8)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)
