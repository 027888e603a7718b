"""Metrics of the evaluator."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter, Gauge

from alerts.decisions import KINDS, Decision
from ingest.journal import Record
from ingest.message import MESSAGE

EVALUATED = Counter(
    "emberwatch_alerts_records_evaluated_total", "Records of the messages stream judged", ["shard", "kind"]
)
DECISIONS = Counter("emberwatch_alerts_decisions_total", "Decisions made durable, by word", ["shard", "decision"])
ENGINE_ERRORS = Counter(
    "emberwatch_alerts_engine_errors_total", "Records set aside because admit or the engine raised", ["shard"]
)
EVALUATOR_LAG = Gauge(
    "emberwatch_alerts_evaluator_lag_seconds", "Wall clock minus log time of the newest judged record", ["shard"]
)
PROBE_JUDGED = Gauge(
    "emberwatch_alerts_probe_judged_timestamp_seconds",
    "When the newest of our own probes that the evaluator has durably passed was sent",
    ["shard"],
)
SITES_WATCHED = Gauge("emberwatch_alerts_sites_watched", "Sites in the engine's memory", ["shard"])


def start_evaluator_metrics(shard: str) -> None:
    """Every label value exists from the start."""
    for kind in ("message", "control"):
        EVALUATED.labels(shard=shard, kind=kind)
    for word in KINDS:
        DECISIONS.labels(shard=shard, decision=word.__name__)
    ENGINE_ERRORS.labels(shard=shard)
    PROBE_JUDGED.labels(shard=shard)


def evaluated(shard: str, records: Sequence[Record], now: int, sites: int) -> None:
    """A batch was judged."""
    if not records:
        return
    messages = sum(record.kind == MESSAGE for record in records)
    EVALUATED.labels(shard=shard, kind="message").inc(messages)
    EVALUATED.labels(shard=shard, kind="control").inc(len(records) - messages)
    EVALUATOR_LAG.labels(shard=shard).set(max(0, now - records[-1].at) / 1e6)
    SITES_WATCHED.labels(shard=shard).set(sites)


def decided(shard: str, decisions: Sequence[Decision], probe: int) -> None:
    """Decisions are durable, and that the probe sent then (µs, 0 = none) was passed."""
    if probe:
        PROBE_JUDGED.labels(shard=shard).set(probe / 1e6)
    for decision in decisions:
        DECISIONS.labels(shard=shard, decision=type(decision).__name__).inc()
