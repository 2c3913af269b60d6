"""Streams that share a connection: whose turn it is, what waits, what the peer may send."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from h2.settings import SettingCodes
from trio.testing import MockClock

from rawproxy.errors import HttpError
from rawproxy.net.conn import Conn
from rawproxy.net.mux import (
    CANCEL,
    LOST,
    NO_ERROR,
    QUEUED_BYTES,
    SLICE_BYTES,
    TURN_BYTES,
    Lane,
    LaneReset,
    Mux,
)
from rawproxy.net.pump import Pump
from rawproxy.wire.http import Body, HttpEvent, RequestHead
from rawproxy.wire.http1 import Limits
from rawproxy.wire.http2 import Http2Client, Http2Server, Refused
from tests.net.fakes_http2 import Http2Client as Peer

WINDOW = 65535
"""What a stream and a connection may be sent before anybody says more (RFC 9113 6.9.2)."""


END = 1
"""What the end counts for among the bytes that wait."""


class Server:
    """Our side of a connection, as `Http2Downstream` holds it, and the lanes of its requests."""

    def __init__(self, sock: socket.socket, write_seconds: float = 30.0) -> None:
        limits = Limits(65536, 100, 1 << 20)
        self.wire = Http2Server(limits, streams=100, requests=1000, now=trio.current_time())
        self.lanes: dict[int, Lane] = {}
        self.refused: list[Refused] = []
        pump = Pump(moves=False)
        self.mux = Mux(Conn(sock, pump=pump), self.wire, self._begin, write_seconds)
        self.mux.flush()

    def _begin(self, number: int, event: RequestHead | Refused) -> None:
        self.lanes[number] = lane = self.mux.open(number)
        if isinstance(event, Refused):
            lane.on(event)

    async def read_on(self) -> None:
        """Read until the client leaves, or until cancelled."""
        while await self.mux.read():
            pass

    async def until_lanes(self, count: int) -> list[Lane]:
        """Read until so many requests have begun."""
        while len(self.lanes) < count:
            assert await self.mux.read()
        return list(self.lanes.values())

    def answer(self, lane: Lane, body: bytes) -> bool:
        """Send a head and a whole body; whether all of it went at once."""
        self.wire.head(lane.number, 200, [], end=False)
        lane.finish()
        return lane.send_now(body)


@contextmanager
def both(write_seconds: float = 30.0) -> Iterator[tuple[Server, Peer]]:
    """A server's side and a client of the h2 library, on two ends of a socket."""
    here, there = socket.socketpair()
    there.setblocking(False)
    peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(there)))
    server = Server(here, write_seconds)
    try:
        yield server, peer
    finally:
        server.mux.conn.close()
        there.close()


async def ask(peer: Peer, count: int, window: int = WINDOW) -> list[int]:
    """Begin requests without a body; the connection's window never matters."""
    peer.state.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
    peer.state.increment_flow_control_window(2**30)
    return [await peer.begin("POST", "/", ends=True) for _ in range(count)]


async def test_streams_take_turns() -> None:
    """None of them gets more than a frame ahead, however much it has."""
    with both() as (server, peer):
        numbers = await ask(peer, 3, window=2**20)
        lanes = await server.until_lanes(3)
        order: list[int] = []
        taken = server.wire.body

        def body(stream: int, data: bytes) -> int:
            order.append(stream)
            return taken(stream, data)

        server.wire.body = body  # type: ignore[method-assign]
        for lane in lanes:
            server.answer(lane, b"x" * 3 * TURN_BYTES * 10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.mux.write)
            got = []
            for number in numbers:
                await peer.head(number)
                got.append(await peer.rest(number))
            nursery.cancel_scope.cancel()
        assert [(len(data), clean) for data, clean in got] == [(30 * TURN_BYTES, True)] * 3
        # The first one filled queue and kernel before the others had anything; these two are alike.
        last = [len(order) - order[::-1].index(number) for number in numbers]
        assert abs(last[2] - last[1]) <= 2


async def test_what_is_ready_together_goes_out_in_one_write() -> None:
    """However many streams have something to say at a time, and whatever else there is to tell."""
    with both() as (server, peer):
        numbers = await ask(peer, 3)
        lanes = await server.until_lanes(3)
        writes: list[bytes] = []
        taken = server.wire.take

        def take() -> bytes:
            writes.append(taken())
            return writes[-1]

        server.wire.take = take  # type: ignore[method-assign]
        with server.mux.conn.together():
            for lane in lanes:
                assert server.answer(lane, b"x" * 100)
            assert not writes
        assert len([data for data in writes if data]) == 1
        for number in numbers:
            await peer.head(number)
            assert await peer.rest(number) == (b"x" * 100, True)


