"""Metrics of the ingest room. Each role has a block; every label value exists from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram

# receiver
NO_SOURCE = "(none)"  #: label of messages whose topic no source claims
RECEIVED = Counter("emberwatch_ingest_received_total", "Messages appended to the log", ["shard", "source"])
RECEIVED_BYTES = Counter("emberwatch_ingest_received_bytes_total", "Payload and topic bytes appended", ["shard"])
BATCH = Histogram(
    "emberwatch_ingest_append_messages",
    "Messages in one append",
    ["shard"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
APPEND = Histogram(
    "emberwatch_ingest_append_seconds",
    "Time of one append, until it is on disk",
    ["shard"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)
APPEND_REFUSED = Counter("emberwatch_ingest_append_refused_total", "Appends the log did not take", ["shard"])
LISTENING = Gauge("emberwatch_ingest_listening", "1 while every connection hears all its filters", ["shard"])
CONNECTED = Gauge("emberwatch_ingest_connected", "1 while the broker lets us in", ["shard", "connection"])
UNACKNOWLEDGED = Gauge(
    "emberwatch_ingest_unacknowledged_messages", "Messages read and not on disk yet", ["shard", "connection"]
)
CONNECTION_LOST = Counter(
    "emberwatch_ingest_connection_lost_total", "Connections lost or not made", ["shard", "connection"]
)
SUBSCRIPTIONS_REFUSED = Gauge(
    "emberwatch_ingest_subscriptions_refused",
    "Filters the broker does not let us subscribe to",
    ["shard", "connection"],
)
PROBE_LOGGED = Gauge(
    "emberwatch_ingest_probe_logged_timestamp_seconds",
    "When the newest of our own probes that came back through the broker into the log was sent",
    ["shard"],
)
PROBE_ROUND_TRIP = Histogram(
    "emberwatch_ingest_probe_round_trip_seconds",
    "Time of a probe through the broker until it is on disk",
    ["shard"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30),
)
STRAYS = Counter(
    "emberwatch_ingest_probe_strays_total", "What came on the topics of our probes and was no probe of ours", ["shard"]
)
OLD_SESSIONS = Gauge(
    "emberwatch_ingest_old_sessions",
    "Sessions at the broker whose backlog is being taken in beside the news",
    ["shard"],
)
DOUBLES = Counter(
    "emberwatch_ingest_doubles_total", "Messages of old sessions that the new ones had brought already", ["shard"]
)


class ReceiverMetrics:
    """The receiver's metrics for one shard, with every label value made."""

    def __init__(self, *, shard: str, sources: Sequence[str], connections: Sequence[str]) -> None:
        self._received = {source: RECEIVED.labels(shard, source) for source in sources}
        self._received[""] = RECEIVED.labels(shard, NO_SOURCE)
        self._bytes = RECEIVED_BYTES.labels(shard)
        self._batch = BATCH.labels(shard)
        self._append = APPEND.labels(shard)
        self._refused = APPEND_REFUSED.labels(shard)
        self._probe_logged = PROBE_LOGGED.labels(shard)
        self._probe_round_trip = PROBE_ROUND_TRIP.labels(shard)
        self._strays = STRAYS.labels(shard)
        self._doubles = DOUBLES.labels(shard)
        self._old_sessions = OLD_SESSIONS.labels(shard)
        self._listening = LISTENING.labels(shard)
        self._connections = {
            name: (
                CONNECTED.labels(shard, name),
                UNACKNOWLEDGED.labels(shard, name),
                CONNECTION_LOST.labels(shard, name),
                SUBSCRIPTIONS_REFUSED.labels(shard, name),
            )
            for name in connections
        }
        self._lost = dict.fromkeys(connections, 0)

    def appended(self, counts: Mapping[str, int], size: int, seconds: float) -> None:
        """One batch is on disk: messages by source, bytes, how long it took."""
        for source, count in counts.items():
            self._received[source].inc(count)
        self._bytes.inc(size)
        if counts:  # else only our own probes
            self._batch.observe(sum(counts.values()))
        self._append.observe(seconds)

    def refused(self) -> None:
        """The log did not take an append."""
        self._refused.inc()

    def probe_logged(self, sent_at: int, *, seconds: float) -> None:
        """A probe sent at `sent_at` (µs) is on disk after so many seconds."""
        self._probe_logged.set(sent_at / 1e6)
        self._probe_round_trip.observe(seconds)

    def strays(self, count: int) -> None:
        self._strays.inc(count)

    def listening(self, yes: bool) -> None:
        self._listening.set(yes)

    def doubled(self, count: int) -> None:
        """So many messages were on disk already, by another session, and are acknowledged."""
        self._doubles.inc(count)

    def old_sessions(self, count: int) -> None:
        self._old_sessions.set(count)

    def connection(self, name: str, *, connected: bool, unacknowledged: int, lost: int, refused: int) -> None:
        """How a connection stands; `lost` counts from its start."""
        up, open_, losses, subscriptions = self._connections[name]
        up.set(connected)
        open_.set(unacknowledged)
        losses.inc(lost - self._lost[name])
        self._lost[name] = lost
        subscriptions.set(refused)


