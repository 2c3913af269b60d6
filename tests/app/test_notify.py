"""What the service manager is told, over a real socket."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and how NOTIFY_SOCKET names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        if request.param == "abstract":
            sock.bind(f"\0rawproxy-{os.getpid()}")
            name = f"@rawproxy-{os.getpid()}"
        else:
            name = str(tmp_path / "notify")
            sock.bind(name)
        sock.setblocking(False)
        yield sock, name


def test_what_is_told(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    environ = {"NOTIFY_SOCKET": name, "OTHER": "1"}
    notifier = Notifier(environ)
    assert environ == {"OTHER": "1"}  # nobody whom we start may speak for us
    notifier.ready("listening on x")
    assert sock.recv(1000) == b"READY=1\nSTATUS=listening on x"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    first, _, stamp = sock.recv(1000).decode().partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(stamp) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.stopping()
    assert sock.recv(1000) == b"STOPPING=1\nSTATUS=draining"


async def test_a_watchdog_hears_of_us_twice_in_its_time(
    manager: tuple[socket.socket, str], autojump_clock: MockClock
) -> None:
    sock, name = manager
    notifier = Notifier({
        "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())
    })  # fmt: skip
    assert notifier.watchdog_seconds == 20
    with trio.move_on_after(35):
        await notifier.keep_alive()
    for _ in range(4):  # at 0, 10, 20 and 30 s
        assert sock.recv(1000) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        sock.recv(1000)


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
    ids=["nobody asks", "another process is meant", "no number"],
)
async def test_no_watchdog(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    assert notifier.watchdog_seconds == 0
    await notifier.keep_alive()


def test_a_manager_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("x")
    Notifier({}).stopping()
