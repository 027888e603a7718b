-- People and programs. Neither is ever deleted: acts name them for good.
CREATE TABLE users (
    name text PRIMARY KEY, role text NOT NULL CHECK (role IN ('viewer', 'operator', 'dispatcher', 'administrator')),
    centres text[] NOT NULL DEFAULT '{}',  -- ids of centres; none: not limited to any
    password text NOT NULL,  -- argon2id, with its parameters
    created_at timestamptz NOT NULL DEFAULT now(), disabled_at timestamptz
);
CREATE UNIQUE INDEX users_by_name ON users (lower(name));  -- Ada and ada would be taken for one another

-- API tokens. The token itself is nowhere: `digest` is its SHA-256, `id` the part of it that may be shown.
CREATE TABLE tokens (
    id text PRIMARY KEY, name text NOT NULL,
    user_name text REFERENCES users (name),  -- whose acts and rights these are; null: a program's own
    digest bytea NOT NULL CHECK (octet_length(digest) = 32), scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz, revoked_at timestamptz,
    last_used_at timestamptz  -- some minutes coarse
);
CREATE UNIQUE INDEX tokens_by_name ON tokens (lower(name)) WHERE revoked_at IS NULL;
