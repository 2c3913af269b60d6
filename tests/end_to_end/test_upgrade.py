"""Real processes that take over from each other, and that are started by a service manager."""

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from tests.app.serving import Process, chat, crowd, engine, serving, until_refused, write
from tests.net.fakes import Client
from tests.net.fakes_http2 import Http2Client
from tests.net.world import CHAT, PATH, call

pytestmark = pytest.mark.slow

workers = pytest.mark.parametrize("workers", [1, 2])


def configure(folder: Path, listen: str, more: str = "two", **server: object) -> Path:
    folder.mkdir(exist_ok=True)
    write(folder / "rawproxy.toml", {
        "server": {"listen": [listen]} | server, "admin": {"listen": ""},
        "upstreams.one": engine(tokens_per_second=60), f"upstreams.{more}": engine(),
    })  # fmt: skip
    return folder


@workers
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_an_upgrade_fails_no_request(tmp_path: Path, workers: int, kind: str) -> None:
    """Three times: what one has left behind in the kernel must not hurt the next one."""
    address = f"unix:{tmp_path / 'p.sock'}" if kind == "unix" else "127.0.0.1:0"
    with ExitStack() as stack:
        old = stack.enter_context(serving(configure(tmp_path / "0", address, workers=workers)))
        url = old.url
        async with crowd(url) as busy:
            for number in ("1", "2", "3"):
                folder = configure(
                    tmp_path / number, url.removeprefix("http://"), f"new{number}", workers=workers
                )
                new = stack.enter_context(serving(folder, "--take-over"))
                assert (await new.hear("listening on")).split()[-1] == url
                old.send(signal.SIGTERM)
                assert await trio.to_thread.run_sync(old.wait) == 0
                assert " 0 were cut" in await old.hear("drained: ")
                assert {await chat(url, f"new{number}/ngram") for _ in range(10)} == {200}
                old = new
        assert busy.broken == []
    assert len(busy.whole) > 100


@pytest.mark.parametrize("arguments", [(), ("--take-over",)], ids=["plain", "another program"])
def test_a_port_that_is_taken_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Started twice by mistake; and with the wish to take over what is no rawproxy's."""
    with ExitStack() as stack:
        if arguments:
            other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = f"127.0.0.1:{other.getsockname()[1]}"
        else:
            first = stack.enter_context(serving(configure(tmp_path, "127.0.0.1:0")))
            address = first.url.removeprefix("http://")
        second = stack.enter_context(serving(configure(tmp_path, address), *arguments))
        assert second.wait() == 2
        second.line(f"cannot listen on {address}: Address already in use")


@workers
async def test_a_drain_tells_http2_clients(tmp_path: Path, workers: int) -> None:
    """The stream ends whole, and GOAWAY comes before the connection does."""
    with serving(configure(tmp_path, "127.0.0.1:0", workers=workers)) as process:
        link = await Http2Client.connect(process.url)
        await link.send("POST", PATH[CHAT], call(CHAT, model="one/ngram", max_tokens=60))
        await link.head()
        process.send(signal.SIGTERM)
        await until_refused(process.url)
        body, whole = await link.rest()
        assert whole
        assert body.endswith(b"data: [DONE]\n\n")
        while not link.ended and await link.stream.receive_some(65536):
            pass
        assert link.gone is not None
        assert link.gone[0] == 0
        assert process.wait() == 0
        await process.hear("drained: 1 exchanges ended by themselves, 0 were cut")
        await link.aclose()


@workers
async def test_sighup_under_load_fails_nothing(tmp_path: Path, workers: int) -> None:
    with serving(configure(tmp_path, "127.0.0.1:0", workers=workers)) as process:
        async with crowd(process.url) as busy:
            for number in range(5):
                here = len(process.lines)
                configure(tmp_path, "127.0.0.1:0", f"new{number}", workers=workers)
                process.send(signal.SIGHUP)
                await process.hear("read again", after=here)
                assert await chat(process.url, f"new{number}/ngram") == 200
        assert busy.broken == []


async def test_a_change_from_one_process_needs_a_restart(tmp_path: Path) -> None:
    with serving(configure(tmp_path, "127.0.0.1:0")) as process:
        url = process.url
        configure(tmp_path, "127.0.0.1:0", workers=2)
        process.send(signal.SIGHUP)
        await process.hear("server.workers: a change from 1 needs a restart")
        await process.hear("read again")
        assert await chat(url) == 200


@workers
async def test_an_inherited_listener(tmp_path: Path, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        folder = configure(tmp_path, f"fd:{fd}", workers=workers)
        with serving(folder, fds=[fd]) as process:
            assert process.url == f"http://127.0.0.1:{sock.getsockname()[1]}"
            assert await chat(process.url) == 200


ACTIVATE = """
import os, sys
for place, fd in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(fd, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(sys.argv[1].count(",") + 1)}
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def activated(folder: Path, *sockets: socket.socket, **environ: str) -> Iterator[Process]:
    """Start it as systemd does: its sockets are descriptors 3 and on of this very process."""
    # Numbers far above 3, so that none is overwritten before it is moved.
    fds = [fcntl.fcntl(sock, fcntl.F_DUPFD, 50) for sock in sockets]
    before = [sys.executable, "-c", ACTIVATE, ",".join(map(str, fds))]
    try:
        with serving(folder, fds=fds, before=before, environ=environ) as process:
            yield process
    finally:
        for fd in fds:
            os.close(fd)


@workers
async def test_systemd_starts_reloads_and_stops_it(tmp_path: Path, workers: int) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one, two = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    with manager, one, two:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        # A client may come before anybody serves: that is what activation is for.
        early = await Client.connect(f"http://127.0.0.1:{one.getsockname()[1]}")
        folder = configure(tmp_path, "systemd:", workers=workers)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        with activated(folder, one, two, **environ) as process:
            urls = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in (one, two)]
            words = {said(manager), said(manager)}
            assert words == {"READY=1", "WATCHDOG=1"}
            for url in urls:
                await process.hear(f"listening on {url}")
                assert await chat(url) == 200
            await early.send("GET", "/healthz")
            assert (await early.response()).status == 200
            process.send(signal.SIGHUP)
            assert [said(manager), said(manager)] == ["RELOADING=1", "READY=1"]
            assert await chat(urls[1]) == 200
            process.send(signal.SIGTERM)
            assert said(manager) == "STOPPING=1"
            assert process.wait() == 0
            await early.aclose()
            # systemd has them still: what comes now waits for the next one.
            socket.create_connection(one.getsockname()).close()


def said(manager: socket.socket) -> str:
    return manager.recv(1000).decode().partition("\n")[0]


def test_without_systemd_there_are_no_sockets_of_it(tmp_path: Path) -> None:
    with serving(configure(tmp_path, "systemd:")) as process:
        assert process.wait() == 2
        process.line("cannot listen on systemd:: systemd hands no socket to this process")
