-- One row a commit of the writer: readings refer to it, the maintenance job takes it as "something new came".
CREATE TABLE batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard text NOT NULL, from_offset bigint NOT NULL, to_offset bigint NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(), counts jsonb NOT NULL,
    first_time timestamptz, last_time timestamptz,  -- of its readings; NULL when it has none
    rolled boolean NOT NULL DEFAULT false           -- the kept aggregates of plain PostgreSQL know it
);
CREATE INDEX batches_to_roll ON batches (id) WHERE NOT rolled;
CREATE INDEX batches_by_offset ON batches (shard, to_offset);

-- Only the changes of states, for boards and maps; a device's first word on a state counts as a change.
CREATE TABLE state_changes (
    device integer NOT NULL, time timestamptz NOT NULL, state text NOT NULL, value boolean NOT NULL,
    batch bigint NOT NULL
);
CREATE INDEX state_changes_by_device ON state_changes (device, state, time DESC);
CREATE INDEX state_changes_by_time ON state_changes (time DESC);

-- What the writer remembers of a shard at one offset, in parts: a restart goes on from here, exactly.
CREATE TABLE writer_memory (
    shard text NOT NULL, part integer NOT NULL, log_offset bigint NOT NULL, dump bytea NOT NULL,
    PRIMARY KEY (shard, part)
);
ALTER TABLE writer_memory ALTER COLUMN dump SET STORAGE EXTERNAL;  -- compressed already
