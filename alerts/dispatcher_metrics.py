"""Metrics of the dispatcher."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from alerts.alert import SignalClass
from alerts.outbox import DeliveryOutcome

PAGES_CREATED = Counter("emberwatch_alerts_pages_created_total", "Pages intended, by class", ["shard", "class"])
PAGES_SETTLED = Counter(
    "emberwatch_alerts_pages_settled_total", "Pages that were accepted, or failed for good", ["shard", "state"]
)
ATTEMPTS = Counter(
    "emberwatch_alerts_page_attempts_total", "Attempts to deliver a page", ["shard", "channel", "outcome"]
)
POSSIBLY_DOUBLED = Counter(
    "emberwatch_alerts_pages_possibly_doubled_total",
    "Attempts of unknown outcome: the page is sent again under the same idempotency key",
    ["shard"],
)
WAITING = Gauge("emberwatch_alerts_pages_waiting", "Pages still to be sent", ["shard"])
OLDEST_WAITING = Gauge(
    "emberwatch_alerts_page_oldest_waiting_seconds", "Age of the oldest page still to be sent, 0 for none", ["shard"]
)
TOLD_LATENCY = Histogram(
    "emberwatch_alerts_told_latency_seconds",
    "From what was observed (the tell's time) to the channel's acceptance; not for recordings",
    ["shard", "class"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
BLIND = Gauge("emberwatch_alerts_blind", "1 while the newest tick of the intake is too old", ["shard"])
BEHIND = Gauge(
    "emberwatch_alerts_evaluator_behind_seconds",
    "Age of the oldest record the evaluator has not judged, as the dispatcher sees it",
    ["shard"],
)
SCANNED = Counter("emberwatch_alerts_scanned_records_total", "Records looked through ahead of the evaluator", ["shard"])
SUSPECTED = Counter(
    "emberwatch_alerts_suspected_fires_total",
    "Fire signs found ahead of the evaluator: told, or folded into what was told of the site before",
    ["shard", "outcome"],
)
ALREADY_TOLD = Counter(
    "emberwatch_alerts_already_told_total",
    "Tells of the evaluator that made no page, as the scanner had told them before",
    ["shard"],
)
TROUBLES = Counter(
    "emberwatch_alerts_dispatcher_troubles_total", "Passes, copies or attempts tried again after an error", ["shard"]
)
UNREADABLE = Counter(
    "emberwatch_alerts_dispatcher_unreadable_total", "Records of the log the dispatcher could not read", ["shard"]
)


def start_dispatcher_metrics(shard: str, channels: Iterable[str]) -> None:
    """Every label value exists from the start."""
    for signal_class in SignalClass:
        PAGES_CREATED.labels(shard, signal_class)
        TOLD_LATENCY.labels(shard, signal_class)
    for state in ("accepted", "failed"):
        PAGES_SETTLED.labels(shard, state)
    for channel in channels:
        for outcome in DeliveryOutcome:
            ATTEMPTS.labels(shard, channel, outcome)
    for way in ("told", "folded"):
        SUSPECTED.labels(shard, way)
    gauges = (WAITING, OLDEST_WAITING, BLIND, BEHIND)
    for metric in (POSSIBLY_DOUBLED, SCANNED, ALREADY_TOLD, TROUBLES, UNREADABLE, *gauges):
        metric.labels(shard)
