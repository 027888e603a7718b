"""`python -m simulators convert`: recordings of real sensors as readings files, with their truth beside them."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from ingest.errors import OperatorError
from ingest.readings_file import write_readings
from simulators.convert import SETS
from simulators.options import os_errors
from simulators.truth import Converted, write_truth

FORMATS = ("csv", "csv.gz", "jsonl", "jsonl.gz", "parquet")
EPILOG = """\
Writes DIR/NAME.csv, which `emberwatch rules backtest --readings` and `replay` take, and DIR/NAME.truth.json: whether
there is a fire, when it was lit and which devices are in its room, alarm times measured by others, quiet spans and
nuisances, the class of each device.

examples:
  python -m simulators convert nist_smoke_alarms fires
  python -m simulators convert all recordings --format parquet
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `convert`."""
    parser = commands.add_parser(
        "convert",
        help="recordings of real sensors as readings files",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("set", metavar="SET", choices=[*SETS, "all"], help=f"{', '.join(SETS)}, or all")
    parser.add_argument("dir", metavar="DIR", help="where to write; made when missing")
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the sets (default: $EMBERWATCH_TEST_DATA, else ../shared/data)"
    )
    parser.add_argument("--format", choices=FORMATS, default="csv", help="of the readings files (default csv)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Convert, and say what was written."""
    data, target = data_folder(args.data), Path(args.dir)
    with os_errors(str(target), "name a folder to write to"):
        target.mkdir(parents=True, exist_ok=True)
    for name in SETS if args.set == "all" else (args.set,):
        for converted in tqdm(recordings(name, data), unit="recording", desc=name, disable=None, file=sys.stderr):
            if stop.is_set():
                return 130
            count = write_recording(target, converted, args.format)
            tqdm.write(f"{target / converted.truth.recording}.{args.format}: {count} rows")
    return 0


def recordings(name: str, data: Path) -> Iterator[Converted]:
    """Those of one set; OperatorError where its folder holds other tables than it should."""
    try:
        yield from SETS[name](data / name)
    except (LookupError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise OperatorError(
            f"{data / name}: not the tables of this set: {what}; name the folder with --data DIR"
        ) from None


def write_recording(target: Path, converted: Converted, ending: str) -> int:
    """Both files of one recording; the number of rows."""
    name = converted.truth.recording
    write_truth(target / f"{name}.truth.json", converted.truth)
    return write_readings(target / f"{name}.{ending}", converted.rows)


def data_folder(named: str | None) -> Path:
    """Where the data sets are; OperatorError when they are not."""
    default = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    folder = Path(named or os.environ.get("EMBERWATCH_TEST_DATA") or default)
    if not folder.is_dir():
        raise OperatorError(f"{folder}: no such folder; name that of the data sets with --data DIR")
    return folder
