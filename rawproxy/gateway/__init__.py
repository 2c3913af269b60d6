"""Decisions: who may ask, where a call goes, what to do when that fails. No I/O; time is an argument."""
