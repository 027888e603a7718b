"""Which messages are to be spoiled and how: the options that `replay` and `faults` share. Pure."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import msgspec

from ingest.readings import SECOND
from simulators.options import whole

_HELP = """\
SEL is message numbers (5,9,100-120), counted from 1 in the order of the recording, or a share of all (0.1%)
that --seed chooses; with @GLOB behind it only messages whose topic, a level of it or device matches (1%@shed-00*).
Each can be given several times. The same file, options and seed spoil the same messages.
"""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Some messages: by number or by chance, and by name where `glob` is not ""."""

    numbers: tuple[tuple[int, int], ...] = ()  #: first and last, both included
    share: float = 0.0
    glob: str = ""

    def chooses(self, number: int, chance: float, names: Callable[[], Iterable[str]]) -> bool:
        """Whether this one is meant; `chance` from 0 to before 1 is the message's own."""
        if chance >= self.share and not any(first <= number <= last for first, last in self.numbers):
            return False
        return not self.glob or any(fnmatchcase(name, self.glob) for name in names())


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch (µs after the first message) of which nothing arrives, or nothing of some devices."""

    start: int
    length: int
    device: str = ""  #: or a GLOB; "" = all

    def concerns(self, device: str) -> bool:
        """Whether this device's messages are lost."""
        return not self.device or fnmatchcase(device, self.device)


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """A device (or GLOB) whose clock is ahead by so much, µs."""

    device: str
    by: int

    def concerns(self, device: str) -> bool:
        """Whether it is this device's clock."""
        return fnmatchcase(device, self.device)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be done to a recording."""

    seed: int = 1
    drop: tuple[Selection, ...] = ()
    double: tuple[Selection, ...] = ()
    corrupt: tuple[Selection, ...] = ()
    delay: tuple[tuple[Selection, int], ...] = ()  #: with how long, µs
    gap: tuple[Gap, ...] = ()
    skew: tuple[Skew, ...] = ()

    def chance(self, what: str, number: int) -> float:
        """Chance of its own for each message and thing to do, the same on every machine."""
        digest = hashlib.blake2b(f"{self.seed}/{what}/{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def add_faults(parser: argparse.ArgumentParser) -> None:
    """The options of faults; `chosen` reads them."""
    faults = parser.add_argument_group("faults", description=_HELP)

    def add(name: str, kind: Callable[[str], object], metavar: str, says: str) -> None:
        faults.add_argument(name, type=kind, action="append", default=[], metavar=metavar, help=says)

    add("--drop", selection, "SEL", "leave these messages out")
    add("--double", selection, "SEL", "send these twice")
    add("--delay", delayed, "SEL:SECONDS", "send these so much later, behind what came after them; their times stay")
    add("--gap", gap, "FROM:FOR[:DEVICE]", "leave out what comes from FROM s after the first message, for FOR s")
    add("--corrupt", selection, "SEL", "cut these off somewhere, a byte FF behind: neither JSON nor text any more")
    add("--skew", skew, "DEVICE:SECONDS", "the clock of DEVICE (or GLOB) is ahead by so much (behind: -SECONDS)")
    faults.add_argument("--seed", type=whole, default=1, metavar="S", help="another seed, other choices (default 1)")
    faults.add_argument("--done", metavar="FILE.jsonl", help="list what was done to which message")


def chosen(args: argparse.Namespace) -> Chosen:
    """What the command line asks for."""
    return Chosen(
        seed=args.seed,
        drop=tuple(args.drop),
        double=tuple(args.double),
        corrupt=tuple(args.corrupt),
        delay=tuple(args.delay),
        gap=tuple(args.gap),
        skew=tuple(args.skew),
    )


def selection(text: str) -> Selection:
    """`5,9,100-120` or `0.1%`, and `@GLOB`."""
    what, _, glob = text.partition("@")
    if found := re.fullmatch(r"(\d+\.?\d*|\.\d+)%", what, re.ASCII):
        share = float(found[1]) / 100
        if 0 < share <= 1 and (glob or "@" not in text):
            return Selection(share=share, glob=glob)
    ranges = [re.fullmatch(r"(\d+)(?:-(\d+))?", piece, re.ASCII) for piece in what.split(",")]
    numbers = tuple((int(found[1]), int(found[2] or found[1])) for found in ranges if found)
    sound = len(numbers) == len(ranges) and all(0 < first <= last for first, last in numbers)
    if not sound or (not glob and "@" in text):
        raise argparse.ArgumentTypeError(f"{text!r} chooses nothing; write 5,9,100-120 or 0.1%, and @GLOB if wanted")
    return Selection(numbers=numbers, glob=glob)


def delayed(text: str) -> tuple[Selection, int]:
    """`SEL:SECONDS`; a GLOB may have colons."""
    what, _, seconds = text.rpartition(":")
    by = _micros(seconds)
    if not what or by is None or by <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no delay; write SEL:SECONDS, such as 5,9:30 or 0.1%:30")
    return selection(what), by


def gap(text: str) -> Gap:
    """`FROM:FOR` or `FROM:FOR:DEVICE`; ids may have colons."""
    start, length, device = ([*text.split(":", 2), ""])[:3] if ":" in text else (text, "", "")
    first, lasts = _micros(start), _micros(length)
    if first is None or first < 0 or lasts is None or lasts <= 0 or (not device and text.count(":") > 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no gap; write FROM:FOR or FROM:FOR:DEVICE, such as 60:30")
    return Gap(start=first, length=lasts, device=device)


def skew(text: str) -> Skew:
    """`DEVICE:SECONDS`; ids may have colons."""
    device, _, seconds = text.rpartition(":")
    by = _micros(seconds)
    if not device or not by:
        raise argparse.ArgumentTypeError(f"{text!r} is no skew; write DEVICE:SECONDS, such as shed-001-h01:-90")
    return Skew(device=device, by=by)


def _micros(text: str) -> int | None:
    if not re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        return None
    seconds = float(text)
    return round(seconds * SECOND) if abs(seconds) < 1e9 else None
