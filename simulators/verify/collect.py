"""`python -m simulators collect`: a webhook that writes down the pages it gets, for `verify` to compare."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from pathlib import Path

from ingest.errors import OperatorError
from simulators.options import not_over, os_errors, span, whole
from simulators.verify.collector import Collector, Manners

EPILOG = """\
Writes a JSON line for each POST, on any path, before it answers 200: at (µs since 1970), path, key (Idempotency-Key),
status (what was answered), signed (whether X-Emberwatch-Signature is right; null without --secret-file), headers, body.
Let a channel of teams.yaml send to it:
  hook: {type: webhook, url: "http://127.0.0.1:9000/hook", secret_file: hook.key}

examples:
  python -m simulators collect --out pages.jsonl
  python -m simulators collect --out pages.jsonl --secret-file hook.key
  python -m simulators collect --out pages.jsonl --swallow 1      the first page is lost: verify must find it
  python -m simulators collect --out pages.jsonl --answer 503:2   the first two are refused, and come again
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of `collect`."""
    parser = commands.add_parser(
        "collect",
        help="a webhook that writes down the pages it gets",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="FILE.jsonl", help="written anew, a line for each page")
    parser.add_argument(
        "--bind", type=_address, default=("127.0.0.1", 9000), metavar="HOST:PORT", help="(default 127.0.0.1:9000)"
    )
    parser.add_argument("--secret-file", metavar="FILE", help="what pages are signed with, to check their signatures")
    faults = parser.add_argument_group("faults, to be found by verify")
    faults.add_argument(
        "--answer", type=_answer, default=(500, 0), metavar="STATUS:N", help="answer the first N with this status"
    )
    faults.add_argument("--swallow", type=whole, default=0, metavar="N", help="answer the first N 200, and forget them")
    faults.add_argument("--delay", type=span, default=0.0, metavar="S", help="write down and answer S seconds late")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, now: Callable[[], int], stop: threading.Event) -> int:
    """Take pages until it is stopped."""
    not_over("--out", args.out, args.secret_file)
    manners = Manners(status=args.answer[0], fail=args.answer[1], swallow=args.swallow, delay_s=args.delay)
    secret = _secret(args.secret_file)
    with os_errors(f"--out {args.out}", "name a file to write to"):
        out = Path(args.out).open("wb")  # noqa: SIM115 - closed below
    with out:
        collector = Collector(args.bind, out, secret=secret, manners=manners, now=now, say=_say)
        _say(f"collect: listening on http://{args.bind[0]}:{collector.port}, Ctrl-C ends it")
        collector.serve(stop)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _secret(path: str | None) -> bytes:
    if not path:
        return b""
    with os_errors(f"--secret-file {path}", "name a readable file"):
        secret = Path(path).read_bytes().strip()
    if not secret:
        raise OperatorError(f"--secret-file {path}: is empty; put the shared key in it")
    return secret


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write 127.0.0.1:9000")
    return host.strip("[]"), int(port)


def _answer(text: str) -> tuple[int, int]:
    status, _, count = text.partition(":")
    if not status.isdecimal() or not 200 <= int(status) <= 599 or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: write STATUS:N, such as 500:2")
    return int(status), int(count)
