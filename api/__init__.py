"""The doors: HTTP, the live page, the command line."""
