"""One family's whole run, in a process of its own; beside `__main__`, because a spawned child must find it by name."""

from __future__ import annotations

import gc
import time

import msgspec
import psutil

from tests.support.fuzz import Tally, Trial

LIVES = 10
#: A process may keep this much more at its end than after a tenth of its work: caches of bounded size fill up.
GROWTH_LIMIT = 24 * 1024 * 1024


class Result(msgspec.Struct, frozen=True, kw_only=True):
    tally: Tally
    seconds: float
    grown: int  #: bytes, from the first tenth to the end

    @property
    def wrong(self) -> list[str]:
        found = [finding.what for finding in self.tally.findings]
        if self.grown > GROWTH_LIMIT:
            found.append(f"the process grew by {self.grown / 2**20:.0f} MiB")
        return found


def run(family: str, count: int, seed: int) -> Result:
    trial = Trial(family, seed)
    gc.freeze()
    process = psutil.Process()
    began, first = time.process_time(), 0
    for life in range(LIVES):
        trial.run(count // LIVES)
        trial.begin_life()
        gc.collect()
        if life == 0:
            first = process.memory_info().rss
    grown = process.memory_info().rss - first
    return Result(tally=trial.tally, seconds=time.process_time() - began, grown=grown)
