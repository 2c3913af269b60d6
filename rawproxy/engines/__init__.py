"""Models that run in this process: a Call in, events out."""
