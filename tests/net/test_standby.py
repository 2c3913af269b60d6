"""Waiting in trio's place."""

import os
import queue
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import outcome
import pytest
import trio
import trio.testing

from rawproxy.net import standby as module
from rawproxy.net.conn import Conn
from rawproxy.net.pump import Pump
from rawproxy.net.standby import STAY_SECONDS, Standby, find_epoll

BATCH = 4


class Turns(trio.abc.Instrument):
    """Counts trio's turns."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


class PingPong:
    """Two ends of a connection that send a byte to and fro, as long as `goes_on` says; nobody wakes."""

    def __init__(self, pump: Pump, other: Pump | None = None) -> None:
        here, there = socket.socketpair()
        self.ends = Conn(here, pump=pump), Conn(there, pump=other or pump)
        self.sent = 0
        for end in self.ends:
            end.take(lambda end=end: self._took(end))  # type: ignore[misc]
        self.ends[0].send_now(b"x")

    def _took(self, end: Conn) -> None:
        assert end.receive_now() == b"x"
        self.sent += 1
        if self.goes_on():
            end.send_now(b"x")

    def goes_on(self) -> bool:
        return True

    def close(self) -> None:
        for end in self.ends:
            end.leave()
            end.close()


class Hundred(PingPong):
    """Ends after so many bytes, and tells it."""

    def __init__(self, done: trio.Event, *pumps: Pump) -> None:
        self._done = done
        super().__init__(*pumps)

    def goes_on(self) -> bool:
        if self.sent == 100:
            self._done.set()
        return self.sent < 100


@asynccontextmanager
async def pumping() -> AsyncIterator[Pump]:
    pump = Pump()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await trio.testing.wait_all_tasks_blocked()
        yield pump
        nursery.cancel_scope.cancel()


async def test_what_wakes_no_task_costs_no_turn_of_trios() -> None:
    async with pumping() as pump:
        done = trio.Event()
        turns = Turns()
        trio.lowlevel.add_instrument(turns)
        game = Hundred(done, pump)
        with trio.fail_after(5):
            await done.wait()  # and a task that is woken runs
        trio.lowlevel.remove_instrument(turns)
        assert game.sent == 100
        assert turns.count < 10
        game.close()


async def test_a_deadline_that_is_brought_forward_meanwhile_is_seen() -> None:
    async with pumping() as pump:

        class Hurrying(PingPong):
            def goes_on(self) -> bool:
                scope.deadline = began
                return True

        with trio.fail_after(5), trio.CancelScope() as scope:
            began = trio.current_time()
            game = Hurrying(pump)
            await trio.sleep_forever()
        assert scope.cancelled_caught
        game.close()


async def test_trios_own_sockets_are_seen_too() -> None:
    async with pumping() as pump:
        game = PingPong(pump)
        here, there = socket.socketpair()
        with trio.fail_after(5):
            await trio.to_thread.run_sync(there.send, b"x")
            await trio.lowlevel.wait_readable(here)
        assert here.recv(1) == b"x"
        game.close()
        here.close()
        there.close()


@pytest.mark.parametrize("order", [1, -1])
async def test_of_two_pumps_neither_waits_for_the_other(order: int) -> None:
    async with pumping() as first, pumping() as second:
        done = trio.Event()
        game = Hundred(done, *(first, second)[::order])
        with trio.fail_after(5):
            await done.wait()
        game.close()


async def test_when_one_has_ended_another_may_stand_by() -> None:
    async with pumping():
        assert await find_epoll() is None
    assert await find_epoll() is not None


class Script:
    """A pump that handles what it is told, each look `seconds` after the beginning."""

    def __init__(self, *looks: tuple[float, int]) -> None:
        self.began = trio.current_time()
        self.looks = list(looks)
        self.timeouts: list[float] = []

    def look(self, timeout: float) -> tuple[float, int]:
        self.timeouts.append(timeout)
        seconds, handled = self.looks.pop(0)
        return self.began + seconds, handled


@asynccontextmanager
async def standing_by(*looks: tuple[float, int]) -> AsyncIterator[tuple[Standby, Script]]:
    """A standby whose hooks the test calls; trio itself does not."""
    script = Script(*looks)
    standby = Standby(script, BATCH)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(standby.run)
        for _ in range(2):
            script.looks.insert(0, (0.0, 0))
            await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(standby)
        script.looks, script.timeouts = list(looks), []
        yield standby, script
        trio.lowlevel.add_instrument(standby)
        nursery.cancel_scope.cancel()


def rang(standby: Standby) -> bool:
    try:
        os.eventfd_read(standby._bell)
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("handled", [BATCH - 1, BATCH, BATCH + 1])
async def test_after_a_full_batch_trio_has_its_turn(handled: int) -> None:
    async with standing_by((0, handled), (99, 0)) as (standby, script):
        standby.before_io_wait(99)
        assert len(script.timeouts) == (2 if handled < BATCH else 1)
        assert rang(standby)


async def test_it_looks_on_for_a_while_and_no_longer() -> None:
    looks = [(1, 1), (1 + STAY_SECONDS / 2, 1), (1 + STAY_SECONDS, 1)]
    async with standing_by(*looks) as (standby, script):
        standby.before_io_wait(99)
        assert script.timeouts == [99, pytest.approx(STAY_SECONDS), pytest.approx(STAY_SECONDS / 2)]
        assert rang(standby)


async def test_it_waits_no_longer_than_trio_would() -> None:
    async with standing_by((0, 1), (STAY_SECONDS, 0)) as (standby, script):
        standby.before_io_wait(STAY_SECONDS / 2)
        assert script.timeouts == [STAY_SECONDS / 2, pytest.approx(STAY_SECONDS / 2, rel=0.2)]
        assert rang(standby)


async def test_a_deadline_that_has_come_is_told_and_an_idle_moment_is_not() -> None:
    async with standing_by((9, 0), (9, 0)) as (standby, _):
        with trio.CancelScope(deadline=trio.current_time() + 0.001) as scope:
            while trio.current_time() < scope.deadline:
                pass
            standby.before_io_wait(1)
            assert rang(standby)
            scope.deadline += 99  # `wait_all_tasks_blocked`, or MockClock
            standby.before_io_wait(1)
            assert not rang(standby)
            await trio.lowlevel.checkpoint()


async def test_where_tasks_have_to_run_it_looks_once() -> None:
    async with standing_by((0, 1)) as (standby, script):
        trio.lowlevel.spawn_system_task(trio.lowlevel.checkpoint)
        standby.before_io_wait(0)
        assert script.timeouts == [0]
        assert not rang(standby)


@pytest.mark.parametrize("handled", [0, 1])
async def test_what_it_handles_is_not_nothing_happening(handled: int) -> None:
    """To a clock that jumps where nothing happens: it has trio look without a wait first."""
    async with standing_by((0, handled)) as (standby, _):
        standby.before_io_wait(0)
        assert rang(standby) == bool(handled)


async def test_a_fault_ends_it_and_is_told() -> None:
    class Broken:
        def look(self, timeout: float) -> tuple[float, int]:
            raise RuntimeError("ours")

    with trio.fail_after(5), pytest.raises(RuntimeError, match="ours"):
        await Standby(Broken(), BATCH).run()
    await trio.lowlevel.checkpoint()  # it is no instrument any more


async def test_the_epoll_of_trio_is_found() -> None:
    with select.epoll() as other, socket.socket() as sock:
        other.register(sock)
        found = await find_epoll()
        assert found not in (None, other.fileno())
        assert os.readlink(f"/proc/self/fd/{found}") == "anon_inode:[eventpoll]"


def test_another_loop_is_not_held_up() -> None:
    todo: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    done: list[outcome.Outcome[int | None]] = []
    trio.lowlevel.start_guest_run(
        find_epoll, run_sync_soon_threadsafe=todo.put, done_callback=done.append
    )
    while not done:
        todo.get(timeout=5)()
    assert done[0].unwrap() is None


async def test_a_system_that_does_not_tell_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FDINFO", tmp_path)
    assert await find_epoll() is None
    (tmp_path / "3").mkdir()
    assert await find_epoll() is None
    monkeypatch.setattr(module, "_FDINFO", tmp_path / "none")
    assert await find_epoll() is None
    monkeypatch.delattr("os.eventfd")
    assert await find_epoll() is None
