"""`python -m simulators verify`: what was sent, compared with what came of it: lost, twice, late, wrong."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from ingest.errors import EmberwatchError, OperatorError
from ingest.readings import SECOND
from simulators.options import not_over, os_errors, positive, span
from simulators.tapes.tapefile import read_unheard
from simulators.truth import read_truth
from simulators.verify.alerts import AlertsCheck, Line
from simulators.verify.api import Api
from simulators.verify.books import Ledger, check_books
from simulators.verify.files import read_lines, read_object
from simulators.verify.findings import Tally, as_json, as_text, moment
from simulators.verify.pages import Noted, PagesCheck
from simulators.verify.readings import ReadingsCheck, Surplus
from simulators.verify.said import Said, read_said

FOUND, COULD_NOT_LOOK = 1, 2

EPILOG = """\
What is given is compared, and the report names what is not:
  messages   --ledger: all were received, and became what they should: stored, duplicate, quarantined, no reading;
             every alert is told and every page delivered. Without --ledger-before the books began with this feed.
  readings   --api: every reading is there once, with its own values and time, and soon enough.
  alerts     --alerts: every device that said a fire state has an alert of fire class, soon enough; none is opened
             twice. With --truth also every fire it knows, and none where it knows of no fire and no device said one.
  pages      --pages: every site with a fire has its page at the collector, each page once, signed, soon enough; with
             --api every page that was accepted for the collector's channel is there.
Readings and fire states are understood in ember-json; messages in other formats are only counted.

Each finding is a line, the first 20 are shown: lost, twice, late or wrong, of which device and time, what was expected
and what is there. Exit code 0: nothing found. 1: something found. 2: could not look.

