"""`python -m simulators faults`: a recording spoiled on purpose, as another file of the same kind."""

from __future__ import annotations

import argparse
import gzip
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from ingest.errors import OperatorError
from ingest.readings_file import FileRow, read_readings, write_readings
from simulators.options import not_over, os_errors
from simulators.tapes.chosen import add_faults, chosen
from simulators.tapes.donefile import DoneFile, summary
from simulators.tapes.kinds import Kind, add_fields, fields_of, kind_of
from simulators.tapes.recording import Recording
from simulators.tapes.spoil import Form, MessageForm, RawForm, RowForm, Spoiler
from simulators.tapes.tapefile import Taped, TapeWriter, read_tape, read_unheard

T = TypeVar("T")

EPILOG = """\
IN is a tape, a raw-json recording or a readings file, as for replay, which takes the same options; OUT is of the same
kind. In a tape, what is delayed has a later time of arrival; in the other two it stands further behind.
Prints how many messages went in and came out: out = in - dropped - lost in gaps + doubled.

examples:
  python -m simulators faults day.tape bad.tape --drop 0.5% --double 0.1%@*/alarm --done done.jsonl
  python -m simulators faults day.csv late.csv --delay 1%:45 --skew shed-001-h01:-90
  python -m simulators faults day.tape gap.tape --gap 600:120:shed-003-h02 --corrupt 5,9,100-120
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `faults`."""
    parser = commands.add_parser(
        "faults",
        help="a recording spoiled on purpose",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="IN", help="the recording")
    parser.add_argument("out", metavar="OUT", help="the spoiled one; replaced where it exists")
    parser.add_argument("--format", choices=list(Kind), type=Kind, help="what IN holds (default: by content and name)")
    add_fields(parser)
    add_faults(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Write the spoiled recording, and say what was done; 130 when stopped."""
    not_over("OUT", args.out, args.file)
    not_over("--done", args.done, args.file, args.out)
    with DoneFile(args.done) as done:
        work = Work(args, done, stop)
        {Kind.TAPE: work.tape, Kind.RAW_JSON: work.raw, Kind.READINGS: work.readings}[kind_of(args)]()
    if stop.is_set():
        print(f"faults: stopped before the end; {args.out} is not complete", file=sys.stderr)
        return 130
    print(f"faults: {work.taken} in, {work.given} out{summary(work.deeds)}")
    return 0


class Work:
    """One run of `faults`."""

    def __init__(self, args: argparse.Namespace, done: DoneFile, stop: threading.Event) -> None:
        self.taken = self.given = 0
        self.deeds: dict[str, int] = {}
        self._args, self._done, self._stop = args, done, stop

    def tape(self) -> None:
        """From tape to tape; when its recorder heard nothing is noted on both."""
        unheard = read_unheard(self._args.file)
        with TapeWriter(self._args.out, "OUT") as tape:
            for start, end in unheard:
                tape.unheard(start, end)
            form: MessageForm[Taped] = MessageForm(fields_of(self._args))
            for message in self._spoiled(read_tape(self._args.file), form):
                tape.put(message)

    def readings(self) -> None:
        """From readings file to readings file."""
        fields_of(self._args)  # none can be named
        rows: Iterator[FileRow] = self._spoiled(read_readings(self._args.file), RowForm())
        write_readings(self._args.out, rows)

    def raw(self) -> None:
        """From original messages to original messages, as one JSON array."""
        if self._args.out.endswith(".zip"):
            raise OperatorError(f"OUT {self._args.out}: no archive is made; name it .json, or .json.gz")
        fields = fields_of(self._args)
        recording = Recording(Path(self._args.file), time_field=fields.time_field)
        text = b",\n".join(message.raw for message in self._spoiled(recording, RawForm(fields)))
        data = b"[\n" + text + b"\n]\n"
        with os_errors(f"OUT {self._args.out}", "name a file to write to"):
            Path(self._args.out).write_bytes(gzip.compress(data, mtime=0) if self._args.out.endswith(".gz") else data)

    def _spoiled(self, things: Iterable[T], form: Form[T]) -> Iterator[T]:
        spoiler = Spoiler(form, chosen(self._args), self._done.add)
        self.deeds = spoiler.done
        for thing in spoiler.spoil(self._counted(things)):
            self.given += 1
            yield thing

    def _counted(self, things: Iterable[T]) -> Iterator[T]:
        for thing in tqdm(things, unit="msg", desc="faults", disable=None, file=sys.stderr):
            if self._stop.is_set():
                return
            self.taken += 1
            yield thing
