-- Duty checks (查岗) of fire panels: a row of the API, carried into the log by the relay, sent by the receiver; the writer
-- writes what came of it. address: the transmitter's. state: an ingest.message.DutyState.
CREATE TABLE duty_checks (
    id uuid PRIMARY KEY, shard text NOT NULL, site text NOT NULL, device text NOT NULL, address text NOT NULL,
    minutes integer NOT NULL CHECK (minutes BETWEEN 1 AND 255), author text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN
        ('pending', 'relayed', 'sent', 'not_connected', 'expired', 'answered', 'unanswered')),
    changed_at timestamptz NOT NULL DEFAULT now(), idempotency_key text UNIQUE
);
CREATE INDEX duty_checks_waiting ON duty_checks (shard, at) WHERE state = 'pending';
CREATE INDEX duty_checks_by_time ON duty_checks (at DESC, id);
CREATE INDEX duty_checks_by_device ON duty_checks (site, device, at DESC);
