-- What is watched, and how far the readers of the log have come.
CREATE TABLE areas (
    id text PRIMARY KEY, name text NOT NULL DEFAULT '', parent text NOT NULL DEFAULT '',
    lat double precision, lon double precision, attributes jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE centres (LIKE areas INCLUDING ALL);
CREATE TABLE sites (LIKE areas INCLUDING ALL);
CREATE TABLE devices (
    key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- what readings refer to
    site text NOT NULL, id text NOT NULL, name text NOT NULL DEFAULT '', gateway text NOT NULL DEFAULT '',
    device_class text NOT NULL DEFAULT 'smoke_heat_head', expected_interval_s double precision,
    credential text NOT NULL DEFAULT '', enrolled boolean NOT NULL DEFAULT false,
    lat double precision, lon double precision, attributes jsonb NOT NULL DEFAULT '{}',
    UNIQUE (site, id)
);
CREATE INDEX devices_by_id ON devices (id);

-- Changes of the inventory on their way into the log (alerts/relay.py carries them); delta = msgpack InventoryDelta.
CREATE TABLE inventory_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(), delta bytea NOT NULL, relayed_at timestamptz
);
CREATE INDEX inventory_changes_waiting ON inventory_changes (id) WHERE relayed_at IS NULL;

-- One row a reader and shard. A write is allowed only to the owner with the highest epoch (fencing).
CREATE TABLE cursors (
    reader text NOT NULL, shard text NOT NULL, log_offset bigint NOT NULL DEFAULT -1, epoch bigint NOT NULL DEFAULT 0,
    counts jsonb NOT NULL DEFAULT '{}', changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (reader, shard)
);

-- What could not be admitted, whole, with its reason.
CREATE TABLE quarantine (
    shard text NOT NULL, log_offset bigint NOT NULL, received_at timestamptz NOT NULL, topic text NOT NULL,
    payload bytea NOT NULL, headers jsonb NOT NULL DEFAULT '{}', reason text NOT NULL, detail text NOT NULL DEFAULT '',
    batch bigint NOT NULL, PRIMARY KEY (shard, log_offset)
);
CREATE INDEX quarantine_by_reason ON quarantine (reason, received_at DESC);
