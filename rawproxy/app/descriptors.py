"""How many connections the system's limit on open files leaves room for.

Layer: app. Sets RLIMIT_NOFILE of this process.
"""

import resource

__all__ = ["RESERVE", "connections_that_fit", "raise_limit"]

RESERVE = 128
"""Descriptors that are no client's and no upstream's: 64 admin connections, listeners, 16 look-ups of
names, the event loop's own, log files, and some to spare."""

EACH = 2
"""Descriptors of a connection with an exchange: its own, and the upstream's."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one, which is the one that is meant for servers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_that_fit(wanted: int) -> int:
    """Return how many of `wanted` client connections there are descriptors for; at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(1, (soft - RESERVE) // EACH))
