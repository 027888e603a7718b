"""The back-test: the live engine over recorded readings or an exported log. No database, no network."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import msgspec
from tqdm import tqdm

from alerts.alert import AlertState, SignalClass, Transition
from alerts.checkpoints import Checkpoints, checkpoint_offset, read_checkpoint
from alerts.decisions import Decision
from alerts.engine import Engine
from alerts.export import export_order, json_lines
from alerts.judge import Judge, deadly_offsets
from alerts.rulebook import Rulebook, load_rulebook, parse_rulebook
from ingest.admission import Admission, Outcome, Suspicion
from ingest.errors import OperatorError
from ingest.inventory import Device, DeviceClass, Inventory, InventoryDelta, Site
from ingest.inventory_file import parse_inventory
from ingest.journal import BEGINNING, Journal
from ingest.journal_export import read_export
from ingest.message import Kind
from ingest.readings import FIRE_STATES, HOUR, SECOND, Reading, iso
from ingest.readings_file import FileRow, read_readings
from ingest.sources import Clock

#: Two firings of one rule and subject closer than this are the same event when two rulebooks are compared.
SAME_EVENT = 1 * HOUR


T = TypeVar("T")


class Result(NamedTuple):
    """What a back-test found: transitions in export order, and how many messages or rows came to what."""

    transitions: list[Transition]
    counts: Counter[str]


def backtest_command(
    *,
    readings: Path | None = None,
    journal: Path | None = None,
    rules: Path | None = None,
    inventory: Path | None = None,
    out: Path | None = None,
    compare: Path | None = None,
) -> int:
    """What `emberwatch rules backtest` does; OperatorError for anything wrong with the files. Returns the exit code."""
    if (readings is None) == (journal is None):
        raise OperatorError("rules backtest: give exactly one of --readings FILE and --journal FILE")
    if journal is not None and inventory is not None:
        raise OperatorError("rules backtest: --inventory goes with --readings; an exported log carries its own")
    result = _run(readings, journal, rules, inventory)
    with _open(out) as file:
        file.writelines(json_lines(result.transitions))
    print(_summary(result), file=sys.stderr)
    if compare is not None:
        other = _run(readings, journal, compare, inventory)
        print("\n".join(compare_results(result.transitions, other.transitions)), file=sys.stderr)
    return 0


def _run(readings: Path | None, journal: Path | None, rules: Path | None, inventory: Path | None) -> Result:
    if journal is not None:
        return backtest_journal(journal, load_rulebook(rules) if rules else None)
    assert readings is not None
    delta = parse_inventory(inventory) if inventory else None
    rows = list(_progress(read_readings(readings), f"reading {readings.name}"))
    return backtest_rows(rows, load_rulebook(rules), delta)


def backtest_rows(rows: Sequence[FileRow], rulebook: Rulebook, delta: InventoryDelta | None = None) -> Result:
    """Judge rows in order of their time (ties in the order given) on the feed's own clock.

    Without an inventory every device is a mains-powered smoke and heat head of the site in its row. A device whose
    expected interval nobody states is expected as often as the median of its own steps.
    """
    ordered = sorted(rows, key=lambda row: row.at)
    inventory = Inventory()
    inventory.apply(_with_intervals(ordered, delta if delta is not None else _everybody(ordered)))
    engine = Engine(shard="backtest", clock=Clock.OBSERVED, rulebook=rulebook)
    engine.inventory(inventory.snapshot(), offset=0, at=0)
    decisions: list[Decision] = engine.take()
    counts: Counter[str] = Counter()
    for offset, row in enumerate(_progress(ordered, "judging"), start=1):
        admission = _admission(row, inventory)
        counts[admission.outcome] += 1
        engine.admitted(admission, offset=offset, at=row.at)
        decisions += engine.take()
    return Result(_transitions(decisions), counts)


def backtest_journal(path: Path, rulebook: Rulebook | None = None) -> Result:
    """Judge an exported log again: with its own rulebooks the very same decisions, or with another rulebook."""
    export = read_export(path)
    records = [record for stream, record in export.records if stream == "messages"]
    first = next((record for record in records if record.kind == Kind.RULEBOOK), None)
    begin = rulebook or (parse_rulebook(first.value.decode(), "rulebook in the log") if first else load_rulebook(None))
    judge = Judge(shard=export.shard, clock=_clock(export.extras, path), rulebook=begin)
    if "checkpoint" in export.extras:
        try:
            begun = _start_from(judge, export.extras["checkpoint"], rulebook)
        except (msgspec.MsgspecError, ValueError) as error:
            raise OperatorError(f"{path}: its checkpoint cannot be read ({error}); export the log again") from None
        records = [record for record in records if record.offset > begun]
    judge.deadly = deadly_offsets(records)
    decisions: list[Decision] = []
    for record in _progress(records, "judging"):
        if rulebook is not None and record.kind == Kind.RULEBOOK:
            continue
        judge.step(record)
        decisions += judge.take()
    return Result(_transitions(decisions), judge.counts)


def export_extras(journal: Journal, clock: Clock) -> dict[str, bytes]:
    """What an export needs beside its records so that it can be judged again: the shard's clock, and the checkpoint
    to begin with where the log was trimmed."""
    extras = {"clock": clock.value.encode()}
    if journal.messages.floor() > BEGINNING:
        oldest = Checkpoints(journal.folder / "checkpoints", journal.shard).oldest()
        if oldest is None:
            raise OperatorError(f"{journal.folder}: the log was trimmed and no checkpoint is there to begin with")
        extras["checkpoint"] = oldest
    return extras


def begins_whole(journal: Journal, extras: Mapping[str, bytes]) -> bool:
    """Whether the log still reaches back to where an export with these extras begins; ask after it was written."""
    begins = checkpoint_offset(extras["checkpoint"]) if "checkpoint" in extras else BEGINNING
    return journal.messages.floor() <= begins


def _clock(extras: Mapping[str, bytes], path: Path) -> Clock:
    try:
        return Clock(extras.get("clock", b"").decode())
    except ValueError:
        raise OperatorError(
            f"{path}: it does not say which clock its shard runs on; write it with `emberwatch journal export`"
        ) from None


def _start_from(judge: Judge, checkpoint: bytes, rulebook: Rulebook | None) -> int:
    """Go on from this checkpoint; the offset of the last record that is in it."""
    header = read_checkpoint(checkpoint, judge)
    if rulebook is not None:
        judge.engine.rules(rulebook, offset=header.offset, at=judge.engine.global_memory.clock)
    return header.offset


def _everybody(rows: Iterable[FileRow]) -> InventoryDelta:
    """Every device of the rows as a smoke and heat head."""
    seen = dict.fromkeys((row.site, row.device) for row in rows)
    sites = dict.fromkeys(site for site, _ in seen)
    return InventoryDelta(
        sites=[Site(id=site) for site in sites],
        devices=[Device(id=device, site=site, device_class=DeviceClass.SMOKE_HEAT_HEAD) for site, device in seen],
    )


def _with_intervals(rows: Iterable[FileRow], delta: InventoryDelta) -> InventoryDelta:
    """Fill in expected intervals that are not stated by the median of each device's own steps."""
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        times[row.site, row.device].append(row.at)
    devices = []
    for device in delta.devices:
        own = times.get((device.site, device.id), [])
        steps = [later - earlier for earlier, later in itertools.pairwise(own) if later > earlier]
        if device.expected_interval_s is None and steps:
            device = msgspec.structs.replace(device, expected_interval_s=statistics.median(steps) / SECOND)
        devices.append(device)
    return msgspec.structs.replace(delta, devices=devices)


