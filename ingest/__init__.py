"""From the wire to the table: receive, keep in the log, admit, write."""
