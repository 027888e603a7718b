"""How far our own probes have come, by shard, and which stage stands still when they do not come through. Pure.

The receiver role publishes one every few seconds (ingest/prober.py). Its age is the health of everything between the
broker and the decisions: what holds a probe up would hold up a fire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from ingest.loopback import PERMISSION
from ingest.readings import SECOND

#: A probe older than this at some stage is one that does not come; longer where they are sent seldom.
STALE = 15 * SECOND
STALE_PROBES = 5


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Which shards are probed, every so many seconds, and since when (µs) we look.

    `logged` says when the newest probe in each shard's log was sent (µs); it blocks, and raises Unavailable.
    """

    shards: Sequence[str] = ()
    every: int = 0
    since: int = 0
    logged: Callable[[], Mapping[str, int | None]] = dict

    @property
    def stale(self) -> int:
        """Age (µs) at which a probe counts as lost."""
        return max(STALE, STALE_PROBES * self.every * SECOND)

    def too_early(self, now: int) -> bool:
        """Whether probes have not had the time to come through yet."""
        return now - self.since < self.stale


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """When the newest probe was sent that is in a shard's log, in the database, judged (µs); None: there was none.

    `recorded_at`: when the recorder, by whom we know of the evaluator, last wrote.
    """

    log: int | None = None
    writer: int | None = None
    evaluator: int | None = None
    recorded_at: int | None = None


def ages(passed: Passed, now: int) -> dict[str, float | None]:
    """Seconds since the newest probe of each stage was sent."""
    sent = {"log": passed.log, "writer": passed.writer, "evaluator": passed.evaluator}
    return {stage: None if at is None else max(0.0, round((now - at) / SECOND, 1)) for stage, at in sent.items()}


def standing_still(shard: str, passed: Passed, *, now: int, stale: int) -> list[str]:
    """A line for each stage that holds probes up. Behind a broker that does, nobody else is to blame."""

    def old(at: int | None) -> bool:
        return at is None or abs(now - at) > stale  # also one from the time before the clock was set back

    if old(passed.log):
        return [
            f"no probe has come back through the broker into the log of shard {shard}{_for(passed.log, now)}: {_LOG}"
        ]
    found = []
    if old(passed.writer):
        found.append(f"no probe has reached the database by the writer of shard {shard}{_for(passed.writer, now)}")
    if old(passed.evaluator) and old(passed.recorded_at):
        found.append(f"the recorder of shard {shard} has written nothing{_for(passed.recorded_at, now)}")
    elif old(passed.evaluator):
        found.append(f"no probe has been judged by the evaluator of shard {shard}{_for(passed.evaluator, now)}")
    return found


_LOG = f"see that broker and receiver run, that the log takes messages, and {PERMISSION}"


def _for(at: int | None, now: int) -> str:
    return "" if at is None else f" for {abs(now - at) // SECOND} s"
