-- Floods: of the messages of one device that came too fast in one hour, the first few stand in `quarantine`; the others
-- are a number here. They are in the books as quarantined, and cannot be judged once more.
CREATE TABLE quarantine_floods (
    shard text NOT NULL, site text NOT NULL, device text NOT NULL, hour timestamptz NOT NULL,
    messages bigint NOT NULL, folded bigint NOT NULL,  -- all of them, and those that are only counted
    first_seen timestamptz NOT NULL, last_seen timestamptz NOT NULL, detail text NOT NULL,
    PRIMARY KEY (shard, site, device, hour)
);

-- Devices whose clock is wrong, as the writer of their shard learned it; no row = right, or never stated.
CREATE TABLE device_clocks (
    device integer PRIMARY KEY, shard text NOT NULL,
    ahead_s double precision NOT NULL,  -- the device's clock less ours
    learned_at timestamptz NOT NULL, heard_at timestamptz NOT NULL
);