examples (a program that runs, with teams.yaml sending to http://127.0.0.1:9000/hook):
  python -m simulators collect --bind 127.0.0.1:9000 --out pages.jsonl        in a terminal of its own
  python -m simulators town --inventory town.csv && emberwatch inventory import town.csv
  emberwatch ledger --json > before.json
  python -m simulators town --seconds 120 --scenario battery_fire --sent town.tape
  emberwatch ledger --json > after.json; emberwatch alerts export --out alerts.jsonl
  python -m simulators verify --sent town.tape --ledger after.json --ledger-before before.json \\
      --alerts alerts.jsonl --pages pages.jsonl --api http://127.0.0.1:8080 --token-file emberwatch-data/api.token
"""


class _Stopped(Exception):
    """Somebody pressed Ctrl-C."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `verify`."""
    parser = commands.add_parser(
        "verify",
        help="what was sent against what came of it: lost, twice, late, wrong",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sent", nargs="+", required=True, metavar="FILE.tape", help="all that was sent, or recorded")
    parser.add_argument("--ledger", metavar="FILE.json", help="from `emberwatch ledger --json`, after it")
    parser.add_argument("--ledger-before", metavar="FILE.json", help="the same from before it")
    parser.add_argument("--alerts", metavar="FILE.jsonl", help="from `emberwatch alerts export`")
    parser.add_argument("--truth", metavar="FILE.truth.json", help="what was true: fires, quiet spans")
    parser.add_argument("--pages", metavar="FILE.jsonl", help="from `python -m simulators collect`")
    parser.add_argument("--api", metavar="URL", help="of the program, such as http://127.0.0.1:8080")
    parser.add_argument("--token-file", metavar="FILE", help="an API token, such as emberwatch-data/api.token")
    parser.add_argument("--sample", type=positive, default=0, metavar="N", help="ask for N devices only (default all)")
    # 10 s from a device's alarm to the centre: GB 26875.1-2011 (D 1.2, [T]), the stricter reading of GB 50440 (D 1.1)
    parser.add_argument("--late", type=span, default=10.0, metavar="S", help="what takes longer is late (default 10)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--out", metavar="FILE.jsonl", help="write every finding as a JSON line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Compare, and report."""
    try:
        _usage(args)
        with ExitStack() as stack:
            tally = Tally(_out(args.out, stack))
            _compare(args, tally, stop)
    except _Stopped:
        return 130
    except EmberwatchError as error:
        print(f"simulators: verify: {error}", file=sys.stderr)
        return COULD_NOT_LOOK
    print(as_json(tally).decode() if args.json else as_text(tally))
    return FOUND if tally.total else 0


def _compare(args: argparse.Namespace, tally: Tally, stop: threading.Event) -> None:
    said = _said(args.sent, stop)
    for line in said.cuts:
        tally.not_checked(f"what was sent later than {moment(said.last_at)}: {line}")
    for path in args.sent:
        for start, end in read_unheard(path):
            tally.not_checked(f"what was sent from {moment(start)} to {moment(end)}: {path} did not hear it")
    surplus = _readings(args, said, tally, stop)
    _books(args, said, tally, surplus)
    alerts = _alerts(args, said, tally)
    _pages(args, said, tally, alerts)


def _usage(args: argparse.Namespace) -> None:
    if len(set(args.sent)) < len(args.sent):
        raise OperatorError(f"--sent {' '.join(args.sent)}: a tape stands twice; name each once")
    if not (args.ledger or args.api or args.alerts or args.pages or args.ledger_before or args.truth):
        raise OperatorError("nothing to compare with; give --ledger, --api, --alerts or --pages, or several")
    for option, value, needed, other in (
        ("--api", args.api, "--token-file", args.token_file),
        ("--ledger-before", args.ledger_before, "--ledger", args.ledger),
        ("--truth", args.truth, "--alerts", args.alerts),
        ("--sample", args.sample, "--api", args.api),
        ("--token-file", args.token_file, "--api", args.api),
    ):
        if value and not other:
            raise OperatorError(f"{option} needs {needed} too")
    read = (args.ledger, args.ledger_before, args.alerts, args.truth, args.pages, args.token_file)
    not_over("--out", args.out, *args.sent, *read)


def _said(paths: list[str], stop: threading.Event) -> Said:
    with _bar("reading", stop, unit=" messages") as progress:
        said = read_said(paths, progress)
    if not said.sent:
        raise OperatorError(f"--sent {', '.join(paths)}: no messages in it; nothing to compare")
    return said


def _readings(args: argparse.Namespace, said: Said, tally: Tally, stop: threading.Event) -> Surplus:
    if not args.api:
        tally.not_checked("readings (no --api)")
        return Surplus()
    check = ReadingsCheck(said, args.sent, tally, late=int(args.late * SECOND))
    with Api(args.api, args.token_file) as api, _bar("asking", stop, unit=" readings", total=len(said.ts)) as progress:
        check.run(api, sample=args.sample, progress=progress)
    if said.other:
        tally.not_checked(f"readings in {said.other:,} messages in other formats than ember-json")
    return check.surplus


def _books(args: argparse.Namespace, said: Said, tally: Tally, surplus: Surplus) -> None:
    if not args.ledger:
        tally.not_checked("messages (no --ledger)")
        return
    made_by = "`emberwatch ledger --json`"
    after = read_object(args.ledger, Ledger, option="--ledger", made_by=made_by)
    before = None
    if args.ledger_before:
        before = read_object(args.ledger_before, Ledger, option="--ledger-before", made_by=made_by)
    check_books(after, before, said.expected(), surplus, tally)


def _alerts(args: argparse.Namespace, said: Said, tally: Tally) -> AlertsCheck | None:
    if not args.alerts:
        tally.not_checked("alerts (no --alerts)")
        return None
    lines = read_lines(args.alerts, Line, option="--alerts", made_by="`emberwatch alerts export`")
    check = AlertsCheck(lines, said, tally, ended=said.span()[1], late=int(args.late * SECOND))
    truth = read_truth(Path(args.truth)) if args.truth else None
    if truth is None:
        tally.not_checked("whether alerts are of real fires (no --truth)")
    check.run(truth)
    return check


def _pages(args: argparse.Namespace, said: Said, tally: Tally, alerts: AlertsCheck | None) -> None:
    if not args.pages:
        tally.not_checked("pages (no --pages)")
        return
    alarmed, burning = (alerts.fire_sites(), alerts.burning_sites()) if alerts else ({}, set())
    sites = {site for site, _ in said.names} - burning
    fires = {site: told for site, told in alarmed.items() if site in sites} | said.fire_sites(sites)
    lines = list(read_lines(args.pages, Noted, option="--pages", made_by="`python -m simulators collect`"))
    check = PagesCheck(lines, fires, tally, began=said.first_at, late=int(args.late * SECOND))
    if any(line.signed is None for line in lines):
        tally.not_checked("signatures of pages (the collector had no --secret-file)")
    deliveries = None
    if args.api:
        with Api(args.api, args.token_file) as api:
            deliveries = list(api.deliveries())
    check.run(deliveries=deliveries, alarmed={*alarmed, *burning} if alerts else None)


def _out(path: str | None, stack: ExitStack) -> IO[bytes] | None:
    if not path:
        return None
    with os_errors(f"--out {path}", "name a file to write to"):
        out = Path(path).open("wb")  # noqa: SIM115 - closed by the stack
    return stack.enter_context(out)


@contextmanager
def _bar(what: str, stop: threading.Event, *, unit: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on terminals; what it gives counts on, and ends the work when somebody wants it to end."""
    bar: tqdm[Any]
    with tqdm(total=total, desc=f"verify: {what}", unit=unit, disable=None, file=sys.stderr) as bar:

        def progress(count: int) -> None:
            bar.update(count)
            if stop.is_set():
                raise _Stopped

        yield progress
