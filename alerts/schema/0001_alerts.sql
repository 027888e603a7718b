-- Decisions of the engine and deliveries, copied from the decisions log by the recorder, which alone writes here
-- (but for `acts`). Every row is derived from the log alone: reading the log again from its start gives the same rows.

-- Each change of an alert; `at` is logical. Read in the order (at, rule, device, shard, log_offset).
CREATE TABLE transitions (
    shard text NOT NULL, log_offset bigint NOT NULL, at timestamptz NOT NULL, rule text NOT NULL,
    rule_version text NOT NULL, signal_class text NOT NULL, severity text NOT NULL, site text NOT NULL, device text,
    before text, after text NOT NULL, value jsonb, "limit" double precision, reason text NOT NULL,
    alert uuid NOT NULL, incident uuid, retriggers integer NOT NULL DEFAULT 0, input_offset bigint NOT NULL,
    evidence jsonb NOT NULL DEFAULT '[]',  -- [[µs since 1970, value], …], oldest first
    PRIMARY KEY (shard, log_offset)
);
CREATE INDEX transitions_by_alert ON transitions (alert, log_offset);
CREATE INDEX transitions_by_time ON transitions (at, rule, device);

-- The newest of each alert. `told` answers "was anybody told of it": notified when a page that lists it was accepted.
CREATE TABLE alerts (
    id uuid PRIMARY KEY, shard text NOT NULL, rule text NOT NULL, rule_version text NOT NULL,
    signal_class text NOT NULL, severity text NOT NULL, site text NOT NULL, device text, state text NOT NULL,
    started_at timestamptz NOT NULL, fired_at timestamptz, ended_at timestamptz, value jsonb,
    "limit" double precision, reason text NOT NULL, incident uuid, retriggers integer NOT NULL DEFAULT 0,
    told text NOT NULL DEFAULT 'pending' CHECK (told IN ('pending', 'notified', 'suppressed')),
    told_reason text NOT NULL DEFAULT '', log_offset bigint NOT NULL
);
CREATE INDEX alerts_open ON alerts (site, started_at DESC) WHERE state IN ('pending', 'firing');
CREATE INDEX alerts_by_start ON alerts (started_at DESC, id);
CREATE INDEX alerts_by_site ON alerts (site, started_at DESC, id);
CREATE INDEX alerts_by_incident ON alerts (incident);

CREATE TABLE incidents (
    id uuid PRIMARY KEY, shard text NOT NULL, site text NOT NULL, state text NOT NULL, signal_class text NOT NULL,
    severity text NOT NULL, opened_at timestamptz NOT NULL, changed_at timestamptz NOT NULL, closed_at timestamptz,
    alerts uuid[] NOT NULL DEFAULT '{}', reason text NOT NULL, team text NOT NULL DEFAULT '',
    verdict text NOT NULL DEFAULT '', cause text NOT NULL DEFAULT '', summary text NOT NULL DEFAULT '',
    next_action text NOT NULL DEFAULT '', version bigint NOT NULL  -- log offset of the newest change; the ETag
);
CREATE INDEX incidents_open ON incidents (opened_at DESC, id) WHERE state <> 'closed';
CREATE INDEX incidents_by_opening ON incidents (opened_at DESC, id);
CREATE INDEX incidents_by_site ON incidents (site, opened_at DESC, id);

-- Everything that happened to an incident, in order of log_offset. kind: incident, alert, tell, hush, page, receipt,
-- refusal, unrecorded. `text` is for people, `body` has the same as fields, its times in ISO 8601 UTC.
CREATE TABLE timeline (
    shard text NOT NULL, log_offset bigint NOT NULL, incident uuid NOT NULL, at timestamptz NOT NULL,
    kind text NOT NULL, author text NOT NULL DEFAULT '', text text NOT NULL, body jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (shard, log_offset)
);
CREATE INDEX timeline_by_incident ON timeline (incident, at, log_offset);

CREATE TABLE tells (
    id uuid PRIMARY KEY, shard text NOT NULL, incident uuid NOT NULL, site text NOT NULL, signal_class text NOT NULL,
    severity text NOT NULL, reason text NOT NULL, audience text NOT NULL, at timestamptz NOT NULL,
    alerts uuid[] NOT NULL DEFAULT '{}', text text NOT NULL
);
CREATE INDEX tells_by_alert ON tells USING gin (alerts);
CREATE INDEX tells_by_incident ON tells (incident);

-- Firing alerts that paged nobody by themselves, with the reason.
CREATE TABLE hushes (
    shard text NOT NULL, log_offset bigint NOT NULL, alert uuid NOT NULL, incident uuid, reason text NOT NULL,
    at timestamptz NOT NULL, PRIMARY KEY (shard, log_offset)
);
CREATE INDEX hushes_by_alert ON hushes (alert);

CREATE TABLE pages (
    id uuid PRIMARY KEY, shard text NOT NULL, tell uuid, incident uuid NOT NULL, site text NOT NULL,
    step integer NOT NULL, target text NOT NULL, channel text NOT NULL, signal_class text NOT NULL, reason text NOT NULL,
    due_at timestamptz NOT NULL, created_at timestamptz NOT NULL, alerts uuid[] NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'accepted', 'failed'))
);
CREATE INDEX pages_by_incident ON pages (incident);
CREATE INDEX pages_by_tell ON pages (tell);
CREATE INDEX pages_by_creation ON pages (created_at DESC, id);

-- One attempt each to deliver a page; outcome as alerts.outbox.DeliveryOutcome.
CREATE TABLE receipts (
    id uuid PRIMARY KEY, shard text NOT NULL, page uuid NOT NULL, attempt integer NOT NULL, outcome text NOT NULL,
    final boolean NOT NULL, at timestamptz NOT NULL, detail text NOT NULL DEFAULT ''
);
CREATE INDEX receipts_by_page ON receipts (page, attempt);

-- Sentences for the centre that belong to no incident.
CREATE TABLE notices (
    id uuid PRIMARY KEY, shard text NOT NULL, at timestamptz NOT NULL, text text NOT NULL
);
CREATE INDEX notices_by_time ON notices (at DESC, id);

-- Records of the decisions log that the tables above cannot take, kept whole with the reason. Empty on a sound system.
CREATE TABLE unrecorded (
    shard text NOT NULL, log_offset bigint NOT NULL, at timestamptz NOT NULL, kind integer NOT NULL,
    meta bytea NOT NULL, value bytea NOT NULL, error text NOT NULL, PRIMARY KEY (shard, log_offset)
);

-- Human acts: written by the API in its own transaction (alerts.store.insert_act), carried into the log by the relay,
-- answered by the engine. kind: the name of an ingest.message.ActKind in lower case.
CREATE TABLE acts (
    id uuid PRIMARY KEY, shard text NOT NULL, kind text NOT NULL, author text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    incident uuid, alert uuid, comment text NOT NULL DEFAULT '', body jsonb NOT NULL DEFAULT '{}', seen jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'relayed', 'applied', 'refused')),
    refusal text NOT NULL DEFAULT '', relayed_at timestamptz, idempotency_key text UNIQUE
);
CREATE INDEX acts_waiting ON acts (at) WHERE state = 'pending';
CREATE INDEX acts_by_incident ON acts (incident, at);

-- The live feed: one row a visible change; rows become visible in the order of seq, so that "after seq N" misses none.
-- NOTIFY emberwatch_events carries the newest seq. kind: incident, alert, page, receipt, refusal, notice.
CREATE TABLE events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
    shard text NOT NULL, log_offset bigint NOT NULL, kind text NOT NULL, body jsonb NOT NULL,
    UNIQUE (shard, log_offset)
);
