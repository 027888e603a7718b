"""`python -m simulators COMMAND`: pretend devices that speak only MQTT."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from ingest.errors import EmberwatchError
from ingest.processes import stop_on_signals

#: Command → its module, which is imported when it is asked for: together they take a second and a half.
COMMANDS = {
    "town": "simulators.town.command",
    "scenario": "simulators.scenarios.command",
    "physics": "simulators.physics.command",
    "record": "simulators.tapes.record",
    "replay": "simulators.tapes.replay",
    "faults": "simulators.tapes.faults",
    "load": "simulators.load.command",
    "convert": "simulators.convert.command",
    "verify": "simulators.verify.command",
    "collect": "simulators.verify.collect",
}


def parser(asked: str = "") -> argparse.ArgumentParser:
    """The command that is asked for with its options; all of them, when it is none of them."""
    top = argparse.ArgumentParser(
        prog="python -m simulators",
        description="Pretend devices that speak only MQTT, and recordings of real ones.",
        epilog="Each command explains itself: python -m simulators town --help",
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in (asked,) if asked in COMMANDS else COMMANDS:
        import_module(COMMANDS[name]).add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 what a person must change or a missing server, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser(words[0] if words else "").parse_args(words)
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
