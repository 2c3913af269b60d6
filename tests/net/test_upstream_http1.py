"""A connection to an upstream on HTTP/1.1, between its requests: what its peer says then is nobody's."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from rawproxy.errors import NotProcessed, UpstreamCut
from rawproxy.net.conn import Conn
from rawproxy.net.pump import Pump
from rawproxy.net.upstream_http1 import Http1Link
from rawproxy.wire.http1 import RequestStart
from tests.net.fakes import whole

START = RequestStart(b"POST", b"/", [(b"host", b"x")])


class Home:
    """Notes what becomes of a connection."""

    def __init__(self) -> None:
        self.kept: list[Http1Link] = []
        self.lost: list[Http1Link] = []

    def keep(self, link: Http1Link) -> None:
        self.kept.append(link)
        link.rest()

    def lose(self, link: Http1Link) -> None:
        self.kept.remove(link)
        self.lost.append(link)
        self.drop(link)

    def drop(self, link: Http1Link) -> None:
        link.conn.close()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Home, Http1Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    async with trio.open_nursery() as nursery:
        pump, home = Pump(), Home()
        nursery.start_soon(pump.run)
        with theirs:
            yield home, Http1Link(Conn(ours, pump=pump), home), theirs
        nursery.cancel_scope.cancel()


async def served(link: Http1Link, theirs: socket.socket) -> None:
    """One request and its reply."""
    link.begin(START, b"x")
    assert link.send_now()
    assert theirs.recv(1000).endswith(b"\r\n\r\nx")
    theirs.send(whole(200, b"fine"))
    reply = await link.reply()
    assert await reply.receive() == b"fine"
    reply.release()


@pytest.mark.parametrize("says", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"x", b""])
async def test_a_peer_that_speaks_or_closes_unasked_is_let_go(says: bytes) -> None:
    async with linked() as (home, link, theirs):
        await served(link, theirs)
        assert home.kept == [link]
        if says:
            theirs.send(says)
        else:
            theirs.shutdown(socket.SHUT_WR)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert home.lost == [link]
        assert link.conn.closed


async def test_what_comes_after_it_was_taken_again_is_its_reply() -> None:
    async with linked() as (home, link, theirs):
        for used in (False, True):
            assert link.used == used
            await served(link, theirs)
            home.kept.remove(link)
            link.rise()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not home.lost
        link.conn.close()


@pytest.mark.parametrize("used", [False, True])
async def test_a_request_that_nobody_took_may_be_sent_again(used: bool) -> None:
    """Only where the connection had stood: a new one that is closed at once is a failure."""
    async with linked() as (_, link, theirs):
        link.used = used
        link.begin(START, b"x")
        theirs.close()
        assert link.send_now()  # reading tells
        with pytest.raises(NotProcessed if used else UpstreamCut) as caught:
            await link.reply()
        assert isinstance(caught.value, NotProcessed) == used
        assert link.conn.closed
