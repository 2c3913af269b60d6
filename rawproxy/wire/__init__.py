"""Bytes to frames and HTTP messages, and back. No I/O, no LLM words."""
