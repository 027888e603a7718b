"""What the commands of the simulators share: broker addresses and checked numbers of the command line."""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.brokertrouble import trouble
from ingest.errors import OperatorError
from ingest.mqtt import BrokerAddress, parse_mqtt_url
from ingest.readings_file import parse_time

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
#: The year 9000, µs.
LATEST = 221_845_392_000 * 1_000_000


def parse_broker(url: str) -> BrokerAddress:
    """`mqtt://[user:password@]host[:port]`, or `mqtts://…?ca=…&cert=…&key=…`; OperatorError for anything else."""
    return parse_mqtt_url(url, where="--broker")


def no_connection(broker: BrokerAddress, error: OSError) -> str:
    """Why there is none and what to do, in one line."""
    if isinstance(error, ssl.SSLError):
        return str(trouble(error, broker))
    what = (error.strerror or str(error)).lower()
    return f"{broker}: {what}; start a broker there (mosquitto) or name another with --broker mqtt://host:port"


def add_broker(parser: argparse.ArgumentParser) -> None:
    """The option every command that publishes has."""
    shown = f"mqtt://[user:password@]host[:port], or mqtts://…?ca=…&cert=…&key=… (default {DEFAULT_BROKER})"
    parser.add_argument("--broker", metavar="URL", default=DEFAULT_BROKER, help=shown)


def add_sent(parser: argparse._ActionsContainer) -> None:
    """The option for the file of what was sent."""
    parser.add_argument(
        "--sent",
        metavar="FILE.tape",
        help="write each message published to a tape, with the time: what replay, faults and verify read",
    )


@contextmanager
def os_errors(where: str, right: str) -> Iterator[None]:
    """An OSError inside becomes an OperatorError: where, what, and what would be right."""
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{where}: {(error.strerror or str(error)).lower()}; {right}") from None


def not_over(option: str, path: str | None, *others: str | None) -> None:
    """OperatorError when the file to write to is one of the others, under whatever name."""
    if path and os.path.realpath(path) in [os.path.realpath(other) for other in others if other]:
        raise OperatorError(f"{option} {path}: is a file of this command already; name another to write to")


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def whole(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def span(text: str) -> float:
    """Seconds, more than none."""
    seconds = _seconds(text)
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def delay(text: str) -> float:
    """Seconds from now, also none."""
    seconds = _seconds(text)
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0")
    return seconds


def _seconds(text: str) -> float:
    """Not a number where there is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def factor(text: str) -> float:
    """How many times faster than the clock; `max` is infinity: as fast as the broker takes it."""
    if text == "max":
        return float("inf")
    try:
        times = float(text)
    except ValueError:
        times = 0.0
    if not 1e-6 <= times < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed; write 1, 10, … or max")
    return times


def moment(text: str) -> int:
    """A time as readings files write it, in µs; one that leaves some centuries until time stamps end."""
    try:
        at = parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if at >= LATEST:
        raise argparse.ArgumentTypeError(f"{text!r} is too late; give one before the year 9000")
    return at
