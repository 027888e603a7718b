"""What a recording is known to hold: its fires and their reference times, nuisances, faults, spans without a fire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from ingest.errors import OperatorError
from ingest.file_rows import FileRow, parse_time
from simulators.options import os_errors


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is known to have happened.

    Times are ISO 8601, UTC; `after_s` counts from the ignition of the fire it belongs to. `site` "": that of the
    whole recording. `device` "": not of one device. `kind` is for programs: `photoelectric` and `ionisation` (a smoke
    alarm of that kind), `sprinkler`, `heat` (57 °C in the gas at the ceiling), `runaway`, `flaming`, else "".
    """

    what: str
    at: str
    kind: str = ""
    site: str = ""
    device: str = ""
    after_s: float | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of time about which something is known, from `start` until before `end` (ISO 8601, UTC).

    `site` "" is `Truth.site`, and where that is empty too every site that `Truth.fires` does not name.
    `device` "" is every device there.
    """

    what: str
    start: str
    end: str
    site: str = ""
    device: str = ""


class Burning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fire.

    `what`: the event's kind, as scenarios name it. `ignition`: what latencies count from; of an invented fire the
    first smoke or vapour that leaves the fuel, however little reaches a head. From which time on alarms are right
    is told by `quiet`, which may end earlier: a probe on a pack sees it heat up. `first_flame` and `out` (put out
    or burnt out) where known. `nearest`: the head nearest to it. `room`: the devices in its room, empty = every device
    of the site. `again_of`: the ignition of the earlier fire that this one is of the same pack as, or spread from.
    """

    what: str
    site: str
    ignition: str
    first_flame: str | None = None
    out: str | None = None
    nearest: str = ""
    room: list[str] = []
    again_of: str | None = None


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """Written as `NAME.truth.json` beside `NAME.csv`.

    - `recording`, `source`: its name, and where it is from.
    - `site`: the site of the whole recording, "" where it is of several.
    - `fire`: whether there is one at all. `ignition`: the first one, null without a fire. `fires`: each of them.
    - `clock`: what the times are worth. `interval_s`: how often devices report, 0 = each class of devices its own.
    - `references`: times measured, computed or known otherwise: alarms of others, first vapour, first flame, 57 °C
      in the gas at the ceiling above the fire.
    - `quiet`: spans in which an alarm of fire class is false, whatever tempts to it.
    - `nuisances`: spans that tempt to one; they lie inside `quiet` unless a fire burns at the same time.
    - `faults`: spans in which devices are away, wrong, empty or without mains, so that a fault alarm is right; `what`
      begins with the kind of trouble: away, stuck, drift, glitch, low_battery, clock, reboot, mains_lost, states.
    - `devices`: the class of each device, as inventories name it, to enrol them; empty where an inventory says it.
    - `notes`: in words.
    """

    recording: str
    source: str
    site: str
    fire: bool
    clock: str
    interval_s: float
    ignition: str | None = None
    fires: list[Burning] = []
    references: list[Mark] = []
    quiet: list[Span] = []
    nuisances: list[Span] = []
    faults: list[Span] = []
    devices: dict[str, str] = {}
    notes: list[str] = []


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """One recording: its rows in order of time, and what is known about it."""

    rows: list[FileRow]
    truth: Truth


def write_truth(path: Path, truth: Truth) -> None:
    """As indented JSON; OperatorError where that cannot be."""
    with os_errors(str(path), "name a file to write to"):
        path.write_bytes(msgspec.json.format(msgspec.json.encode(truth)) + b"\n")


def read_truth(path: Path) -> Truth:
    """What `write_truth` wrote, each time in it readable; OperatorError for anything else."""
    with os_errors(str(path), "name a truth file"):
        text = path.read_bytes()
    try:
        truth = msgspec.json.decode(text, type=Truth)
        for time in _times(truth):
            parse_time(time)
    except ValueError as error:  # also msgspec.DecodeError and UnicodeDecodeError
        raise OperatorError(f"{path}: not a truth file: {error}; give a FILE.truth.json") from None
    return truth


def _times(truth: Truth) -> Iterator[str]:
    fires = [time for fire in truth.fires for time in (fire.ignition, fire.first_flame, fire.out, fire.again_of)]
    yield from (time for time in (truth.ignition, *fires) if time is not None)
    yield from (mark.at for mark in truth.references)
    yield from (time for span in (*truth.quiet, *truth.nuisances, *truth.faults) for time in (span.start, span.end))
