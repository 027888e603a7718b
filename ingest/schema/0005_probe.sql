-- When the newest of our own probes was sent that a reader of the log has passed; the recorder's is the evaluator's.
ALTER TABLE cursors ADD COLUMN probe_sent_at timestamptz;
