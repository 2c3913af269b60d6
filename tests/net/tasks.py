"""A plugin for pytest: every upstream connection is waited for, so exchanges begin in a task.

    pytest -p tests.net.tasks tests/net tests/faults

A connection to an upstream of the same machine is there at once, and plain calls go on with it. The
upstreams of these tests are of that kind; most others are not, and have TLS.
"""

import pytest

from rawproxy.net.upstream import Place, Upstreams

LEAST = 1000
"""Connections of one process that have to have been waited for, or the plugin does nothing."""

NOT_WAITED_FOR = "connection_to_this_machine", "not_there_at_once"
"""What only these tests are about."""

_waited_for = 0


def connect_now(self: Upstreams, place: Place) -> None:
    global _waited_for
    _waited_for += 1


def pytest_configure() -> None:
    Upstreams._connect_now = connect_now  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(name in item.name for name in NOT_WAITED_FOR):
            item.add_marker(pytest.mark.skip(reason="here all connections are waited for"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    alone = not session.config.getoption("numprocesses", None)  # else the others count
    if alone and session.testsfailed == 0 and _waited_for < LEAST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.line(f"tasks: {_waited_for} connections were waited for")
