"""The clocks of all exchanges: each is looked at in each period, whatever becomes of the others."""

from typing import cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from rawproxy.net.drive import Run
from rawproxy.net.pump import Pump
from rawproxy.net.sweep import Sweeper
from rawproxy.net.upstream import Upstreams


class Ticks:
    """Stands for an exchange: notes when it was looked at."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.times: list[float] = []
        self.given_up = False

    def tick(self, now: float) -> None:
        self.times.append(now)
        if self.fails:
            raise RuntimeError("planted")

    def give_up(self) -> None:
        self.given_up = True


class Pool(Upstreams):
    """Notes when it was looked at; fails the first time."""

    def __init__(self) -> None:
        super().__init__(Pump())
        self.times: list[float] = []

    def sweep(self, now: float) -> None:
        self.times.append(now)
        if len(self.times) == 1:
            raise RuntimeError("planted too")


async def test_each_is_looked_at_in_each_period(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool()
    sweeper = Sweeper(0.25, pool)
    good, bad = Ticks(), Ticks(fails=True)
    sweeper.runs = cast("set[Run]", {good, bad})
    began = trio.current_time()
    with trio.move_on_after(1.1):
        await sweeper.sweep()
    periods = pytest.approx([began + 0.25 * turn for turn in (1, 2, 3, 4)])
    assert good.times == bad.times == pool.times == periods
    assert (good.given_up, bad.given_up) == (False, True)
    assert (caplog.text.count("Error: planted\n"), caplog.text.count("Error: planted too\n")) == (
        4,
        1,
    )


async def test_after_a_standstill_what_came_meanwhile_is_read_first(mock_clock: MockClock) -> None:
    """A process that was stopped, or a machine that slept: the next look is a period later, and not a second one."""
    sweeper = Sweeper(0.25, Upstreams(Pump()))
    one = Ticks()
    sweeper.runs = cast("set[Run]", {one})

    async def pass_by(seconds: float) -> None:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(seconds)  # as time goes by for who stands still
        await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(sweeper.sweep)
        await pass_by(0.5)  # late by a period
        assert one.times == [began + 0.5]
        await pass_by(0.51)
        assert one.times == [began + 0.5]
        await pass_by(6)
        assert one.times == [began + 0.5, began + 7.01]
        await pass_by(0.25)
        assert one.times == pytest.approx([began + at for at in (0.5, 7.01, 7.26)])
        nursery.cancel_scope.cancel()
