"""A plugin for pytest: every exchange begins by plain calls, the first one on a connection too.

    pytest -p tests.net.eager tests/net tests/faults

Plain calls need an upstream connection that stands, and most tests ask once, of a new proxy. With this
one is made on the spot, without waiting, wherever there is none.
"""

import socket

import pytest
import trio

from rawproxy.gateway.attempt import Attempt
from rawproxy.gateway.liveness import Clocks
from rawproxy.net.conn import Conn, tune
from rawproxy.net.upstream import Place, Sent, Upstreams, _head_of, _Http1Link

TELLS_TIME = "a_body_of_12_MiB"
"""It takes many reads, and no task runs meanwhile: the virtual clock takes that for nothing happening."""

COUNTS_DESCRIPTORS = "no_descriptor_left"
"""It has all sockets fail but those that the proxy makes itself."""

WAITS_FOR_NOTHING = "others_are_unharmed[leaves-"
"""It fails what a connection's task waits for, and here there is nothing of that."""

LEAST = 1000
"""Exchanges of one process that have to have begun like this, or the plugin does nothing."""

_begin = Upstreams.begin
_begun = 0


def begin(self: Upstreams, attempt: Attempt, clocks: Clocks) -> Sent | None:
    global _begun
    place = self._place(attempt.candidate.upstream)
    new = place.scheme == "http" and not place.http2 and not self._idle.get(place)
    link = connect(self, place) if new else None
    if link is None:
        sent = _begin(self, attempt, clocks)
        _begun += sent is not None
        return sent
    # Not by way of the pool: it was never used, so nothing is sent twice.
    clocks.waiting(trio.current_time())
    link.begin(_head_of(attempt), attempt.body)
    _begun += 1
    return link


def connect(pool: Upstreams, place: Place) -> _Http1Link | None:
    if pool._pump is None or not pool._pump.moves:
        return None
    try:
        sock = socket.create_connection((place.host, place.port), timeout=0.5)
    except OSError:
        return None
    tune(sock)
    pool.open += 1
    return _Http1Link(Conn(sock, place.host, pool._pump), place, pool)


def pytest_configure() -> None:
    Upstreams.begin = begin  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(name in item.name for name in (TELLS_TIME, COUNTS_DESCRIPTORS, WAITS_FOR_NOTHING)):
            item.add_marker(pytest.mark.skip(reason="cannot be told from the plugin's own doing"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    alone = not session.config.getoption("numprocesses", None)  # else the others count
    if alone and session.testsfailed == 0 and _begun < LEAST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.line(f"eager: {_begun} exchanges began by plain calls")