# the log
LOG_USED_BYTES = Gauge("emberwatch_ingest_log_used_bytes", "What a shard's log takes on disk", ["shard"])
LOG_LEFT_BYTES = Gauge(
    "emberwatch_ingest_log_left_bytes",
    "What the quota and the disk leave to a shard's log, the reserve for urgent sources included",
    ["shard"],
)

# writer
WRITTEN = Counter(
    "emberwatch_ingest_written_total", "Messages in the books of the database, by outcome", ["shard", "outcome"]
)
WRITTEN_READINGS = Counter("emberwatch_ingest_written_readings_total", "Readings stored", ["shard"])
REFUSED = Counter("emberwatch_ingest_refused_total", "Messages that the database refused for good", ["shard"])
QUARANTINED = Counter("emberwatch_ingest_quarantined_total", "Messages put aside, by reason", ["shard", "reason"])
RATE_LIMITED = Counter(
    "emberwatch_ingest_rate_limited_readings_total", "Readings set aside because they came too fast", ["shard"]
)
WRITE = Histogram(
    "emberwatch_ingest_write_seconds",
    "Time of one batch in the database, until it is committed",
    ["shard"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30),
)
WRITE_RETRIES = Counter(
    "emberwatch_ingest_write_retries_total", "Attempts to write that have to be repeated", ["shard"]
)
WRITER_LAG = Gauge("emberwatch_ingest_writer_lag_seconds", "Age of the newest record in the database", ["shard"])
PROBE_WRITTEN = Gauge(
    "emberwatch_ingest_probe_written_timestamp_seconds",
    "When the newest of our own probes that the writer has passed was sent",
    ["shard"],
)
ASKED = Counter("emberwatch_ingest_asked_total", "Requests published to devices, such as Sparkplug's rebirth")
MAINTENANCE_FAILED = Counter(
    "emberwatch_ingest_maintenance_failed_total", "Steps of the maintenance job that failed", ["step"]
)


