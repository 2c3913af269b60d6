"""Sockets, TLS and tasks: does what gateway decides."""
