"""A thousand clients that are slow on purpose: each is cut in time, and nobody else notices.

A real process with short limits. `bench`'s limit on open files is raised for both sides.
"""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.net.fakes import Client, FakeUpstream, Seen, ask, chunk, head, whole
from tests.net.world import CHAT, PATH, call, delta, preamble, reply_body

pytestmark = pytest.mark.slow

SLOW = 1000
SECONDS = 2.0
"""Of each limit."""
SLACK = 4.0
"""Seconds more that a cut may take: a thousand at the same time, on whatever machine this is."""
HELD_BYTES = 256 * 1024

CONFIG = """[server]
listen = ["127.0.0.1:0"]
[admin]
listen = ""
[server.limits]
handshake_seconds = {seconds}
head_seconds = {seconds}
body_seconds = {seconds}
write_seconds = {seconds}
[upstreams.up]
provider = "compatible"
base_url = "{url}/v1"
[[routes]]
model = "*"
to = ["up/*"]
"""


class Upstream:
    """Answers `m`, and talks to `endless` for as long as somebody takes it. `sent`: bytes of that."""

    def __init__(self) -> None:
        self.sent = 0

    async def script(self, seen: Seen, wire: trio.SocketStream) -> None:
        if b"endless" not in seen.body:
            await wire.send_all(whole(200, reply_body(CHAT, "fine")))
            return
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        await wire.send_all(head() + chunk(preamble(CHAT)))
        piece = chunk(delta(CHAT, "x" * 1000)) * 12
        while True:
            await wire.send_all(piece)
            self.sent += len(piece)


@dataclass
class Here:
    url: str
    upstream: Upstream
    pid: int
    fine: list[float] = field(default_factory=list)

    def memory(self) -> int:
        """The process's resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Here]:
    """A proxy in a process of its own, before an upstream of this one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    upstream = Upstream()
    async with FakeUpstream(upstream.script).running() as fake:
        (folder / "rawproxy.toml").write_text(CONFIG.format(url=fake.url, seconds=SECONDS))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - at once
                [sys.executable, "-m", "rawproxy", "serve"],
                stderr=log, cwd=folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()},
            )  # fmt: skip
        try:
            with trio.fail_after(20):
                while b"listening on" not in (said := (folder / "log").read_bytes()):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            url = next(word for word in said.decode().split() if word.startswith("http://"))
            yield Here(url, upstream, process.pid)
        finally:
            process.kill()
            process.wait()


def begun(body: bytes) -> bytes:
    length = f"Content-Length: {len(body)}"
    return f"POST {PATH[CHAT]} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode()


async def drips_a_head(link: Client) -> None:
    for byte in begun(b""):
        await link.stream.send_all(bytes([byte]))
        await trio.sleep(SECONDS / 8)


async def stops_in_a_body(link: Client) -> None:
    await link.stream.send_all(begun(b"x" * 5000) + b"x" * 100)
    await trio.sleep(SECONDS * 10)


async def drips_a_body(link: Client) -> None:
    await link.stream.send_all(begun(b"x" * 50000))
    while True:
        await link.stream.send_all(b"x" * 20)
        await trio.sleep(SECONDS / 8)


Begin = Callable[[Client], Awaitable[None]]


async def is_cut(link: Client) -> None:
    """Return when the proxy has ended the connection, whatever it said first."""
    with suppress(trio.BrokenResourceError):
        while await link.stream.receive_some(65536):
            pass


async def others_ask(here: Here) -> None:
    """Ask as any client does, all the time."""
    while True:
        before = time.monotonic()
        got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        assert got.status == 200
        here.fine.append(time.monotonic() - before)
        await trio.sleep(0.01)


def report(here: Here, kind: str, took: float, note: str = "") -> None:
    fine = sorted(here.fine)
    p50, p99 = (fine[int(len(fine) * share)] * 1000 for share in (0.5, 0.99))
    words = f"{kind}: {SLOW} cut within {took:.1f} s; {len(fine)} others: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    sys.stdout.write(f"{words} {note}\n")


@pytest.mark.parametrize("slow", [drips_a_head, stops_in_a_body, drips_a_body])
async def test_slow_requests(slow: Begin, tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        before = here.descriptors()
        cut = 0
        last = 0.0

        async def one() -> None:
            nonlocal cut, last
            link = await Client.connect(here.url)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def go() -> None:
                    with suppress(trio.BrokenResourceError):
                        await slow(link)

                nursery.start_soon(go)
                await is_cut(link)
                nursery.cancel_scope.cancel()
            last = max(last, trio.current_time() - began)
            cut += 1
            await link.aclose()

        async with trio.open_nursery() as others:
            others.start_soon(others_ask, here)
            async with trio.open_nursery() as nursery:
                for _ in range(SLOW):
                    nursery.start_soon(one)
            others.cancel_scope.cancel()
        assert cut == SLOW
        assert last < 2 * SECONDS + SLACK
        report(here, slow.__name__, last)
        assert len(here.fine) > 10
        with trio.fail_after(5):
            while here.descriptors() > before + 4:  # noqa: ASYNC110 - idle ones of the pool
                await trio.sleep(0.1)


async def test_slow_readers(tmp_path: Path) -> None:
    """What nobody reads stays with the upstream, and its connection ends with the client's."""
    async with running(tmp_path) as here:
        before = here.descriptors()
        assert (await ask(here.url, PATH[CHAT], call(CHAT, stream=False))).status == 200
        at_first = here.memory()
        body = call(CHAT, model="endless")
        links: list[Client] = []

        async def one() -> None:
            sock = trio.socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host, _, port = here.url.removeprefix("http://").rpartition(":")
            await sock.connect((host, int(port)))
            link = Client(trio.SocketStream(sock))
            await link.stream.send_all(begun(body) + body)
            links.append(link)

        began = trio.current_time()
        most = 0
        async with trio.open_nursery() as others:
            others.start_soon(others_ask, here)
            async with trio.open_nursery() as nursery:
                for _ in range(SLOW):
                    nursery.start_soon(one)
            with trio.fail_after(60):
                while here.descriptors() < before + SLOW:  # noqa: ASYNC110
                    await trio.sleep(0.02)
                while here.descriptors() > before + SLOW // 10:
                    most = max(most, here.memory())
                    await trio.sleep(0.1)
                while here.descriptors() > before + 4:  # noqa: ASYNC110 - idle ones of the pool
                    await trio.sleep(0.1)
            others.cancel_scope.cancel()
        held = (most - at_first) / SLOW
        report(here, "readers", trio.current_time() - began, f"{held / 1024:.0f} KiB each")
        assert held < HELD_BYTES
        for link in links:
            await link.aclose()
