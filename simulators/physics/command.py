"""`python -m simulators physics`: the fires of the simulators held against measured ones."""

from __future__ import annotations

import argparse
import math
import threading
from collections.abc import Callable, Iterator

from tqdm import tqdm

from simulators.convert.command import data_folder
from simulators.physics.measured import Compared, HeadLine, Line, Told, compare, head_summary, summary, tell
from simulators.physics.trials import all_trials

EPILOG = """\
Runs the model of each measured fire (FSRI's room, Vettori's sprinkler tests, NIST's smoke alarm study) and prints how
far it is off where a thermocouple 20 to 25 mm under the ceiling reached 57 °C, and where sprinklers and smoke alarms
told. The model is never told what the thermocouples read: gas burners by the power they were set to, chairs and sofas
by the calorimeter's curves of other burns of the same piece, NIST's by how fast they lost weight.

Medians over thermocouples, error = model minus measured: the time to 57 °C; the time from +5 K to 57 °C, which leaves
out how long the fuel took to catch; the rise at the moment the measurement reached 57 °C; how fast it rose then, K/min;
the rise a minute later, in %.

examples:
  python -m simulators physics
  python -m simulators physics --each | grep RedAccent
"""
HEAD = (
    f"{'':28}{'':>12}{'57 °C':>8}{'error':>8}{'|error|':>9}{'':>6}{'from +5 K':>11}{'rise':>7}{'|error|':>9}"
    f"{'K/min':>7}{'error':>7}{'60 s':>8}\n"
    f"{'fires':28}{'fires/heads':>12}{'s':>8}{'s':>8}{'s':>9}{'%':>6}{'|error| s':>11}{'K':>7}{'K':>9}"
    f"{'':>7}{'':>7}{'later %':>8}"
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `physics`."""
    parser = commands.add_parser(
        "physics",
        help="the fires held against measured ones, as a table",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the sets (default: $EMBERWATCH_TEST_DATA, else ../shared/data)"
    )
    parser.add_argument("--each", action="store_true", help="a line for each thermocouple and head as well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Compare, and print the table."""
    compared: list[Compared] = []
    told: list[Told] = []
    for trial in tqdm(all_trials(data_folder(args.data)), desc="fires", unit=" fires", disable=None):
        if stop.is_set():
            return 130
        compared += compare(trial)
        told += tell(trial)
    if args.each:
        print("\n".join(_each(compared, told)))
    print(HEAD)
    for line in summary(compared):
        print(_line(line))
    for head in head_summary(told):
        print(_head(head))
    return 0


def _line(line: Line) -> str:
    missed = f"  {line.missed} never hot here" if line.missed else ""
    return (
        f"{line.group:28}{f'{line.fires}/{line.heads}':>12}{line.hot_s:>8.0f}{line.late_s:>+8.1f}{line.off_s:>9.1f}"
        f"{line.off_percent:>6.0f}{line.warming_off_s:>11.1f}{line.over_k:>+7.1f}{line.off_k:>9.1f}"
        f"{line.rate_k_min:>7.0f}{line.rate_over_k_min:>+7.0f}{_later(line):>8}{missed}"
    )


def _later(line: Line) -> str:
    """Records that end within the minute say nothing."""
    return "" if math.isnan(line.later_percent) else f"{line.later_percent:+.0f}"


def _head(line: HeadLine) -> str:
    missed = f", {line.missed} never here" if line.missed else ""
    smoke = (
        ""
        if math.isnan(line.smoke_times)
        else f"; 1 dB/m at the ceiling {line.dense_late_s:+.0f} s, smoke there {line.smoke_times:.1f} times as dense"
    )
    return (
        f"{line.group}: {line.heads} {line.kind} heads told after {line.told_s:.0f} s, ours {line.late_s:+.0f} s, "
        f"|error| {line.off_s:.0f} s{missed}{smoke}"
    )


def _each(compared: list[Compared], told: list[Told]) -> Iterator[str]:
    for one in compared:
        late = "never" if one.late_s is None else f"{one.late_s:+.1f} s"
        yield f"{one.name}: 57 °C after {one.hot_s:.1f} s, ours {late}; rise {one.rise_k:.1f} K {one.over_k:+.1f} K"
    for head in told:
        late = "never" if head.late_s is None else f"{head.late_s:+.0f} s"
        yield f"{head.name} {head.kind}: told after {head.told_s:.0f} s, ours {late}"
