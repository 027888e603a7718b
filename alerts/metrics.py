"""Metrics of the alerts room. Each role has a block; every label value exists from the start."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

# recorder and relay
RECORDED_KINDS = (
    "transition", "incident", "tell", "hush", "refusal", "notice", "page", "receipt",
)  # fmt: skip
RECORDED = Counter("emberwatch_alerts_recorded_total", "Decisions copied into the database, by kind", ["kind"])
UNRECORDED = Counter(
    "emberwatch_alerts_unrecorded_total", "Decisions the database refused for good; kept in the table unrecorded"
)
RECORDER_RETRIES = Counter("emberwatch_alerts_recorder_retries_total", "Batches tried again, the database being away")
RECORDER_LAG = Gauge(
    "emberwatch_alerts_recorder_lag_seconds",
    "Age of the newest decision copied, at its copying; 0 when none waits",
    ["shard"],
)
RELAYED = Counter("emberwatch_alerts_relayed_total", "What the relay carried from the database into the log", ["what"])
RELAY_RETRIES = Counter("emberwatch_alerts_relay_retries_total", "Passes tried again, database or log being away")
for _kind in RECORDED_KINDS:
    RECORDED.labels(_kind)
for _what in ("act", "act_refused", "duty_check", "inventory", "redrive"):
    RELAYED.labels(_what)
