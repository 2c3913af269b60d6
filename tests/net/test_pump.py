"""The task that looks at all sockets."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from rawproxy.net import pump as module
from rawproxy.net.conn import Conn
from rawproxy.net.pump import Pump, Then

Ends = tuple[Pump, Conn, socket.socket]
Pair = tuple[Conn, socket.socket]


@asynccontextmanager
async def pumping(*, moves: bool = True) -> AsyncIterator[Ends]:
    """A pump that runs, a connection of it, and that one's other end."""
    pump = Pump(moves=moves)
    here, there = socket.socketpair()
    conn = Conn(here, pump=pump)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        yield pump, conn, there
        nursery.cancel_scope.cancel()
    conn.close()
    there.close()


@asynccontextmanager
async def pumping_two() -> AsyncIterator[tuple[Pump, Pair, Pair]]:
    """A pump that runs, and two connections of it, each with its other end."""
    async with pumping() as (pump, conn, there):
        here, far = socket.socketpair()
        other = Conn(here, pump=pump)
        yield pump, (conn, there), (other, far)
        for one in (conn, other):
            one.leave()
        other.close()
        far.close()


async def settle() -> None:
    """Return when the kernel's news were told."""
    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_it_tells_what_came_until_nobody_wants_to_know() -> None:
    async with pumping() as (pump, conn, there):
        seen: list[bytes | None] = []
        conn.take(lambda: seen.append(conn.receive_now()))
        assert conn.fileno() in pump
        await trio.testing.wait_all_tasks_blocked()
        assert not seen
        for word in (b"one", b"two"):
            there.send(word)
            await settle()
        assert seen == [b"one", b"two"]
        conn.leave()
        conn.leave()  # once is enough
        assert conn.fileno() not in pump
        there.send(b"three")
        await settle()
        assert seen == [b"one", b"two"]
        assert await conn.receive() == b"three"


async def test_what_nobody_takes_is_told_once_and_again_to_who_comes_later() -> None:
    async with pumping() as (pump, conn, there):
        conn.take(lambda: None)
        conn.leave()
        there.send(b"x")
        await settle()
        assert conn.fileno() not in pump._registered
        seen: list[bytes | None] = []
        conn.take(lambda: seen.append(conn.receive_now()))
        await settle()
        assert seen == [b"x"]
        conn.leave()


async def test_it_tells_an_end() -> None:
    async with pumping() as (_, conn, there):
        ended = trio.Event()

        def ready() -> None:
            assert conn.receive_now() == b""
            conn.leave()
            ended.set()

        conn.take(ready)
        there.shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            await ended.wait()


async def test_a_fault_with_one_socket_is_nobody_elses(caplog: pytest.LogCaptureFixture) -> None:
    async with pumping_two() as (_, (conn, there), (other, far)):
        seen: list[bytes | None] = []

        def broken() -> None:
            conn.leave()
            raise RuntimeError("ours")

        conn.take(broken)
        other.take(lambda: seen.append(other.receive_now()))
        there.send(b"x")
        far.send(b"y")
        await settle()
        assert seen == [b"y"]
        assert "with one socket" in caplog.text


