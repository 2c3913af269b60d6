"""One socket: what the kernel does not take waits, and a cancelled write is resumed."""

import socket

import pytest
import trio
from trio.testing import MockClock

from rawproxy.net.conn import Conn, tune


def pair() -> tuple[Conn, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return Conn(ours), theirs


def drain(sock: socket.socket) -> bytes:
    got = b""
    while True:
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return got
        if not data:
            return got
        got += data


async def test_bytes_there_and_back() -> None:
    conn, theirs = pair()
    with theirs:
        await conn.send(b"there")
        assert theirs.recv(100) == b"there"
        theirs.send(b"back")
        assert await conn.receive() == b"back"
        theirs.shutdown(socket.SHUT_WR)
        assert await conn.receive() == b""
        conn.close()
        conn.close()  # again does nothing
        conn.abort()
        assert conn.closed


async def test_what_is_not_taken_waits_and_nothing_overtakes_it() -> None:
    conn, theirs = pair()
    with theirs:
        big = bytes(range(256)) * 20000
        assert conn.send_now(big) is False
        assert 0 < conn.pending < len(big)
        assert conn.send_now(b"after") is False
        with trio.move_on_after(0):
            await conn.send(b"last")  # cancelled while it waits
        got = b""
        done = False
        while not done or conn.pending:
            got += drain(theirs)
            done = await conn.flush_some()
        got += drain(theirs)
        assert got == big + b"after" + b"last"
        conn.close()


async def test_lingering_says_the_end_and_drops_what_still_comes() -> None:
    conn, theirs = pair()
    with theirs:
        await conn.send(b"last words")
        theirs.send(b"x" * 10000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conn.linger, 60)
            await trio.testing.wait_all_tasks_blocked()
            assert theirs.recv(100) == b"last words"
            assert theirs.recv(100) == b""
            theirs.send(b"y")
            theirs.shutdown(socket.SHUT_WR)
        conn.close()
        await conn.linger(60)  # closed: nothing to wait for


async def test_lingering_ends_for_a_client_that_never_does(autojump_clock: MockClock) -> None:
    conn, theirs = pair()
    with theirs:
        await conn.linger(2)
        assert trio.current_time() == pytest.approx(2, abs=0.1)
        conn.close()


async def test_quiet_means_fit_for_use() -> None:
    conn, theirs = pair()
    assert conn.is_quiet()
    theirs.send(b"surplus")
    assert not conn.is_quiet()
    conn.close()
    theirs.close()
    conn, theirs = pair()
    theirs.close()
    assert not conn.is_quiet()
    conn.abort()
    assert not conn.is_quiet()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_tuning_is_for_tcp(family: socket.AddressFamily) -> None:
    with socket.socket(family) as sock:
        tune(sock, 40.0)
        if family == socket.AF_INET:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000
