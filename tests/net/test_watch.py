"""One task that looks whether clients are still there."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from rawproxy.net.conn import Conn
from rawproxy.net.watch import Watcher


@asynccontextmanager
async def watching() -> AsyncIterator[tuple[Watcher, Conn, socket.socket]]:
    """A watcher that looks, a connection, and its other end."""
    here, there = socket.socketpair()
    watcher, conn = Watcher(), Conn(here)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        yield watcher, conn, there
        nursery.cancel_scope.cancel()
    conn.close()
    there.close()


async def test_it_tells_what_came_until_nobody_wants_to_know() -> None:
    async with watching() as (watcher, conn, there):
        seen: list[bytes | None] = []
        watcher.watch(conn, lambda: seen.append(conn.receive_now()))
        assert len(watcher) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert not seen
        for word in (b"one", b"two"):
            there.send(word)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert seen == [b"one", b"two"]
        watcher.unwatch(conn)
        watcher.unwatch(conn)  # once is enough
        assert not len(watcher)
        there.send(b"three")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert seen == [b"one", b"two"]
        assert await conn.receive() == b"three"


async def test_it_tells_an_end() -> None:
    async with watching() as (watcher, conn, there):
        ended = trio.Event()

        def ready() -> None:
            assert conn.receive_now() == b""
            watcher.unwatch(conn)
            ended.set()

        watcher.watch(conn, ready)
        there.shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            await ended.wait()


async def test_a_fault_with_one_client_is_nobody_elses(caplog: pytest.LogCaptureFixture) -> None:
    async with watching() as (watcher, conn, there), watching() as (_, other, far):
        seen: list[bytes | None] = []

        def broken() -> None:
            watcher.unwatch(conn)
            raise RuntimeError("ours")

        watcher.watch(conn, broken)
        watcher.watch(other, lambda: seen.append(other.receive_now()))
        there.send(b"x")
        far.send(b"y")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert seen == [b"y"]
        assert "a client's watch" in caplog.text
        watcher.unwatch(other)


async def test_after_its_end_nothing_is_watched() -> None:
    async with watching() as (watcher, conn, _):
        watcher.watch(conn, lambda: None)
    watcher.unwatch(conn)
