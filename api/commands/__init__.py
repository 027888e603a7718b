"""What the commands of `emberwatch` do; api/cli.py says how they are called."""
