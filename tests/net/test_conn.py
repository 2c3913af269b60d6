"""One socket: what the kernel does not take waits, and a cancelled write is resumed."""

import socket
import ssl

import pytest
import trio
import trustme
from trio.testing import MockClock

from rawproxy.net.conn import Conn, joined, rest_of, tune
from rawproxy.wire.tls import ANSWER_BYTES, Tls
from tests.net.tls import client_context


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


async def test_what_is_held_goes_with_the_next_write() -> None:
    conn, theirs = pair()
    with theirs:
        conn.hold(b"one ")
        conn.hold(b"two ")
        assert (drain(theirs), conn.pending) == (b"", 8)
        assert conn.send_now(b"three")
        assert (drain(theirs), conn.pending) == (b"one two three", 0)
        conn.close()


def test_what_waits_is_copied_no_more_often_than_it_halves() -> None:
    whole = bytes(range(256)) * 64
    rest: bytes | memoryview = whole
    copied = 0
    for gone in range(0, len(whole), 16):
        assert rest == whole[gone:]
        before, rest = rest, rest_of(rest, 16)
        if isinstance(rest, bytes):
            copied += len(rest)
        else:
            assert rest.obj is (before.obj if isinstance(before, memoryview) else before)
    assert rest == b""
    assert copied < len(whole)


@pytest.mark.parametrize(("taken", "is_copy"), [(49, False), (50, True), (51, True), (100, True)])
def test_half_of_what_is_held_is_let_go(taken: int, is_copy: bool) -> None:
    assert isinstance(rest_of(bytes(100), taken), bytes) == is_copy


def test_what_waits_is_copied_only_for_more() -> None:
    waits = memoryview(b"-waits")[1:]
    assert joined(waits, b"") is waits
    more = b"more"
    assert joined(b"", more) is more
    assert joined(waits, more) == b"waitsmore"


async def test_a_push_of_nothing_copies_nothing_that_waits() -> None:
    conn, theirs = pair()
    with theirs:
        assert not conn.send_now(bytes(10_000_000))
        held = memoryview(conn._pending).obj
        assert not conn.send_now(b"")
        assert memoryview(conn._pending).obj is held
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


async def test_a_peer_that_hung_up_is_told_though_its_bytes_were_not_read() -> None:
    conn, theirs = pair()
    assert not conn.is_hung_up()
    theirs.send(b"surplus")
    assert not conn.is_hung_up()
    theirs.close()
    assert conn.is_hung_up()
    conn.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_tuning_is_for_tcp(family: socket.AddressFamily) -> None:
    with socket.socket(family) as sock:
        tune(sock, 40.0)
        if family == socket.AF_INET:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000


# --- under TLS ------------------------------------------------------------------------------------


async def secured() -> tuple[Conn, Tls, socket.socket]:
    """A server's side that has shaken hands, and a client's over a bare socket."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    conn, theirs = pair()
    peer = Tls(client_context(ca), server_side=False, server_name="localhost")
    theirs.send(peer.start())

    async def client() -> None:
        while not peer.handshaken:
            await trio.lowlevel.wait_readable(theirs)
            peer.feed(theirs.recv(65536))
            theirs.send(peer.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await conn.handshake(Tls(context, server_side=True))
    assert conn.protocol is None
    return conn, peer, theirs


async def test_what_is_encrypted_waits_as_it_is() -> None:
    """Nothing is encrypted twice, nothing is lost to a cancel, and a goodbye follows the last byte."""
    conn, peer, theirs = await secured()
    with theirs:
        big = bytes(range(256)) * 20000
        assert conn.send_now(big) is False
        waiting = conn.pending
        assert conn.send_now(b"after") is False
        assert 5 < conn.pending - waiting < 200
        with trio.move_on_after(0):
            await conn.send(b"last")
        got = peer.feed(drain(theirs))
        while conn.pending:
            await conn.flush_some()
            got += peer.feed(drain(theirs))
        assert got == big + b"after" + b"last"
        conn.close()
        assert peer.feed(drain(theirs)) == b""
        assert peer.ended


async def test_no_goodbye_in_the_middle_of_a_record() -> None:
    """What waits is cut off by the end: that must look like a cut."""
    conn, peer, theirs = await secured()
    with theirs:
        assert conn.send_now(bytes(10_000_000)) is False
        conn.close()
        peer.feed(drain(theirs))
        assert not peer.ended


async def test_reads_under_tls() -> None:
    conn, peer, theirs = await secured()
    with theirs:
        theirs.send(peer.send(b"one"))
        assert await conn.receive() == b"one"
        conn.unread(b"zero")
        theirs.send(peer.send(b"two"))
        assert await conn.receive() == b"zero"
        assert await conn.receive() == b"two"
        theirs.send(peer.close())
        assert await conn.receive() == b""
        conn.close()


@pytest.mark.parametrize("how", ["cut", "broken"])
async def test_a_cut_under_tls_is_no_end(how: str) -> None:
    conn, _, theirs = await secured()
    with theirs:
        if how == "broken":
            theirs.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionAbortedError, match=r"truncated|bad record mac"):
            await conn.receive()
        conn.close()


async def test_answers_that_nobody_reads_are_bounded() -> None:
    """A peer that asks for answers and takes none: what waits of them is less than their limit."""
    conn, _, theirs = await secured()
    with theirs:
        assert conn.send_now(bytes(10_000_000)) is False
        waiting = conn.pending
        tls = conn._tls
        assert tls is not None
        tls.may_answer = 0
        theirs.send(b"\x17\x03\x03\x00\x20" + bytes(32))  # broken: an alert is due
        with pytest.raises(ConnectionAbortedError):
            await conn.receive()
        assert conn.pending - waiting <= ANSWER_BYTES
        conn.abort()