async def test_a_fault_of_its_own_pauses_it_and_no_more(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    async with pumping() as (pump, conn, there):
        real, polls = pump._poll, []

        class Once:
            """A poll that fails the first time."""

            fileno, close = real.fileno, real.close
            register, unregister = real.register, real.unregister

            def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
                polls.append(timeout)
                if len(polls) == 1:
                    raise RuntimeError("ours")
                found: list[tuple[int, int]] = real.poll(timeout, most)
                return found

        monkeypatch.setattr(pump, "_poll", Once())
        there.send(b"x")
        assert await conn.receive() == b"x"
        assert len(polls) > 1
        assert "the pump pauses" in caplog.text


@pytest.mark.parametrize("moves", [True, False])
async def test_a_read_that_is_cancelled_takes_nothing(*, moves: bool) -> None:
    async with pumping(moves=moves) as (pump, conn, there):
        with trio.move_on_after(0):
            await conn.receive()
        assert conn.fileno() not in pump
        there.send(b"x")
        assert await conn.receive() == b"x"


async def test_a_close_wakes_who_reads() -> None:
    async with pumping() as (pump, conn, _):
        number = conn.fileno()
        failed: list[trio.ClosedResourceError] = []

        async def read() -> None:
            try:
                await conn.receive()
            except trio.ClosedResourceError as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            conn.close()
        assert len(failed) == 1
        assert number not in pump
        assert number not in pump._registered


async def test_a_descriptor_that_is_used_again_is_looked_at_again() -> None:
    async with pumping() as (pump, conn, there):
        conn.take(lambda: None)
        conn.leave()
        conn.close()
        there.close()
        here, there = socket.socketpair()  # mostly with the same number
        again = Conn(here, pump=pump)
        there.send(b"x")
        with trio.fail_after(5):
            assert await again.receive() == b"x"
        again.close()
        there.close()


async def test_more_than_a_batch_is_told_too() -> None:
    async with pumping() as (pump, _, _):
        pairs = [socket.socketpair() for _ in range(module.BATCH + 1)]
        conns = [Conn(here, pump=pump) for here, _ in pairs]
        seen: list[bytes | None] = []
        for conn in conns:
            conn.take(lambda conn=conn: seen.append(conn.receive_now()))  # type: ignore[misc]
        for _, there in pairs:
            there.send(b"x")
        await settle()
        assert seen == [b"x"] * len(pairs)
        for conn, (_, there) in zip(conns, pairs, strict=True):
            conn.leave()
            conn.close()
            there.close()


async def test_without_epoll_it_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll")
    async with pumping() as (pump, conn, there):
        assert type(pump._poll) is module._Selector
        there.send(b"x")
        assert await conn.receive() == b"x"
        there.send(b"y")
        await settle()
        assert conn.fileno() not in pump._registered  # nobody takes it
        assert await conn.receive() == b"y"


async def test_without_epoll_all_have_their_turn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll")
    async with pumping() as (pump, _, _):
        pairs = [socket.socketpair() for _ in range(module.BATCH + 1)]
        conns = [Conn(here, pump=pump) for here, _ in pairs]
        seen: set[int] = set()
        for number, conn in enumerate(conns):
            conn.take(lambda number=number: seen.add(number))  # type: ignore[misc]
        for _, there in pairs:
            there.send(b"x")  # nobody reads it: each is ready for good
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert len(seen) == len(conns)
        for conn, (_, there) in zip(conns, pairs, strict=True):
            conn.leave()
            conn.close()
            there.close()


async def test_after_its_end_nobody_is_called() -> None:
    async with pumping() as (pump, conn, there):
        pass
    called: list[int] = []
    pump.take(there.fileno(), lambda: called.append(1))
    pump.leave(there.fileno())
    assert not pump._registered
    assert not called
    assert conn.closed


async def test_what_a_taker_leaves_is_done_when_all_have_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pumping_two() as (pump, (conn, there), (other, far)):
        done: list[str] = []
        times: list[float] = []

        def then(now: float) -> None:
            done.append("sent")
            times.append(now)
            assert pump.later(lambda _: done.append("later"))
            raise RuntimeError("ours")

        def taker(one: Conn) -> Then:
            one.receive_now()
            done.append("read")
            return then

        conn.take(lambda: taker(conn))
        other.take(lambda: taker(other))
        there.send(b"x")
        far.send(b"y")
        began = trio.current_time()
        await settle()
        assert done == ["read", "read", "sent", "sent", "later", "later"]
        assert began <= times[0] == times[1] <= trio.current_time()
        assert caplog.text.count("RuntimeError: ours") == 2


async def test_what_is_put_off_twice_comes_last() -> None:
    """And no third time: that would have no end."""
    async with pumping_two() as (pump, (conn, there), (other, far)):
        done: list[str] = []
        thrice: list[bool] = []

        def first(_: float) -> None:
            done.append("first")
            assert pump.later(second)

        def second(_: float) -> None:
            done.append("second")
            thrice.append(pump.later(second))

        def taker(one: Conn) -> None:
            one.receive_now()
            assert pump.later(first)

        conn.take(lambda: taker(conn))
        other.take(lambda: taker(other))
        there.send(b"x")
        far.send(b"y")
        await settle()
        assert done == ["first", "first", "second", "second"]
        assert thrice == [False, False]


async def test_what_is_put_off_comes_after_all_that_is_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pumping_two() as (pump, (conn, there), (other, far)):
        done: list[str] = []

        def broken(_: float) -> None:
            raise RuntimeError("ours")

        def taker(one: Conn) -> None:
            one.receive_now()
            done.append("took")
            assert pump.later(broken)
            assert pump.later(lambda _: done.append("later"))

        assert not pump.later(lambda _: done.append("never"))
        conn.take(lambda: taker(conn))
        other.take(lambda: taker(other))
        with pump.together():  # nothing but the block that is the outer one counts
            there.send(b"x")
            far.send(b"y")
        await settle()
        assert done == ["took", "took", "later", "later"]
        assert "ours" in caplog.text


@pytest.mark.parametrize("moves", [True, False])
async def test_a_read_has_a_limit(*, moves: bool, autojump_clock: object) -> None:
    async with pumping(moves=moves) as (pump, conn, there):
        began = trio.current_time()
        for seconds in (5.0, 1.0, 2.0):
            with pytest.raises(trio.TooSlowError):
                await conn.receive(trio.current_time() + seconds)
        assert 8.0 <= trio.current_time() - began <= 8.2
        there.send(b"x")
        assert await conn.receive(trio.current_time() + 1) == b"x"
        assert not pump._until


@pytest.mark.parametrize("moves", [True, False])
async def test_a_limit_can_be_made_a_shorter_one(*, moves: bool, autojump_clock: object) -> None:
    async with pumping(moves=moves) as (_, conn, _), trio.open_nursery() as nursery:
        began = trio.current_time()

        async def hurry() -> None:
            await trio.sleep(1)
            conn.hurry(began + 2)

        nursery.start_soon(hurry)
        with pytest.raises(trio.TooSlowError):
            await conn.receive(began + 50)
        assert 2.0 <= trio.current_time() - began <= 2.1


async def test_many_limits_end_together(autojump_clock: object) -> None:
    """They are looked at every now and then, not each by itself."""
    ended: list[float] = []

    async def wait(pump: Pump, seconds: float) -> None:
        here, there = socket.socketpair()
        conn = Conn(here, pump=pump)
        with pytest.raises(trio.TooSlowError):
            await conn.receive(trio.current_time() + seconds)
        ended.append(trio.current_time())
        conn.close()
        there.close()

    async with pumping() as (pump, _, _):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(wait, pump, 1 + number / 1000)
        assert len(set(ended)) <= 4
        assert not pump._until


@pytest.mark.parametrize("moves", [True, False])
async def test_what_came_in_time_is_not_late_because_we_are(*, moves: bool) -> None:
    """A process that is busy for longer than the limit has not been kept waiting."""
    async with pumping(moves=moves) as (_, conn, there), trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await conn.receive(trio.current_time() + 0.05))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        there.send(b"x")
        while trio.current_time() < began + 0.06:
            pass  # busy
        await settle()
        assert got == [b"x"]
