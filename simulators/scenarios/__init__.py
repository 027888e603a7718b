"""What happens in the town, written in YAML."""
