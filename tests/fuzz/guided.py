"""`python -m tests.fuzz.guided FAMILY COUNT SEED`: the same trial, led by atheris to where it has not been.

An input is two bytes that choose a conversation and a message of it, and the payload. The conversation's messages
before that one are told first, as they are.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["ingest.codecs", "ingest.admit", "ingest.suspicion", "ingest.timing"]):
    from tests.support.fuzz import Tally, Trial
    from tests.support.mutation import mutated

import msgspec


class Guided:
    """A trial whose payloads somebody else chooses."""

    def __init__(self, family: str, count: int, seed: int) -> None:
        self.trial = Trial(family, seed)
        self.count = count

    def seeds(self, folder: Path) -> None:
        """Every message of every conversation, as inputs to begin with."""
        for number, told in enumerate(self.trial.conversations):
            for place, letter in enumerate(told):
                (folder / f"{number}-{place}").write_bytes(bytes((number % 256, place % 256)) + letter.payload)

    def one(self, data: bytes) -> None:
        """One input of atheris; ends the process behind the last."""
        told = self.trial.conversations[data[0] % len(self.trial.conversations)] if len(data) > 1 else ()
        if told:
            place = data[1] % len(told)
            for before in told[:place]:
                self.trial.hear(before, None, counts=False)
            letter = msgspec.structs.replace(told[place], payload=data[2:])
            self.trial.hear(letter, None, counts=True)
        if self.trial.tally.payloads >= self.count or len(self.trial.tally.findings) >= 20:
            self._end()

    def change(self, data: bytes, max_size: int, seed: int) -> bytes:
        """The next input from one that led somewhere new."""
        random = Random(seed)
        if len(data) < 3 or random.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        payload = mutated(random, data[2:], self.trial.words)
        return data[:2] + self.trial.mended(payload)[: max_size - 2]

    def _end(self) -> None:
        tally = self.trial.tally
        print(_line(tally), flush=True)
        os._exit(1 if tally.findings else 0)  # libFuzzer has no other end for its loop


def _line(tally: Tally) -> str:
    found = "; ".join(dict.fromkeys(finding.what for finding in tally.findings)) or "-"
    share = tally.decoded / max(tally.payloads, 1)
    return f"{tally.family:<28}{tally.payloads:>10,} guided{share:>9.1%}{tally.slowest_ms:>7.1f} ms  {found}"


def main() -> None:
    family, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    guided = Guided(family, count, seed)
    with tempfile.TemporaryDirectory() as folder:
        guided.seeds(Path(folder))
        flags = [sys.argv[0], f"-seed={seed}", "-max_len=4096", "-verbosity=0", "-rss_limit_mb=0", folder]
        atheris.Setup(flags, guided.one, custom_mutator=guided.change)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
