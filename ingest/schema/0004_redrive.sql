-- Whose message it was, and whether it is to be judged once more. redrive: NULL = rests; 'waiting' = asked for;
-- 'carried' = in the log; else what became of it: it stands in the books there, and the row is kept for a while.
ALTER TABLE quarantine
    ADD COLUMN site text NOT NULL DEFAULT '',
    ADD COLUMN device text NOT NULL DEFAULT '',
    ADD COLUMN redrive text CHECK (redrive IN ('waiting', 'carried', 'stored', 'duplicate', 'no_reading'));
CREATE INDEX quarantine_waiting ON quarantine (shard, log_offset) WHERE redrive = 'waiting';
CREATE INDEX quarantine_by_device ON quarantine (device, reason) WHERE redrive IS NULL;

-- How many rows retention dropped, so that the books still balance.
CREATE TABLE quarantine_dropped (shard text PRIMARY KEY, dropped bigint NOT NULL);