def _admission(row: FileRow, inventory: Inventory) -> Admission:
    if inventory.find(row.site, row.device) is not None:
        reading = Reading(
            site=row.site,
            device=row.device,
            at=row.at,
            received_at=row.at,
            device_at=row.at,
            values=row.values,
            states=row.states,
        )
        return Admission(outcome=Outcome.STORED, readings=(reading,))
    signs = [state for state in row.states if state in FIRE_STATES and row.states[state]]
    suspicion = None
    if signs:
        why = f"an unregistered device reports {' and '.join(signs)}"
        suspicion = Suspicion(site=row.site, device=row.device, why=why)
    return Admission(outcome=Outcome.QUARANTINED, suspicion=suspicion)


def _transitions(decisions: Iterable[Decision]) -> list[Transition]:
    return sorted((each for each in decisions if isinstance(each, Transition)), key=export_order)


def compare_results(ours: Sequence[Transition], theirs: Sequence[Transition]) -> list[str]:
    """What the other rulebook would add, remove, tell earlier or later: a line each, and a last line that counts."""
    lines: list[str] = []
    counts: Counter[str] = Counter()
    before, after = _firings(ours), _firings(theirs)
    for subject in sorted({*before, *after}):
        for word, at, shift in _pairs(before.get(subject, []), after.get(subject, [])):
            counts[word] += 1
            if word != "same":
                by = f" by {shift / 1e6:.1f} s" if shift else ""
                rule, site, device = subject
                lines.append(f"{word}{by}: {rule} at {site}/{device or '-'}, {iso(at)}")
    words = ("added", "removed", "earlier", "later", "same")
    lines.append("compared: " + ", ".join(f"{counts[word]} {word}" for word in words))
    return lines


def _firings(transitions: Iterable[Transition]) -> dict[tuple[str, str, str], list[int]]:
    firings: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for each in transitions:
        if each.after is AlertState.FIRING and each.before is not AlertState.FIRING:
            firings[each.rule, each.site, each.device or ""].append(each.at)
    return firings


def _pairs(before: list[int], after: list[int]) -> Iterator[tuple[str, int, int]]:
    """(word, at, shift) for each event of two ascending lists; shift in µs, never negative."""
    ours, theirs = 0, 0
    while ours < len(before) or theirs < len(after):
        if theirs == len(after) or (ours < len(before) and before[ours] + SAME_EVENT < after[theirs]):
            yield "removed", before[ours], 0
            ours += 1
        elif ours == len(before) or after[theirs] + SAME_EVENT < before[ours]:
            yield "added", after[theirs], 0
            theirs += 1
        else:
            shift = after[theirs] - before[ours]
            yield ("same" if shift == 0 else "later" if shift > 0 else "earlier"), after[theirs], abs(shift)
            ours, theirs = ours + 1, theirs + 1


def _summary(result: Result) -> str:
    fired: Counter[str] = Counter()
    fires: set[tuple[str, str | None]] = set()
    for each in result.transitions:
        if each.after is AlertState.FIRING and each.before is not AlertState.FIRING:
            fired[each.rule] += 1
            if each.signal_class is SignalClass.FIRE:
                fires.add((each.site, each.device))
    rows = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.counts.items())) or "none"
    rules = ", ".join(f"{count} {rule}" for rule, count in fired.most_common()) or "none"
    return f"judged: {rows}; alerts: {rules}; devices in fire class: {len(fires)}"


def _progress(items: Iterable[T], what: str) -> Iterable[T]:
    """A progress bar on a terminal; elsewhere nothing."""
    bar: Iterable[T] = tqdm(items, desc=what, unit=" rows", file=sys.stderr, disable=not sys.stderr.isatty())
    return bar


@contextmanager
def _open(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise OperatorError(f"{out}: cannot write: {(error.strerror or str(error)).lower()}") from None