async def test_what_a_lane_holds_goes_with_its_next_write() -> None:
    with both() as (server, peer):
        (number,) = await ask(peer, 1)
        (lane,) = await server.until_lanes(1)
        lane.hold(b"one ")
        assert lane.pending == 4
        assert server.answer(lane, b"two")
        await peer.head(number)
        assert await peer.rest(number) == (b"one two", True)


async def test_what_is_put_off_is_no_more_than_the_queue_holds() -> None:
    with both() as (server, peer):
        await ask(peer, 3, window=2**20)
        lanes = await server.until_lanes(3)
        with server.mux.conn.together():
            for lane in lanes:
                assert not server.answer(lane, b"x" * QUEUED_BYTES * 4)
            waiting = sum(lane.pending for lane in lanes)
            assert waiting == 3 * (4 * QUEUED_BYTES + END) - QUEUED_BYTES
        assert (
            sum(lane.pending for lane in lanes) < waiting
        )  # the rest went on where there was room


async def test_a_stream_without_window_holds_no_other_up() -> None:
    with both() as (server, peer):
        numbers = await ask(peer, 2, window=10)
        lanes = await server.until_lanes(2)
        assert not server.answer(lanes[0], b"a" * 100)
        assert lanes[0].pending == 90 + END
        assert server.answer(lanes[1], b"b" * 10)
        await peer.head(numbers[1])
        assert await peer.rest(numbers[1]) == (b"b" * 10, True)
        peer.state.increment_flow_control_window(1000, numbers[0])
        await peer.flush()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.read_on)
            while not await lanes[0].flush_some():
                pass
            nursery.cancel_scope.cancel()
        await peer.head(numbers[0])
        assert await peer.rest(numbers[0]) == (b"a" * 100, True)


async def test_what_the_kernel_does_not_take_waits_in_the_lanes() -> None:
    with both() as (server, peer):
        await ask(peer, 1, window=2**24)
        (lane,) = await server.until_lanes(1)
        size = 2**23
        assert not server.answer(lane, b"x" * size)
        assert QUEUED_BYTES <= server.mux.conn.pending < QUEUED_BYTES + 2 * TURN_BYTES
        assert lane.pending > size - 2**20


async def test_an_end_without_bytes_waits_for_its_turn_too() -> None:
    """While the peer reads nothing there is no room for it: a stream that is let go then would be cut."""
    with both() as (server, peer):
        numbers = await ask(peer, 2, window=2**24)
        full, lane = await server.until_lanes(2)
        server.wire.head(lane.number, 200, [], end=False)
        assert lane.send_now(b"all")
        assert not server.answer(full, b"x" * 2**23)
        lane.finish()
        assert not lane.send_now(b"")
        assert lane.pending == END
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.mux.write)
            await peer.head(numbers[1])
            assert await peer.rest(numbers[1]) == (b"all", True)
            assert await lane.flush_some()
            nursery.cancel_scope.cancel()
        assert lane.finished


async def test_a_peer_that_reads_nothing_is_given_up(autojump_clock: MockClock) -> None:
    with both(write_seconds=7.0) as (server, peer):
        await ask(peer, 1, window=2**24)
        (lane,) = await server.until_lanes(1)
        server.answer(lane, b"x" * 2**23)
        before = trio.current_time()
        with pytest.raises(TimeoutError):
            await server.mux.write()
        assert trio.current_time() - before == pytest.approx(7.0)


async def test_what_came_is_acknowledged_once_it_was_used() -> None:
    with both() as (server, peer):
        number = await peer.begin("POST", "/")
        (lane,) = await server.until_lanes(1)
        await peer.head_of_settings()
        before = peer.state.local_flow_control_window(number)
        await peer.send_body(number, b"x" * 40_000, ends=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.read_on)
            got = b""
            while len(got) < 40_000:
                got += await lane.receive()
            await trio.testing.wait_all_tasks_blocked()
            ended: list[bytes] = []

            async def use() -> None:
                ended.append(await lane.receive())

            nursery.start_soon(use)
            while peer.state.local_flow_control_window(number) < before - 8000:
                await peer._turn()
            assert not ended
            await peer.send_body(number, b"")
            while not ended:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert ended == [b""]
        assert lane.whole


async def test_what_was_returned_in_two_pieces_is_acknowledged_whole() -> None:
    with both() as (server, peer):
        number = await peer.begin("POST", "/")
        (lane,) = await server.until_lanes(1)
        acknowledged: list[tuple[int, int]] = []
        server.wire.acknowledge = lambda *what: acknowledged.append(what)  # type: ignore[method-assign]
        await peer.head_of_settings()
        for piece in (b"one", b"three"):
            await peer.send_body(number, piece, ends=False)
            while (got := lane.receive_now()) is None:
                await server.mux.read()
            assert got == piece
        lane.used()
        assert acknowledged == [(number, 8)]


