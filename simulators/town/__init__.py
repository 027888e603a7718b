"""The invented town: who is there, the air, what each device reports over time."""
