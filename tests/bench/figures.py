"""What a bench says: figures with their runs, the processor time behind them, and how they stand to ceiling and target.

The figure is the median of the runs; the load average beside it tells who else was using the machine.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec


class Run(NamedTuple):
    """One measurement. `cpu` are processor seconds by role, `more` what else is worth keeping of it."""

    value: float
    cpu: Mapping[str, float] = {}
    more: Mapping[str, float] = {}


class Goal(NamedTuple):
    """What design.md wants: at least this much, or at most."""

    value: float
    at_most: bool = False


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. `to_ceiling` and `to_goal` are shares: 1.0 reaches it, for every unit more is better."""

    part: str
    name: str
    value: float
    unit: str
    runs: tuple[float, ...] = ()
    cpu_seconds: dict[str, float] = {}
    more: dict[str, float] = {}
    load_average: float = 0.0
    ceiling: str = ""
    to_ceiling: float | None = None
    goal: float | None = None
    to_goal: float | None = None
    note: str = ""


def measured(
    part: str,
    name: str,
    unit: str,
    runs: Sequence[Run],
    *,
    goal: Goal | None = None,
    ceiling: Figure | None = None,
    note: str = "",
) -> Figure:
    """The figure of these runs; processor time and the rest are those of the median run."""
    value = statistics.median_low([run.value for run in runs])
    middle = next(run for run in runs if run.value == value)
    return Figure(
        part=part,
        name=name,
        value=value,
        unit=unit,
        runs=tuple(run.value for run in runs),
        cpu_seconds={role: round(seconds, 3) for role, seconds in middle.cpu.items()},
        more={key: round(number, 3) for key, number in middle.more.items()},
        load_average=os.getloadavg()[0],
        ceiling=ceiling.name if ceiling else "",
        to_ceiling=value / ceiling.value if ceiling and ceiling.value else None,
        goal=goal.value if goal else None,
        to_goal=_reached(value, goal) if goal else None,
        note=note,
    )


def repeated(times: int, once: Callable[[], Run]) -> list[Run]:
    """The same measurement, so many times."""
    return [once() for _ in range(times)]


def _reached(value: float, goal: Goal) -> float | None:
    if goal.at_most:
        return goal.value / value if value else None
    return value / goal.value


_HEADER = ("part", "figure", "value", "unit", "of ceiling", "of goal", "CPU s", "load", "runs")


def table(figures: Iterable[Figure]) -> str:
    """The figures for people."""
    rows = [_HEADER, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(figure: Figure) -> tuple[str, ...]:
    cpu = " ".join(f"{role} {seconds:.1f}" for role, seconds in figure.cpu_seconds.items() if seconds >= 0.05)
    return (
        figure.part,
        figure.name,
        number(figure.value),
        figure.unit,
        "" if figure.to_ceiling is None else f"{figure.to_ceiling:.0%} {figure.ceiling}",
        "" if figure.to_goal is None or figure.goal is None else f"{figure.to_goal:.0%} of {number(figure.goal)}",
        cpu,
        f"{figure.load_average:.1f}",
        " ".join(number(value) for value in figure.runs) if len(figure.runs) > 1 else figure.note,
    )


def number(value: float) -> str:
    """Short enough for a table: thousands without decimals, small numbers with."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