class WriterMetrics:
    """The writer's metrics for one shard, with every label value made."""

    def __init__(self, *, shard: str, outcomes: Sequence[str], reasons: Sequence[str]) -> None:
        self._outcomes = {outcome: WRITTEN.labels(shard, outcome) for outcome in outcomes}
        self._reasons = {reason: QUARANTINED.labels(shard, reason) for reason in reasons}
        self._readings = WRITTEN_READINGS.labels(shard)
        self._refused = REFUSED.labels(shard)
        self._rate_limited = RATE_LIMITED.labels(shard)
        self._write = WRITE.labels(shard)
        self._retries = WRITE_RETRIES.labels(shard)
        self._lag = WRITER_LAG.labels(shard)
        self._probe = PROBE_WRITTEN.labels(shard)

    def written(self, counts: Mapping[str, int], reasons: Sequence[str], *, seconds: float, lag: float) -> None:
        """One batch is committed; a message that moved in the books is taken from no counter here."""
        for outcome, counter in self._outcomes.items():
            counter.inc(max(0, counts.get(outcome, 0)))
        for reason in reasons:
            self._reasons[reason].inc()
        self._readings.inc(max(0, counts.get("readings", 0)))
        self._refused.inc(counts.get("refused", 0))
        self._write.observe(seconds)
        self._lag.set(lag)

    def probe_written(self, sent_at: int) -> None:
        """A batch is committed whose newest probe was sent then (µs); 0 = it had none."""
        if sent_at:
            self._probe.set(sent_at / 1e6)

    def rate_limited(self, readings: int) -> None:
        """So many readings of a committed batch came too fast, some of them in messages that are stored."""
        self._rate_limited.inc(readings)

    def caught_up(self) -> None:
        self._lag.set(0)

    def retried(self) -> None:
        self._retries.inc()


# GB/T 26875.3 server
GB26875_FRAMES = Counter(
    "emberwatch_ingest_gb26875_frames_total", "Frames of fire panels' transmitters, by what became of them", ["outcome"]
)
GB26875_GARBAGE = Counter("emberwatch_ingest_gb26875_garbage_bytes_total", "Bytes that were no frame's")
GB26875_LINKS = Gauge("emberwatch_ingest_gb26875_links", "Transmitters that speak with us", ["transport"])
GB26875_CLOSED = Counter("emberwatch_ingest_gb26875_closed_total", "Links that ended, by reason", ["why"])
GB26875_COMMANDS = Counter(
    "emberwatch_ingest_gb26875_commands_total",
    "Commands to transmitters, by what became of them",
    ["command", "outcome"],
)
DUTY_CHECKS = Counter(
    "emberwatch_ingest_duty_checks_total", "Duty checks of fire panels, by what came of them", ["state"]
)
for _state in ("sent", "not_connected", "expired", "answered", "unanswered"):
    DUTY_CHECKS.labels(_state)


class Gb26875Metrics:
    """The GB/T 26875.3 server's metrics, with every label value made; `received` counts what it appends."""

    def __init__(
        self, *, shard: str, source: str, outcomes: Sequence[str], whys: Sequence[str], commands: Sequence[str]
    ) -> None:
        self._received = RECEIVED.labels(shard, source)
        self._bytes = RECEIVED_BYTES.labels(shard)
        self._refused = APPEND_REFUSED.labels(shard)
        self._frames = {outcome: GB26875_FRAMES.labels(outcome) for outcome in outcomes}
        self._closed = {why: GB26875_CLOSED.labels(why) for why in whys}
        self._links = {transport: GB26875_LINKS.labels(transport) for transport in ("tcp", "udp")}
        self._commands = {
            (command, outcome): GB26875_COMMANDS.labels(command, outcome)
            for command in commands
            for outcome in ("sent", "confirmed", "unanswered")
        }

    def appended(self, count: int, size: int) -> None:
        """Frames that are on disk, and the bytes of their records."""
        self._received.inc(count)
        self._bytes.inc(size)

    def refused(self) -> None:
        """The log did not take an append."""
        self._refused.inc()

    def frame(self, outcome: str) -> None:
        self._frames[outcome].inc()

    def garbage(self, size: int) -> None:
        GB26875_GARBAGE.inc(size)

    def links(self, *, tcp: int, udp: int) -> None:
        self._links["tcp"].set(tcp)
        self._links["udp"].set(udp)

    def closed(self, why: str) -> None:
        self._closed[why].inc()

    def command(self, command: str, outcome: str) -> None:
        self._commands[command, outcome].inc()
