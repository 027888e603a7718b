"""`python -m tests.support.soak`: havoc for longer and with several seeds, as a table.

The environment says how much: SEEDS (5) of MINUTES (5) each with FIRES (12), the first being FIRST_SEED (1).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.support.havoc import ROLES, Database, plan
from tests.support.recorded_run import SHARDS, Outcome, Run, differences, own_database

_HEAD = ("seed", "minutes", *ROLES, "kills", "stops", "pages", "doubles", "ledgers", "result")


def main() -> int:
    """Run every seed; 0 when each came out as the run in peace."""
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left behind then either
        signal.signal(number, signal.default_int_handler)
    seeds, minutes = int(os.environ.get("SEEDS", "5")), float(os.environ.get("MINUTES", "5"))
    fires, first = int(os.environ.get("FIRES", "12")), int(os.environ.get("FIRST_SEED", "1"))
    rows: list[tuple[object, ...]] = []
    with own_database() as server, tempfile.TemporaryDirectory(prefix="emberwatch-soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        calm = Run(folder / "calm", server, fires=fires).result()
        print(f"in peace: {len(calm.pages)} pages, {len(calm.transitions)} transitions", flush=True)
        for seed in range(first, first + seeds):
            rows.append(one(seed, folder / f"seed-{seed}", server, calm, minutes=minutes, fires=fires))
            print(_line(_HEAD), *map(_line, rows), sep="\n", flush=True)
    return 0 if all(row[-1] == "same" for row in rows) else 1


def one(seed: int, folder: Path, server: Database, calm: Outcome, *, minutes: float, fires: int) -> tuple[object, ...]:
    """One seed; its row of the table."""
    planned = plan(seed, seconds=minutes * 60, shards=SHARDS, fires=fires)
    print(*planned.lines(), sep="\n", flush=True)
    began = time.monotonic()
    run = Run(folder, server, fires=fires, plan=planned)
    try:
        rough = run.result(calm)
        found = differences(calm, rough)
        figures: tuple[object, ...] = (len(rough.pages), rough.doubles(), rough.ledgers)
    except Exception:
        found, figures = [traceback.format_exc()], ("", "", "")
    if found:
        happened = run.havoc.done if run.havoc else []
        print(*happened, *found, f"its files: {_kept(folder)}", sep="\n", flush=True)
    kills, stops = (run.havoc.kills, run.havoc.stops) if run.havoc else ({}, {})
    killed = [kills.get(role, 0) for role in ROLES]
    spent = f"{(time.monotonic() - began) / 60:.1f}"
    return (seed, spent, *killed, sum(killed), sum(stops.values()), *figures, "DIFFERENT" if found else "same")


def _kept(folder: Path) -> Path:
    """A failed run's files, where they outlive the soak."""
    kept = Path(tempfile.mkdtemp(prefix="emberwatch-soak-failed-")) / folder.name
    return folder.rename(kept)


def _line(row: tuple[object, ...]) -> str:
    return " ".join(f"{cell!s:>10}" for cell in row)


if __name__ == "__main__":
    sys.exit(main())
