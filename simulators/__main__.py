"""`python -m simulators COMMAND`: pretend devices that speak only MQTT."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence

from ingest.errors import EmberwatchError
from ingest.processes import stop_on_signals
from simulators.convert import command as convert
from simulators.load import command as load
from simulators.physics import command as physics
from simulators.scenarios import command as scenario
from simulators.tapes import faults, record, replay
from simulators.town import command as town
from simulators.verify import collect
from simulators.verify import command as verify

COMMANDS = (town, scenario, physics, record, replay, faults, load, convert, verify, collect)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m simulators",
        description="Pretend devices that speak only MQTT, and recordings of real ones.",
        epilog="Each command explains itself: python -m simulators town --help",
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 what a person must change or a missing server, 2 wrong usage, 130 interrupted."""
    args = parser().parse_args(argv)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop = stop_on_signals()
    try:
        return int(args.run(args, now=_now, stop=stop))
    except EmberwatchError as error:
        print(f"simulators: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing reads us: say no more
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    sys.exit(main())
