-- What clients of the broker were refused, folded: the newest of each, and how often. Trimmed by the api as it writes.
CREATE TABLE broker_refusals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_name text NOT NULL, what text NOT NULL, topic text NOT NULL,  -- as the client gave them, cut to a length
    reason text NOT NULL, count bigint NOT NULL, first_at timestamptz NOT NULL, last_at timestamptz NOT NULL,
    UNIQUE (user_name, what, topic, reason)
);
CREATE INDEX broker_refusals_by_time ON broker_refusals (last_at DESC, id);