async def test_bytes_that_nobody_reads_open_the_connection_again() -> None:
    with both() as (server, peer):
        number = await peer.begin("POST", "/")
        (lane,) = await server.until_lanes(1)
        del server.mux.lanes[lane.number]
        acknowledged: list[tuple[int, int]] = []
        server.wire.acknowledge = lambda *what: acknowledged.append(what)  # type: ignore[method-assign]
        await peer.head_of_settings()
        await peer.send_body(number, b"x" * 1000)
        while not acknowledged:
            await server.mux.read()
        assert acknowledged == [(number, 1000)]


async def test_a_lane_that_is_let_go_resets_a_stream_that_is_not_over() -> None:
    with both() as (server, peer):
        number = await peer.begin("POST", "/")
        (lane,) = await server.until_lanes(1)
        server.wire.head(number, 200, [], end=False)
        lane.send_now(b"begun")
        server.mux.forget(lane, CANCEL)
        assert not server.mux.lanes
        await peer.head(number)
        assert await peer.rest(number) == (b"begun", False)
        assert peer.codes == {number: CANCEL}


async def test_a_body_that_is_not_wanted_any_more_is_refused() -> None:
    """RFC 9113 8.1: the answer is whole before the request is."""
    with both() as (server, peer):
        number = await peer.begin("POST", "/")
        (lane,) = await server.until_lanes(1)
        server.answer(lane, b"done")
        server.mux.forget(lane, NO_ERROR)
        await peer.head(number)
        assert await peer.rest(number) == (b"done", True)
        await peer.settle(number)
        assert peer.codes == {number: NO_ERROR}


async def test_a_lane_that_is_over_is_let_go_without_a_word() -> None:
    with both() as (server, peer):
        (number,) = await ask(peer, 1)
        (lane,) = await server.until_lanes(1)
        server.answer(lane, b"done")
        server.mux.forget(lane, CANCEL)
        await peer.head(number)
        assert await peer.rest(number) == (b"done", True)
        assert not peer.codes


async def test_the_end_of_the_connection_wakes_everybody() -> None:
    with both() as (server, peer):
        await ask(peer, 2, window=10)
        reads, writes = await server.until_lanes(2)
        server.answer(writes, b"x" * 100)
        woken: list[str] = []

        async def read() -> None:
            with pytest.raises(LaneReset) as found:
                await reads.receive()
            assert found.value.code == LOST
            woken.append("read")

        async def write() -> None:
            with pytest.raises(BrokenPipeError):
                await writes.flush_some()
            woken.append("write")

        reads.whole = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            server.mux.lose()
        assert sorted(woken) == ["read", "write"]
        with pytest.raises(BrokenPipeError):
            writes.send_now(b"more")


async def test_what_the_wire_refused_is_told_where_the_body_is_read() -> None:
    with both() as (server, peer):
        await peer.begin("POST", "/", {"content-length": "2000000"})
        (lane,) = await server.until_lanes(1)
        while lane.refusal is None:
            await server.mux.read()
        with pytest.raises(HttpError) as found:
            await lane.receive()
        assert found.value.status == 413


async def test_a_stream_that_was_given_up_takes_nothing() -> None:
    with both() as (server, peer):
        (number,) = await ask(peer, 1)
        (lane,) = await server.until_lanes(1)
        server.wire.head(number, 200, [], end=False)
        lane.send_now(b"begun")
        lane.abort()
        lane.abort()  # once is enough
        await peer.head(number)
        assert await peer.read(number) == b"begun"
        assert (await peer.rest(number))[1] is False


async def test_others_have_their_turn_within_one_read() -> None:
    with both() as (server, peer):
        await ask(peer, 1)
        await server.until_lanes(1)
        turns = 0
        fed: list[tuple[int, int]] = []
        feed = server.wire.feed

        def noted(data: bytes, now: float) -> list[tuple[int, HttpEvent | Refused]]:
            fed.append((len(data), turns))
            return feed(data, now)

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        server.wire.feed = noted  # type: ignore[method-assign]
        ping = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)
        await peer.stream.send_all(ping * 500)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await server.mux.read()
            nursery.cancel_scope.cancel()
        assert [size for size, _ in fed] == [
            SLICE_BYTES,
            SLICE_BYTES,
            500 * len(ping) - 2 * SLICE_BYTES,
        ]
        assert fed[2][1] > fed[0][1]


async def test_a_client_has_no_lane_for_what_it_did_not_ask() -> None:
    """What begins with the server is handed to `begin`; a client drops it there."""
    here, there = socket.socketpair()
    begun: list[int] = []
    wire = Http2Client(Limits(65536, 100, 1 << 20), now=0.0)
    mux = Mux(Conn(here), wire, lambda number, _: begun.append(number), 1.0)
    lane = mux.open(wire.request(RequestHead(b"GET", b"/", [(b"host", b"a")]), b"http", end=True))
    mux._hand_out(99, Body(b"of nothing"))
    with pytest.raises(AssertionError):
        lane.on(RequestHead(b"GET", b"/", []))
    assert not begun
    here.close()
    there.close()
