"""Recordings: made, played again, spoiled on purpose; and the file of what was sent."""
